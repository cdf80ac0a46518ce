"""Entry points → methods. A plugin that cannot be loaded is a reported problem, not a crash.

A plugin is imported only if it is named or all are asked for; this distribution's own always.
"""

import re
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, version

from bench import entry_points
from bench.contract import Method
from bench.entry_points import HARNESS, PluginProblem, code_hash
from bench.errors import MethodError, UnknownNameError
from bench.isolation import contained, is_interruption, listed
from bench.plugins.pretraining import PRETRAINING

GROUP = "bench.methods"
ALL = "all"
"""Stands for every installed method where methods are named."""
RESERVED = {
    ALL: "stands for all methods",
    PRETRAINING.name: "is the pretraining of the foundation",
    "floor": "is the mean training map",
}
"""Names that no method may have, and why."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A method and where it comes from."""

    method: Method
    distribution: str
    distribution_version: str
    code: str
    """Hash of the plugin's code, blind to comments, docstrings and layout."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Imported methods by name, and the plugins that cannot be used."""

    methods: dict[str, Installed]
    problems: tuple[PluginProblem, ...]
    meddlers: tuple[PluginProblem, ...] = ()
    """Plugins that changed the process's state when they were imported, which has been put back."""

    def get(self, name: str) -> Installed:
        """Raises `MethodError` for a broken plugin, `UnknownNameError` for an unknown name."""
        if name in self.methods:
            return self.methods[name]
        for problem in self.problems:
            if problem.name == name:
                raise MethodError(
                    f"Method '{name}' of package {problem.distribution} cannot be used: "
                    f"{problem.reason}"
                )
        raise UnknownNameError("method", name, names() | self.methods.keys())


@cache
def pretraining() -> Installed:
    """Pretraining, which is no plugin and is trained like one."""
    return Installed(
        method=PRETRAINING,
        distribution=HARNESS,
        distribution_version=version(HARNESS),
        code=code_hash(sys.modules[PRETRAINING.adapt.__module__]),
    )


def names() -> set[str]:
    """Names of the installed methods; none is imported."""
    return {entry.name for entry in _entries()}


def valid_name(name: str) -> bool:
    """Whether a name is valid for a method: short, lower-case letters, digits and underscores."""
    return bool(_NAME.fullmatch(name))


def get(name: str) -> Installed:
    """Load one method and no other package's plugin. Raises what `Registry.get` raises."""
    return load((name,)).get(name)


def load(only: Iterable[str] | None = None) -> Registry:
    """Import this distribution's own plugins and those of these names; all where None is given.

    One that fails becomes a `Problem` and spoils nothing else.
    """
    wanted = None if only is None else set(only)
    found = [
        _load(entry)
        for entry in _entries()
        if wanted is None or entry.name in wanted or entry_points.distribution(entry)[0] == HARNESS
    ]
    loaded = {one.method.name: one for one, _ in found if isinstance(one, Installed)}
    return Registry(
        methods=loaded,
        problems=tuple(one for one, _ in found if isinstance(one, PluginProblem)),
        meddlers=tuple(meddler for _, meddler in found if meddler),
    )


@cache
def _entries() -> tuple[EntryPoint, ...]:
    return tuple(entry_points.find(GROUP))


@cache
def _load(entry: EntryPoint) -> tuple[Installed | PluginProblem, PluginProblem | None]:
    """A method, or why it cannot be used; and what its import changed, if anything."""
    distribution, release = entry_points.distribution(entry)
    changed: list[str] = []
    result: Installed | PluginProblem
    own = distribution == HARNESS  # as trusted as its other modules, and three dozen
    try:
        with nullcontext() if own else contained(changed):
            entry_points.check_unique(entry, _entries(), "method")
            result = Installed(
                method=_import(entry),
                distribution=distribution,
                distribution_version=release,
                code=code_hash(sys.modules[entry.module]),
            )
    except BaseException as error:  # a plugin may fail in any way
        if is_interruption(error):
            raise
        reason = entry_points.reason(error)
        result = PluginProblem(name=entry.name, distribution=distribution, reason=reason)
    if not changed:
        return result, None
    reason = f"its import changed {listed(changed)}; that has been put back."
    return result, PluginProblem(name=entry.name, distribution=distribution, reason=reason)


def _import(entry: EntryPoint) -> Method:
    if entry.name in RESERVED:
        raise MethodError(f"the name '{entry.name}' {RESERVED[entry.name]}; choose another.")
    if not valid_name(entry.name):
        raise MethodError(
            "its name is not made of at most 64 lower-case letters, digits and underscores."
        )
    method = entry.load()
    if not isinstance(method, Method):
        raise MethodError(
            f"{entry.value} is a {type(method).__name__}, not a bench.contract.Method."
        )
    if method.name != entry.name:
        raise MethodError(
            f"the object calls itself '{method.name}', its entry point '{entry.name}'; use one "
            "name."
        )
    method.config().model_dump_json()  # records hold it; an option without a default fails here
    stray = sorted(b for b, n in method.unchanged.items() if not 0 < n < method.version)
    if stray:
        raise MethodError(
            f"its version on '{stray[0]}', {method.unchanged[stray[0]]}, is not below its version "
            f"{method.version}; name in `unchanged` what an earlier version does the same on."
        )
    if foreign := sorted(set(method.grid) - set(method.config.model_fields)):
        raise MethodError(f"its grid names '{foreign[0]}', which is no option of its config.")
    return method
