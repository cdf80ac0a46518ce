"""A plain training and scoring loop, built the way the field's public training scripts are.

Float32, stock modules, contiguous layout, per-sample numpy transforms in a DataLoader, AdamW
unfused, the loss read back each step; scoring with per-sample transforms and a two-dimensional
SSIM window. `bench speed --against reference` measures it next to ours.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bench.models import backbones
from bench.protocol.spec import RULES
from bench.seismic import metrics

Array = NDArray[np.float32]


class PlainDataset(Dataset[tuple[Array, Array]]):
    """Samples in memory as float32; transformed one by one when asked for."""

    def __init__(self, records: Array, maps: Array) -> None:
        self._records, self._maps = records, maps

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        low, high = -np.log1p(RULES.record_scale[0]), np.log1p(RULES.record_scale[1])
        record = np.log1p(np.abs(self._records[index])) * np.sign(self._records[index])
        record = (record - low) / (high - low) * 2 - 1
        slow, fast = RULES.velocity_scale_mps
        velocity = (self._maps[index] - slow) / (fast - slow) * 2 - 1
        return record.astype(np.float32), velocity.astype(np.float32)


class PlainLoop:
    """The reference network, its optimiser and its data on one device."""

    def __init__(
        self, records: Array, maps: Array, *, backbone: str, batch: int, device: torch.device
    ) -> None:
        self.network: nn.Module = backbones.build(backbone).to(device)
        self._adam = torch.optim.AdamW(
            self.network.parameters(),
            lr=RULES.peak_learning_rate,
            betas=RULES.betas,
            weight_decay=RULES.pretraining_weight_decay,
            foreach=False,
            fused=False,
        )
        self._loader = DataLoader(PlainDataset(records, maps), batch_size=batch, shuffle=False)
        self._device = device

    def train_epoch(self) -> float:
        """Train on every sample once; the mean loss."""
        self.network.train()
        return sum(self.step(x, y) for x, y in self._loader) / len(self._loader)

    def step(self, x: Tensor, y: Tensor) -> float:
        """Do one training step; returns the loss."""
        x, y = x.to(self._device), y.to(self._device)
        self._adam.zero_grad()
        loss = F.l1_loss(self.network(x), y)
        loss.backward()
        self._adam.step()
        return loss.item()

    def score_epoch(self) -> list[float]:
        """MAE, MSE and SSIM of every sample."""
        self.network.eval()
        scores: list[float] = []
        with torch.no_grad():
            for x, y in self._loader:
                x, y = x.to(self._device), y.to(self._device)
                prediction = self.network(x)
                for p, t in zip(prediction, y, strict=True):
                    scores.append(F.l1_loss(p, t).item())
                    scores.append(F.mse_loss(p, t).item())
                    scores.append(_plain_ssim((p[None] + 1) / 2, (t[None] + 1) / 2).item())
        return scores

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every sample once, transformed, on the CPU."""
        yield from self._loader


def _plain_ssim(x: Tensor, y: Tensor) -> Tensor:
    size = metrics.SSIM_WINDOW_CELLS
    place = torch.arange(size, dtype=torch.float32, device=x.device) - size // 2
    line = torch.exp(-place.square() / (2 * metrics.SSIM_SIGMA_CELLS**2))
    window = torch.outer(line, line)
    window = (window / window.sum()).view(1, 1, size, size)

    def blur(maps: Tensor) -> Tensor:
        return F.conv2d(maps, window, padding=size // 2)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    cov = blur(x * y) - mean_x * mean_y
    c1, c2 = metrics.SSIM_C1, metrics.SSIM_C2
    top = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    return (top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean()
