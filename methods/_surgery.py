"""Steps that several methods share: choose layers, find blocks, group parameters."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench.contract import ConfigError, ParameterGroup

PROTOCOL_WEIGHT_DECAY = 1e-4
"""What protocol v1 gives every parameter in pretraining, `baseline` and `fft` (as OpenFWI)."""

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
REARRANGING = (
    *(nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
    *(nn.Flatten, nn.Unflatten, nn.Fold, nn.Unfold),
)
"""Layers without weights that change the number or order of channels."""
RESIZING = (
    *(nn.Upsample, nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd),
    *(nn.modules.pooling._AdaptiveMaxPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd),
    *(nn.modules.pooling._LPPoolNd, nn.FractionalMaxPool2d),
    *(nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.ConstantPad2d, nn.CircularPad2d),
)
"""Layers without weights that keep channels and change width and height."""
PROJECTIONS = ("q", "k", "v")
"""Queries, keys and values, in the order in which fused projections hold their rows."""
WEIGHT_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def _split(value: object) -> object:
    """``"a, b"``, as a command line gives it, → ``("a", "b")``."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


LayerNames = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Names of modules, of what holds them, or patterns with ``*``; none means all."""


def everything(model: nn.Module, *, weight_decay: float = PROTOCOL_WEIGHT_DECAY) -> ParameterGroup:
    """All parameters of the network in one group, with the protocol's weight decay."""
    return ParameterGroup(
        name="all", parameters=tuple(model.parameters()), weight_decay=weight_decay
    )


def select(
    model: nn.Module, kinds: tuple[type[nn.Module], ...], names: Iterable[str] = ()
) -> dict[str, nn.Module]:
    """The layers of these kinds by module name, in forward order, limited to `names` if any.

    Raises `ConfigError` for a name that matches no such layer, and when there is none at all.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    if not layers:
        wanted = ", ".join(kind.__name__ for kind in kinds)
        raise ConfigError(f"The network has no layer of the kinds {wanted} to adapt.")
    names = tuple(names)
    chosen = choose(layers, names)
    return {name: layer for name, layer in layers.items() if not names or name in chosen}


def choose(known: Iterable[str], patterns: Iterable[str]) -> set[str]:
    """The known names that patterns match; raises `ConfigError` for one that matches none."""
    known = list(known)
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in known if _names(pattern, name)}
        if not found:
            raise ConfigError(unknown("layer", pattern, known))
        chosen |= found
    return chosen


def unknown(kind: str, name: str, known: list[str]) -> str:
    """Sentence on an unknown name, with the nearest and all known ones."""
    stems = list(dict.fromkeys(k.partition(".")[0] for k in known))
    near = get_close_matches(name, known + stems, n=1, cutoff=0.5)
    ask = f" Did you mean '{near[0]}'?" if near else ""
    return f"Unknown {kind} '{name}'.{ask} Known: {', '.join(stems)}."


def _names(pattern: str, name: str) -> bool:
    return name.startswith(f"{pattern}.") or fnmatchcase(name, pattern)


def sequences(model: nn.Module) -> dict[str, nn.Sequential]:
    """The sequences that directly hold a convolution, such as convolution–BatchNorm–activation, but
    for those in which something else changes the number of channels or axes."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Sequential)
        and any(isinstance(child, CONVOLUTIONS) for child in module)
        and not any(isinstance(child, REARRANGING) for child in module)
    }


def check_encoder(method: str, model: nn.Module, added: Iterable[nn.Module]) -> None:
    """Raise `ConfigError` where the modules that a method has added leave the encoder untouched.

    The encoder of any network is the first half of its layers with weights and what follows them
    up to the second half, in the order in which modules are registered, which is that of the
    forward pass. Added modules stand where they act; their own layers do not count.
    """
    order = list(model.modules())
    own = {inner for module in added for inner in module.modules()}
    layers = [m for m in order if isinstance(m, WEIGHT_LAYERS) and m not in own]
    second_half = layers[(len(layers) + 1) // 2 :]
    encoder = order[: order.index(second_half[0])] if second_half else order
    if own.isdisjoint(encoder):
        raise ConfigError(
            f"'{method}' finds nothing to adapt in this network's encoder, the first half of its "
            "layers; choose another method, or a network with transformer blocks or Sequential "
            "blocks of convolutions there."
        )


def convolution(block: nn.Sequential) -> nn.Conv2d | nn.ConvTranspose2d:
    """The last convolution of a block: its channels are those of the block's output."""
    return [m for m in block if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)][-1]


def follow(layer: nn.Module, name: str, added: nn.Module) -> None:
    """Let a module act on a layer's output by a hook, which keeps the names of all modules.

    Torch's attention gives its weights, too; they stay as they are.
    """
    layer.add_module(name, added)
    layer.register_forward_hook(partial(_followed, name))


