"""What a method or a backbone provides: the whole surface that a plugin needs.

A plugin is one file with one `Method` object and one line in the entry-point group
`bench.methods`. It imports this module and torch, and nothing else of the harness:

    method = Method(name="bias", summary="…", source="…", traits=Traits(category="selective"),
                    config=BiasConfig, adapt=adapt)

The harness owns optimiser, schedule, data order, precision, BatchNorm enforcement, saving and
scoring. Before `adapt` every parameter of the foundation has `requires_grad=False`; after it,
exactly the parameters in the returned groups are trained.

A plugin leaves the process as it is: settings of torch and numpy (gradient mode, default dtype and
device, threads, determinism, hooks of all modules), functions of other packages, the environment,
working directory, standard streams, signal handlers and warning filters. The harness puts back what
is changed, and a fit that changes it fails. Random numbers may be drawn from the generators of
torch, numpy and Python, which are seeded before `adapt` and before each epoch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass as validated
from torch import Tensor, nn

from bench.errors import ConfigError

__all__ = [
    "INPUT_SHAPE",
    "OUTPUT_SHAPE",
    "Adapted",
    "Backbone",
    "BatchNorm",
    "Category",
    "Config",
    "ConfigError",
    "Method",
    "ParameterGroup",
    "Traits",
]

INPUT_SHAPE = (5, 1000, 70)
"""One scaled record: shots, time steps, receivers."""
OUTPUT_SHAPE = (1, 70, 70)
"""One scaled velocity map: channel, depth z, x."""

Category = Literal["full", "additive", "selective", "prompt"]

BatchNorm = Literal["frozen", "affine", "statistics", "both"]
"""What a fit may change in BatchNorm layers. Statistics that may change are computed anew after
training, over the fit's training subset with the final weights.

- ``frozen``: evaluation mode; statistics, scale and shift stay as in the foundation;
- ``affine``: evaluation mode; scale and shift may be among the trainable parameters;
- ``statistics``: batch statistics in training, running ones updated; scale and shift stay;
- ``both``: batch statistics in training; scale and shift may be trainable. A layer whose scale
  and shift are not being trained at the moment stays in evaluation mode: what is frozen is frozen
  whole, so a method may train one part of a network, or one part after another.
"""


class Config(BaseModel):
    """Hyper-parameters of a method: frozen, unknown options refused. Subclass to add your own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    learning_rate_scale: PositiveFloat = 1.0
    """Factor on the protocol's peak learning rate, for every group."""
    batchnorm: Literal["frozen", "statistics", "both"] | None = None
    """A BatchNorm policy in place of the method's own, set by the harness: `None`, the method's."""

    def promises(self, traits: "Traits") -> "Traits":
        """The method's traits under these options: as declared, unless a subclass says otherwise.

        For what depends on an option, such as an identity at the start.
        """
        return traits


@validated(frozen=True, kw_only=True)
class Traits:
    """What a method promises; the harness and the conformance suite hold it to them.

    Raises pydantic's `ValidationError` for a value that is not one of those named here.
    """

    category: Category
    """The family it belongs to on the leaderboard."""
    start: Literal["foundation", "scratch"] = "foundation"
    """Weights that `adapt` receives: the pretrained foundation's, or a fresh network's."""
    batchnorm: BatchNorm = "frozen"
    identity_at_start: bool = True
    """Before the first step the adapted network predicts exactly what it was given predicts."""
    mergeable: bool = False
    """`Adapted.merge` turns the result into a plain backbone with the same predictions."""
    needs: frozenset[str] = frozenset()
    """Class names of torch modules that the network must contain, such as ``LayerNorm``;
    ``A|B`` asks for one of several. Subclasses count."""
    trains: bool = True
    """False: nothing is trained and nothing changes; `Adapted.groups` is empty."""
    holdout: bool = False
    """Keeps a validation part of the training split out of training, for `Adapted.finish`."""


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that are trained alike."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate_scale: float = 1.0
    """Factor on the learning rate, on top of the config's."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""
    active: tuple[float, float] = (0.0, 1.0)
    """The part of training in which it is trained, as fractions of all epochs, [from, to)."""


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """An adapted network and how to train it."""

    model: nn.Module
    """(n, 5, 1000, 70) → (n, 1, 70, 70), usually the module that `adapt` was given.

    Its forward pass does the same tensor operations at every step: on a GPU a step is recorded and
    replayed, without running Python again, unless there is a `penalty` or `after_step`.
    """
    groups: tuple[ParameterGroup, ...]
    """What is trained. May be empty only if the BatchNorm policy is ``statistics``: then the
    statistics are computed anew over the training subset, and nothing else changes."""
    merge: Callable[[], nn.Module] | None = None
    """Turns the model in place into a plain backbone with the upstream names; returns it."""
    after_step: Callable[[], None] | None = None
    """Called after each optimiser step, for instance to project parameters."""
    penalty: Callable[[], Tensor] | None = None
    """A scalar added to the loss."""
    finish: Callable[[Callable[[], float]], dict[str, Any]] | None = None
    """Called once after training with a function that returns the present model's MAE on the
    validation part; sets the final weights and returns facts for the record."""


@validated(frozen=True, kw_only=True)
class Method:
    """One method: what `bench.methods` entry points name.

    Raises pydantic's `ValidationError` for a field of a wrong type.
    """

    name: str
    summary: str
    """One line."""
    source: str
    """The paper it comes from."""
    traits: Traits
    adapt: Callable[[nn.Module, Any], Adapted]
    """(network, config) → `Adapted`. Raises `ConfigError` for a config the network cannot take."""
    config: type[Config] = field(default=Config)
    """Every option needs a default."""
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Options and their values; the protocol `sweep` tries all combinations."""
    version: int = 1
    """Raise it when the method's results change."""
    unchanged: Mapping[str, int] = field(default_factory=dict)
    """Backbones on which an earlier version gives the same results, by name, and its number. What
    ran on them stays valid: runs there go by that number, on all other networks by `version`."""

    def version_on(self, backbone: str) -> int:
        """The version by which runs on a backbone go."""
        return self.unchanged.get(backbone, self.version)


def _same(name: str) -> str:
    return name


@validated(frozen=True, kw_only=True)
class Backbone:
    """One network: what `bench.backbones` entry points name.

    Raises pydantic's `ValidationError` for a field of a wrong type.
    """

    name: str
    summary: str
    """One line."""
    source: str
    """The paper it comes from."""
    build: Callable[[], nn.Module]
    """A freshly initialised network, (n, 5, 1000, 70) → (n, 1, 70, 70) on [-1, 1], on torch's
    default device; random numbers come from torch alone. No downloads. Raises `ConfigError` for a
    library that is needed and not installed."""
    own_name: Callable[[str], str] = field(default=_same)
    """The network's name for a tensor of a published checkpoint that `bench run --weights` takes;
    the same by default. What has no counterpart may get any name: it is left out, and told."""
    version: int = 1
    """Raise it when the network's results change."""
