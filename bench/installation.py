"""What is installed, as one hash, without importing any of it: what was worked out under the same
hash need not be worked out again.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from bench.entry_points import distribution, find
from bench.protocol.spec import digest

_GROUPS = ("bench.methods", "bench.backbones")
_OURS = ("bench", "leaderboard")
_INSTALLED = (".dist-info", ".egg-info", ".egg-link", ".pth")


def state() -> str | None:
    """Hash of Python, of the installed packages by name, version and time of installation, and of
    the code of the harness and of all packages that have plugins, by size and time; None where the
    code of a plugin is not found, as that of a namespace package in an editable installation.
    """
    entries = [entry for group in _GROUPS for entry in find(group)]
    modules = {entry.value.partition(":")[0].partition(".")[0] for entry in entries} | {*_OURS}
    code = {module: sorted(_code(module)) for module in sorted(modules)}
    if not all(code.values()):
        return None
    facts = [
        sys.version,
        sys.prefix,
        sorted((entry.group, entry.name, entry.value, *distribution(entry)) for entry in entries),
        sorted(_installed()),
        code,
    ]
    return digest(facts)


def _installed() -> Iterator[tuple[str, int]]:
    """Installed packages: the entries of the import path that say so, with their times."""
    for folder in map(Path, filter(None, sys.path)):
        with suppress(OSError):
            for entry in folder.iterdir():
                if entry.name.endswith(_INSTALLED):
                    yield str(entry), entry.stat().st_mtime_ns


def _code(module: str) -> Iterator[tuple[str, int, int]]:
    """Files of a top-level module or package, with size and time; none where it is not found."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return
    if spec is None:
        return
    places = spec.submodule_search_locations
    files = (
        [file for place in places for file in Path(place).rglob("*.py")]
        if places is not None
        else [Path(spec.origin or "")]
    )
    for file in files:
        with suppress(OSError):
            found = file.stat()
            yield str(file), found.st_size, found.st_mtime_ns
