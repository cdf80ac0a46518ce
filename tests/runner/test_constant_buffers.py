"""A backbone with a buffer that never moves: its foundation holds it, and fits start from it."""

from pathlib import Path

import pytest
from conftest import Bench
from homes import copy
from packages import install
from safetensors.torch import load_file

SOURCE = """
import torch
from torch import nn
from bench.contract import Backbone

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.linspace(0.5, 1, 70))
        self.mix = nn.Conv2d(5, 4, 1)
        self.out = nn.Linear(50, 70)

    def forward(self, x):
        y = torch.relu(self.mix(nn.functional.avg_pool2d(x, (20, 1)))).mean(1, keepdim=True)
        return torch.tanh(self.out(y.transpose(2, 3)).transpose(2, 3)) * self.table

backbone = Backbone(name="tabled", summary="s", source="s", build=Net)
"""


@pytest.mark.exhaustive
def test_fits_start_from_a_foundation_with_its_constants(
    ran: tuple[Path, object], bench: Bench, tiny_track: Path, tmp_path: Path
) -> None:
    site, home = tmp_path / "site", tmp_path / "home"
    site.mkdir()
    copy(ran[0], home, "data")
    install(site, "tabled-net", {"tabled": "backbone"}, SOURCE, group="bench.backbones")
    words = ("run", "--method", "none,bitfit", "--protocol", "id", "--backbone", "tabled")
    done = bench(*words, "--track", str(tiny_track), home=home, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert "failed" not in (done.stdout + done.stderr).lower()
    (foundation,) = home.glob("foundations/*/foundation.safetensors")
    assert set(load_file(foundation)) == {
        "table",
        "mix.weight",
        "mix.bias",
        "out.weight",
        "out.bias",
    }
    # A fit holds what it trains
    trained = [set(load_file(path)) for path in home.glob("runs/*/delta.safetensors")]
    assert {"mix.bias", "out.bias"} in trained
    assert all("table" not in names for names in trained)
