"""Fractions, batches, and pools that give the same bits wherever the samples live."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from data_folders import TINY, alter, build, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.conformance import toy_networks
from bench.data import layout
from bench.data.loader import BYTES_PER_LOADED_SAMPLE, Datasets, SampleLoader
from bench.data.reader import Samples
from bench.data.subsets import batch_order, batches_per_epoch, parts
from bench.errors import DataError
from bench.protocol.spec import DATASETS, PERCENTS, Budget, PretrainingBudget, Track
from bench.seismic import metrics
from bench.seismic.scaling import scale_maps, scale_records

CPU = torch.device("cpu")
TRACK = Track(
    name="tiny",
    version=1,
    summary="",
    data=TINY,
    pretrain=PretrainingBudget(epochs=1, batch=2),
    fit=Budget(epochs=1, batch=2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets; tests leave them as they are."""
    root = tmp_path_factory.mktemp("data")
    build(root, "FlatVel_A")
    build(root, "FlatFault_B", folder="flatfault-b")
    return root


def pools(root: Path) -> tuple[SampleLoader, SampleLoader]:
    """The same samples of two datasets, resident and streamed; the second in another order."""
    sources = [
        (Samples(root / place, layout.files(name, "train", TINY)), np.array(chosen))
        for place, name, chosen in (
            ("FlatVel_A", "FlatVel_A", [0, 1, 2, 3]),
            ("flatfault-b", "FlatFault_B", [3, 1]),
        )
    ]
    resident, streamed = (
        SampleLoader(sources, device=CPU, resident=where) for where in (True, False)
    )
    return resident, streamed


