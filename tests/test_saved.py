"""Counting what autograd saves leaves nothing behind."""

import weakref

import torch
from torch import Tensor, nn

from bench.training.saved import saved_bytes


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
