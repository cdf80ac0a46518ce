"""Site generation: the one entry point."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.protocol.spec import TARGETS
from bench.records.record import FILE
from leaderboard.build import page_pool
from leaderboard.build.atomic_folder import replacing
from leaderboard.figures import complexity, palette
from leaderboard.load import measurements, reference, results
from leaderboard.load.measurements import Measured
from leaderboard.load.records import BoardKey, Place, Problem, walk
from leaderboard.load.results import Results
from leaderboard.pages import (
    about,
    backbones,
    claims,
    compare,
    explorer,
    front,
    gallery,
    generalisation,
    listing,
    lowdata,
    memory,
    methods,
    pretrain,
    robustness,
    speed,
    sweep,
)
from leaderboard.pages.site_files import ASSETS, Site
from leaderboard.pages.urls import Urls, has_page
from leaderboard.tables import advice, cells, data_fractions, overview, speeds
from leaderboard.tables import backbones as orders_by_backbone
from leaderboard.tables.assembly import gather
from leaderboard.tables.backbones import Orders
from leaderboard.tables.boards import Board
from leaderboard.tables.standings import standings

TITLE = "FWI PEFT Bench"


@dataclass(frozen=True)
class BuiltSite:
    """What was written, and what was left out."""

    index: Path
    records: int
    pages: int
    problems: tuple[Problem, ...]
    local: tuple[tuple[str, Path], ...]
    """Title and front page of each board that has records of these homes."""
    published: int
    """How many of the records are published ones."""


def build(
    sources: Sequence[Path], out: Path, *, title: str = TITLE, published: Path | None = None
) -> BuiltSite:
    """Render the records of these homes, and the published ones, into the folder `out`.

    `published` is the folder of published records; None: that of the checkout.

    The same records give the same bytes. The old site stays until the new one is whole. Records
    that cannot be shown are returned as problems and listed on a page. Raises `HomeError` if `out`
    cannot be written or holds something else.
    """
    with replacing(out) as folder, page_pool.without_collection():
        site = Site(folder, title)
        found = _facts(site, list(walk(sources, published)))
        measured, unreadable = measurements.read(sources, published)
        boards = gather(found)
        _assets(site, boards)
        several = _several(boards)
        timed = frozenset(b.key for b in boards if speeds.measured_on(b, measured))
        urls = Urls(tuple(boards), frozenset(several), timed)
        problems = [p for board in boards for p in _board(site, board, urls, measured)]
        for board in boards:
            if board.key in several:
                backbones.write(site, board, urls, several[board.key])
        problems += found.problems + unreadable
        problems = sorted(set(problems), key=lambda p: (str(p.path), p.reason))
        about.write(site, boards)
        listing.problems(site, boards, problems)
        if not boards:
            site.page("index.html", "empty")
    root = out.expanduser().absolute()
    local = tuple(
        (board.title, root / urls.front(board))
        for board in boards
        if (board.fits["origin"] == "local").any()
    )
    return BuiltSite(
        index=root / "index.html",
        records=found.fits.height,
        pages=site.pages,
        problems=tuple(problems),
        local=local,
        published=int((found.fits["origin"] == "published").sum()),
    )


def _facts(site: Site, paths: Sequence[Place]) -> Results:
    """The facts of all records, each with its page; of several copies of a run the first's."""
    found = results.merged(page_pool.facts(site, paths))
    copied = set(found.copied)
    first = found.fits.filter(pl.col("run_id").is_in(found.copied))
    for run_id in copied:
        for path in (site.folder / "runs").glob(f"{run_id}.*"):
            path.unlink()
    again: list[Place] = [
        (origin, Path(folder) / FILE)
        for origin, folder in first.select("origin", "folder").iter_rows()
    ]
    list(page_pool.facts(site, again))
    return found


def _several(boards: Sequence[Board]) -> dict[BoardKey, list[Orders]]:
    """Orders by backbone of the boards that belong together, by board; others are left out."""
    found: dict[BoardKey, list[Orders]] = {}
    for board in boards:
        together = orders_by_backbone.related(board, boards)
        if board.key in found or len(together) < 2:
            continue
        known = [orders_by_backbone.orders(together, view) for view in overview.ranked()]
        made = [one for one in known if one]
        found |= {b.key: made for b in together if made}
    return found


def _board(site: Site, board: Board, urls: Urls, measured: Sequence[Measured]) -> list[Problem]:
    """All pages of a board; returns files that could not be used."""
    rows = overview.rows(board)
    parts = {
        (own, percent): standings(board, data_fractions.protocol(percent, own=own))
        for own in (False, True)
        for percent in sorted({percent for train, percent in board.datasets if train in TARGETS})
    }
    front.write(site, board, rows, urls, advice.cases(board, parts))
    listing.runs(site, board, urls)
    listing.data(site, board, urls, rows)
    every_cell = cells.table(board)
    timed = speeds.table(board, [row.variant for row in rows], measured)
    for row in rows:
        own_speeds = timed.of(row.variant.key) if timed else []
        methods.write(site, board, urls, row, every_cell, own_speeds)
    if timed:
        speed.write(site, board, urls, timed)
    paper = reference.paper()
    if has_page(board, "claims"):
        claims.write(site, board, urls, paper)
    if has_page(board, "lowdata"):
        lowdata.write(site, board, urls, every_cell, paper, parts)
    if has_page(board, "ood"):
        printed = reference.openfwi_cross_dataset()
        generalisation.write(site, board, urls, complexity.of(board), printed)
    if has_page(board, "memory"):
        memory.write(site, board, urls)
    problems = robustness.write(site, board, urls) if has_page(board, "robustness") else []
    if has_page(board, "pretrain"):
        pretrain.write(site, board, urls)
    if has_page(board, "sweep"):
        sweep.write(site, board, urls, paper)
    if has_page(board, "compare"):
        compare.write(site, board, urls)
    pictured: gallery.MapsShown = {}
    if has_page(board, "gallery"):
        unreadable, pictured = gallery.write(site, board, urls)
        problems += unreadable
    if has_page(board, "explorer"):
        explorer.write(site, board, urls, pictured)
    return problems


def _assets(site: Site, boards: Sequence[Board]) -> None:
    site.file("assets/methods.css", palette.style_sheet(boards).encode())
    for path in sorted(ASSETS.iterdir()):
        site.file(f"assets/{path.name}", path.read_bytes())
