"""What the conformance suite checks of a backbone: one small function for each promise.

As in `bench.conformance.checks`: a check takes a `BackboneCase` and returns what it found; it
raises `NonconformanceError`, or lets through whatever the backbone raises.
"""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.conformance.backbone_case import BackboneCase
from bench.conformance.requirements import (
    BFLOAT16_TOLERANCE,
    LAYOUT_TOLERANCE,
    RUN_NUMERICS,
    TOLERANCE,
    difference,
    neighbours_matter,
    require,
    require_texts,
    same,
)
from bench.contract import OUTPUT_SHAPE
from bench.models import backbones
from bench.models.checkpoint import save_safetensors
from bench.models.foreign import load_safetensors
from bench.models.frugal import frugal
from bench.plugins import adaptation


def describes_itself(case: BackboneCase) -> str:
    """Name, one-line summary and source are there, and the name can be typed."""
    require_texts(case.backbone)
    return f"{case.backbone.summary} ({case.backbone.source})"


def builds(case: BackboneCase) -> str:
    """It builds offline, on the CPU in float32, and on the meta device with the same state."""
    state = case.fresh.state_dict()
    require(bool(state), "the network has no parameters")
    for name, parameter in case.fresh.named_parameters():
        kind, dtype = parameter.device.type, parameter.dtype
        require(kind == "cpu", f"'{name}' is built on the device {kind}, not on the default one")
        require(dtype == torch.float32, f"'{name}' is built as {dtype}, not as float32")
        require(parameter.requires_grad, f"'{name}' is built frozen; methods decide on that")
        require(name in state, f"'{name}' is not part of the network's state")
    with torch.device("meta"):
        skeleton = case.build(0).state_dict()
    shapes = [{name: tuple(value.shape) for name, value in s.items()} for s in (state, skeleton)]
    require(shapes[0] == shapes[1], "on the meta device the state has other names or shapes")
    count = sum(p.numel() for p in case.fresh.parameters())
    return f"{count:,} parameters in {len(list(case.fresh.parameters()))} tensors"


def names_each_tensor_once(case: BackboneCase) -> str:
    """No weights are tied and no layer is shared: a file has every tensor once."""
    first: dict[Tensor, str] = {}
    for name, tensor in [
        *case.fresh.named_parameters(remove_duplicate=False),
        *case.fresh.named_buffers(remove_duplicate=False),
    ]:
        known = first.setdefault(tensor, name)
        require(
            known == name,
            f"'{known}' and '{name}' are one tensor, which files, methods and counts take for two; "
            "give each layer weights of its own",
        )
    return f"{len(first)} tensors"


def follows_the_seed(case: BackboneCase) -> str:
    """The same torch seed gives the same weights bit for bit, another seed other ones."""
    state, again, other = (n.state_dict() for n in (case.fresh, case.build(0), case.build(1)))
    for name, value in state.items():
        same = torch.equal(value, again[name])
        require(same, f"'{name}' differs from itself; draw random numbers from torch alone")
    moved = sum(not torch.equal(value, other[name]) for name, value in state.items())
    require(moved > 0, "another seed gives the same weights: nothing is drawn at random")
    return f"bit-equal; another seed changes {moved} of {len(state)} tensors"


def predicts_maps(case: BackboneCase) -> str:
    """The prediction has the right shape and is finite, and the records stay as they are."""
    x = case.x.clone()
    network = copy.deepcopy(case.network)
    for mode, samples in (("evaluation", len(x)), ("evaluation", 1), ("training", 2)):
        adaptation.training_mode(network, "both") if mode == "training" else network.eval()
        with torch.no_grad():
            prediction = network(x[:samples])
        what = f"for {samples} records in {mode} mode"
        require(isinstance(prediction, Tensor), f"{what} it returns no tensor")
        shape, expected = tuple(prediction.shape), (samples, *OUTPUT_SHAPE)
        require(shape == expected, f"{what} it predicts {shape}; {expected} is needed")
        require(prediction.dtype == torch.float32, f"{what} it predicts {prediction.dtype}")
        finite = bool(torch.isfinite(prediction).all())
        require(finite, f"{what} the prediction is not finite")
    require(torch.equal(x, case.x), "it changes the records that it is given")
    return f"(n, {', '.join(map(str, OUTPUT_SHAPE))})"


