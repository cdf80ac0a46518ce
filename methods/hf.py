"""Any tuner of Hugging Face's PEFT library that fits the network: ``--set tuner=oft``.

Mangrulkar et al. 2022, PEFT, https://github.com/huggingface/peft; its documentation names the paper
behind each tuner. A tuner is called by the library's name in lower case; ``dora``, ``rslora``,
``pissa`` and ``olora`` are its LoRA with the options that make them. Hyper-parameters that are not
set are the library's defaults, not the choice of Ghosal et al. (2024).

Without ``targets`` a tuner gets every convolution and linear layer that it takes, which is tried on
a copy of the layer: the library must wrap it, and what is wrapped must run and merge into a plain
layer with the same output. No tuner takes transposed convolutions, and most take linear layers
only; docs/PEFT.md says which works on which backbone, and why not.

Tuners such as PiSSA put another matrix in the place of the frozen weight. They are given a copy, so
that the foundation's own tensors stay as they are. BatchNorm is frozen, as in the rest of the
foundation.
"""

import copy
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

import torch
from pydantic import (
    Field,
    JsonValue,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)
from torch import Tensor, nn

from bench.contract import Adapted, Config, ConfigError, Method, ParameterGroup, Traits
from methods._surgery import CONVOLUTIONS, WEIGHT_LAYERS, LayerNames, select, unknown

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "dora": ("lora", {"use_dora": True}),
    "ia3": ("ia3", {"feedforward_modules": []}),
    "olora": ("lora", {"init_lora_weights": "olora"}),
    "pissa": ("lora", {"init_lora_weights": "pissa"}),
    "rslora": ("lora", {"use_rslora": True}),
}
"""Tuners that are another one with options, or that need some on a network the library does not
know."""
EXACT = frozenset(
    {
        "beft", "delora", "dora", "glora", "gralora", "hira", "ia3", "ln_tuning", "loha",
        "lokr", "lora", "miss", "oft", "peanut", "psoft", "randlora", "road", "rslora", "shira",
        "supertuning", "waveft",
    }
)  # fmt: skip
"""Tuners that start as an identity bit for bit, unless an option changes their initialisation. Not
``boft``: it multiplies by an identity, which can change a weight's layout and so the rounding."""
SQUARE_KERNELS = frozenset({"boft", "hra", "oft"})
"""Tuners that rotate the inputs of a convolution, and take all kernels for square ones: for others
the library makes a matrix that fits nothing, of gigabytes."""
MAX_FAN_IN = {"boft": 1152, "hra": 1152}
"""Tuners that multiply matrices of fan-in × fan-in in every step, whatever their sizes: the time of
a step grows with the cube of the fan-in, its memory with the square (docs/PEFT.md)."""
REFUSED = {"adalora": "it changes ranks during training, and must be told the number of steps."}
NOT_OPTIONS = {
    "inference_mode": "then nothing is trained.",
    "modules_to_save": "what is trained is the tuner's part of the layers that it wraps.",
    "peft_type": "choose the tuner by --set tuner.",
    "target_modules": "name layers by --set targets.",
    "target_parameters": "what is trained is the tuner's part of the layers that it wraps.",
    "trainable_token_indices": "what is trained is the tuner's part of the layers that it wraps.",
}
"""Options of the library's configs that make no sense here, and why."""
_TOLERANCE = 1e-4
"""Largest difference between a merged and an unmerged layer, relative to the output."""


