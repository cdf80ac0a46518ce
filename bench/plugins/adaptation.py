"""The harness's side of the method contract: freeze, adapt, check, and keep BatchNorm in bounds."""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.contract import (
    OUTPUT_SHAPE,
    Adapted,
    BatchNorm,
    Config,
    ConfigError,
    Method,
    ParameterGroup,
)
from bench.errors import MethodError
from bench.plugins import batchnorm


def adapt(method: Method, model: nn.Module, config: Config) -> Adapted:
    """Let a method adapt a network in place; afterwards only its groups' parameters are trainable.

    Raises `ConfigError` when the config does not suit the network, and `MethodError` when the
    network lacks what the method needs or the method does not keep its contract.
    """
    method = batchnorm.effective(method, config)
    check_needs(method, model)
    model.requires_grad_(False)
    affine = batchnorm_affine(model)
    try:
        adapted = method.adapt(model, config)
    except (ConfigError, MethodError):
        raise
    except Exception as error:  # a plugin may fail in any way
        raise MethodError(
            f"Method '{method.name}' failed to adapt the network: {type(error).__name__}: {error}"
        ) from error
    if isinstance(adapted, Adapted):  # anything else is refused below
        adapted = batchnorm.with_policy(method, adapted, config)
    trainable = _check_groups(method, adapted)
    if (adapted.finish is not None) != method.traits.holdout:
        raise MethodError(
            f"Method '{method.name}' must declare Traits.holdout if it sets Adapted.finish, and "
            "only then."
        )
    if method.traits.batchnorm in ("frozen", "statistics"):
        for name, parameter in adapted.model.named_parameters():
            if id(parameter) in trainable and id(parameter) in affine:
                raise MethodError(
                    f"Method '{method.name}' trains '{name}' of a BatchNorm layer, which its "
                    f"policy '{method.traits.batchnorm}' forbids."
                )
    for parameter in adapted.model.parameters():
        parameter.requires_grad_(id(parameter) in trainable)
    return adapted


def missing_layers(method: Method, model: nn.Module) -> str:
    """What a network lacks of the layers that the method needs, in words; empty if nothing."""
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


def _check_groups(method: Method, adapted: Adapted) -> set[int]:
    """Ids of the trainable parameters. Raises `MethodError` for what is not a valid `Adapted`."""
    name = method.name
    if not isinstance(adapted, Adapted):
        raise MethodError(
            f"Method '{name}' returns a {type(adapted).__name__}, not a bench.contract.Adapted."
        )
    if not isinstance(adapted.model, nn.Module):
        raise MethodError(f"Method '{name}' returns no torch module as its model.")
    own = {id(parameter) for parameter in adapted.model.parameters()}
    seen: set[int] = set()
    for group in adapted.groups:
        if not isinstance(group, ParameterGroup):
            raise MethodError(
                f"Method '{name}' returns a {type(group).__name__} among its groups, not a "
                "bench.contract.ParameterGroup."
            )
        _check_numbers(name, group)
        for parameter in group.parameters:
            if id(parameter) not in own:
                raise MethodError(
                    f"Method '{name}' lists a parameter in group '{group.name}' that is not part "
                    "of the adapted network."
                )
            if id(parameter) in seen:
                raise MethodError(
                    f"Method '{name}' lists a parameter twice, the second time in group "
                    f"'{group.name}'."
                )
            seen.add(id(parameter))
    if not method.traits.trains:
        if seen or method.traits.batchnorm != "frozen":
            raise MethodError(
                f"Method '{name}' declares that it trains nothing, but it returns trainable "
                "parameters or lets BatchNorm layers move."
            )
    elif not seen and method.traits.batchnorm != "statistics":
        raise MethodError(
            f"Method '{name}' returns no trainable parameter, and its BatchNorm policy "
            f"'{method.traits.batchnorm}' is not 'statistics': nothing would change."
        )
    if not seen and adapted.groups:
        raise MethodError(f"Method '{name}' returns groups without any parameter.")
    return seen


def _check_numbers(method: str, group: ParameterGroup) -> None:
    begin, end = group.active
    for what, valid in (
        ("learning_rate_scale", 0 < group.learning_rate_scale < math.inf),
        ("weight_decay", 0 <= group.weight_decay < math.inf),
        ("active", 0 <= begin < end <= 1),
    ):
        if not valid:
            raise MethodError(
                f"Method '{method}' gives group '{group.name}' the {what} "
                f"{getattr(group, what)}, which is out of range."
            )


def batchnorm_affine(model: nn.Module) -> set[int]:
    """Ids of the scales and shifts of a network's BatchNorm layers."""
    return {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _BatchNorm)
        for parameter in module.parameters(recurse=False)
    }


def training_mode(model: nn.Module, policy: BatchNorm) -> None:
    """Like `model.train()`, with BatchNorm layers as the policy says.

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
    """What `Adapted.finish` returned, as a record holds it: plain values, None for NaN.

    Raises `MethodError` for what cannot be written as JSON with names.
    """
    if not isinstance(facts, dict):
        raise MethodError(
            f"Method '{method.name}' returns a {type(facts).__name__} from finish, not a dict."
        )
    try:
        plain: dict[str, Any] = json.loads(TypeAdapter(dict[str, Any]).dump_json(facts))
    except ValueError as error:
        raise MethodError(
            f"Method '{method.name}' returns facts from finish that are no JSON: {error}."
        ) from error
    return plain


def changeable(method: Method, adapted: Adapted) -> set[str]:
    """Names of what training may change in the network's state: the groups' parameters, and under
    the policies ``statistics`` and ``both`` the running statistics of BatchNorm layers.
    """
    model = adapted.model
    ids = {id(p) for group in adapted.groups for p in group.parameters}
    names = {name for name, p in model.named_parameters(remove_duplicate=False) if id(p) in ids}
    if method.traits.batchnorm in ("statistics", "both"):
        names |= {
            f"{prefix}.{name}" if prefix else name
            for prefix, module in model.named_modules()
            if isinstance(module, _BatchNorm)
            for name, _ in module.named_buffers(recurse=False)
        }
    return names


def check_frozen(method: Method, adapted: Adapted, before: Mapping[str, Tensor]) -> None:
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
