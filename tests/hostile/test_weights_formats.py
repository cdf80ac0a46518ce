"""Weights as people have them load; what cannot load says why, and nothing of it is executed."""

import argparse
import collections
import io
import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from bench.errors import FoundationError
from bench.models import backbones, delta
from bench.models.checkpoint import content_hash, load_backbone_state
from bench.models.delta import Header
from bench.models.foreign import read_state
from bench.plugins import deltas
from bench.runner import initial_weights

NETWORK = "inversionnet_quarter"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return backbones.build(NETWORK)


@pytest.fixture(scope="module")
def state(network: nn.Module) -> State:
    return dict(network.state_dict())


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def legacy(state: State) -> State:
    """Upstream's older names, which its loader renames."""

    def old(name: str) -> str:
        module = name.partition(".")[0]
        kind = "Conv2DwithBN"
        if module == "deconv6":
            kind = "Conv2DwithBN_Tanh"
        elif module.startswith("deconv") and module.endswith("_1"):
            kind = "Deconv2DwithBN"
        return name.replace(".layers.", f".{kind}.")

    return {old(name): value for name, value in state.items()}


def averaged(network: nn.Module) -> State:
    return dict(torch.optim.swa_utils.AveragedModel(network).state_dict())


def profiled(state: State) -> State:
    extra = {f"{name}.total_ops": torch.zeros(1, dtype=torch.float64) for name in ("convblock1",)}
    return state | extra | {"total_params": torch.zeros(1)}


def no_counters(state: State) -> State:
    return {name: v for name, v in state.items() if not name.endswith("num_batches_tracked")}


FORMS: dict[str, Callable[[State, nn.Module], object]] = {
    "plain": lambda s, n: s,
    "ordered": lambda s, n: collections.OrderedDict(s),
    "model": lambda s, n: {"model": s, "epoch": 3},
    "model_state": lambda s, n: {"model_state": s},
    "state_dict": lambda s, n: {"state_dict": s, "optimizer": {"state": {}, "param_groups": []}},
    "model_state_dict": lambda s, n: {"model_state_dict": s, "loss": 0.1},
    "nested keys": lambda s, n: {"checkpoint": 1, "state_dict": {"model": {"module": s}}},
    "EMA": lambda s, n: {"model_ema": {"module": s}},
    "DDP": lambda s, n: prefixed("module.", s),
    "compiled": lambda s, n: prefixed("_orig_mod.", s),
    "Lightning": lambda s, n: {
        "state_dict": prefixed("model.", s),
        "hyper_parameters": {"lr": 1e-3},
        "pytorch-lightning_version": "2.0",
    },
    "DDP of a compiled one": lambda s, n: prefixed("module._orig_mod.", s),
    "a compiled DDP": lambda s, n: prefixed("_orig_mod.module.", s),
    "everything": lambda s, n: {"state_dict": prefixed("model.module._orig_mod.", legacy(s))},
    "compiled blocks": lambda s, n: {
        name.replace(".layers", "._orig_mod.layers"): value for name, value in s.items()
    },
    "legacy": lambda s, n: {"model": legacy(s)},
    "legacy DDP": lambda s, n: {"model": prefixed("module.", legacy(s))},
    "averaged": lambda s, n: averaged(n),
    "averaged, nested": lambda s, n: {"model": averaged(n)},
    "float64": lambda s, n: {k: v.double() if v.is_floating_point() else v for k, v in s.items()},
    "counters as int32": lambda s, n: {
        k: v if v.is_floating_point() else v.int() for k, v in s.items()
    },
    "no counters": lambda s, n: no_counters(s),
    "parameters": lambda s, n: {
        k: nn.Parameter(v) if v.is_floating_point() else v for k, v in s.items()
    },
    "profiled": lambda s, n: profiled(s),
    "numbers beside tensors": lambda s, n: s | {"epoch": 7, "name": "x"},
    "arguments": lambda s, n: {"model": s, "args": argparse.Namespace(lr=1e-4, out=Path("a"))},
    "NumPy's numbers": lambda s, n: {"model": s, "best": np.float64(0.5), "curve": np.arange(3.0)},
}


@pytest.mark.parametrize("name", FORMS)
def test_weights_as_people_have_them_load(
    name: str, state: State, network: nn.Module, tmp_path: Path
) -> None:
    """Bit for bit what the network has."""
    torch.save(FORMS[name](state, network), tmp_path / "w.pth")
    loaded = load_backbone_state(tmp_path / "w.pth", NETWORK)
    assert content_hash(loaded) == content_hash(state)
    found = initial_weights.match(tmp_path / "w.pth", NETWORK)
    assert found.left_out == {}
    assert found.tensors.keys() >= no_counters(state).keys()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_half_precision_is_widened(
    kind: torch.dtype, suffix: str, state: State, tmp_path: Path
) -> None:
    half = {k: v.to(kind) if v.is_floating_point() else v for k, v in state.items()}
    path = tmp_path / f"w.{suffix}"
    if suffix == "pth":
        torch.save({"model": prefixed("module.", half)}, path)
    else:
        safetensors.torch.save_file(prefixed("module.", half), path)
    loaded = load_backbone_state(path, NETWORK)
    for name, value in loaded.items():
        assert value.dtype == state[name].dtype
        assert torch.equal(value, half[name].to(value.dtype))


