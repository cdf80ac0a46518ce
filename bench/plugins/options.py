"""``--method``, ``--set`` and ``--grid`` → the methods and configs of a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from bench.contract import Config
from bench.errors import ConfigError, MethodError, UnknownNameError, one_line
from bench.isolation import isolated
from bench.plugins import parameter_counts, registry
from bench.plugins.registry import ALL, Installed, Registry
from bench.protocol.protocols import Protocol
from bench.protocol.spec import MethodSpec, canonical


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A method with its config, chosen for a run."""

    installed: Installed
    config: Config
    backbone: str
    trainable_parameters: int
    """0 where it cannot be told because the method fails."""

    @property
    def spec(self) -> MethodSpec:
        return method_spec(self.installed, self.config, self.backbone)


def method_spec(installed: Installed, config: Config, backbone: str) -> MethodSpec:
    """A method with a config, as the identity of a fit on a backbone has it."""
    method = installed.method
    return MethodSpec(
        name=method.name,
        distribution=installed.distribution,
        version=method.version_on(backbone),
        config=canonical_config(config),
    )


def canonical_config(config: Config) -> dict[str, Any]:
    """Plain values of a config, the same in every process: sets become sorted lists."""
    plain: dict[str, Any] = to_jsonable_python(_sorted(config.model_dump()))
    return plain


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(inner) for key, inner in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_sorted(inner) for inner in value), key=canonical)
    if isinstance(value, list | tuple):
        return [_sorted(inner) for inner in value]
    return value


def names(words: Sequence[str]) -> tuple[str, ...]:
    """The names in ``fft,lora`` or in repeated words, each once, in order."""
    parts = (name.strip() for word in words for name in word.split(","))
    return tuple(dict.fromkeys(name for name in parts if name))


def load(words: Sequence[str]) -> Registry:
    """The methods that these words name, and this distribution's own; all of them for ``all``."""
    named = names(words)
    return registry.load(None if ALL in named else named)


def methods(
    words: Sequence[str], found: Registry, protocol: Protocol | None = None
) -> tuple[Installed, ...]:
    """The methods named by ``fft,lora``, by repeated words, or by ``all``; each once, in order.

    None need be named for a protocol that is for methods from scratch only: it gets all of them.
    Raises `ConfigError` where none is named, and what `Registry.get` raises.
    """
    named = names(words)
    if not named and protocol and protocol.scratch_only:
        scratch = (i for i in found.methods.values() if i.method.traits.start == "scratch")
        return tuple(scratch)
    if not named:
        known = ", ".join(sorted(registry.names()))
        raise ConfigError(f"Name a method with --method: {known} or all.")
    if ALL in named:
        named = tuple(found.methods)
    return tuple(found.get(name) for name in named)


def with_levels(
    chosen: Sequence[Installed], found: Registry, protocol: Protocol
) -> tuple[Installed, ...]:
    """The chosen methods, and before them what they have to beat: methods that train nothing.

    Only where one of the chosen starts from the foundation, and for a protocol that tests.
    """
    from_foundation = any(i.method.traits.start == "foundation" for i in chosen)
    if not from_foundation or protocol.only_sweeps:
        return tuple(chosen)
    levels = [i for i in found.methods.values() if not i.method.traits.trains]
    return tuple({i.method.name: i for i in (*levels, *chosen)}.values())


def choose(
    chosen: Sequence[Installed], settings: Sequence[str], backbone: str, *, skip_unfit: bool
) -> tuple[list[Choice], list[str]]:
    """Methods with their configs, and reasons why others were left out (only if `skip_unfit`).

    A setting ``rank=8`` goes to every chosen method that has the option, ``lora.rank=8`` to one.
    Raises `ConfigError` for a setting that is malformed, unknown or out of range, or that the
    network cannot take, `MethodError` for a method that the network cannot take, and what
    `backbones.build` raises.
    """
    configs = configure(chosen, settings)
    parameter_counts.check_builds(backbone)
    choices, left_out = [], []
    for installed in chosen:
        name = installed.method.name
        try:
            choices.append(_choice(installed, configs[name], backbone))
        except (ConfigError, MethodError) as error:
            if skip_unfit:
                left_out.append(f"{name} left out: {error}")
            elif isinstance(error, ConfigError):  # does not name the method itself
                raise ConfigError(f"Method '{name}': {error}") from error
            else:
                raise
    return choices, left_out


