"""Weights as files, `bench adapt`: exact, and refused where they do not belong."""

import argparse
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Inside
from safetensors.torch import load_file
from torch import Tensor, nn
from trained import adapt, shaken

from bench.conformance.case import predict
from bench.contract import INPUT_SHAPE
from bench.data import layout
from bench.data.loader import SampleLoader
from bench.data.reader import Samples
from bench.errors import BenchError, FoundationError, UnknownNameError
from bench.models import backbones, delta
from bench.models.checkpoint import (
    content_hash,
    load_backbone_state,
    save_safetensors,
    save_upstream,
)
from bench.plugins import deltas
from bench.records.reader import read
from bench.training import evaluate, numerics


def test_content_hash_sees_names_types_shapes_and_values_alone(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0), "b": torch.tensor(3), "c": torch.ones(2).bfloat16()}
    expected = content_hash(tensors)
    assert content_hash(dict(reversed(tensors.items()))) == expected
    assert content_hash(tensors | {"a": torch.arange(12.0)[::2].clone() / 2}) == expected
    others = (
        tensors | {"a": torch.arange(6.0).view(2, 3)},
        tensors | {"a": torch.arange(6.0).double()},
        tensors | {"a": torch.arange(6.0).index_fill(0, torch.tensor(5), 5.0000005)},
        {"x" if name == "b" else name: value for name, value in tensors.items()},
    )
    assert len({expected, *map(content_hash, others)}) == 5
    save_safetensors(tensors, tmp_path / "t.safetensors", {"k": "v"})
    assert content_hash(load_file(tmp_path / "t.safetensors")) == expected


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return backbones.build("inversionnet").eval()


