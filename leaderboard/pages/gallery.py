"""Velocity maps side by side: truth, every method's prediction, and its error."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from bench.files import irregular
from bench.protocol.protocols import others
from bench.protocol.spec import PERCENTS, PRETRAINING, TARGETS
from bench.records import gathers
from bench.records import maps as kept_maps
from bench.records.maps import Kept
from bench.records.record import MAPS_FILE
from leaderboard.figures import depth_profile, gather, maps, palette, scales
from leaderboard.load.records import Problem
from leaderboard.pages.run_tables import MPS
from leaderboard.pages.runs import chosen
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.pages.worst_samples import WorstMaps, WorstSamples, worst_maps
from leaderboard.tables import worst
from leaderboard.tables.boards import Board
from leaderboard.tables.variants import Variant

Map = npt.NDArray[np.uint16]

MapsShown = dict[tuple[str, str], dict[str, dict[int, str]]]
"""URL of the maps of a sample, by (training dataset, test dataset), method key and sample."""

PROFILE_COLUMN = 35
"""Lateral cell of the vertical profile."""
_LARGEST_GATHER_BYTES = 100_000


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
    gather: Markup | None
    """The seismic record that was inverted, where a run has kept it."""


@dataclass(frozen=True, slots=True)
class TestSetMaps:
    """The maps of one test dataset."""

    train: str
    percent: int
    test: str
    own: bool
    """The methods were trained on it."""
    judge: Variant
    seed: int
    sheet: str
    width: int
    height: int
    items: tuple[Shown, ...]
    worst: WorstMaps
    alone: dict[str, dict[int, str]]
    """URL of the page that shows a sample for one method alone, by method key and sample."""


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
    if board.foundation and board.pretraining_scored:
        scratch = tuple(
            v for v in board.variants if any(board.runs(v, d, 100) for d in PRETRAINING)
        )
        own = tuple((d, 100, d) for d in PRETRAINING)
        methods = (board.foundation, *scratch)
        made.append(
            Chapter("Pretraining", "six datasets", "gallery-pretrain", own, methods, methods[0])
        )
    return made


def write(site: Site, board: Board, urls: Urls) -> tuple[list[Problem], MapsShown]:
    """Write a page per chapter, the first under the plain name.

    Returns unreadable maps, and where the maps of fits on all of a dataset are shown.
    """
    problems: list[Problem] = []
    pictured: MapsShown = {}
    all_chapters = chapters(board)
    worst_samples = worst.samples(board)
    files = {
        c.kind: urls.page(board, "gallery" if c is all_chapters[0] else c.kind)
        for c in all_chapters
    }
    groups = list(dict.fromkeys(c.group for c in all_chapters))
    for chapter in all_chapters:
        blocks = _blocks(site, board, chapter, worst_samples, problems)
        for block in blocks:
            if block.percent == PERCENTS[-1]:
                together = {
                    item.sample: f"{files[chapter.kind]}#{block.test}-{item.sample}"
                    for item in block.items
                }
                alone = {key: places | together for key, places in block.alone.items()}
                pictured.setdefault((block.train, block.test), alone)
        site.page(
            files[chapter.kind],
            "gallery",
            chapter=chapter,
            choices=[(g, [c for c in all_chapters if c.group == g]) for g in groups],
            files=files,
            blocks=blocks,
            pitch=maps.PITCH,
            mps=MPS,
            signs={v.key: palette.sign(v) for v in chapter.methods},
            variants=[(v, palette.sign(v)) for v in chapter.methods],
            velocity_bar=scales.velocity(),
            error_bar=scales.error(),
            **urls.common(board),
        )
    return problems, pictured


def _blocks(
    site: Site,
    board: Board,
    chapter: Chapter,
    worst_samples: WorstSamples,
    problems: list[Problem],
) -> list[TestSetMaps]:
    found = (_block(site, board, chapter, cell, worst_samples, problems) for cell in chapter.cells)
    return [block for block in found if block]


def _block(
    site: Site,
    board: Board,
    chapter: Chapter,
    cell: tuple[str, int, str],
    worst_samples: WorstSamples,
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
    most = max(len(kept.samples) for kept in have.values())
    judges = [v for v in (chapter.judge, *chapter.methods) if v and v.key in have]
    judge = next(v for v in judges if len(have[v.key].samples) == most)
    same = _shared(have, judge.key)
    ours = same[judge.key]
    pages = {key: f"runs/{runs[key][seed]['run_id']}.html#maps" for key in have}
    alone = {
        key: {int(kept.samples[i]): pages[key] for _, i in chosen(kept.errors_mps())}
        for key, kept in have.items()
    }
    rows, items = [], []
    shown = [v for v in chapter.methods if v.key in same]
    for number, (rank, i) in enumerate(chosen(ours.errors_mps())):
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
        record = _gather(site, [Path(runs[v.key][seed]["folder"]) for v in shown], truth, problems)
        sample = int(ours.samples[i])
        drawn = gather.panel(record, f"{test} sample {sample}") if record else None
        items.append(Shown(rank, sample, maps.PITCH * number, tuple(tiles), plot, drawn))
    ids = {key: str(by_seed[seed]["run_id"]) for key, by_seed in runs.items() if seed in by_seed}
    own_worst = worst_maps(chapter.methods, ids, have, test, worst_samples, rows)
    sheet = maps.Sheet.of(rows)
    name = f"maps/{board.key.slug}-{chapter.kind}-{test}.png"
    site.file(name, sheet.png)
    own = test == train
    return TestSetMaps(
        *cell, own, judge, seed, name, sheet.width, sheet.height, tuple(items), own_worst, alone
    )


def _seed(runs: Iterable[dict[int, dict[str, Any]]]) -> int | None:
    """The lowest seed that most methods have."""
    counts = Counter(seed for by_seed in runs for seed in by_seed)
    return min(counts, key=lambda s: (-counts[s], s), default=None)


def _maps(folder: Path, test: str, problems: list[Problem]) -> Kept | None:
    try:
        return kept_maps.read(folder, [test]).get(test)
    except ValueError as error:
        problems.append(Problem(folder / MAPS_FILE, str(error)))
        return None


def _shared(have: dict[str, Kept], judge: str) -> dict[str, Kept]:
    """The samples that the judge and other methods kept; without methods whose truth is another
    one, or that kept so few of them that there would not be three to show."""
    common = set(have[judge].samples.tolist())
    beside = [judge]
    for key in (key for key in have if key != judge):
        both = common & set(have[key].samples.tolist())
        if len(both) >= min(3, len(common)):
            common = both
            beside.append(key)
    cut = {key: gallery.only(sorted(common)) for key, gallery in have.items() if key in beside}
    truth = cut[judge].truth
    return {key: gallery for key, gallery in cut.items() if (gallery.truth == truth).all()}


def _gather(site: Site, folders: Iterable[Path], truth: Map, problems: list[Problem]) -> str | None:
    """The file of a sample's seismic record in the site, written at the first call."""
    name = f"maps/gathers/{gathers.key(truth)}.png"
    for folder in folders:
        path = gathers.path(folder, truth)
        if not path.exists() and not path.is_symlink():
            continue
        if reason := irregular(path, _LARGEST_GATHER_BYTES):
            problems.append(Problem(path, reason))
            continue
        try:
            site.file(name, gather.png(gathers.read(path)))
        except ValueError as error:
            problems.append(Problem(path, str(error)))
            continue
        return name
    return None
