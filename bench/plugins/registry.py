"""Entry points → methods. A plugin that cannot be loaded is a reported problem, not a crash."""

import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, version

from bench import entry_points
from bench.contract import Method
from bench.entry_points import HARNESS, Problem, code_hash
from bench.errors import MethodError, UnknownNameError
from bench.plugins.pretraining import PRETRAINING

GROUP = "bench.methods"


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
    """All installed methods by name, and the plugins that cannot be used."""

    methods: dict[str, Installed]
    problems: tuple[Problem, ...]

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
        raise UnknownNameError("method", name, self.methods)


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
    """What installed packages call their methods; loads none of them."""
    return {entry.name for entry in entry_points.find(GROUP)}


@cache
def load() -> Registry:
    """Import every plugin once. One that fails becomes a `Problem` and spoils nothing else."""
    methods: dict[str, Installed] = {}
    problems: list[Problem] = []
    entries = entry_points.find(GROUP)
    for entry in entries:
        distribution, release = entry_points.distribution(entry)
        try:
            entry_points.check_unique(entry, entries, "method")
            methods[entry.name] = Installed(
                method=_import(entry),
                distribution=distribution,
                distribution_version=release,
                code=code_hash(sys.modules[entry.module]),
            )
        except (Exception, SystemExit) as error:  # a plugin may fail in any way
            reason = entry_points.reason(error)
            problems.append(Problem(name=entry.name, distribution=distribution, reason=reason))
    return Registry(methods=methods, problems=tuple(problems))


def _import(entry: EntryPoint) -> Method:
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
    if foreign := sorted(set(method.grid) - set(method.config.model_fields)):
        raise MethodError(f"its grid names '{foreign[0]}', which is no option of its config.")
    return method
