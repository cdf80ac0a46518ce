"""Velocity maps side by side: truth, every method's prediction, and its error."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.protocol.spec import PRETRAINING, TARGETS
from bench.records.record import MAPS_FILE
from leaderboard import maps, palette
from leaderboard.boards import Board, Variant
from leaderboard.entries import Entry, Problem
from leaderboard.figures import profile, scales
from leaderboard.pages.places import Places
from leaderboard.pages.runs import chosen
from leaderboard.site import Site
from leaderboard.views import Fit

PROFILE_COLUMN = 35
"""Lateral cell of the vertical profile."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One page of the gallery."""

    group: str
    label: str
    kind: str
    """Its name as a page of the board."""
    cells: tuple[tuple[Fit, str], ...]
    methods: tuple[Variant, ...]
    judge: Variant | None
    """By whose errors the samples are chosen."""


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
    own: bool
    """The methods were trained on it."""
    judge: Variant
    seed: int
    sheet: str
    width: int
    height: int
    items: tuple[Shown, ...]


def chapters(board: Board) -> list[Chapter]:
    """All training data (the paper's Figs 4, 9), the least (Fig. 7), and pretraining (Fig. 8)."""
    fits = board.fits
    part = min((fit.percent for fit in fits if fit.train in TARGETS), default=100)
    made = [
        Chapter(
            f"Fitted on {percent} % of",
            train,
            f"gallery-{train}" if percent == 100 else f"gallery-{train}-{percent}",
            tuple((Fit(train, percent), test) for test in _order(train)),
            board.variants,
            board.opponent,
        )
        for percent in dict.fromkeys((100, part))
        for train in TARGETS
        if Fit(train, percent) in fits
    ]
    scratch = tuple(v for v in board.variants if any(f.train in PRETRAINING for f, _ in v.fits))
    if board.foundation:
        own = tuple((Fit(d), d) for d in PRETRAINING)
        methods = (board.foundation, *scratch)
        made.append(
            Chapter("Pretraining", "six datasets", "gallery-pretrain", own, methods, methods[0])
        )
    return made


def write(site: Site, board: Board, places: Places) -> list[Problem]:
    """A page for each chapter, the first under the plain name; returns maps that cannot be read."""
    problems: list[Problem] = []
    all_chapters = chapters(board)
    files = {
        c.kind: places.page(board, "gallery" if c is all_chapters[0] else c.kind)
        for c in all_chapters
    }
    groups = list(dict.fromkeys(c.group for c in all_chapters))
    for chapter in all_chapters:
        site.page(
            files[chapter.kind],
            "gallery",
            chapter=chapter,
            choices=[(g, [c for c in all_chapters if c.group == g]) for g in groups],
            files=files,
            blocks=_blocks(site, board, chapter, problems),
            pitch=maps.PITCH,
            signs={v.key: palette.sign(v) for v in chapter.methods},
            variants=[(v, palette.sign(v)) for v in chapter.methods],
            velocity_bar=scales.velocity(),
            error_bar=scales.error(),
            **places.common(board),
        )
    return problems


def _order(train: str) -> tuple[str, ...]:
    return (train, *(t for t in TARGETS if t != train))


def _blocks(site: Site, board: Board, chapter: Chapter, problems: list[Problem]) -> list[Block]:
    found = (_block(site, board, chapter, fit, test, problems) for fit, test in chapter.cells)
    return [block for block in found if block]


def _block(
    site: Site, board: Board, chapter: Chapter, fit: Fit, test: str, problems: list[Problem]
) -> Block | None:
    """Best, median and worst kept sample by the judge's MAE (or the first method's)."""
    seed = _seed(fit, chapter.methods)
    have = {
        v.key: gallery
        for v in chapter.methods
        if seed is not None
        and (entry := v.fits.get((fit, seed)))
        and (gallery := _maps(entry, test, problems))
    }
    if seed is None or not have:
        return None
    judge = next(v for v in (chapter.judge, *chapter.methods) if v and v.key in have)
    ours = have[judge.key]
    same = {k: g for k, g in have.items() if _same(g, ours)}
    errors = [maps.mae_mps(p, t) for p, t in zip(ours.prediction, ours.truth, strict=True)]
    rows, items = [], []
    shown = [v for v in chapter.methods if v.key in same]
    for number, (rank, i) in enumerate(chosen(errors)):
        truth = ours.truth[i]
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
            name=f"{test} sample {int(ours.samples[i])}",
        )
        items.append(Shown(rank, int(ours.samples[i]), maps.PITCH * number, tuple(tiles), plot))
    sheet = maps.Sheet.of(rows)
    name = f"maps/{board.key.slug}-{chapter.kind}-{test}.png"
    site.file(name, sheet.png)
    own = test == fit.train
    return Block(test, own, judge, seed, name, sheet.width, sheet.height, tuple(items))


def _seed(fit: Fit, methods: Sequence[Variant]) -> int | None:
    """The lowest seed that most methods have."""
    counts = Counter(seed for v in methods for seed in v.seeds_of(fit))
    return min(counts, key=lambda s: (-counts[s], s), default=None)


def _maps(entry: Entry, test: str, problems: list[Problem]) -> maps.Gallery | None:
    try:
        return maps.load(entry.folder, [test]).get(test)
    except ValueError as error:
        problems.append(Problem(entry.folder / MAPS_FILE, str(error)))
        return None


def _same(gallery: maps.Gallery, judge: maps.Gallery) -> bool:
    """Whether the same samples were kept, with the same truth."""
    return (
        gallery.truth.shape == judge.truth.shape
        and bool((gallery.samples == judge.samples).all())
        and bool((gallery.truth == judge.truth).all())
    )