class Custom:
    """Unpickling it would run its code."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("executed",))


REFUSED: dict[str, tuple[Callable[[State], object], str]] = {
    "another tensor": (
        lambda s: s | {"extra.weight": torch.zeros(1)},
        "'extra.weight' is not known",
    ),
    "another network": (
        lambda s: {"encoder.conv.weight": torch.zeros(1)},
        r"is missing \(it has 'encoder.conv.weight', which is not known there\)",
    ),
    "another width": (
        lambda s: s | {"convblock1.layers.0.weight": torch.zeros(32, 5, 7, 1)},
        r"'convblock1.layers.0.weight' has shape \(32, 5, 7, 1\)",
    ),
    "a tensor less": (
        lambda s: {k: v for k, v in s.items() if k != "deconv6.layers.0.bias"},
        "'deconv6.layers.0.bias' is missing",
    ),
    "a tensor under two names": (
        lambda s: s | {"module.convblock1.layers.0.bias": torch.zeros(8)},
        "Both .* stand for tensor 'convblock1.layers.0.bias'",
    ),
    "a whole network": (lambda s: backbones.build(NETWORK), "Python object.*InversionNet"),
    "code": (lambda s: {"model": s, "more": Custom()}, r"Python object, \w+\.mkdir"),
    "NaN": (
        lambda s: s | {"convblock2_1.layers.0.bias": torch.full((16,), torch.nan)},
        "'convblock2_1.layers.0.bias' holds NaN or infinite values",
    ),
    "infinity in a buffer": (
        lambda s: s | {"convblock2_1.layers.1.running_var": torch.full((16,), torch.inf)},
        "'convblock2_1.layers.1.running_var' holds NaN",
    ),
    "too large for 32 bits": (
        lambda s: s | {"convblock2_1.layers.0.bias": torch.full((16,), 1e300, dtype=torch.float64)},
        "holds NaN or infinite",
    ),
    "complex": (
        lambda s: s | {"convblock2_1.layers.0.bias": torch.zeros(16, dtype=torch.complex64)},
        "is torch.complex64",
    ),
    "sparse": (
        lambda s: s | {"convblock2_1.layers.0.bias": torch.zeros(16).to_sparse()},
        "is not a plain array",
    ),
    "on the meta device": (
        lambda s: s | {"convblock2_1.layers.0.bias": torch.zeros(16, device="meta")},
        "is not a plain array",
    ),
    "one value that stands for many": (
        lambda s: s | {"convblock1.layers.0.weight": torch.zeros(1).expand(10**12)},
        r"has shape \(1000000000000,\)",
    ),
    "a list": (lambda s: list(s.values()), "it is a list, not a dictionary of tensors"),
    "a tensor": (lambda s: torch.zeros(3), "it is a Tensor, not a dictionary"),
    "no tensors": (lambda s: {"epoch": 3, "loss": 0.1}, "found 'epoch', 'loss'"),
    "nothing": (lambda s: {}, "found nothing"),
    "numbers for names": (lambda s: dict(enumerate(s.values())), "holds no weights"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_load_says_why(
    name: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, message = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    torch.save(make(state), "w.pth")
    with pytest.raises(FoundationError, match=message) as caught:
        load_backbone_state(Path("w.pth"), NETWORK)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not Path("executed").exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_is_no_file_is_refused_at_once(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.{suffix}"
    for make in (os.mkfifo, os.mkdir):
        make(path)
        with pytest.raises(FoundationError, match="not a regular file"):
            load_backbone_state(path, NETWORK)
        path.rmdir() if path.is_dir() else path.unlink()


def lora_delta(state: State, path: Path, **changes: Any) -> Path:
    """A delta of `bitfit` on the network, its header or tensors changed."""
    names = [name for name in state if name.endswith("bias")]
    tensors = {name: state[name] + 0.5 for name in names} | changes.get("tensors", {})
    header = Header(
        method="bitfit", config={}, backbone=NETWORK, foundation_sha256=content_hash(state)
    )
    metadata = header.metadata() | changes.get("metadata", {})
    safetensors.torch.save_file(tensors, path, metadata)
    return path


@pytest.fixture
def foundation(state: State, tmp_path: Path) -> Path:
    torch.save({"model": state}, tmp_path / "foundation.pth")
    return tmp_path / "foundation.pth"


def test_a_sound_delta_applies_and_merges(state: State, foundation: Path, tmp_path: Path) -> None:
    path = lora_delta(state, tmp_path / "delta.safetensors")
    deltas.apply(foundation, path, tmp_path / "whole.safetensors")
    deltas.merge(foundation, path, tmp_path / "merged.pth")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_delta_that_is_not_finite_is_refused_everywhere(
    value: float, state: State, foundation: Path, tmp_path: Path
) -> None:
    bad = state["convblock1.layers.0.bias"].clone()
    bad[3] = value
    tensors = {"convblock1.layers.0.bias": bad}
    path = lora_delta(state, tmp_path / "delta.safetensors", tensors=tensors)
    out = tmp_path / "out.safetensors"
    for use in (
        lambda: delta.load(path),
        lambda: deltas.load(foundation, path),
        lambda: deltas.apply(foundation, path, out),
        lambda: deltas.merge(foundation, path, out),
        lambda: deltas.diff(foundation, path),
    ):
        with pytest.raises(FoundationError, match=r"'convblock1\.layers\.0\.bias' holds NaN"):
            use()
    assert not out.exists()


def test_a_foundation_that_is_not_finite_is_refused_by_apply_and_merge(
    state: State, tmp_path: Path
) -> None:
    bad = state | {"convblock1.layers.0.bias": torch.full((8,), torch.nan)}
    torch.save({"model": bad}, tmp_path / "foundation.pth")
    path = lora_delta(bad, tmp_path / "delta.safetensors", tensors=lora_tensors(state))
    for use in (deltas.apply, deltas.merge):
        with pytest.raises(FoundationError, match="holds NaN or infinite values"):
            use(tmp_path / "foundation.pth", path, tmp_path / "out.safetensors")


def lora_tensors(state: State) -> State:
    return {"convblock1.layers.0.bias": state["convblock1.layers.0.bias"]}


HEADERS: dict[str, dict[str, str]] = {
    "nested config": {"config": "[" * 100_000},
    "nested objects": {"config": '{"a":' * 20_000},
    "a long config": {"config": json.dumps({"a": "x" * 200_000})},
    "a config that is a list": {"config": "[]"},
    "no JSON": {"config": "{"},
    "endless digits": {"adapt_seed": "9" * 5000},
    "a negative seed": {"adapt_seed": "-1"},
    "a seed in words": {"adapt_seed": "seven"},
    "a version in words": {"version": "two"},
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_delta_with_an_odd_header_is_refused(
    name: str, state: State, foundation: Path, tmp_path: Path
) -> None:
    path = lora_delta(state, tmp_path / "delta.safetensors", metadata=HEADERS[name])
    with pytest.raises(FoundationError, match="is not a delta of this benchmark"):
        deltas.load(foundation, path)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**8) + b"{}",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 100_000) + b'{"a":' * 20_000,
        struct.pack("<Q", 2) + b"{}" + b"\0" * 99,
        b"",
    ],
    ids=["huge", "longer than the file", "nested lists", "nested objects", "rest", "empty"],
)
def test_headers_of_safetensors_that_are_oversized_or_nested(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(FoundationError, match=r"cannot be read as safetensors|is missing"):
        load_backbone_state(tmp_path / "w.safetensors", NETWORK)


def damaged(content: bytes, random_: random.Random, first: int) -> bytes:
    """A file in which bytes, mostly among the first ones, were changed, put in or cut off."""
    changed = bytearray(content)
    for _ in range(random_.choice((1, 1, 2, 8, 60))):
        inside = random_.random() < 0.8
        place = random_.randrange(min(first, len(changed)) if inside else len(changed))
        kind = random_.randrange(5)
        if kind == 0:
            changed[place] ^= 1 << random_.randrange(8)
        elif kind == 1:
            changed[place] = random_.randrange(256)
        elif kind == 2:
            del changed[place : place + random_.randrange(1, 20)]
        elif kind == 3:
            changed[place:place] = random_.randbytes(random_.randrange(1, 20))
        elif random_.random() < 0.2:
            del changed[place:]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


@pytest.mark.parametrize("form", ["safetensors", "zip", "old pickle"])
def test_random_damages_of_a_checkpoint_end_in_a_sentence(form: str, tmp_path: Path) -> None:
    """0 tracebacks, 0 hangs; whoever accepts a file has read tensors."""
    random_ = random.Random(13)
    small = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}
    path = tmp_path / f"w.{'safetensors' if form == 'safetensors' else 'pth'}"
    if form == "safetensors":
        sound = safetensors.torch.save(small, {"method": "x"})
    else:
        buffer = io.BytesIO()
        content = {"model": small, "args": argparse.Namespace(a=1)}
        torch.save(content, buffer, _use_new_zipfile_serialization=form == "zip")
        sound = buffer.getvalue()
    for number in range(1000):
        path.write_bytes(damaged(sound, random_, 300))
        try:
            state = read_state(path)
        except FoundationError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
        else:
            assert all(isinstance(value, Tensor) for value in state.values())
        if number % 100 == 0:
            with pytest.raises(FoundationError):
                load_backbone_state(path, NETWORK)