def takes_channels_last(case: BackboneCase) -> str:
    """With weights in channels-last memory, as runs have them, the prediction is the same."""
    network = copy.deepcopy(case.network)
    RUN_NUMERICS.place(network)
    distance = difference(case.predict(network), case.predict(case.network))
    require(distance <= LAYOUT_TOLERANCE, f"the prediction differs by {distance:.2g}")
    return f"differs by {distance:.2g}"


def sees_the_records(case: BackboneCase) -> str:
    """Every shot of a record has an effect on the prediction."""
    before = case.predict(case.network)
    for shot in range(case.x.shape[1]):
        x = case.x.clone()
        x[:, shot] = x[:, shot].flip(1)
        moved = difference(case.predict(case.network, x), before)
        require(moved > 0, f"the prediction does not depend on shot {shot + 1}")
    return f"{case.x.shape[1]} shots matter"


def predicts_the_same_again(case: BackboneCase) -> str:
    """In evaluation mode the same records give the same prediction bit for bit."""
    distance = difference(case.predict(case.network), case.predict(case.network))
    require(distance == 0, f"two predictions differ by {distance:.2g}")
    return "bit-equal"


def scores_each_sample_alone(case: BackboneCase) -> str:
    """In evaluation mode a prediction does not depend on the rest of the batch."""
    together = case.predict(case.network)
    distance = max(
        difference(together[i : i + 1], case.predict(case.network, case.x[i : i + 1]))
        for i in range(len(case.x))
    )
    require(same(distance, case.network, case.x), neighbours_matter(distance))
    return f"alone and in a batch differ by {distance:.2g}"


def gradients_reach_everything(case: BackboneCase) -> str:
    """Every parameter gets a finite gradient that is not zero, in some step."""
    trained = case.trained
    names = [name for name, _ in trained.network.named_parameters()]
    idle = [name for name in names if name not in trained.reached]
    require(not idle, f"no gradient reaches {', '.join(idle[:5])}")
    broken = sorted(trained.not_finite)
    require(not broken, f"a gradient is not finite: {', '.join(broken[:5])}")
    return f"{len(names)} tensors"


def training_repeats(case: BackboneCase) -> str:
    """Training again from the same torch seed gives bit-equal predictions, and other ones."""
    distance = difference(case.train().prediction, case.trained.prediction)
    require(distance == 0, f"two runs differ by {distance:.2g}")
    moved = difference(case.trained.prediction, case.predict(case.network))
    require(moved > 0, "training does not change the prediction")
    return f"bit-equal; the prediction moves by {moved:.2g}"


def only_batchnorm_moves_unasked(case: BackboneCase) -> str:
    """BatchNorm keeps running statistics, frozen ones stay, and no other buffer ever moves."""
    layers = {n: m for n, m in case.network.named_modules() if isinstance(m, _BatchNorm)}
    for name, layer in layers.items():
        require(layer.track_running_stats, f"BatchNorm layer '{name}' keeps no running statistics")
    statistics = {f"{n}.{b}" for n, m in layers.items() for b, _ in m.named_buffers(recurse=False)}
    frozen = copy.deepcopy(case.network)
    adaptation.training_mode(frozen, "frozen")
    with torch.no_grad():
        for _ in range(2):
            frozen(case.x)
    start = case.network.state_dict()
    for name, value in frozen.state_dict().items():
        same = torch.equal(value, start[name])
        require(same, f"'{name}' moves in forward passes with frozen BatchNorm")
    after = dict(case.trained.network.named_buffers())
    for name, value in after.items():
        moved = name not in start or not torch.equal(value, start[name])
        if name in statistics:
            require(moved, f"'{name}' does not move in training")
        else:
            require(name in start, f"buffer '{name}' is not part of the network's state")
            require(not moved, f"buffer '{name}' moves in training and is not BatchNorm's")
    return f"{len(layers)} BatchNorm layers" if layers else "no BatchNorm"