class HfConfig(Config):
    """A tuner, its hyper-parameters, and the layers to adapt."""

    tuner: str = "lora"
    """Such as ``oft``."""
    r: PositiveInt | None = None
    """The tuner's rank; None, the library's default."""
    alpha: PositiveFloat | None = None
    """The tuner's alpha, a factor on its update; None, the library's default."""
    targets: LayerNames = ()
    """Layers to adapt, as names or patterns: ``blocks.*.qkv``. None: all that the tuner takes."""
    max_fan_in: PositiveInt | None = Field(
        default=None, exclude_if=lambda bound: bound is None
    )  # run ids from before it stay as they are
    """Largest fan-in (inputs × kernel) of a layer that is taken. None: 1152 for ``boft`` and
    ``hra``, no bound for other tuners."""
    options: dict[str, JsonValue] = Field(default={})
    """Further options of the tuner, by the library's names: ``{"oft_block_size": 16}``."""

    def promises(self, traits: Traits) -> Traits:
        """The traits, with an identity at the start where the tuner's initialisation gives one."""
        exact = self.tuner in EXACT and not any("init" in name for name in self.options)
        return replace(traits, identity_at_start=exact)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of a tuner on a copy of a layer."""

    refusal: str | None
    """Why it does not take the layer; None if it does."""
    moves_weight: bool = False
    """Whether it puts another matrix in the place of the frozen weight."""
    views_weights: bool = False
    """Whether it views a convolution's weights as a matrix, which channels-last memory, in which
    runs hold them, does not allow."""


def tuner_config(config: HfConfig, targets: Iterable[str]) -> Any:
    """The library's config of a tuner for the modules with exactly these names.

    Raises `ConfigError` for a tuner or an option that the library does not have or take.
    """
    known = _library().mapping.PEFT_TYPE_TO_CONFIG_MAPPING
    kinds = {kind.value.lower(): made for kind, made in known.items()}
    name, preset = PRESETS.get(config.tuner, (config.tuner, {}))
    if name not in kinds:
        raise ConfigError(unknown("tuner", name, sorted(kinds.keys() | PRESETS.keys())))
    if name in REFUSED:
        raise ConfigError(f"Tuner '{name}' of 'hf' cannot be used: {REFUSED[name]}")
    options = {field.name for field in fields(kinds[name])}
    values = preset | config.options
    if config.r is not None:
        values |= {"r": config.r} | ({"oft_block_size": 0} if name == "oft" else {})
    if config.alpha is not None:
        words = ("alpha", "lora_alpha", f"{name}_alpha")
        values[next((word for word in words if word in options), "alpha")] = config.alpha
    for option in ("target_modules", *values):
        if option not in options:
            raise ConfigError(f"Tuner '{config.tuner}' of 'hf' has no option {option}.")
    values = {option: _checked(kinds[name], option, value) for option, value in values.items()}
    pattern = "|".join(map(re.escape, targets))
    try:
        return kinds[name](**values, target_modules=f"({pattern})")
    except (ImportError, TypeError, ValueError) as error:
        raise ConfigError(f"Options of tuner '{config.tuner}' of 'hf': {_told(error)}") from error


def _checked(kind: type, option: str, value: object) -> object:
    """The value of an option as the type that the library's config declares for it."""
    if option in NOT_OPTIONS:
        raise ConfigError(f"The option {option} cannot be set: {NOT_OPTIONS[option]}")
    try:
        return TypeAdapter(get_type_hints(kind)[option]).validate_python(value)
    except ValidationError as error:
        problems = error.errors()
        if any(problem["type"] == "literal_error" for problem in problems):
            return value  # the library also takes words that it does not declare
        problem = problems[0]["msg"]
        raise ConfigError(
            f"Option {option} of 'hf' cannot be {value!r}: {problem[:1].lower()}{problem[1:]}."
        ) from None


def try_on(layer: nn.Module, config: HfConfig) -> Trial:
    """Wrap a copy of a layer, move what is trained, and merge."""
    oblong = isinstance(layer, CONVOLUTIONS) and len(set(layer.kernel_size)) > 1
    if oblong and config.tuner in SQUARE_KERNELS:
        return Trial(refusal="it takes square kernels only.")
    bound = config.max_fan_in or MAX_FAN_IN.get(config.tuner)
    if bound is not None and isinstance(layer, nn.Conv2d | nn.Linear):
        fan_in = layer.weight[0].numel()
        if fan_in > bound:
            return Trial(
                refusal=f"its fan-in is {fan_in}; the option max_fan_in, which bounds the time of "
                f"a step, allows {bound}."
            )
    alone = nn.Sequential(copy.deepcopy(layer))
    weight = layer.get_parameter("weight")
    peft_config = tuner_config(config, ["0"])
    with torch.random.fork_rng(devices=[]), torch.no_grad(), _quiet():
        x = _sample(layer)
        try:
            wrapped = _inject(peft_config, alone)
            if not wrapped:
                return Trial(refusal="the library leaves it as it is.")
            alone.eval()  # with what the tuner has added, dropout above all
            views = isinstance(layer, CONVOLUTIONS) and _views_weights(alone, x)
            moved = not torch.equal(wrapped["0"].get_base_layer().weight, weight)
            for parameter in alone.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.01 * torch.randn_like(parameter))
            expected = alone(x)
            _unwrap(alone, wrapped)
            apart = float((alone(x) - expected).abs().max() / expected.abs().max().clamp_min(1))
        except Exception as error:  # the tuners refuse a layer in many ways
            return Trial(refusal=_told(error))
    if not apart <= _TOLERANCE:
        return Trial(refusal="merged, it gives another output.")
    return Trial(refusal=None, moves_weight=moved, views_weights=views)


def _views_weights(alone: nn.Sequential, x: Tensor) -> bool:
    alone.to(memory_format=torch.channels_last)
    try:
        alone(x)
    except RuntimeError:
        return True
    finally:
        alone.to(memory_format=torch.contiguous_format)
    return False


def trials(model: nn.Module, config: HfConfig) -> dict[str, Trial]:
    """What comes of a tuner on each layer that it may adapt, by name, in forward order."""
    kinds = (nn.LayerNorm,) if config.tuner == "ln_tuning" else WEIGHT_LAYERS
    # Torch's own attention reads the weights of the layers in it, past what wraps them
    past = {
        c for m in model.modules() if isinstance(m, nn.MultiheadAttention) for c in m.children()
    }
    layers = {n: m for n, m in select(model, kinds, config.targets).items() if m not in past}
    known: dict[str, Trial] = {}  # layers that read the same are tried once
    for layer in layers.values():
        if repr(layer) not in known:
            known[repr(layer)] = try_on(layer, config)
    return {name: known[repr(layer)] for name, layer in layers.items()}


