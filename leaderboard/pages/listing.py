"""The list of all runs of a board, the problems, and the data to download."""

import io
import json
from collections.abc import Sequence

from leaderboard import table
from leaderboard.boards import Board
from leaderboard.entries import Problem
from leaderboard.pages.places import Places
from leaderboard.site import Site
from leaderboard.table import Row


def runs(site: Site, board: Board, places: Places) -> None:
    """One row a run, searchable."""
    entries = sorted(
        board.entries, key=lambda e: (e.name, e.part, e.datasets, e.percent, e.seed, e.run_id)
    )
    site.page(places.page(board, "runs"), "runs", entries=entries, **places.common(board))


def data(site: Site, board: Board, places: Places, rows: Sequence[Row]) -> None:
    """The leaderboard as CSV, JSON and Parquet."""
    frame = table.frame(rows)
    site.file(places.data(board, "csv"), frame.write_csv().encode())
    document = {
        "track": board.key.track,
        "backbone": board.key.backbone,
        "fingerprint": board.key.fingerprint,
        "rows": frame.to_dicts(),
    }
    site.file(places.data(board, "json"), (json.dumps(document, indent=1) + "\n").encode())
    buffer = io.BytesIO()
    frame.write_parquet(buffer, metadata=_metadata(board))
    site.file(places.data(board, "parquet"), buffer.getvalue())


def _metadata(board: Board) -> dict[str, str]:
    key = board.key
    return {"track": key.track, "backbone": key.backbone, "fingerprint": key.fingerprint}


def problems(site: Site, boards: Sequence[Board], found: Sequence[Problem]) -> None:
    """What was left out and why, and what stands on a board of its own."""
    shown = [
        ("/".join(p.path.parts[-3:]), p.reason.replace(str(p.path), p.path.name)) for p in found
    ]
    failed = [e for b in boards for e in b.entries if e.status != "done"]
    same: dict[tuple[str, str], list[Board]] = {}
    for board in boards:
        same.setdefault((board.key.track, board.key.backbone), []).append(board)
    apart = [group for group in same.values() if len(group) > 1]
    site.page("problems.html", "problems", problems=sorted(shown), failed=failed, apart=apart)
