"""The fast path and stock torch: the same scores, and never mixed unknowingly."""

import subprocess
from pathlib import Path

import matrix
import polars as pl
import pytest
import torch
from conftest import Bench
from factory import FFT, make
from homes import copy, records, remove_runs
from torch import Tensor, nn

from bench.conformance import toy_networks
from bench.contract import Adapted
from bench.plugins import adaptation, registry
from bench.seeds import seed_everything
from bench.training import evaluate, train
from bench.training.numerics import Numerics
from leaderboard.load.results import machine


def fitted(name: str, foundation: nn.Module, *, frugally: bool) -> dict[str, Tensor]:
    """Scores of eight samples after twelve steps in float32; maps as layers, deeper is faster."""
    numerics = Numerics(device=torch.device("cpu"), bfloat16=False, frugal=frugally)
    method = registry.load().get(name).method
    config = method.config()
    seed_everything(0)
    model = toy_networks.convolutional()
    model.load_state_dict(foundation.state_dict())
    adapted: Adapted = adaptation.adapt(method, model, config)
    numerics.place(adapted.model)
    seed_everything(1)
    x = toy_networks.records(8)
    y = x.mean((1, 2, 3), keepdim=True) + torch.linspace(-0.5, 0.5, 70).view(70, 1).expand(70, 70)
    curve = list(
        train.fit(
            adapted,
            train.optimiser(adapted, config.learning_rate_scale),
            lambda epoch: [(x[:4], y[:4]), (x[4:], y[4:])],
            batchnorm=method.traits.batchnorm,
            epochs=range(6),
            total_epochs=6,
            steps_per_epoch=2,
            numerics=numerics,
        )
    )
    assert curve[-1].loss < curve[0].loss
    adapted.model.eval()
    with numerics.frugal_pass(adapted.model, fold=True), torch.inference_mode():
        return evaluate.score_batch(adapted.model, x, y)[1]


@pytest.mark.parametrize(
    "name",
    matrix.part(["fft", "lora", "bitfit", "batchnorm", "head", "prompt"], "lora"),
)
def test_a_small_fit_scores_the_same(name: str) -> None:
    seed_everything(0)
    foundation = toy_networks.convolutional()
    fast, stock = (fitted(name, foundation, frugally=frugally) for frugally in (True, False))
    for score in ("mae", "mse", "ssim"):
        assert float(fast[score].mean()) == pytest.approx(float(stock[score].mean()), rel=1e-3)


@pytest.mark.exhaustive
def test_run_with_stock_layers(
    ran: tuple[Path, subprocess.CompletedProcess[str]],
    bench: Bench,
    tiny_track: Path,
    tmp_path: Path,
) -> None:
    """The real command, in the machine's own precision, from the same foundation."""
    copy(ran[0], tmp_path, "data", "foundations", "runs")
    remove_runs(tmp_path, "Style_A")
    (again,) = (r for r in records(ran[0], "lora").values() if r.spec.datasets == ("Style_A",))
    words = ("--method", "lora", "--protocol", "ood", "--track", str(tiny_track), "--stock")
    done = bench("run", *words, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "reused fits ran without --stock" in done.stdout
    stock = records(tmp_path, "lora")[again.run_id]
    assert not stock.execution.determinism.frugal and again.execution.determinism.frugal
    assert stock.counts is not None and again.counts is not None
    assert again.counts.saved_bytes_per_sample < 0.56 * stock.counts.saved_bytes_per_sample
    scores, theirs = (
        pl.read_parquet(folder / "runs" / again.run_id / "scores.parquet")
        for folder in (tmp_path, ran[0])
    )
    # Two epochs in half precision: rounding is all that differs, and training amplifies it
    for name in ("mae", "mse", "ssim"):
        assert scores[name].to_numpy() == pytest.approx(theirs[name].to_numpy(), rel=2e-2), name


def test_the_leaderboard_keeps_their_costs_apart(tmp_path: Path) -> None:
    record = make(tmp_path, FFT, ("Style_A",))
    settings = record.execution.determinism.model_copy(update={"frugal": False})
    stock = record.model_copy(
        update={"execution": record.execution.model_copy(update={"determinism": settings})}
    )
    assert machine(record.execution) == "Test CPU, 2 cores"
    assert machine(stock.execution) == "Test CPU, 2 cores, stock layers"
