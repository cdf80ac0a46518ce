"""Spatial information of each dataset, from the true maps that runs keep."""

from bench.protocol.spec import DATASETS
from leaderboard import maps
from leaderboard.boards import Board


def of(board: Board) -> dict[str, float]:
    """Mean Sobel gradient magnitude (m/s per cell) of the kept test maps, by dataset.

    Truth is the same for all runs of a board, so the first that keeps a dataset's maps will do.
    Damaged files are passed over: the pages that show them report them.
    """
    found: dict[str, float] = {}
    for entry in sorted(board.entries, key=lambda e: e.run_id):
        wanted = [d for d in entry.cells if d in DATASETS and d not in found]
        if entry.status == "done" and entry.part == "test" and wanted:
            try:
                galleries = maps.load(entry.folder, wanted)
            except ValueError:
                continue
            found |= {d: maps.spatial_information(g.truth) for d, g in galleries.items()}
        if len(found) == len(DATASETS):
            break
    return {dataset: found[dataset] for dataset in DATASETS if dataset in found}
