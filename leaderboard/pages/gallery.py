"""Velocity maps side by side: truth, every method's prediction, and its error."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bench.protocol.protocols import others
from bench.protocol.spec import PRETRAINING, TARGETS
from bench.records.record import MAPS_FILE
from leaderboard.figures import depth_profile, maps, palette, scales
from leaderboard.load.records import Problem
from leaderboard.pages.runs import chosen
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables.boards import Board, Variant

PROFILE_COLUMN = 35
"""Lateral cell of the vertical profile."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One page of the gallery."""

    group: str
    label: str
    kind: str
    """Its name as a page of the board."""
    cells: tuple[tuple[str, int, str], ...]
    """Training dataset, per cent, test dataset."""
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
    """The maps of one test sample."""

    rank: str
    sample: int
    y: int
    tiles: tuple[Tile, ...]
    profile: Markup


@dataclass(frozen=True, slots=True)
class TestSetMaps:
    """The maps of one test dataset."""

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
    part = min((percent for train, percent in board.datasets if train in TARGETS), default=100)
    made = [
        Chapter(
            f"Fitted on {percent} % of",
            train,
            f"gallery-{train}" if percent == 100 else f"gallery-{train}-{percent}",
            tuple((train, percent, test) for test in (train, *others(train))),
            board.variants,
            board.reference,
        )
        for percent in dict.fromkeys((100, part))
        for train in TARGETS
        if (train, percent) in board.datasets
    ]
    if board.foundation:
        scratch = tuple(
            v for v in board.variants if any(board.runs(v, d, 100) for d in PRETRAINING)
        )
        own = tuple((d, 100, d) for d in PRETRAINING)
        methods = (board.foundation, *scratch)
        made.append(
            Chapter("Pretraining", "six datasets", "gallery-pretrain", own, methods, methods[0])
        )
    return made


def write(
    site: Site, board: Board, urls: Urls
) -> tuple[list[Problem], dict[tuple[str, str], dict[int, str]]]:
    """Write a page per chapter, the first under the plain name.

    Returns unreadable maps and, by training and test dataset at 100 %, the address of each sample.
    """
    problems: list[Problem] = []
    shown: dict[tuple[str, str], dict[int, str]] = {}
    all_chapters = chapters(board)
    files = {
        c.kind: urls.page(board, "gallery" if c is all_chapters[0] else c.kind)
        for c in all_chapters
    }
    groups = list(dict.fromkeys(c.group for c in all_chapters))
    for chapter in all_chapters:
        blocks = _blocks(site, board, chapter, problems)
        trained, percent, _ = chapter.cells[0]
        if percent == 100:
            for block in blocks:
                address = f"{files[chapter.kind]}#{block.test}-"
                shown[trained, block.test] = {s.sample: f"{address}{s.sample}" for s in block.items}
        site.page(
            files[chapter.kind],
            "gallery",
            chapter=chapter,
            choices=[(g, [c for c in all_chapters if c.group == g]) for g in groups],
            files=files,
            blocks=blocks,
            pitch=maps.PITCH,
            signs={v.key: palette.sign(v) for v in chapter.methods},
            variants=[(v, palette.sign(v)) for v in chapter.methods],
            velocity_bar=scales.velocity(),
            error_bar=scales.error(),
            **urls.common(board),
        )
    return problems, shown


def _blocks(
    site: Site, board: Board, chapter: Chapter, problems: list[Problem]
) -> list[TestSetMaps]:
    found = (_block(site, board, chapter, cell, problems) for cell in chapter.cells)
    return [block for block in found if block]


def _block(
    site: Site,
    board: Board,
    chapter: Chapter,
    cell: tuple[str, int, str],
    problems: list[Problem],
) -> TestSetMaps | None:
    """Best, median and worst kept sample by the judge's MAE (or the first method's)."""
    train, percent, test = cell
    runs = {v.key: board.runs(v, train, percent) for v in chapter.methods}
    seed = _seed(runs.values())
    have = {
        key: gallery
        for key, by_seed in runs.items()
        if seed is not None
        and (run := by_seed.get(seed))
        and (gallery := _maps(Path(run["folder"]), test, problems))
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
        plot = depth_profile.profile(
            truth[:, PROFILE_COLUMN],
            lines,
            column=PROFILE_COLUMN,
            name=f"{test} sample {int(ours.samples[i])}",
        )
        items.append(Shown(rank, int(ours.samples[i]), maps.PITCH * number, tuple(tiles), plot))
    sheet = maps.Sheet.of(rows)
    name = f"maps/{board.key.slug}-{chapter.kind}-{test}.png"
    site.file(name, sheet.png)
    own = test == train
    return TestSetMaps(test, own, judge, seed, name, sheet.width, sheet.height, tuple(items))


def _seed(runs: Iterable[dict[int, dict[str, Any]]]) -> int | None:
    """The lowest seed that most methods have."""
    counts = Counter(seed for by_seed in runs for seed in by_seed)
    return min(counts, key=lambda s: (-counts[s], s), default=None)


def _maps(folder: Path, test: str, problems: list[Problem]) -> maps.Gallery | None:
    try:
        return maps.load(folder, [test]).get(test)
    except ValueError as error:
        problems.append(Problem(folder / MAPS_FILE, str(error)))
        return None


def _same(gallery: maps.Gallery, judge: maps.Gallery) -> bool:
    """Whether the same samples were kept, with the same truth."""
    return (
        gallery.truth.shape == judge.truth.shape
        and bool((gallery.samples == judge.samples).all())
        and bool((gallery.truth == judge.truth).all())
    )