@given(st.integers(1, 3000), st.sampled_from(DATASETS), st.integers(0, 5), st.booleans())
def test_fractions_are_nested_and_parts_do_not_overlap(
    size: int, dataset: str, seed: int, holdout: bool
) -> None:
    smaller: set[int] = set()
    for percent in PERCENTS:
        chosen = parts(size, dataset=dataset, percent=percent, seed=seed, holdout=holdout)
        train, held = set(chosen.train.tolist()), set(chosen.validation.tolist())
        assert not train & held
        count = max(min(size, 3), round(size * percent / 100))
        assert smaller <= train | held <= set(range(size))
        assert len(train | held) == count
        assert len(held) == (min(max(32, round(count / 10)), count // 2) if holdout else 0)
        smaller = train | held
    assert len(smaller) == size


def test_fractions_differ_between_seeds_and_datasets() -> None:
    def chosen(seed: int, dataset: str) -> list[int]:
        whole = parts(500, dataset=dataset, percent=10, seed=seed, holdout=False)
        return whole.train.tolist()

    assert chosen(0, "Style_A") == chosen(0, "Style_A")
    assert chosen(0, "Style_A") != chosen(1, "Style_A")
    assert chosen(0, "Style_A") != chosen(0, "Style_B")


@given(st.integers(2, 700), st.integers(2, 130), st.integers(0, 3))
def test_an_epoch_is_every_sample_once_in_batches_of_two_at_least(
    size: int, batch: int, epoch: int
) -> None:
    order = batch_order(size, batch=batch, seed=0, datasets=("Style_A",), percent=100, epoch=epoch)
    assert sorted(np.concatenate(order).tolist()) == list(range(size))
    sizes = [len(indices) for indices in order]
    assert len(order) == batches_per_epoch(size, batch)
    assert max(sizes) - min(sizes) <= 1
    assert 2 <= min(sizes) <= max(sizes) <= max(batch, 3)


def test_batches_are_shuffled_anew_in_each_epoch() -> None:
    def epoch(number: int, percent: int = 100) -> list[int]:
        order = batch_order(
            64, batch=8, seed=0, datasets=("Style_A",), percent=percent, epoch=number
        )
        return np.concatenate(order).tolist()

    assert epoch(0) == epoch(0)
    assert epoch(0) != epoch(1)
    assert epoch(0) != epoch(0, 50)


def test_resident_and_streamed_batches_are_equal_bit_for_bit(folder: Path) -> None:
    resident, streamed = pools(folder)
    assert len(resident) == len(streamed) == 6
    order = [np.array(b) for b in ([5, 0], [1, 4, 3], [2], [0, 0], [3, 1], [5], [2, 4])]
    maps, records = samples()
    true = np.array([0, 1, 2, 3, 3, 1])  # of each number in the pool
    for indices, here, there in zip(
        order, resident.batches(order), streamed.batches(order), strict=True
    ):
        assert torch.equal(here[0], there[0])
        assert torch.equal(here[1], there[1])
        assert here[0].dtype == torch.float16
        assert here[0].is_contiguous(memory_format=torch.channels_last)
        wanted = scale_records(torch.from_numpy(records[true[indices]])).half()
        assert torch.equal(here[0], wanted)
        assert torch.equal(here[1], scale_maps(torch.from_numpy(maps[true[indices]])))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
def test_batches_on_a_gpu_are_those_of_the_cpu(folder: Path) -> None:
    source = [
        (Samples(folder / "FlatVel_A", layout.files("FlatVel_A", "train", TINY)), np.arange(4))
    ]
    order = [np.array([3, 0]), np.array([1, 2])]
    expected = list(SampleLoader(source, device=CPU, resident=True).batches(order))
    for resident in (True, False):
        pool = SampleLoader(source, device=torch.device("cuda"), resident=resident)
        for (x, y), (a, b) in zip(pool.batches(order), expected, strict=True):
            assert torch.equal(a, x.cpu())
            assert torch.equal(b, y.cpu())


def test_streaming_can_be_left_half_way(folder: Path) -> None:
    _, streamed = pools(folder)
    batches = streamed.batches([np.array([0])] * 50)
    next(batches)
    batches.close()  # type: ignore[attr-defined]  # an iterator by type, a generator in fact


def test_a_damaged_sample_is_told_while_streaming(tmp_path: Path) -> None:
    place = build(tmp_path)
    alter(place / "data/data2.npy", (0, 0, 0, 0), np.nan)
    source = Samples(place, layout.files("FlatVel_A", "train", TINY))
    pool = SampleLoader([(source, np.arange(4))], device=CPU, resident=False)
    with pytest.raises(DataError, match=r"data2\.npy: sample 0 holds NaN"):
        list(pool.batches([np.array([0, 1]), np.array([2, 3])]))
    with pytest.raises(DataError, match=r"data2\.npy: sample 0 holds NaN"):
        SampleLoader([(source, np.arange(4))], device=CPU, resident=True)


def test_a_collection_finds_the_folders_and_splits(folder: Path) -> None:
    collection = Datasets(folder, TRACK, CPU)
    assert len(collection.samples("FlatFault_B", "train")) == 4
    assert len(collection.test("FlatVel_A")) == 2
    assert collection.test("FlatVel_A") is collection.test("FlatVel_A")
    pool = collection.training([("FlatVel_A", np.array([2])), ("FlatFault_B", np.array([0]))])
    maps, _ = samples()
    ((_, y),) = pool.batches([np.array([0, 1])])
    assert torch.equal(y, scale_maps(torch.from_numpy(maps[[2, 0]])))
    again = [("FlatVel_A", np.array([2])), ("FlatFault_B", np.array([0]))]
    assert collection.training(again) is pool, "the next method is fitted on the same samples"
    other = collection.training([("FlatVel_A", np.array([1])), ("FlatFault_B", np.array([0]))])
    ((_, y),) = other.batches([np.array([0, 1])])
    assert torch.equal(y, scale_maps(torch.from_numpy(maps[[1, 0]])))
    with pytest.raises(DataError, match="Style_A: the folder is missing"):
        collection.samples("Style_A", "train")


class Zeros:
    """So many samples of zeros in place of files."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def records(self, rows: np.ndarray, *, native: bool = False) -> np.ndarray:
        return np.zeros((len(rows), 5, 1000, 70), np.float32)

    def maps(self, rows: np.ndarray) -> np.ndarray:
        return np.full((len(rows), 1, 70, 70), 3000, np.float32)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.integers(0, 60))
def test_test_splits_are_counted_together_against_the_free_memory(
    sizes: list[int], room: int
) -> None:
    """All that stay on the device fit into it, and the estimate counts just those."""
    free = room * BYTES_PER_LOADED_SAMPLE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Datasets, "_memory_limit", free)
        data = Datasets(Path("nowhere"), TRACK, CPU)
        counts = dict(zip(DATASETS, sizes, strict=False))
        patch.setattr(data, "samples", lambda dataset, split: cast(Samples, Zeros(counts[dataset])))
        loaders = [data.test(dataset) for dataset in counts]
        held = [loader._store for loader in loaders if loader._store is not None]
        held_bytes = sum(tensor.nbytes for store in held for tensor in store)
        assert held_bytes <= free
        assert held_bytes == data.loaded_bytes(sizes, "test")
        assert data.test(DATASETS[0]) is loaders[0], "asked for again, it is counted once"
        if sum(sizes) * BYTES_PER_LOADED_SAMPLE < free // 4:
            assert len(held) == len(loaders)


@pytest.mark.exhaustive
def test_half_precision_records_change_no_score_by_more_than_1e_4() -> None:
    """InversionNet with an eighth of its channels, trained until it tells the samples apart."""
    maps, records = samples()
    x = scale_records(torch.from_numpy(records[:3]))
    y = scale_maps(torch.from_numpy(maps[:3]))
    torch.manual_seed(0)
    model = toy_networks.convolutional().eval()  # its BatchNorm statistics are true already
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(60):
        loss = (model(x) - y).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    exact, rounded = score(model, x, y), score(model, x.half().float(), y)
    shuffled = score(model, x.roll(1, 0), y)
    assert exact["mae"].mean() < 0.3 < shuffled["mae"].mean(), "it looks at the records"
    for name in ("mae", "ssim"):
        assert (exact[name] - rounded[name]).abs().max() < 1e-4
    assert (exact["mse"].mean().sqrt() - rounded["mse"].mean().sqrt()).abs() < 1e-4


def score(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    model.eval()
    with torch.inference_mode():
        prediction = model(x)
        return {metric.column: metric.per_sample(prediction, y) for metric in metrics.METRICS}
