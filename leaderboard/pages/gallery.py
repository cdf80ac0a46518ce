"""Velocity maps side by side: truth, every method's prediction, and its error."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.record import MAPS_FILE
from bench.spec import TARGETS
from leaderboard import maps, palette
from leaderboard.boards import OPPONENT, Board, Variant
from leaderboard.entries import Problem
from leaderboard.figures import profile, scales
from leaderboard.pages.places import Places
from leaderboard.pages.runs import chosen
from leaderboard.site import Site
from leaderboard.views import Fit

PROFILE_COLUMN = 35
"""Lateral cell of the vertical profile."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One method on one sample; `x` is the prediction's place in the sheet, the error follows."""

    variant: Variant
    x: int
    mae_mps: float


@dataclass(frozen=True, slots=True)
class Shown:
    """One test sample."""

    rank: str
    sample: int
    y: int
    tiles: tuple[Tile, ...]
    profile: Markup


@dataclass(frozen=True, slots=True)
class Block:
    """One test dataset."""

    test: str
    sheet: str
    width: int
    height: int
    items: tuple[Shown, ...]


def write(site: Site, board: Board, places: Places) -> list[Problem]:
    """A page for each training target; returns maps that could not be read."""
    problems: list[Problem] = []
    trains = [t for t in TARGETS if any(fit == Fit(t) for v in board.variants for fit, _ in v.fits)]
    files = {train: _file(board, places, train, trains) for train in trains}
    for train in trains:
        seed, loaded = _load(board, train, problems)
        blocks = [b for test in _order(train) if (b := _block(site, board, train, test, loaded))]
        site.page(
            files[train],
            "gallery",
            train=train,
            files=files,
            seed=seed,
            blocks=blocks,
            pitch=maps.PITCH,
            opponent=OPPONENT,
            signs={v.key: palette.sign(v) for v in board.variants},
            variants=[(v, palette.sign(v)) for v in board.variants],
            velocity_bar=scales.velocity(),
            error_bar=scales.error(),
            **places.common(board),
        )
    return problems


def _file(board: Board, places: Places, train: str, trains: Sequence[str]) -> str:
    return places.page(board, "gallery" if train == trains[0] else f"gallery-{train}")


def _order(train: str) -> tuple[str, ...]:
    return (train, *(t for t in TARGETS if t != train))


def _load(
    board: Board, train: str, problems: list[Problem]
) -> tuple[int | None, dict[str, dict[str, maps.Gallery]]]:
    """Maps by method key and dataset, all of the lowest seed that most methods have."""
    fits = [(v, s, e) for v in board.variants for (f, s), e in v.fits.items() if f == Fit(train)]
    seeds = [s for _, s, _ in fits]
    if not seeds:
        return None, {}
    seed = min(set(seeds), key=lambda s: (-seeds.count(s), s))
    loaded = {}
    for variant, own, entry in fits:
        if own == seed:
            try:
                loaded[variant.key] = maps.load(entry.folder, TARGETS)
            except ValueError as error:
                problems.append(Problem(entry.folder / MAPS_FILE, str(error)))
    return seed, loaded


def _block(
    site: Site, board: Board, train: str, test: str, loaded: dict[str, dict[str, maps.Gallery]]
) -> Block | None:
    """Best, median and worst kept sample by the opponent's MAE (or the first method's)."""
    have = {v.key: loaded[v.key][test] for v in board.variants if test in loaded.get(v.key, {})}
    if not have:
        return None
    opponent = board.opponent
    judge = have[opponent.key if opponent and opponent.key in have else next(iter(have))]
    same = {k: g for k, g in have.items() if _same(g, judge)}
    errors = [maps.mae_mps(p, t) for p, t in zip(judge.prediction, judge.truth, strict=True)]
    rows, items = [], []
    shown = [v for v in board.variants if v.key in same]
    for number, (rank, i) in enumerate(chosen(errors)):
        truth = judge.truth[i]
        row, tiles, lines = [maps.velocity_tile(truth)], [], []
        for variant in shown:
            prediction = same[variant.key].prediction[i]
            tiles.append(Tile(variant, maps.PITCH * len(row), maps.mae_mps(prediction, truth)))
            row += [maps.velocity_tile(prediction), maps.error_tile(prediction, truth)]
            lines.append((variant, prediction[:, PROFILE_COLUMN]))
        rows.append(row)
        plot = profile.profile(
            truth[:, PROFILE_COLUMN],
            lines,
            column=PROFILE_COLUMN,
            name=f"{test} sample {int(judge.samples[i])}",
        )
        items.append(Shown(rank, int(judge.samples[i]), maps.PITCH * number, tuple(tiles), plot))
    sheet = maps.Sheet.of(rows)
    name = f"maps/{board.key.slug}-{train}-{test}.png"
    site.file(name, sheet.png)
    return Block(test, name, sheet.width, sheet.height, tuple(items))


def _same(gallery: maps.Gallery, judge: maps.Gallery) -> bool:
    """Whether the same samples were kept, with the same truth."""
    return (
        gallery.truth.shape == judge.truth.shape
        and bool((gallery.samples == judge.samples).all())
        and bool((gallery.truth == judge.truth).all())
    )
