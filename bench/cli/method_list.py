"""What `bench methods` lists, kept in the user's cache: to import all plugins, adapt a network with
each and count takes ten seconds, and gives the same until something is installed or edited.
"""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from bench import installation
from bench.atomic import write_atomically
from bench.entry_points import HARNESS
from bench.errors import BenchError, HomeError
from bench.protocol.spec import digest

if TYPE_CHECKING:
    from bench.plugins.registry import Installed


def listed(backbone: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Rows of methods on a backbone, and plugins with problems, as ``bench methods --json`` has
    them.

    Kept rows are those of the same installation, see `bench.installation`. Nothing is kept while
    there are problems, and nothing but the cache is written. Raises what `backbones.build` raises.
    """
    state = installation.state()
    path = user_cache_path(HARNESS) / f"methods-{digest([sys.prefix, backbone])}.json"
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(kept, dict) and state is not None and kept.get("state") == state:
            content: dict[str, Any] = kept["content"]
            return content
    say("Counting parameters; they are kept until the installed packages change …")
    content = _counted(backbone)
    if state is not None and not content["problems"] and not content["meddlers"]:
        with suppress(HomeError):  # a cache that cannot be written is none
            write_atomically(path, json.dumps({"state": state, "content": content}).encode())
    return content


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
