"""Which device and precision a run gets."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from bench.errors import ConfigError
from bench.training import allocator
from bench.training.numerics import Numerics, choose


def test_settings_tell_how_a_run_computes() -> None:
    described = choose("cpu", frugal=False).describe()
    assert (described.device, described.frugal) == ("cpu", False)
    assert described.precision == "float32"
    assert described.threads == torch.get_num_threads()
    for word in ("bfloat16", "float32"):
        assert choose("cpu", precision=word).describe().precision == word


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="'half'; use auto, bfloat16 or float32"):
        choose("cpu", precision="half")


@pytest.mark.parametrize("device", ["gpu", "cpu:x", "cuda:one", "mps"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="use auto, cpu, cuda or cuda:N"):
        choose(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    assert choose("auto").device.type == "cpu"
    with pytest.raises(ConfigError, match="no CUDA GPU"):
        choose("cuda")


def test_a_network_is_placed_channels_last_and_run_frugally() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    numerics = Numerics(device=torch.device("cpu"), bfloat16=False)
    numerics.place(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    with numerics.frugal_pass(network):
        assert "forward" in vars(network[0])
    stock = Numerics(device=torch.device("cpu"), bfloat16=False, frugal=False)
    with stock.frugal_pass(network):
        assert "forward" not in vars(network[0])


def process_settings() -> dict[str, object]:
    """What torch computes by in the whole process."""
    return {
        "matmul": torch.get_float32_matmul_precision(),
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
    }


def test_choosing_changes_nothing_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on a GPU either, here one that is only claimed to be there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(allocator, "keep", lambda: pytest.fail("the allocator is told something"))
    before = process_settings()
    found = [choose(device) for device in ("cpu", "auto", "cuda", "cuda:1")]
    assert [str(numerics.device) for numerics in found] == ["cpu", "cuda", "cuda", "cuda:1"]
    assert [numerics.bfloat16 for numerics in found[1:]] == [True] * 3
    assert not choose("cuda", precision="float32").bfloat16
    assert process_settings() == before


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("before", [("highest", False), ("high", True)])
@pytest.mark.parametrize("fails", [False, True])
def test_settings_of_the_process_hold_inside_and_are_put_back(
    device: str, before: tuple[str, bool], fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where something is raised inside. No GPU is needed to set them."""
    kept: list[str] = []
    monkeypatch.setattr(allocator, "keep", lambda: kept.append("told"))
    undisturbed = process_settings()
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.benchmark = before[1]
    try:
        start = process_settings()
        numerics = Numerics(device=torch.device(device), bfloat16=False)
        with pytest.raises(KeyError) if fails else nullcontext(), numerics.active():
            now = (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark)
            assert now == (("high", True) if device == "cuda" else before)
            if fails:
                raise KeyError
        assert process_settings() == start
        assert kept == (["told"] if device == "cpu" else [])
    finally:
        torch.set_float32_matmul_precision(str(undisturbed["matmul"]))
        torch.backends.cudnn.benchmark = bool(undisturbed["benchmark"])
    assert process_settings() == undisturbed