def _followed(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    added = layer.get_submodule(name)
    if isinstance(output, tuple):
        return (added(output[0]), *output[1:])
    return added(output)


def parts(model: nn.Module) -> dict[str, nn.Module]:
    """The network's top-level parts that have parameters, in forward order; lists are opened."""
    found: dict[str, nn.Module] = {}
    for name, child in model.named_children():
        inner = list(child.children())
        nested = isinstance(child, nn.Sequential) and any(list(m.children()) for m in inner)
        if isinstance(child, nn.ModuleList) or nested:
            found |= {f"{name}.{key}": module for key, module in parts(child).items()}
        elif any(True for _ in child.parameters()):
            found[name] = child
    return found or {"": model}


@dataclass(frozen=True, kw_only=True)
class Weight:
    """The weight of a layer, or one third of the rows of a fused projection's."""

    layer: nn.Module
    tensor: str = "weight"
    fused: bool = False
    """It projects to queries, keys and values."""
    part: int | None = None
    """Of a fused projection: 0, 1, 2 for queries, keys, values; None, all rows as one matrix."""

    @property
    def bias(self) -> nn.Parameter | None:
        """The bias of the layer that goes with the weight, of all rows."""
        return self.layer._parameters.get(self.bias_name)

    @property
    def bias_name(self) -> str:
        """``bias``, or ``in_proj_bias`` in torch's attention."""
        return "bias" if self.tensor == "weight" else "in_proj_bias"

    def stand_in(self) -> nn.Module:
        """The layer itself, or a linear layer with just this weight, for its shape and values."""
        if self.tensor == "weight" and self.part is None:
            return self.layer
        whole = self.layer.get_parameter(self.tensor).detach()
        rows = whole if self.part is None else whole.chunk(len(PROJECTIONS))[self.part]
        linear = nn.Linear(rows.shape[1], rows.shape[0], bias=False, device="meta")
        linear.weight = nn.Parameter(rows, requires_grad=False)
        return linear


class ProjectionParts(nn.Module):
    """Applies a module to each chosen third of a fused projection's rows; shape as it is."""

    def __init__(self, changes: dict[int, nn.Module]) -> None:
        super().__init__()
        self.changes = nn.ModuleDict(
            {PROJECTIONS[part]: module for part, module in changes.items()}
        )

    def forward(self, weight: Tensor) -> Tensor:
        rows = zip(PROJECTIONS, weight.chunk(len(PROJECTIONS)), strict=True)
        return torch.cat([self.changes[n](w) if n in self.changes else w for n, w in rows])


def reparametrize(
    chosen: Iterable[nn.Module | Weight], make: Callable[[nn.Module], nn.Module]
) -> tuple[tuple[nn.Module, ...], Callable[[nn.Module], nn.Module]]:
    """Put `make(layer)` on the weight of every layer; of a `Weight`, on its stand-in's.

    Returns the new modules, and a function that folds them into the weights of a network and
    returns it.
    """
    made: list[nn.Module] = []
    places: dict[tuple[nn.Module, str], dict[int, nn.Module]] = {}
    for item in chosen:
        weight = item if isinstance(item, Weight) else Weight(layer=item)
        module = make(weight.stand_in())
        made.append(module)
        changes = places.setdefault((weight.layer, weight.tensor), {})
        if weight.part is None:
            _register(weight.layer, weight.tensor, module)
        else:
            changes[weight.part] = module
    for (layer, tensor), changes in places.items():
        if changes:
            _register(layer, tensor, ProjectionParts(changes))

    def fold(model: nn.Module) -> nn.Module:
        for layer, tensor in places:
            parametrize.remove_parametrizations(layer, tensor, leave_parametrized=True)
        return model

    return tuple(made), fold


def _register(layer: nn.Module, tensor: str, module: nn.Module) -> None:
    # "unsafe" leaves out a trial evaluation: shapes and types are right by construction
    parametrize.register_parametrization(layer, tensor, module, unsafe=True)


def parameters_of(modules: Iterable[nn.Module]) -> tuple[nn.Parameter, ...]:
    """All parameters of some modules, each once."""
    return tuple(dict.fromkeys(p for module in modules for p in module.parameters()))


class Anchors:
    """Values that parameters or buffers have now, kept on the tensors' device."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.tensors = tuple(tensors)
        self._values = tuple(t.detach().clone() for t in self.tensors)

    def values(self) -> tuple[Tensor, ...]:
        """The kept values, in the order of `tensors`."""
        self._values = tuple(
            value.to(now.device) for value, now in zip(self._values, self.tensors, strict=True)
        )
        return self._values
