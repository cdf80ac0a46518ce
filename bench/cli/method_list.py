"""What `bench methods` lists, kept in the user's cache: to import all plugins, adapt a network with
each and count takes ten seconds, and gives the same until something is installed or edited.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from bench.atomic import write_atomically
from bench.entry_points import HARNESS, distribution, find
from bench.errors import BenchError, HomeError
from bench.protocol.spec import digest

if TYPE_CHECKING:
    from bench.plugins.registry import Installed

_GROUPS = ("bench.methods", "bench.backbones")
_INSTALLED = (".dist-info", ".egg-info", ".egg-link", ".pth")


def listed(backbone: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Rows of methods on a backbone, and plugins with problems, as ``bench methods --json`` has
    them.

    Kept rows are those of the same installation: packages by name, version and time of
    installation, and the code of all that have plugins. Nothing is kept while there are problems,
    and nothing but the cache is written. Raises what `backbones.build` raises.
    """
    state = _state(backbone)
    path = user_cache_path(HARNESS) / f"methods-{digest([sys.prefix, backbone])}.json"
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(kept, dict) and kept.get("state") == state:
            content: dict[str, Any] = kept["content"]
            return content
    say("Counting parameters; they are kept until the installed packages change …")
    content = _counted(backbone)
    if not content["problems"] and not content["meddlers"]:
        with suppress(HomeError):  # a cache that cannot be written is none
            write_atomically(path, json.dumps({"state": state, "content": content}).encode())
    return content


def _state(backbone: str) -> str:
    """Hash of all that the rows depend on, without importing any of it."""
    entries = [entry for group in _GROUPS for entry in find(group)]
    modules = {entry.value.partition(":")[0].partition(".")[0] for entry in entries} | {"bench"}
    facts = [
        backbone,
        sys.version,
        sorted((entry.group, entry.name, entry.value, *distribution(entry)) for entry in entries),
        sorted(_installed()),
        sorted(fact for module in modules for fact in _code(module)),
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


def _counted(backbone: str) -> dict[str, Any]:
    from dataclasses import asdict

    from bench.plugins import parameter_counts, registry

    parameter_counts.check_builds(backbone)
    found = registry.load()
    rows = [_row(installed, backbone) for installed in found.methods.values()]
    content = {
        "methods": rows,
        "problems": [asdict(problem) for problem in found.problems],
        "meddlers": [asdict(problem) for problem in found.meddlers],
    }
    plain: dict[str, Any] = json.loads(json.dumps(content))  # as from the cache
    return plain


def _row(installed: "Installed", backbone: str) -> dict[str, Any]:
    from dataclasses import asdict

    from bench.errors import describe
    from bench.plugins import parameter_counts

    method = installed.method
    trainable = total = unsuited = None
    try:
        if layers := parameter_counts.missing_layers(method, backbone):
            unsuited = f"not on {backbone}: needs {layers}"
        else:
            counts = parameter_counts.count(method, method.config(), backbone)
            trainable, total = counts.trainable, counts.total
    except BenchError as error:  # of one method, and the others are listed all the same
        unsuited = f"not on {backbone}: {describe(error)}"
    return {
        "name": method.name,
        "summary": method.summary,
        "source": method.source,
        "distribution": installed.distribution,
        "distribution_version": installed.distribution_version,
        "method_version": method.version_on(backbone),
        "traits": asdict(method.traits) | {"needs": sorted(method.traits.needs)},
        "config": method.config().model_dump(mode="json"),
        "backbone": backbone,
        "trainable_parameters": trainable,
        "total_parameters": total,
        "unsuited": unsuited,
    }