@pytest.fixture(scope="module")
def folder(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A foundation in both formats, and deltas of three methods made on it."""
    folder = tmp_path_factory.mktemp("files")
    state = network.state_dict()
    save_upstream(state, folder / "foundation.pth")
    save_safetensors(state, folder / "foundation.safetensors")
    for name, config in (("lora", {"rank": 2}), ("head", {}), ("adapter", {"width": 1})):
        torch.manual_seed(5)
        adapted = adapt(name, copy.deepcopy(network), **config)
        tensors = shaken(adapted, 7)
        header = delta.Header(
            method=name,
            config=config,
            backbone="inversionnet",
            foundation_sha256=content_hash(state),
            adapt_seed=5,
            version=1,
        )
        delta.save(tensors, header, folder / f"{name}.safetensors")
        torch.save(predict(adapted.model, records()), folder / f"{name}.prediction")
    return folder


def records() -> Tensor:
    return torch.randn(1, *INPUT_SHAPE, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("wrap", ["model", "model_state", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_upstream_checkpoints_load(
    wrap: str | None, prefix: str, network: nn.Module, tmp_path: Path
) -> None:
    """As OpenFWI's script writes them: key `model`, the script's arguments beside it."""
    state: dict[str, object] = {prefix + key: value for key, value in network.state_dict().items()}
    if wrap:
        state = {wrap: state, "epoch": 3, "args": argparse.Namespace(lr=1e-4)}
    torch.save(state, tmp_path / "checkpoint.pth")
    loaded = load_backbone_state(tmp_path / "checkpoint.pth", "inversionnet")
    assert content_hash(loaded) == content_hash(network.state_dict())


def test_both_formats_hold_the_same(folder: Path, network: nn.Module) -> None:
    written = torch.load(folder / "foundation.pth", weights_only=True)
    assert set(written) == {"model"}
    for suffix in ("pth", "safetensors"):
        loaded = load_backbone_state(folder / f"foundation.{suffix}", "inversionnet")
        assert content_hash(loaded) == content_hash(network.state_dict())


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_checkpoints_that_do_not_fit_name_the_tensor(
    suffix: str, network: nn.Module, tmp_path: Path
) -> None:
    state, path = network.state_dict(), tmp_path / f"wrong.{suffix}"
    name = "convblock2_1.layers.0.weight"
    cases = {
        f"tensor '{name}' is missing": without(state, name),
        f"tensor '{name}' has shape": state | {name: torch.zeros(3)},
        f"tensor '{name}' is torch.int64": state | {name: state[name].long()},
        "tensor 'extra' is not known": state | {"extra": torch.zeros(1)},
    }
    for message, wrong in cases.items():
        save = save_upstream if suffix == "pth" else save_safetensors
        save(wrong, path)
        with pytest.raises(FoundationError, match=message):
            load_backbone_state(path, "inversionnet")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_damaged_checkpoints_are_refused(folder: Path, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"damaged.{suffix}"
    for content in (
        b"",
        b"not a checkpoint",
        (folder / f"foundation.{suffix}").read_bytes()[:99_999],
    ):
        path.write_bytes(content)
        with pytest.raises(FoundationError, match=r"cannot be read|no torch checkpoint"):
            load_backbone_state(path, "inversionnet")
    with pytest.raises(FoundationError, match="cannot be read"):
        load_backbone_state(tmp_path / f"absent.{suffix}", "inversionnet")


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    torch.save({"model": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(FoundationError):
        load_backbone_state(tmp_path / "bomb.pth", "inversionnet")
    assert not (tmp_path / "exploded").exists()


# --- adapters on files ----------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["merged.pth", "merged.safetensors"])
def test_a_merged_checkpoint_is_a_plain_backbone_with_the_same_predictions(
    folder: Path, out: str, tmp_path: Path
) -> None:
    path = deltas.merge(folder / "foundation.pth", folder / "lora.safetensors", tmp_path / out)
    plain = backbones.build("inversionnet")
    plain.load_state_dict(load_backbone_state(path, "inversionnet"))
    expected = torch.load(folder / "lora.prediction", weights_only=True)
    torch.testing.assert_close(predict(plain, records()), expected, rtol=0, atol=1e-5)


def test_apply_gives_the_trained_network(folder: Path, tmp_path: Path) -> None:
    foundation, file = folder / "foundation.safetensors", folder / "adapter.safetensors"
    loaded = deltas.load(foundation, file)
    expected = torch.load(folder / "adapter.prediction", weights_only=True)
    assert torch.equal(predict(loaded.adapted.model, records()), expected)
    written = load_file(deltas.apply(foundation, file, tmp_path / "whole.safetensors"))
    assert content_hash(written) == content_hash(loaded.adapted.model.state_dict())


def test_diff_lists_what_differs(folder: Path) -> None:
    foundation = folder / "foundation.pth"
    rows = deltas.diff(foundation, folder / "head.safetensors")
    assert {row.name for row in rows} == {
        f"deconv6.layers.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")
    }
    state, tensors = (
        load_backbone_state(foundation, "inversionnet"),
        load_file(folder / "head.safetensors"),
    )
    for row in rows:
        change = (tensors[row.name].double() - state[row.name].double()).numpy()
        assert row.kind == "changed" and row.shape == change.shape
        assert row.largest_change == pytest.approx(abs(change).max())
    added = deltas.diff(foundation, folder / "lora.safetensors")
    assert len(added) == 50 and {row.kind for row in added} == {"added"}
    merged = deltas.diff(foundation, folder / "lora.safetensors", merged=True)
    assert len(merged) == 25 and all(row.name.endswith("layers.0.weight") for row in merged)


def rewritten(folder: Path, tmp_path: Path, **changes: object) -> Path:
    tensors, header = delta.load(folder / "lora.safetensors")
    fields = {**vars(header), **changes}
    extra = fields.pop("tensors", {})
    assert isinstance(extra, dict)
    path = tmp_path / "wrong.safetensors"
    delta.save(tensors | extra, delta.Header(**fields), path)
    return path


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"foundation_sha256": "0" * 64},
            FoundationError,
            "made for another foundation: it names 0",
        ),
        ({"backbone": "inversionet"}, UnknownNameError, "Unknown backbone 'inversionet'"),
        ({"method": "lorra"}, UnknownNameError, "Did you mean 'lora'"),
        ({"config": {"rang": 2}}, FoundationError, "config that method 'lora' .* does not take"),
        ({"config": {"rank": 3}}, FoundationError, "does not fit the adapted network: '.*A' is"),
        ({"tensors": {"x": torch.zeros(1)}}, FoundationError, "has no tensor 'x'"),
        ({"method": "bitfit", "config": {}}, FoundationError, "lacks the trained tensor '.*bias'"),
        ({"version": 7}, FoundationError, "made by version 7 of method .lora.; installed is 1, of"),
    ],
)
def test_a_delta_that_does_not_belong_is_refused_and_nothing_written(
    changes: dict[str, object], kind: type[BenchError], message: str, folder: Path, tmp_path: Path
) -> None:
    wrong, out = rewritten(folder, tmp_path, **changes), tmp_path / "out" / "merged.pth"
    with pytest.raises(kind, match=message):
        deltas.merge(folder / "foundation.pth", wrong, out)
    assert not out.parent.exists()


def test_other_refusals_write_nothing(folder: Path, tmp_path: Path) -> None:
    foundation, out = folder / "foundation.pth", tmp_path / "out"
    with pytest.raises(BenchError, match="'adapter' cannot be merged"):
        deltas.merge(foundation, folder / "adapter.safetensors", out / "merged.pth")
    with pytest.raises(FoundationError, match="is not a delta"):
        deltas.merge(foundation, folder / "foundation.safetensors", out / "merged.pth")
    with pytest.raises(FoundationError, match=r"end it in \.pth"):
        deltas.merge(foundation, folder / "lora.safetensors", out / "merged.onnx")
    assert not out.exists()


def test_the_command_line_on_a_run(
    ran: tuple[Path, object], inside: Inside, tmp_path: Path
) -> None:
    """The merged file, in a plain network, has the scores that the run recorded."""
    home, _ = ran
    (foundation,) = home.glob("foundations/*/foundation.safetensors")
    runs = {read(p).spec.title: p.parent for p in home.glob("runs/*/record.json")}
    run = runs["lora on Style_A, seed 0"]
    words = ("adapt", "merge", foundation, run / "delta.safetensors", tmp_path / "merged.pth")
    assert inside(*words)[0] == 0
    plain = backbones.build("inversionnet_quarter")
    state = load_backbone_state(tmp_path / "merged.pth", "inversionnet_quarter")
    plain.load_state_dict(state)
    record = read(run / "record.json")
    (cell,) = (c for c in record.cells if c.test_set.dataset == "FlatVel_B")
    (data,) = home.glob("data/*/FlatVel_B")
    pool = SampleLoader(
        [(Samples(data, layout.files("FlatVel_B", "test", record.track.data)), np.arange(2))],
        device=torch.device("cpu"),
        resident=True,
    )
    scored = evaluate.score(plain, pool, numerics=numerics.choose("cpu"))
    assert scored.scores["mae"].mean() == pytest.approx(cell.scores["mae"], abs=1e-5)

    code, out, _ = inside("adapt", "diff", foundation, run / "delta.safetensors")
    assert (code, out.splitlines()[-1]) == (0, "50 tensors differ from the foundation.")
    whole = tmp_path / "whole.safetensors"
    assert inside("adapt", "apply", foundation, run / "delta.safetensors", whole)[0] == 0
    assert "deconv6.layers.0.parametrizations.weight.0.A" in load_file(whole)
    code, _, error = inside("adapt", "apply", foundation, foundation, tmp_path / "no.safetensors")
    assert (code, "is a foundation, not a delta" in error) == (2, True)
    assert not (tmp_path / "no.safetensors").exists()


def test_what_is_read_is_not_overwritten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for out in ("foundation.safetensors", "lora.safetensors"):
        before = Path(out).read_bytes()
        for command in (deltas.apply, deltas.merge):
            with pytest.raises(FoundationError, match="would overwrite what is read"):
                command(folder / "foundation.safetensors", folder / "lora.safetensors", Path(out))
        assert Path(out).read_bytes() == before
