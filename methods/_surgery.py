"""Steps that several methods share: choose layers, find blocks, group parameters."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BeforeValidator
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench.contract import ConfigError, ParameterGroup

PROTOCOL_WEIGHT_DECAY = 1e-4
"""What protocol v1 gives every parameter in pretraining, `baseline` and `fft` (as OpenFWI)."""

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
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
    chosen: set[str] = set()
    for pattern in names:
        found = {name for name in layers if _names(pattern, name)}
        if not found:
            raise ConfigError(unknown("layer", pattern, list(layers)))
        chosen |= found
    return {name: layer for name, layer in layers.items() if not names or name in chosen}


def unknown(kind: str, name: str, known: list[str]) -> str:
    """Sentence on an unknown name, with the nearest and all known ones."""
    stems = list(dict.fromkeys(k.partition(".")[0] for k in known))
    near = get_close_matches(name, known + stems, n=1, cutoff=0.5)
    ask = f" Did you mean '{near[0]}'?" if near else ""
    return f"Unknown {kind} '{name}'.{ask} Known: {', '.join(stems)}."


def _names(pattern: str, name: str) -> bool:
    return name.startswith(f"{pattern}.") or fnmatchcase(name, pattern)


def blocks(model: nn.Module) -> dict[str, nn.Sequential]:
    """The sequences that directly hold a convolution, such as convolution–BatchNorm–activation.

    Raises `ConfigError` when the network is not made of such blocks.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Sequential)
        and any(isinstance(child, CONVOLUTIONS) for child in module)
    }
    if not found:
        raise ConfigError(
            "The network has no Sequential block with a convolution to adapt; choose a "
            "convolutional backbone such as inversionnet."
        )
    return found


def convolution(block: nn.Sequential) -> nn.Conv2d | nn.ConvTranspose2d:
    """The last convolution of a block: its channels are those of the block's output."""
    return [m for m in block if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)][-1]


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


def reparametrize(
    layers: Iterable[nn.Module], make: Callable[[nn.Module], nn.Module]
) -> tuple[tuple[nn.Module, ...], Callable[[nn.Module], nn.Module]]:
    """Put `make(layer)` on every layer's weight.

    Returns the new modules, and a function that folds them into the weights of a network and
    returns it.
    """
    layers = tuple(layers)
    made = []
    for layer in layers:
        module = make(layer)
        # "unsafe" leaves out a trial evaluation: shapes and types are right by construction
        parametrize.register_parametrization(layer, "weight", module, unsafe=True)
        made.append(module)

    def fold(model: nn.Module) -> nn.Module:
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        return model

    return tuple(made), fold


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
