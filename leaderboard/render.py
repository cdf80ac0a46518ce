"""Records → a static site: the one entry point."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.record import Record
from leaderboard import library, palette, table
from leaderboard.entries import Entry, Problem
from leaderboard.pages import front, runs
from leaderboard.pages.places import Places
from leaderboard.samples import Scores
from leaderboard.site import ASSETS, Site, replacing

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
    with replacing(out) as folder:
        site = Site(folder, title)
        _assets(site)

        def visit(record: Record, entry: Entry, scores: Scores | None) -> list[Problem]:
            return runs.write(site, record, entry, scores)

        gathered = library.read(sources, visit)
        made = gathered.boards()
        site.file("assets/methods.css", palette.style_sheet(made).encode())
        places = Places(tuple(made))
        for board in made:
            front.write(site, board, table.rows(board), places, {}, [])
    return Report(
        out.expanduser().absolute() / "index.html",
        len(gathered.entries),
        site.pages,
        tuple(gathered.problems),
    )


def _assets(site: Site) -> None:
    for path in sorted(ASSETS.iterdir()):
        site.file(f"assets/{path.name}", path.read_bytes())
