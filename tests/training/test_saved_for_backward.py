"""Counting what autograd saves: right, and nothing is left behind."""

import weakref

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.training.saved_for_backward import saved_bytes, saved_bytes_per_sample


def test_the_graph_that_was_counted_is_freed() -> None:
    """The graph holds the hooks and the hooks hold the graph, out of the collector's sight."""
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    kept: list[weakref.ref[Tensor]] = []

    def forward() -> Tensor:
        result: Tensor = network(torch.ones(2, 3))
        kept.append(weakref.ref(result))
        return result

    # the input of the linear layer (2 × 3) and the result of Tanh (2 × 4), four bytes each
    assert saved_bytes(forward, resident=network.parameters()) == 4 * (6 + 8)
    assert kept[0]() is None


def test_saved_bytes_by_hand() -> None:
    weight = nn.Parameter(torch.randn(6, 4, 1, 1))
    x = torch.randn(2, 4, 3, 3)
    # The convolution saves x (288 bytes) and its own weight; tanh saves its output (432 bytes).
    assert saved_bytes(lambda: torch.tanh(F.conv2d(x, weight)), resident=[weight]) == 288 + 432
    assert saved_bytes(lambda: torch.tanh(F.conv2d(x, weight)), resident=[weight, x]) == 432
    assert saved_bytes(lambda: F.conv2d(x, weight.detach()), resident=[]) == 0
    # Products save both factors, one of them the same for every sample.
    scale = torch.randn(5, requires_grad=True)
    per_sample = saved_bytes_per_sample(lambda n: (torch.ones(n, 5) * scale).exp(), resident=[])
    assert per_sample == 2 * 5 * 4
