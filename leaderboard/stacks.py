"""Per-sample scores of several methods side by side, ready to be resampled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leaderboard.boards import Board, Variant
from leaderboard.resampling import Resamples, Statistic, resample
from leaderboard.samples import METRICS
from leaderboard.views import View

_STORED = {"mae": METRICS.index("mae"), "rmse": METRICS.index("mse"), "ssim": METRICS.index("ssim")}
_STATISTIC: dict[str, Statistic] = {"mae": "mean", "rmse": "root_mean", "ssim": "mean"}


@dataclass(frozen=True, eq=False)
class Stack:
    """The cells of a protocol for some methods and seeds."""

    cells: tuple[npt.NDArray[np.float32], ...]
    """(method, seed, metric, sample) each, metrics in the order of `samples.METRICS`."""
    tests: tuple[str, ...]
    """The test set of each cell."""

    def resample(self, metric: str, *, resamples: int = 2000) -> Resamples:
        """Joint resamples of ``mae``, ``rmse`` or ``ssim``."""
        return self.resample_each((metric,), resamples=resamples)[metric]

    def resample_each(
        self, metrics: Sequence[str], *, resamples: int = 2000
    ) -> dict[str, Resamples]:
        """The same for several metrics, from one draw of seeds and samples."""
        count = len(self.cells)
        drawn = resample(
            [cell[:, :, _STORED[m]] for m in metrics for cell in self.cells],
            test_sets=self.tests * len(metrics),
            statistic=[_STATISTIC[m] for m in metrics for _ in self.cells],
            resamples=resamples,
        )
        return {m: drawn.pick(slice(i * count, (i + 1) * count)) for i, m in enumerate(metrics)}


def stack(
    board: Board, variants: Sequence[Variant], view: View, seeds: Sequence[int]
) -> Stack | None:
    """None unless the scores of every cell are known, of the same two or more samples."""
    cells = []
    for fit, test in view.cells:
        arrays = [board.samples(v, fit, test, seeds) for v in variants]
        known = [a for a in arrays if a is not None]
        if not known or len(known) != len(arrays) or len({a.shape for a in known}) != 1:
            return None
        if known[0].shape[-1] < 2:
            return None
        cells.append(np.stack(known))
    return Stack(tuple(cells), tuple(test for _, test in view.cells))
