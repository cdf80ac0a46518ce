"""Entry points of plugins: discovery, names, code hashes.

Nothing is imported by looking; whoever loads a plugin does so by name.
"""

import ast
import hashlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from bench.errors import PluginError, describe, one_line

HARNESS = "fwi-peft-bench"
"""This distribution, whose own plugins keep their names when another package claims them, too."""


@dataclass(frozen=True, kw_only=True)
class PluginProblem:
    """A plugin that cannot be used, and why."""

    name: str
    distribution: str
    reason: str


def find(group: str) -> list[EntryPoint]:
    """Every entry point of a group, by name and then by distribution."""
    return sorted(entry_points(group=group), key=lambda e: (e.name, distribution(e)[0]))


def distribution(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the package that an entry point belongs to."""
    return ("unknown", "unknown") if entry.dist is None else _named(entry.dist)


@cache
def _named(dist: Distribution) -> tuple[str, str]:
    """Name and version of a package; the library reads its whole METADATA for either."""
    return dist.name or "unknown", dist.version or "unknown"  # None without METADATA


def check_unique(entry: EntryPoint, entries: Sequence[EntryPoint], kind: str) -> None:
    """Raise `PluginError` for a name that several packages claim; this one keeps its own."""
    owner, _ = distribution(entry)
    others = {distribution(e)[0] for e in entries if e.name == entry.name} - {owner}
    if not others or owner == HARNESS:
        return
    if HARNESS in others:
        raise PluginError(
            f"'{entry.name}' is a {kind} of {HARNESS} itself, which keeps the name; rename it in "
            f"{owner}."
        )
    owners = ", ".join(sorted({owner, *others}))
    raise PluginError(
        f"the name is claimed by more than one package ({owners}); uninstall all but one."
    )


def reason(error: BaseException) -> str:
    """One line saying why a plugin cannot be loaded; never raises."""
    if isinstance(error, ValidationError):
        with suppress(Exception):  # its text is made of what the plugin gave
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            given = one_line(repr(first["input"]))
            return f"its {error.title} has a wrong {field}: {first['msg']} (given: {given})."
    return describe(error)


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
        state = Path(source).stat()
        text, imported = _code(source, state.st_size, state.st_mtime_ns)
        todo += [other for other in imported if other.partition(".")[0] == top]
        digest.update(text)
    return digest.hexdigest()[:16]


@cache
def _code(source: str, size: int, mtime_ns: int) -> tuple[bytes, tuple[str, ...]]:
    """A file's code without docstrings, and the modules that it imports from, in order; methods
    share files, which are parsed once as long as size and time stay the same."""
    tree = ast.parse(Path(source).read_text(encoding="utf-8"))
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imported.append(node.module or "")
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:]  # type: ignore[attr-defined]  # every node with a body
    return _dump(tree).encode(), tuple(imported)


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