def choose(model: nn.Module, config: HfConfig) -> dict[str, Trial]:
    """The layers to adapt, by name.

    Raises `ConfigError` where the tuner refuses one of the targets, all layers, or the encoder, the
    first half of the layers.
    """
    tried = trials(model, config)
    taken = {name: trial for name, trial in tried.items() if trial.refusal is None}
    refused = [name for name in tried if name not in taken]
    if refused and (config.targets or not taken):
        raise ConfigError(
            f"Tuner '{config.tuner}' of 'hf' does not take the layer '{refused[0]}' of this "
            f"network: {tried[refused[0]].refusal}"
        )
    if not config.targets and taken.keys().isdisjoint(list(tried)[: (len(tried) + 1) // 2]):
        raise ConfigError(
            f"Tuner '{config.tuner}' of 'hf' takes no layer of this network's encoder, the first "
            f"half of its layers: {tried[refused[0]].refusal} Choose another tuner, or name the "
            "targets."
        )
    return taken


def adapt(model: nn.Module, config: HfConfig) -> Adapted:
    """Let the library wrap every chosen layer."""
    if any(parameter.is_meta for parameter in model.parameters()):
        raise NotImplementedError("the tuners look at the values of weights")
    chosen = choose(model, config)
    for name, trial in chosen.items():
        if trial.moves_weight:
            weight = model.get_parameter(f"{name}.weight").detach().clone()
            model.get_submodule(name).weight = nn.Parameter(weight, requires_grad=False)
    wrapped = _inject(tuner_config(config, chosen), model)
    for name, wrapper in wrapped.items():
        if chosen[name].views_weights:
            wrapper.register_forward_pre_hook(_in_order_of_axes)
    # Torch's fused way through such a block reads the weights itself, past what wraps them
    hooks = [
        module.register_forward_pre_hook(_no_change)
        for module in model.modules()
        if isinstance(module, nn.TransformerEncoderLayer)
    ]
    trained = tuple(p for p in model.parameters() if p.requires_grad)

    def merge() -> nn.Module:
        _unwrap(model, wrapped)
        for hook in hooks:
            hook.remove()
        return model

    group = ParameterGroup(name=config.tuner, parameters=trained)
    return Adapted(model=model, groups=(group,), merge=merge)


def _library() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ConfigError(
            "It needs Hugging Face's PEFT library: pip install 'fwi-peft-bench[peft]'."
        ) from error
    return peft


def _inject(peft_config: Any, model: nn.Module) -> dict[str, Any]:
    """Wrap layers in place; returns what wraps them by the layers' names."""
    library = _library()
    with _quiet():
        library.inject_adapter_in_model(peft_config, model)
    del model.peft_config
    kind = library.tuners.tuners_utils.BaseTunerLayer
    return {name: module for name, module in model.named_modules() if isinstance(module, kind)}


def _unwrap(model: nn.Module, wrapped: dict[str, Any]) -> None:
    """Fold what is trained into the layers, and put them back in their places."""
    with _quiet():
        for name, wrapper in wrapped.items():
            _in_order_of_axes(wrapper)
            wrapper.merge()
            model.set_submodule(name, wrapper.get_base_layer())


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of the library's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _sample(layer: nn.Module) -> Tensor:
    """A small input that a layer takes; of a convolution, with three places for its kernel."""
    weight = layer.get_parameter("weight")
    if isinstance(layer, CONVOLUTIONS):
        reach = zip(layer.dilation, layer.kernel_size, layer.stride, strict=True)
        shape = [1, layer.in_channels, *(d * (k - 1) + 2 * s + 1 for d, k, s in reach)]
    elif isinstance(layer, nn.LayerNorm):
        shape = [1, *layer.normalized_shape, 1, *layer.normalized_shape]  # of maps or tokens
    else:
        shape = [2, weight.shape[1]]
    return torch.randn(shape, dtype=weight.dtype, device=weight.device)


def _told(error: Exception) -> str:
    """The first sentence of an error."""
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return text.partition(". ")[0].rstrip(".") + "."


def _in_order_of_axes(wrapper: nn.Module, inputs: tuple[Any, ...] = ()) -> None:
    """Hook before a forward pass: all weights in memory that can be viewed as a matrix."""
    for parameter in wrapper.parameters():
        if not parameter.is_contiguous():
            parameter.data = parameter.data.contiguous()


def _no_change(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Hook that does nothing."""


method = Method(
    name="hf",
    summary="A tuner of Hugging Face's PEFT library, on every layer that it takes.",
    source="Mangrulkar et al. 2022, PEFT, https://github.com/huggingface/peft",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=HfConfig,
    adapt=adapt,
)
