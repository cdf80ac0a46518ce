"""Which device and precision a run gets."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import ConfigError
from bench.training.numerics import Numerics, choose, processor_flags

X86 = """processor\t: 0
model name\t: Some CPU
flags\t\t: fpu vme avx512f avx512_bf16

processor\t: 1
flags\t\t: fpu vme
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 sve\nCPU part\t: 0xd4f\n"


@pytest.mark.parametrize(
    ("facts", "has", "lacks"),
    [(X86, {"avx512_bf16"}, {"bf16"}), (ARM, {"bf16"}, {"avx512_bf16"}), ("", set(), {"bf16"})],
)
def test_what_the_processor_can_do(
    facts: str, has: set[str], lacks: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(facts, encoding="utf-8")
    found = processor_flags(path)
    assert has <= found and not lacks & found
    assert processor_flags(tmp_path / "absent") == frozenset()


def test_settings_tell_how_a_run_computes() -> None:
    chosen = choose("cpu", frugal=False)
    described = chosen.describe()
    assert (described.device, described.frugal) == ("cpu", False)
    assert described.precision == ("bfloat16" if chosen.bfloat16 else "float32")
    assert described.threads == torch.get_num_threads()


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
    with numerics.lean(network):
        assert "forward" in vars(network[0])
    stock = Numerics(device=torch.device("cpu"), bfloat16=False, frugal=False)
    with stock.lean(network):
        assert "forward" not in vars(network[0])
