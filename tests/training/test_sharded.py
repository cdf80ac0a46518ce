"""Shards: combined as defined, whoever computes them."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.contract import Config
from bench.plugins import adaptation
from bench.plugins.pretraining import PRETRAINING
from bench.seeds import derive, seed_everything
from bench.training import train
from bench.training.group import Group, tree_sum
from bench.training.numerics import Numerics
from bench.training.sharded import BatchPart, ShardedStep, Shards, combine_statistics, statistics

FLOAT32 = Numerics(device=torch.device("cpu"), bfloat16=False, frugal=False)
SHARDS, BATCH = 4, 11


class Network(nn.Module):
    """Convolution, BatchNorm, dropout: all that shards are particular about."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(5, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Conv2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.dropout(torch.relu(self.norm(self.first(x)))))
        return out


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As `repeatable` sets it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network() -> Network:
    torch.manual_seed(0)
    return Network().train()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((BATCH, 5, 8, 8), generator=generator)
    return x, torch.randn((BATCH, 1, 6, 6), generator=generator)


class Recorded(Group):
    """One process of several, which keeps what it would send and goes on with what it is given."""

    def __init__(self, rank: int, size: int, given: Tensor | None = None) -> None:
        super().__init__(rank, size)
        object.__setattr__(self, "sent", None)
        object.__setattr__(self, "given", given)

    def sum(self, vector: Tensor) -> Tensor:
        object.__setattr__(self, "sent", vector)
        given: Tensor | None = vars(self)["given"]
        return vector if given is None else given


def step(group: Group) -> tuple[Network, Tensor]:
    """A step of this process: the network after it, and the loss."""
    model, shards = network(), Shards(SHARDS, group)
    adapted = adaptation.adapt(PRETRAINING, model, Config())
    adam = train.optimiser(adapted, 1.0)
    assert adam is not None
    train.set_rate(adam, 1e-3)
    x, y = batch()
    numbers = shards.of(torch.arange(BATCH).numpy())
    part = BatchPart([(x[n], y[n]) for n in numbers], BATCH)
    do = ShardedStep(adapted, adam, shards=shards, layers=[model.norm], numerics=FLOAT32)
    return model, do(part, seed=3)


def test_a_step_is_the_weighted_mean_over_shards() -> None:
    """Against plain torch: each shard a batch of its own, from the same start."""
    model, loss = step(Group())
    x, y = batch()
    expected = network()
    expected.zero_grad()
    total, means, variances = 0.0, [], []
    for number, (a, b) in enumerate([(0, 3), (3, 6), (6, 9), (9, 11)]):
        fresh = network()
        seed_everything(derive(3, "shard", number))
        shard = (fresh(x[a:b]) - y[a:b]).abs().mean() * ((b - a) / BATCH)
        shard.backward()
        total += float(shard.detach())
        for ours, its in zip(expected.parameters(), fresh.parameters(), strict=True):
            assert its.grad is not None
            ours.grad = its.grad if ours.grad is None else ours.grad + its.grad
        assert fresh.norm.running_mean is not None and fresh.norm.running_var is not None
        means.append(fresh.norm.running_mean * (b - a) / BATCH)
        variances.append(fresh.norm.running_var * (b - a) / BATCH)
    torch.testing.assert_close(float(loss), total)
    torch.testing.assert_close(model.norm.running_mean, sum(means))
    torch.testing.assert_close(model.norm.running_var, sum(variances))
    assert model.norm.num_batches_tracked == 1
    for ours, other in zip(model.parameters(), expected.parameters(), strict=True):
        assert ours.grad is not None and other.grad is not None
        torch.testing.assert_close(ours.grad, other.grad)


@pytest.mark.parametrize("size", [2, 4])
def test_any_number_of_processes_gives_the_bits_of_one(size: int) -> None:
    """float32, with dropout: what each sends, added up in the tree, and the network after it."""
    whole, loss = step(Group())
    groups = [Recorded(rank, size) for rank in range(size)]
    for group in groups:
        step(group)
    total = tree_sum(lambda rank: vars(groups[rank])["sent"], 0, size)
    for rank in range(size):
        model, same = step(Recorded(rank, size, total))
        assert torch.equal(same, loss)
        for name, value in model.state_dict().items():
            assert torch.equal(value, whole.state_dict()[name]), name


def test_statistics_are_those_of_the_shards_in_their_order() -> None:
    model = network()
    gathered = [[float(s), 10.0 * s] for s in range(SHARDS)]

    def gather(shard: int) -> float:
        mean, variance = statistics([model.norm])
        mean.fill_(gathered[shard][0])
        variance.fill_(gathered[shard][1])
        return (1, 2, 3, 2)[shard] / 8

    combine_statistics([model.norm], Shards(SHARDS, Group()), gather)
    mean, variance = statistics([model.norm])
    assert mean.tolist() == [(2 + 6 + 6) / 8] * 3
    assert variance.tolist() == [10 * (2 + 6 + 6) / 8] * 3


@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=16, max_size=16),
    log_size=st.integers(0, 4),
)
def test_a_sum_may_be_cut_anywhere(values: list[float], log_size: int) -> None:
    """To the bit, in float32, where addition is not associative."""
    numbers = torch.tensor(values)
    whole = tree_sum(lambda i: numbers[i], 0, 16)
    size = 2**log_size
    count = 16 // size
    parts = [tree_sum(lambda i: numbers[i], rank * count, count) for rank in range(size)]
    assert torch.equal(tree_sum(lambda rank: parts[rank], 0, size), whole)
    torch.testing.assert_close(whole, numbers.double().sum().float(), rtol=1e-4, atol=1.0)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_every_sample_is_in_one_shard_of_one_process(size: int) -> None:
    numbers = torch.arange(BATCH).numpy()
    cut = [n for rank in range(size) for n in Shards(SHARDS, Group(rank, size)).of(numbers)]
    assert [len(n) for n in cut] == [3, 3, 3, 2]
    assert [int(i) for n in cut for i in n] == list(range(BATCH))
