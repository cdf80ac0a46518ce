"""Records → a static site: the one entry point."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leaderboard import cells, complexity, crew, library, palette, published, table
from leaderboard.boards import Board
from leaderboard.entries import Problem, walk
from leaderboard.pages import (
    about,
    compare,
    front,
    gallery,
    generalisation,
    listing,
    lowdata,
    methods,
    pretrain,
    sweep,
)
from leaderboard.pages.places import Places, has_page
from leaderboard.pages.runs import Run
from leaderboard.replacement import replacing
from leaderboard.site import ASSETS, Site

TITLE = "FWI PEFT Bench"


@dataclass(frozen=True)
class Report:
    """What was written."""

    index: Path
    records: int
    pages: int
    problems: tuple[Problem, ...]


def build(sources: Sequence[Path], out: Path, *, title: str = TITLE) -> Report:
    """Render the records of these homes, and the published ones, into the folder `out`.

    The same records give the same bytes. The old site stays until the new one is whole. Records
    that cannot be shown are returned as problems and listed on a page. Raises `HomeError` if `out`
    cannot be written or holds something else.
    """
    with replacing(out) as folder, crew.without_collection():
        site = Site(folder, title)
        paths = list(walk(sources))
        with crew.hired(site, len(paths)) as hands:
            found = library.collect(paths)
            hands.start(
                [Run(e.origin, e.folder, found.scores.get(e.run_id)) for e in found.entries]
            )
            made = found.boards()
            _assets(site, made)
            places = Places(tuple(made))
            problems = [problem for board in made for problem in _board(site, board, places)]
            problems += found.problems + hands.finish()
        problems = sorted(set(problems), key=lambda p: (str(p.path), p.reason))
        about.write(site, made)
        listing.problems(site, made, problems)
        if not made:
            site.page("index.html", "empty")
    index = out.expanduser().absolute() / "index.html"
    return Report(index, len(found.entries), site.pages, tuple(problems))


def _board(site: Site, board: Board, places: Places) -> list[Problem]:
    """All pages of a board; returns files that could not be used."""
    rows = table.rows(board)
    front.write(site, board, rows, places)
    listing.runs(site, board, places)
    listing.data(site, board, places, rows)
    every_cell = cells.table(board)
    for row in rows:
        methods.write(site, board, places, row, every_cell)
    paper = published.paper()
    if has_page(board, "lowdata"):
        lowdata.write(site, board, places, every_cell, paper)
    if has_page(board, "ood"):
        reference = published.openfwi_cross_dataset()
        generalisation.write(site, board, places, complexity.of(board), reference)
    if has_page(board, "pretrain"):
        pretrain.write(site, board, places)
    if has_page(board, "sweep"):
        sweep.write(site, board, places, paper)
    if has_page(board, "compare"):
        compare.write(site, board, places)
    return gallery.write(site, board, places) if has_page(board, "gallery") else []


def _assets(site: Site, boards: Sequence[Board]) -> None:
    site.file("assets/methods.css", palette.style_sheet(boards).encode())
    for path in sorted(ASSETS.iterdir()):
        site.file(f"assets/{path.name}", path.read_bytes())
