"""Validation of what a method's `adapt` returns."""

import math
from numbers import Real

from torch import nn

from bench.contract import Adapted, Method, ParameterGroup
from bench.errors import MethodError, one_line


def check_types(method: Method, adapted: object) -> Adapted:
    """The returned `Adapted`; raises `MethodError` where it or a part of it has a wrong type."""
    who = f"Method '{method.name}'"
    if not isinstance(adapted, Adapted):
        raise MethodError(
            f"{who} returns a {type(adapted).__name__}, not a bench.contract.Adapted."
        )
    if not isinstance(adapted.model, nn.Module):
        raise MethodError(f"{who} returns no torch module as its model.")
    if not isinstance(adapted.groups, tuple | list):
        raise MethodError(
            f"{who} returns a {type(adapted.groups).__name__} as its groups, not a tuple of "
            "bench.contract.ParameterGroup."
        )
    for field in ("merge", "after_step", "penalty", "finish"):
        value = getattr(adapted, field)
        if value is not None and not callable(value):
            raise MethodError(f"{who} returns a {type(value).__name__} as {field}, no function.")
    for group in adapted.groups:
        _check_group(who, group)
    return adapted


def trainable(method: Method, adapted: Adapted) -> set[int]:
    """Ids of the parameters in the groups. Raises `MethodError` where the traits forbid them, or
    they are not part of the network."""
    who = f"Method '{method.name}'"
    own = {id(parameter) for parameter in adapted.model.parameters()}
    seen: set[int] = set()
    for group in adapted.groups:
        for parameter in group.parameters:
            if id(parameter) not in own:
                raise MethodError(
                    f"{who} lists a parameter in group '{group.name}' that is not part of the "
                    "adapted network."
                )
            if id(parameter) in seen:
                raise MethodError(
                    f"{who} lists a parameter twice, the second time in group '{group.name}'."
                )
            seen.add(id(parameter))
    if not method.traits.trains:
        if seen or method.traits.batchnorm != "frozen":
            raise MethodError(
                f"{who} declares that it trains nothing, but it returns trainable parameters or "
                "lets BatchNorm layers move."
            )
    elif not seen and method.traits.batchnorm != "statistics":
        raise MethodError(
            f"{who} returns no trainable parameter, and its BatchNorm policy "
            f"'{method.traits.batchnorm}' is not 'statistics', so nothing would change; return "
            "parameters in groups, or declare Traits(trains=False)."
        )
    if not seen and adapted.groups:
        raise MethodError(f"{who} returns groups without any parameter.")
    return seen


def _check_group(who: str, group: object) -> None:
    if not isinstance(group, ParameterGroup):
        raise MethodError(
            f"{who} returns a {type(group).__name__} among its groups, not a "
            "bench.contract.ParameterGroup."
        )
    if not isinstance(group.name, str) or not isinstance(group.parameters, tuple | list):
        raise MethodError(f"{who} returns a group without a name or a tuple of parameters.")
    for parameter in group.parameters:
        if not isinstance(parameter, nn.Parameter):
            raise MethodError(
                f"{who} lists a {type(parameter).__name__} in group '{group.name}', not a "
                "torch.nn.Parameter."
            )
        if not parameter.is_floating_point():
            raise MethodError(
                f"{who} lists a parameter of type {parameter.dtype} in group '{group.name}'; only "
                "floating-point numbers can be trained."
            )
    _check_numbers(who, group)


def _check_numbers(who: str, group: ParameterGroup) -> None:
    scale, decay, active = group.learning_rate_scale, group.weight_decay, group.active
    pair = isinstance(active, tuple | list) and len(active) == 2 and all(map(_is_number, active))
    for what, valid in (
        ("learning_rate_scale", _is_number(scale) and 0 < scale < math.inf),
        ("weight_decay", _is_number(decay) and 0 <= decay < math.inf),
        ("active", pair and 0 <= active[0] < active[1] <= 1),
    ):
        if not valid:
            value = one_line(repr(getattr(group, what)))
            raise MethodError(
                f"{who} gives group '{group.name}' the {what} {value}, which is out of range."
            )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
