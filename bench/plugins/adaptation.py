"""The harness's side of the method contract: freeze, adapt, check, and keep BatchNorm in bounds."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.contract import OUTPUT_SHAPE, Adapted, BatchNorm, Config, Method
from bench.errors import MethodError
from bench.isolation import isolated
from bench.plugins import batchnorm, groups
from bench.plugins.storages import Storages

LARGEST_FACTS = 1_000_000
"""Bytes of JSON that a method may report of a fit."""


@dataclass(frozen=True, kw_only=True)
class Checked(Adapted):
    """An adapted network that keeps its contract."""

    own: frozenset[str]
    """Names of the tensors in its state that the foundation did not have."""
    untouched: frozenset[nn.Module]
    """The foundation's modules that have kept their class and have no `forward` of their own."""


def adapt(method: Method, model: nn.Module, config: Config) -> Checked:
    """Let a method adapt a network in place; afterwards only its groups' parameters are trainable.

    Raises `ConfigError` when the config does not suit the network, and `MethodError` when the
    network lacks what the method needs, or the method fails, changes the process's state or does
    not keep its contract in another way.
    """
    method = batchnorm.effective(method, config)
    check_needs(method, model)
    with isolated(f"Method '{method.name}'", "adapt"):
        model.requires_grad_(False)
        scales_and_shifts = batchnorm.affine(model)
        affine = Storages(_affine(model))
        foundation = Storages([*model.parameters(), *model.buffers()])
        classes = {module: type(module) for module in model.modules()}
        adapted = groups.check_types(method, method.adapt(model, config))
        adapted = batchnorm.with_policy(method, adapted, config, scales_and_shifts)
        trainable = groups.trainable(method, adapted)
        if (adapted.finish is not None) != method.traits.holdout:
            raise MethodError(
                f"Method '{method.name}' must declare Traits.holdout if it sets Adapted.finish, "
                "and only then."
            )
        if method.traits.batchnorm in ("frozen", "statistics"):
            for name, parameter in adapted.model.named_parameters():
                if id(parameter) in trainable and parameter in affine:
                    raise MethodError(
                        f"Method '{method.name}' trains '{name}' of a BatchNorm layer, which its "
                        f"policy '{method.traits.batchnorm}' forbids."
                    )
        for parameter in adapted.model.parameters():
            parameter.requires_grad_(id(parameter) in trainable)
        state = adapted.model.state_dict()
        own = frozenset(name for name, value in state.items() if value not in foundation)
        untouched = frozenset(
            module
            for module in adapted.model.modules()
            if classes.get(module) is type(module) and "forward" not in vars(module)
        )
    values = {f.name: getattr(adapted, f.name) for f in fields(Adapted)}
    return Checked(**values, own=own, untouched=untouched)


def missing_layers(method: Method, model: nn.Module) -> str:
    """Layers that the method needs and the network lacks, in words; empty if none."""
    present = {kind.__name__ for module in model.modules() for kind in type(module).__mro__}
    missing = [need for need in sorted(method.traits.needs) if not present & set(need.split("|"))]
    return " and ".join(need.replace("|", " or ") for need in missing)


def check_needs(method: Method, model: nn.Module) -> None:
    """Raise `MethodError` when the network lacks a kind of layer that the method needs."""
    if layers := missing_layers(method, model):
        raise MethodError(
            f"Method '{method.name}' needs {layers} layers, which this network does not have; "
            "choose a backbone that has them."
        )


def _affine(model: nn.Module) -> list[nn.Parameter]:
    """Scales and shifts of a network's BatchNorm layers."""
    return [
        parameter
        for module in model.modules()
        if isinstance(module, _BatchNorm)
        for parameter in module.parameters(recurse=False)
    ]


def training_mode(model: nn.Module, policy: BatchNorm) -> None:
    """Set training mode like `model.train()`, with BatchNorm layers as the policy says.

    Freezing parameters does not stop running statistics, so layers whose statistics are frozen
    stay in evaluation mode. Under ``both`` that holds for layers whose scale and shift do not
    require a gradient at the moment, too: call this again when groups start or stop training.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train(_moves(module, policy))


def _moves(layer: _BatchNorm, policy: BatchNorm) -> bool:
    """Whether a layer's running statistics may change in training now."""
    if policy != "both":
        return policy == "statistics"
    affine = list(layer.parameters())
    return not affine or any(parameter.requires_grad for parameter in affine)


