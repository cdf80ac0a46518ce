"""Recorded runs in Python: the record, its scores as a Polars frame, its adapted network.

from bench.api import load_run

run = load_run("leaderboard/records/mini/02464418df25a95a")   # or a run id of the workspace
run.scores()        # a row a test set and sample, a column a metric
run.network()       # the trained network, in evaluation mode
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from torch import nn

from bench.errors import FoundationError, RecordError
from bench.models import backbones
from bench.models.checkpoint import content_hash, load_backbone_state
from bench.plugins import deltas
from bench.records import scores
from bench.records.reader import read
from bench.records.record import DELTA_FILE, FILE, FOUNDATION_FILE, SCORES_FILE, Record
from bench.runner.replay import find
from bench.runner.workspace import to_read

__all__ = ["Run", "load_run"]


@dataclass(frozen=True)
class Run:
    """One recorded fit."""

    folder: Path
    record: Record

    def scores(self) -> pl.DataFrame:
        """Per-sample scores: `dataset`, `split`, `condition`, `sample`, and a column a metric.

        Errors are on [-1, 1], which is 1500 to 4500 m/s; ``mse`` is the mean square whose root over
        all samples is the RMSE. Raises `RecordError` where there are none.
        """
        try:
            return scores.read(self.folder / SCORES_FILE)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RecordError(
                f"{self.folder / SCORES_FILE}: the scores cannot be read: {error}."
            ) from error

    def network(self, foundation: Path | None = None) -> nn.Module:
        """The trained network on the CPU, in evaluation mode: (n, 5, 1000, 70) → (n, 1, 70, 70).

        Inputs and outputs are scaled as in `bench.seismic.scaling`. `foundation` is the file of the
        foundation that a delta was trained on; without it, that of the same workspace is taken.
        Raises `FoundationError` for weights that are missing, or do not belong together.
        """
        if self.record.spec.kind == "pretraining":
            state = load_backbone_state(self.folder / FOUNDATION_FILE, self.backbone)
            return backbones.restore(self.backbone, state).eval()
        path = self.folder / DELTA_FILE
        if not path.exists():
            raise FoundationError(
                f"{path} is missing: published runs come without weights; repeat the run with "
                f"`bench replay {self.record.run_id}`."
            )
        start = foundation or self._foundation()
        return deltas.load(start, path).adapted.model

    @property
    def backbone(self) -> str:
        return self.record.spec.backbone.name

    def _foundation(self) -> Path | None:
        """The foundation with the recorded hash, below the same workspace."""
        wanted = self.record.foundation_sha256
        if wanted is None:
            return None
        for path in sorted(self.folder.parents[1].glob(f"foundations/*/{FOUNDATION_FILE}")):
            state = load_backbone_state(path, self.backbone)
            if content_hash(state) == wanted:
                return path
        raise FoundationError(
            f"The foundation of run {self.record.run_id} is not below {self.folder.parents[1]}; "
            "name its file."
        )


def load_run(run: str | Path, home: Path | None = None) -> Run:
    """Load a recorded run by its folder, its run id, or the beginning of an id in workspace `home`.

    `home` is `BENCH_HOME` or the user's data folder if it is not given. Raises `RecordError` for a
    record that cannot be read, `UnknownNameError` for a run that is not there.
    """
    path = Path(run)
    if not (path / FILE).is_file():
        path = find(to_read(home), str(run)).parent
    return Run(folder=path, record=read(path / FILE))
