"""Checks of what a method says of itself: name, summary, config."""

import os
import subprocess
import sys
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from bench.conformance.case import Case
from bench.conformance.requirements import NonconformanceError, require, require_texts
from bench.contract import Config
from bench.plugins import registry
from bench.plugins.options import canonical_config
from bench.protocol.spec import canonical


def describes_itself(case: Case) -> str:
    """Name, one-line summary and source are there, and the name can be typed."""
    method = case.method
    require(
        method.name not in registry.RESERVED,
        f"the name '{method.name}' {registry.RESERVED.get(method.name)}",
    )
    require_texts(method)
    return f"{method.summary} ({method.source})"


def config_is_strict(case: Case) -> str:
    """The config is frozen, refuses unknown options, and survives being written as JSON."""
    kind, config = case.method.config, case.config
    try:
        kind.model_validate({"no_such_option": 1})
    except ValidationError:
        pass
    else:
        raise NonconformanceError("the config takes an option that it does not have")
    require(bool(kind.model_config.get("frozen")), "the config is not frozen")
    again = kind.model_validate_json(config.model_dump_json())
    require(again == config, f"{config!r} comes back from JSON as {again!r}")
    return ", ".join(f"{name}={value}" for name, value in config)


def config_is_the_same_everywhere(case: Case) -> str:
    """The config reads the same in every process: run ids are made of it."""
    config = case.config
    if not _may_differ(config):
        return "plain values"
    given = config.model_dump_json(include=config.model_fields_set)
    kind = type(config)
    child = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, kind.__module__, kind.__qualname__, given],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if child.returncode:
        return f"not tried: {kind.__qualname__} cannot be imported in another process"
    here = canonical(canonical_config(config))
    require(
        child.stdout.strip() == here,
        f"it is {here} here and {child.stdout.strip()} in another process",
    )
    return "as in another process"


_ELSEWHERE = """
import importlib, sys
from bench.plugins.options import canonical_config
from bench.protocol.spec import canonical
kind = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
print(canonical(canonical_config(kind.model_validate_json(sys.argv[3]))))
"""


def _may_differ(config: Config) -> bool:
    """Whether a config is made, or written, by code, or of something that has no order."""
    kind = type(config)
    if any(option.default_factory is not None for option in kind.model_fields.values()):
        return True
    decorators = kind.__pydantic_decorators__
    writers = ("field_serializers", "model_serializers", "computed_fields")
    if any(getattr(decorators, f.name) for f in fields(decorators) if f.name in writers):
        return True
    return _has_sets(config.model_dump())


def _has_sets(value: Any) -> bool:
    if isinstance(value, set | frozenset):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict | list | tuple) and any(map(_has_sets, inner))
