"""``--method`` and ``--set`` → the methods and configs of a run."""

import json
from collections.abc import Sequence

from pydantic import ValidationError

from bench import census
from bench.contract import Config
from bench.errors import ConfigError, MethodError, UnknownNameError
from bench.plan import Choice
from bench.registry import Installed, Registry

ALL = "all"


def methods(words: Sequence[str], registry: Registry) -> tuple[Installed, ...]:
    """The methods named by ``fft,lora``, by repeated words, or by ``all``; each once, in order."""
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"Name a method with --method: {', '.join(registry.methods)} or all.")
    if ALL in names:
        names = list(registry.methods)
    return tuple(registry.get(name) for name in dict.fromkeys(names))


def choose(
    chosen: Sequence[Installed], settings: Sequence[str], backbone: str, *, skip_unfit: bool
) -> tuple[list[Choice], list[str]]:
    """Each method with its config, and why others were left out (only where `skip_unfit`).

    A setting ``rank=8`` goes to every chosen method that has the option, ``lora.rank=8`` to one.
    Raises `ConfigError` for a setting that is malformed, unknown or out of range.
    """
    given = _assign(settings, chosen)
    choices, left_out = [], []
    for installed in chosen:
        name = installed.method.name
        config = validate(installed, given[name])
        try:
            census.check_needs(installed.method, backbone)
        except MethodError as error:
            if not skip_unfit:
                raise
            left_out.append(f"{name} left out: {error}")
            continue
        choices.append(Choice(installed=installed, config=config))
    return choices, left_out


def validate(installed: Installed, values: dict[str, object]) -> Config:
    """A method's config from plain values; raises `ConfigError` naming method and option."""
    try:
        return installed.method.config(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"Option '{option}' of method '{installed.method.name}': {first['msg']} "
            f"(given: {first['input']!r})."
        ) from error


def _assign(settings: Sequence[str], chosen: Sequence[Installed]) -> dict[str, dict[str, object]]:
    fields = {i.method.name: tuple(i.method.config.model_fields) for i in chosen}
    given: dict[str, dict[str, object]] = {name: {} for name in fields}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key or not text:
            raise ConfigError(f"--set {setting}: write it as option=value, such as rank=8.")
        owner, dot, option = key.rpartition(".")
        if dot and owner not in fields:
            raise UnknownNameError("method in --set", owner, fields)
        takers = [owner] if dot else [name for name, known in fields.items() if option in known]
        known = {option for name in ([owner] if dot else fields) for option in fields[name]}
        if option not in known:
            of = f" of method '{owner or next(iter(fields))}'" if dot or len(fields) == 1 else ""
            raise UnknownNameError(f"option{of}", option, known)
        for name in takers:
            given[name][option] = _value(text)
    return given


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