def configure(chosen: Sequence[Installed], settings: Sequence[str]) -> dict[str, Config]:
    """The config of each method by name, from settings as in `choose`; raises `ConfigError`."""
    given = _assign("--set", settings, chosen)
    return {
        installed.method.name: validate(
            installed,
            {key: _value(text) for key, text in given[installed.method.name].items()},
        )
        for installed in chosen
    }


def grids(
    choices: Sequence[Choice],
    words: Sequence[str],
    backbone: str,
    *,
    skip_unfit: bool,
    common: Mapping[str, Sequence[Any]],
    own: bool,
) -> tuple[list[Choice], list[str]]:
    """Every config of every method's grid, and what was left out and why.

    Without words it is the method's `own` grid, if that is wanted and it has one, else the `common`
    one. A word ``rank=4,8`` replaces it for each chosen method that has the option,
    ``lora.rank=4,8`` for one; several words make all combinations. Other options stay as chosen,
    and a method that trains nothing stays as it is. Raises `ConfigError` for a method that has none
    of the options in the words, and where nothing is left, unless `skip_unfit`.
    """
    given = _assign("--grid", words, [choice.installed for choice in choices])
    candidates, left_out = [], []
    for choice in choices:
        method = choice.installed.method
        texts = given[method.name]
        grid = {key: [_value(v) for v in dict.fromkeys(t.split(","))] for key, t in texts.items()}
        if words and not grid and method.traits.trains:
            reason = f"'{method.name}' has none of the options that --grid names."
            if not skip_unfit:
                raise ConfigError(reason)
            left_out.append(f"Left out of the sweep: {reason}")
            continue
        if not words and method.traits.trains:
            usual = method.grid if own and method.grid else common
            grid = {key: list(values) for key, values in usual.items()}
        for values in product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            config = validate(choice.installed, choice.config.model_dump() | point)
            try:
                candidates.append(_choice(choice.installed, config, backbone))
            except ConfigError as error:
                at = ", ".join(f"{key}={value}" for key, value in point.items())
                left_out.append(f"{method.name} with {at} left out of the sweep: {error}")
    if not candidates and not skip_unfit:
        raise ConfigError(" ".join(left_out))
    return candidates, left_out


def validate(installed: Installed, values: dict[str, object]) -> Config:
    """A method's config from plain values.

    Raises `ConfigError` naming method and option, and `MethodError` where the plugin's own checks
    fail in another way.
    """
    with isolated(f"Method '{installed.method.name}'", "its config"):
        try:
            return installed.method.config(**values)
        except ValidationError as error:
            first = error.errors()[0]
            option = ".".join(map(str, first["loc"]))
            what = f"Option '{option}'" if option else "Options"
            raise ConfigError(
                f"{what} of method '{installed.method.name}': {first['msg']} "
                f"(given: {one_line(repr(first['input']))})."
            ) from error


def _choice(installed: Installed, config: Config, backbone: str) -> Choice:
    method = installed.method
    parameter_counts.check_needs(method, backbone)
    try:
        trainable = parameter_counts.count(method, config, backbone).trainable
    except MethodError:  # the plugin is broken: its fits will fail and be recorded as failed
        trainable = 0
    return Choice(
        installed=installed, config=config, backbone=backbone, trainable_parameters=trainable
    )


def _assign(
    flag: str, words: Sequence[str], chosen: Sequence[Installed]
) -> dict[str, dict[str, str]]:
    """Words ``option=value`` or ``method.option=value`` as texts, by method and option."""
    fields = {
        i.method.name: tuple(i.method.config.model_fields) if i.method.traits.trains else ()
        for i in chosen
    }
    given: dict[str, dict[str, str]] = {name: {} for name in fields}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key or not text:
            raise ConfigError(f"{flag} {word}: write it as option=value, such as rank=8.")
        owner, dot, option = key.rpartition(".")
        if dot and owner not in fields:
            raise UnknownNameError(f"method in {flag}", owner, fields)
        takers = [owner] if dot else [name for name, known in fields.items() if option in known]
        known = {option for name in ([owner] if dot else fields) for option in fields[name]}
        if option not in known:
            of = f" of method '{owner or next(iter(fields))}'" if dot or len(fields) == 1 else ""
            raise UnknownNameError("option", option, known, of=of)
        for name in takers:
            given[name][option] = text
    return given


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        raise ConfigError(f"The value {one_line(text)[:40]} … is nested too deeply.") from None