def state_survives_a_file(case: BackboneCase) -> str:
    """The state, written and put on a network without weights, gives bit-equal predictions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        save_safetensors(case.trained.network.state_dict(), path)
        state, _ = load_safetensors(path)
        size = path.stat().st_size
    restored = backbones.restore_from(case.backbone, state)
    left = [name for name, value in _tensors(restored) if value.is_meta]
    require(not left, f"the state does not hold {', '.join(left[:5])}, which has values of its own")
    distance = difference(case.predict(restored), case.trained.prediction)
    require(distance == 0, f"restored and trained network differ by {distance:.2g}")
    return f"{len(state)} tensors, {size:,} bytes"


def bfloat16_is_close(case: BackboneCase) -> str:
    """Under bfloat16 autocast the prediction is close to float32, and gradients are finite."""
    network = copy.deepcopy(case.network)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = case.predict(network).float()
    distance = float((rounded - case.predict(network)).abs().mean())
    require(distance <= BFLOAT16_TOLERANCE, f"differs by {distance:.2g} on average")
    adaptation.training_mode(network, "both")
    with torch.autocast("cpu", torch.bfloat16):
        prediction = network(case.x.bfloat16())
    (prediction.float() - case.y).abs().mean().backward()
    for name, parameter in network.named_parameters():
        gradient = parameter.grad
        finite = gradient is None or bool(torch.isfinite(gradient).all())
        require(finite, f"the gradient of '{name}' is not finite in bfloat16")
    return f"differs by {distance:.2g} on average"


def frugal_pass_is_exact(case: BackboneCase) -> str:
    """Output and gradients of the memory-frugal pass are those of stock torch, in float64."""
    stock, stock_gradients = _step(case, frugally=False)
    ours, gradients = _step(case, frugally=True)
    distance = difference(ours, stock)
    require(distance <= TOLERANCE, f"the output differs by {distance:.2g}")
    scale = max(float(g.abs().max()) for g in stock_gradients.values())
    for name, expected in stock_gradients.items():
        require(name in gradients, f"'{name}' gets no gradient")
        off = difference(gradients[name], expected) / scale
        require(off <= TOLERANCE, f"the gradient of '{name}' differs by {off:.2g} of the largest")
    return f"output differs by {distance:.2g}, {len(gradients)} gradients agree"


def _step(case: BackboneCase, *, frugally: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Output, and gradients by name, of one training step of all weights in float64."""
    network = copy.deepcopy(case.network).double()
    adaptation.training_mode(network, "both")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if frugally:
            with frugal(network):
                prediction = _backward(network, case)
        else:
            prediction = _backward(network, case)
    named = network.named_parameters()
    return prediction, {name: p.grad for name, p in named if p.grad is not None}


def _backward(network: nn.Module, case: BackboneCase) -> Tensor:
    prediction: Tensor = network(case.x.double())
    (prediction - case.y).abs().mean().backward()
    return prediction.detach()


def _tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]


BACKBONE_CHECKS: tuple[Callable[[BackboneCase], str], ...] = (
    describes_itself,
    builds,
    names_each_tensor_once,
    follows_the_seed,
    predicts_maps,
    sees_the_records,
    predicts_the_same_again,
    takes_channels_last,
    scores_each_sample_alone,
    gradients_reach_everything,
    training_repeats,
    only_batchnorm_moves_unasked,
    state_survives_a_file,
    bfloat16_is_close,
    frugal_pass_is_exact,
)
"""All checks, in the order of the report."""

CHEAP_BACKBONE_CHECKS: tuple[Callable[[BackboneCase], str], ...] = (
    names_each_tensor_once,
    predicts_maps,
    predicts_the_same_again,
    takes_channels_last,
    scores_each_sample_alone,
)
"""Those that train nothing: a run makes them before it measures and trains."""
