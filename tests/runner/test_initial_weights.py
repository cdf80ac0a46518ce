"""`bench run --weights`: what of a checkpoint goes into a network, and that runs know of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from conftest import Inside
from homes import copy
from torch import nn

from bench.contract import Config
from bench.errors import BackboneError, FoundationError
from bench.models import backbones
from bench.plugins import options, registry
from bench.progress import Silent
from bench.protocol import fingerprint, tracks
from bench.records.reader import read
from bench.runner import initial_weights, networks
from bench.runner.context import RunContext
from bench.runner.workspace import Workspace
from bench.training import numerics


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """timm's whole network for three-channel images, with weights of its own."""
    torch.manual_seed(5)
    return timm.create_model("caformer_s18", pretrained=False).eval()


@pytest.mark.parametrize("form", ["plain.pth", "state_dict.pth", "file.safetensors"])
def test_a_timm_checkpoint_fills_the_encoder(
    form: str, published: nn.Module, tmp_path: Path
) -> None:
    state = {name: value.contiguous() for name, value in published.state_dict().items()}
    path = tmp_path / form
    if form == "file.safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state if form == "plain.pth" else {"state_dict": state, "epoch": 3}, path)
    found = initial_weights.match(path, "caformer_unet")
    head = {name for name in state if name.startswith("head.")}
    assert set(found.left_out) == {*head, "stem.conv.weight"}
    assert "(64, 3, 7, 7), not (64, 32, 7, 7)" in found.left_out["stem.conv.weight"]
    encoder = [name for name in backbones.build("caformer_unet").state_dict() if "encoder." in name]
    assert set(found.tensors) == {*encoder} - {"encoder.stem.conv.weight"}
    told = initial_weights.summary(found, path, "caformer_unet")
    assert "197 tensors" in told and "15 of the network's stay random" in told
    assert "stem.conv.weight" in told and "head.fc.fc2.bias" in told


@pytest.mark.parametrize("name", ["caformer_unet", "hybrid_vit", "inversionnet_quarter"])
def test_a_networks_own_checkpoint_fills_all_of_it(name: str, tmp_path: Path) -> None:
    state = backbones.build(name).state_dict()
    torch.save({"model": state}, tmp_path / "own.pth")
    found = initial_weights.match(tmp_path / "own.pth", name)
    assert (found.left_out, found.random) == ({}, ())
    assert all(torch.equal(found.tensors[key], value) for key, value in state.items())


def test_a_backbone_that_cannot_name_tensors_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names() -> dict[str, str]:
        return {}

    installed = backbones.get("hybrid_vit")
    broken = replace(installed.backbone, own_name=lambda name: names()[name])
    monkeypatch.setattr(backbones, "get", lambda _: replace(installed, backbone=broken))
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "file.pth")
    with pytest.raises(BackboneError, match=r"'hybrid_vit'.*own_name.*KeyError"):
        initial_weights.match(tmp_path / "file.pth", "hybrid_vit")


def test_the_encoder_then_computes_what_timm_does(published: nn.Module, tmp_path: Path) -> None:
    """Stage by stage, from the output of the one convolution that does not fit."""
    torch.save(published.state_dict(), tmp_path / "file.pth")
    found = initial_weights.match(tmp_path / "file.pth", "caformer_unet")
    workspace = Workspace(tmp_path / "home")
    kept = initial_weights.keep(found, workspace, backbones.spec("caformer_unet"))
    network = backbones.build("caformer_unet").eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert kept.weights is not None
    initial_weights.put(network, workspace, kept.weights)
    ours = x = torch.randn(1, 64, 18, 18)
    with torch.no_grad():
        for number in range(4):
            ours = network.get_submodule(f"encoder.stages_{number}")(ours)
            x = published.get_submodule(f"stages.{number}")(x)
            assert torch.equal(ours, x)
    for name in found.random:
        assert torch.equal(network.state_dict()[name], before[name])


def test_random_weights_leave_specification_and_fingerprint_as_they_were() -> None:
    plain = backbones.spec("inversionnet")
    started = plain.model_copy(update={"weights": "0" * 64})
    assert plain.model_dump() == {
        "name": "inversionnet",
        "distribution": "fwi-peft-bench",
        "version": 1,
    }
    assert started.model_dump()["weights"] == "0" * 64
    assert type(plain).model_validate_json(started.model_dump_json()) == started
    track = tracks.load("mini")
    assert fingerprint.fingerprint(track, plain) != fingerprint.fingerprint(track, started)


