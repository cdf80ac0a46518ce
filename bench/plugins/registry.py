"""Entry points → methods. A plugin that cannot be loaded is a reported problem, not a crash."""

import ast
import hashlib
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from bench.contract import Method
from bench.errors import MethodError, UnknownNameError

GROUP = "bench.methods"
HARNESS = "fwi-peft-bench"
"""The distribution whose own methods keep their names when another package claims them, too."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A method and where it comes from."""

    method: Method
    distribution: str
    distribution_version: str
    code: str
    """Hash of the plugin's code, blind to comments, docstrings and layout."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A plugin that cannot be used, and why."""

    name: str
    distribution: str
    reason: str


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


def names() -> set[str]:
    """What installed packages call their methods; loads none of them."""
    return {entry.name for entry in entry_points(group=GROUP)}


@cache
def load() -> Registry:
    """Import every plugin once. One that fails becomes a `Problem` and spoils nothing else."""
    methods: dict[str, Installed] = {}
    problems: list[Problem] = []
    found = sorted(entry_points(group=GROUP), key=lambda e: (e.name, _distribution(e)[0]))
    for entry in found:
        distribution, version = _distribution(entry)
        others = {_distribution(e)[0] for e in found if e.name == entry.name} - {distribution}
        try:
            if others and distribution != HARNESS:
                raise MethodError(_clash(entry.name, distribution, others))
            methods[entry.name] = Installed(
                method=_import(entry),
                distribution=distribution,
                distribution_version=version,
                code=code_hash(sys.modules[entry.module]),
            )
        except (Exception, SystemExit) as error:  # a plugin may fail in any way
            reason = _reason(error)
            problems.append(Problem(name=entry.name, distribution=distribution, reason=reason))
    return Registry(methods=methods, problems=tuple(problems))


def _reason(error: BaseException) -> str:
    """One line."""
    if isinstance(error, MethodError):
        return str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        return f"its {error.title} has a wrong {field}: {first['msg']} (given: {first['input']!r})."
    return " ".join(f"{type(error).__name__}: {error}".split())


def _clash(name: str, distribution: str, others: set[str]) -> str:
    if HARNESS in others:
        return (
            f"'{name}' is a method of {HARNESS} itself, which keeps the name; rename it in "
            f"{distribution}."
        )
    owners = ", ".join(sorted({distribution, *others}))
    return f"the name is claimed by more than one package ({owners}); uninstall all but one."


def code_hash(module: ModuleType) -> str:
    """Hash of a module and what it imports from its own package; formatting does not count."""
    digest = hashlib.sha256()
    top = module.__name__.partition(".")[0]
    todo, done = [module.__name__], set()
    while todo:
        name = todo.pop(0)
        if name in done or name not in sys.modules:
            continue
        done.add(name)
        source = sys.modules[name].__file__
        if source is None:
            continue
        tree = ast.parse(Path(source).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == top:
                todo.append(node.module or "")
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_docstring(body[0]):
                node.body = body[1:]  # type: ignore[attr-defined]  # every node with a body
        digest.update(_dump(tree).encode())
    return digest.hexdigest()[:16]


def _dump(node: object) -> str:
    """A syntax tree as text, as `ast.dump` of Python 3.11 has it.

    Later versions write the same code in other ways, and run ids must not depend on Python's.
    """
    if isinstance(node, ast.AST):
        fields = []
        for name in node._fields:
            value = getattr(node, name, None)
            left_out = value is None and getattr(type(node), name, ...) is None
            unknown_to_3_11 = name == "type_params" and not value
            if not left_out and not unknown_to_3_11:
                fields.append(f"{name}={_dump(value)}")
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    return repr(node)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


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


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    if entry.dist is None:
        return "unknown", "unknown"
    return entry.dist.name or "unknown", entry.dist.version or "unknown"  # None without METADATA
