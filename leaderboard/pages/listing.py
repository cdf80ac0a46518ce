"""The list of all runs of a board, the problems, and the data to download."""

import io
import json
from collections.abc import Sequence

import polars as pl

from bench.protocol.spec import CLEAN
from leaderboard.load.records import Problem
from leaderboard.pages import long_tables
from leaderboard.pages.site_files import Site
from leaderboard.pages.urls import Urls
from leaderboard.tables import overview
from leaderboard.tables.boards import Board
from leaderboard.tables.overview import Row

_SHOWN = ("mae", "ssim")
_FILTERED = ("status", "method", "train", "percent", "seed", "level")


def runs(site: Site, board: Board, urls: Urls) -> None:
    """Write the searchable list of runs, one row each."""
    clean = (pl.col("split") == "test") & (pl.col("condition") == CLEAN)
    held = pl.col("split") == "validation"
    own = board.cells.filter(clean | held).select("run_id", "dataset", *_SHOWN)
    first = board.fits.with_columns(pl.col("datasets").list.first().alias("dataset"))
    joined = first.join(own, on=["run_id", "dataset"], how="left").unique("run_id")
    rows = joined.sort("method", "holdout", "datasets", "percent", "seed", "run_id").select(
        *("run_id", "title", "holdout", "origin", "started", "train_seconds"), *_SHOWN, *_FILTERED
    )
    site.page(
        urls.page(board, "runs"),
        "runs",
        rows=long_tables.runs(rows.iter_rows(named=True)),
        values={name: rows[name].unique(maintain_order=True).to_list() for name in _FILTERED},
        **urls.common(board),
    )


def data(site: Site, board: Board, urls: Urls, rows: Sequence[Row]) -> None:
    """Write the leaderboard as CSV, JSON and Parquet."""
    frame = overview.frame(rows)
    site.file(urls.data(board, "csv"), frame.write_csv().encode())
    document = {
        "track": board.key.track,
        "backbone": board.key.backbone,
        "fingerprint": board.key.fingerprint,
        "rows": frame.to_dicts(),
    }
    site.file(urls.data(board, "json"), (json.dumps(document, indent=1) + "\n").encode())
    buffer = io.BytesIO()
    frame.write_parquet(buffer, metadata=_metadata(board))
    site.file(urls.data(board, "parquet"), buffer.getvalue())


def _metadata(board: Board) -> dict[str, str]:
    key = board.key
    return {"track": key.track, "backbone": key.backbone, "fingerprint": key.fingerprint}


def problems(site: Site, boards: Sequence[Board], found: Sequence[Problem]) -> None:
    """Write the page of records left out, with reasons, and of separate boards."""
    shown = [
        ("/".join(p.path.parts[-3:]), p.reason.replace(str(p.path), p.path.name)) for p in found
    ]
    failed = [
        row
        for board in boards
        for row in board.fits.filter(pl.col("status") != "done").iter_rows(named=True)
    ]
    same: dict[tuple[str, str], list[Board]] = {}
    for board in boards:
        same.setdefault((board.key.track, board.key.backbone), []).append(board)
    apart = [group for group in same.values() if len(group) > 1]
    site.page("problems.html", "problems", problems=sorted(shown), failed=failed, apart=apart)