def test_a_file_of_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(FoundationError, match="none of its 2 tensors fits backbone 'hybrid_vit'"):
        initial_weights.match(path, "hybrid_vit")


def test_weights_that_are_gone_or_changed_are_told(tmp_path: Path) -> None:
    source, workspace = tmp_path / "file.pth", Workspace(tmp_path / "home")
    torch.save(backbones.build("inversionnet_quarter").state_dict(), source)
    found = initial_weights.match(source, "inversionnet_quarter")
    spec = initial_weights.keep(found, workspace, backbones.spec("inversionnet_quarter"))
    assert spec.weights is not None
    path = workspace.initial_weights(spec.weights)
    network = backbones.build("inversionnet_quarter")
    other = Workspace(tmp_path / "other")
    with pytest.raises(FoundationError, match="is missing: give the checkpoint once more"):
        initial_weights.put(network, other, spec.weights)
    initial_weights.borrow(spec, workspace, other)
    initial_weights.put(network, other, spec.weights)
    changed = safetensors.torch.load_file(path)
    changed["convblock1.layers.0.bias"] += 1
    safetensors.torch.save_file(changed, path)
    with pytest.raises(FoundationError, match="does not have the hash"):
        initial_weights.put(network, workspace, spec.weights)


@pytest.mark.exhaustive
def test_a_run_starts_from_them_and_says_so(
    ran: tuple[Path, object], tmp_path: Path, tiny_track: Path, inside: Inside
) -> None:
    """The record names them; the same command without them is another experiment."""
    home, source = tmp_path / "home", tmp_path / "file.pth"
    copy(ran[0], home, "data")
    torch.manual_seed(7)
    state = backbones.build("inversionnet_quarter").state_dict()
    torch.save({"model": {n: v for n, v in state.items() if "deconv6" not in n}}, source)
    words = ("run", "--method", "none", "--protocol", "id", "--track", tiny_track, "--quiet")
    code, out, error = inside(*words, "--weights", source, home=home)
    assert code == 0, error
    assert f"of {source.name} go into inversionnet_quarter" in out + error
    records = [read(path) for path in Workspace(home).records()]
    (weights,) = {record.spec.backbone.weights for record in records if record.spec.kind != "floor"}
    assert weights is not None
    kept = safetensors.torch.load_file(home / "weights" / f"{weights}.safetensors")
    assert set(kept) == {name for name in state if "deconv6" not in name}
    assert all(torch.equal(value, state[name]) for name, value in kept.items())
    code, out, _ = inside(*words, "--weights", source, "--dry-run", home=home)
    assert (code, "pretrain 0 foundations" in out) == (0, True)
    code, out, _ = inside(*words, "--dry-run", home=home)
    assert (code, "pretrain 1 foundation," in out) == (0, True)
    publish = ("publish", tmp_path / "out", "--track", tiny_track)
    assert inside(*publish, home=home)[0] == 2, "the track's own board is another one"
    assert inside(*publish, "--weights", source, home=home)[0] == 0
    assert {path.parent.name for path in (tmp_path / "out").glob("*/*/record.json")} == {
        record.run_id for record in records
    }
    code, _, error = inside("compare", "none", "lora", "--weights", source, home=home)
    assert code == 2 and f"--weights {source}" in error
    run = next(r.run_id for r in records if r.spec.method.name == "none")
    code, out, error = inside("replay", run, home=home)
    assert code == 0, out + error


def test_from_scratch_means_from_random_weights(tmp_path: Path, tiny_track: Path) -> None:
    """Initial weights are where pretraining starts; `baseline` is what one has without them."""
    source, workspace = tmp_path / "file.pth", Workspace(tmp_path / "home")
    network = backbones.build("inversionnet_quarter")
    torch.save(network.state_dict(), source)
    found = initial_weights.match(source, "inversionnet_quarter")
    spec = initial_weights.keep(found, workspace, backbones.spec("inversionnet_quarter"))
    context = RunContext(
        workspace=workspace,
        track=tracks.load(str(tiny_track)),
        backbone=spec,
        numerics=numerics.choose("cpu"),
        progress=Silent(),
        command=(),
    )
    started, _ = networks.unadapted(context.foundation_spec(0), context)
    kept = network.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in started.state_dict().items())
    method = options.method_spec(registry.get("baseline"), Config(), spec.name)
    scratch, sha256 = networks.unadapted(context.fit_spec(method, ("Style_A",), seed=0), context)
    assert sha256 is None
    name = "convblock1.layers.0.weight"
    assert not torch.equal(scratch.state_dict()[name], kept[name])