def check_output(method: Method, model: nn.Module, x: Tensor) -> Tensor:
    """Prediction of an adapted network for records (n, 5, 1000, 70), in evaluation mode.

    Raises `MethodError` for a prediction of a wrong shape, or one that is not finite.
    """
    model.eval()
    with torch.no_grad():
        prediction = model(x)
    expected = (len(x), *OUTPUT_SHAPE)
    if not isinstance(prediction, Tensor) or prediction.shape != expected:
        got = tuple(prediction.shape) if isinstance(prediction, Tensor) else type(prediction)
        raise MethodError(f"Method '{method.name}' predicts {got}; {expected} is needed.")
    if not torch.isfinite(prediction).all():
        raise MethodError(f"Method '{method.name}' predicts values that are not finite (NaN).")
    return prediction


def plain_facts(method: Method, facts: object) -> dict[str, Any]:
    """What `Adapted.finish` returned as plain values for the record; NaN becomes None.

    Raises `MethodError` for what cannot be written as JSON with names, or is too large.
    """
    if not isinstance(facts, dict):
        raise MethodError(
            f"Method '{method.name}' returns a {type(facts).__name__} from finish, not a dict."
        )
    try:
        text = TypeAdapter(dict[str, Any]).dump_json(facts)
        plain: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise MethodError(
            f"Method '{method.name}' returns facts from finish that are no JSON: {error}."
        ) from error
    if len(text) > LARGEST_FACTS:
        raise MethodError(
            f"Method '{method.name}' returns {len(text):,} bytes of facts from finish; at most "
            f"{LARGEST_FACTS:,} fit into a record."
        )
    return plain


def changeable(method: Method, adapted: Checked) -> set[str]:
    """Names of the tensors of the network's state that training may change.

    The groups' parameters and whatever shares their memory; what the foundation did not have, such
    as running averages of an adapter; and under the policies ``statistics`` and ``both`` the
    running statistics of BatchNorm layers.
    """
    model = adapted.model
    trained = Storages(p for group in adapted.groups for p in group.parameters)
    names = {name for name, value in model.state_dict().items() if value in trained}
    if method.traits.batchnorm in ("statistics", "both"):
        names |= {
            f"{prefix}.{name}" if prefix else name
            for prefix, module in model.named_modules()
            if isinstance(module, _BatchNorm)
            for name, _ in module.named_buffers(recurse=False)
        }
    return names | adapted.own


def check_frozen(method: Method, adapted: Checked, before: Mapping[str, Tensor]) -> None:
    """Raise `MethodError` naming the first tensor that was to stay frozen and did not, bit for bit.

    `before` is the state of the adapted network before the first training step. What may change
    is what `changeable` names.
    """
    free = changeable(method, adapted)
    for name, value in adapted.model.state_dict().items():
        if name in free:
            continue
        if name not in before:
            raise MethodError(f"Method '{method.name}' added '{name}' to the network in training.")
        if not torch.equal(value.detach().cpu(), before[name].cpu()):
            raise MethodError(
                f"Method '{method.name}' changed '{name}' in training, which is not among its "
                f"parameters (BatchNorm policy '{method.traits.batchnorm}')."
            )


def check_trained(method: Method, adapted: Checked, before: Mapping[str, Tensor]) -> None:
    """Raise `MethodError` where training has left every parameter of the groups as it was.

    `before` is the state of the adapted network before the first training step.
    """
    trained = Storages(p for group in adapted.groups for p in group.parameters)
    values = {n: v for n, v in adapted.model.state_dict().items() if v in trained}
    if values and all(torch.equal(v.detach().cpu(), before[n].cpu()) for n, v in values.items()):
        raise MethodError(
            f"Method '{method.name}' has trained nothing: all its parameters are as before."
        )


def contents(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers of a network, those that are not saved included."""
    return {name: value.detach().clone() for name, value in _tensors(model)}


def check_unchanged(method: str, model: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Raise `MethodError` naming the first tensor that is not as in `before`, bit for bit."""
    for name, value in _tensors(model):
        if name not in before or not torch.equal(value, before[name]):
            raise MethodError(f"Method '{method}' changed '{name}' while it was scored.")


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()
