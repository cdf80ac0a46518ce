"""BatchNorm policies that a config sets in place of the method's own.

So that a difference between two methods is not one between their BatchNorm policies, any method can
be run under another one (`Config.batchnorm`, ``bench run --batchnorm``). It is part of the config.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.contract import Adapted, Config, ConfigError, Method, ParameterGroup
from bench.isolation import isolated


def effective(method: Method, config: Config) -> Method:
    """The method, with the traits that it has under a config, its BatchNorm policy among them."""
    with isolated(f"Method '{method.name}'", "its config's promises"):
        method = replace(method, traits=config.promises(method.traits))
    if config.batchnorm is None:
        return method
    return replace(method, traits=replace(method.traits, batchnorm=config.batchnorm))


def with_policy(
    method: Method, adapted: Adapted, config: Config, before: Mapping[int, nn.Parameter]
) -> Adapted:
    """An adapted network whose groups hold the BatchNorm parameters that the config asks for.

    `before` is what `affine` found before the network was adapted: a method may have put something
    of its own on these parameters.

    ``both`` adds every scale and shift that is in no group, without weight decay; ``frozen`` and
    ``statistics`` take all of them out. Raises `ConfigError` for a network without BatchNorm, and
    where nothing would be left to train.
    """
    if config.batchnorm is None:
        return adapted
    if not method.traits.trains:
        raise ConfigError(
            f"Method '{method.name}' trains nothing: a BatchNorm policy has no meaning for it."
        )
    present = {id(parameter) for parameter in adapted.model.parameters()}
    known = {key: parameter for key, parameter in before.items() if key in present}
    if not known:
        raise ConfigError(
            "The network has no BatchNorm layer with a scale and shift, so a BatchNorm policy has "
            "no meaning; leave it out."
        )
    if config.batchnorm == "both":
        grouped = {id(p) for group in adapted.groups for p in group.parameters}
        rest = tuple(p for key, p in known.items() if key not in grouped)
        added = (ParameterGroup(name="batchnorm", parameters=rest),) if rest else ()
        return replace(adapted, groups=(*adapted.groups, *added))
    kept = tuple(
        replace(group, parameters=tuple(p for p in group.parameters if id(p) not in known))
        for group in adapted.groups
    )
    groups = tuple(group for group in kept if group.parameters)
    if not groups and config.batchnorm == "frozen":
        raise ConfigError(
            f"Method '{method.name}' trains BatchNorm layers alone: under the policy 'frozen' "
            "nothing would be left to train."
        )
    return replace(adapted, groups=groups)


def moving_layers(method: Method, adapted: Adapted) -> tuple[_BatchNorm, ...]:
    """The layers whose running statistics a method may move, in some part of training."""
    policy = method.traits.batchnorm
    layers = [
        module
        for module in adapted.model.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    if policy == "statistics":
        return tuple(layers)
    if policy != "both":
        return ()
    trained = {id(p) for group in adapted.groups for p in group.parameters}
    return tuple(
        layer
        for layer in layers
        if not list(layer.parameters()) or any(id(p) in trained for p in layer.parameters())
    )


def affine(model: nn.Module) -> dict[int, nn.Parameter]:
    """Scales and shifts of the BatchNorm layers of a network that is not adapted, by id."""
    return {
        id(parameter): parameter
        for module in model.modules()
        if isinstance(module, _BatchNorm)
        for parameter in module.parameters(recurse=False)
    }
