"""Files of the user that Python would import in place of this distribution's packages."""

from importlib.util import find_spec
from pathlib import Path

import bench
from bench.errors import ConfigError

_PACKAGES = ("methods", "leaderboard")


def check() -> None:
    """Raise `ConfigError` naming the file or folder that shadows a package of this distribution.

    The working directory comes first among the places Python looks in with ``python -m bench``, and
    with ``PYTHONPATH=.``. None of it is imported.
    """
    own = Path(bench.__file__).resolve().parent.parent
    for name in _PACKAGES:
        spec = find_spec(name)
        places = [spec.origin] if spec and spec.origin else []
        places += list((spec.submodule_search_locations if spec else None) or ())
        if not places or places[0] is None:
            continue
        path = Path(places[0]).resolve()
        path = path.parent if path.name == "__init__.py" else path
        if path.parent != own:
            raise ConfigError(
                f"{path} stands in the way of the package '{name}' in {own}; rename it, or run the "
                "command in another folder."
            )
