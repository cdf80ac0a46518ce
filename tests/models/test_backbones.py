"""InversionNet: its size, its names, its geometry, and upstream-format checkpoints."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import UnknownNameError
from bench.models import backbones
from bench.models.checkpoint import load_backbone_state


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return backbones.build("inversionnet").eval()


def test_counts(model: nn.Module) -> None:
    kinds = [type(m).__name__ for m in model.modules()]
    assert sum(p.numel() for p in model.parameters()) == 24_409_123
    assert kinds.count("Conv2d") == 20
    assert kinds.count("ConvTranspose2d") == 5
    assert kinds.count("BatchNorm2d") == 25


def test_geometry(model: nn.Module) -> None:
    """A bottleneck of 512 × 1 × 1, a decoder to 80 × 80, an output of 70 × 70 in [-1, 1]."""
    shapes = {}
    for name in ("convblock1", "convblock8", "deconv5_2"):
        model.get_submodule(name).register_forward_hook(
            lambda m, i, o, name=name: shapes.update({name: tuple(o.shape[1:])})
        )
    with torch.no_grad():
        out = model(torch.randn(2, 5, 1000, 70))
    assert shapes == {
        "convblock1": (32, 500, 70),
        "convblock8": (512, 1, 1),
        "deconv5_2": (32, 80, 80),
    }
    assert out.shape == (2, 1, 70, 70)
    assert out.abs().max() <= 1


def test_names_are_upstreams(model: nn.Module) -> None:
    """As in published checkpoints of the OpenFWI code."""
    names = list(model.state_dict())
    assert names[:7] == [
        "convblock1.layers.0.weight",
        "convblock1.layers.0.bias",
        "convblock1.layers.1.weight",
        "convblock1.layers.1.bias",
        "convblock1.layers.1.running_mean",
        "convblock1.layers.1.running_var",
        "convblock1.layers.1.num_batches_tracked",
    ]
    for name, shape in (
        ("convblock8.layers.0.weight", (512, 256, 8, 9)),
        ("deconv1_1.layers.0.weight", (512, 512, 5, 5)),
        ("deconv5_1.layers.0.weight", (64, 32, 4, 4)),
        ("deconv6.layers.0.weight", (1, 32, 3, 3)),
    ):
        assert tuple(model.state_dict()[name].shape) == shape


def test_upstream_checkpoint_loads_and_predicts_the_same(model: nn.Module, tmp_path: Path) -> None:
    """A file as OpenFWI's training script writes it: weights under `model`, and more beside."""
    path = tmp_path / "model_120.pth"
    torch.save({"model": model.state_dict(), "epoch": 120, "step": 1}, path)
    other = backbones.build("inversionnet").eval()
    other.load_state_dict(load_backbone_state(path, "inversionnet"))
    x = torch.randn(1, 5, 1000, 70)
    with torch.no_grad():
        assert torch.equal(other(x), model(x))


def test_unknown_backbone() -> None:
    with pytest.raises(UnknownNameError, match="inversionnet"):
        backbones.build("inversionet")
