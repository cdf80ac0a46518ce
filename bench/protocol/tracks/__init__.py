"""The tracks, as data files beside this module."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from bench.errors import ConfigError, UnknownNameError
from bench.protocol.spec import Track

DEFAULT = "small"
_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the tracks that ship with the benchmark, smallest first."""
    return ("smoke", "small", "mini", "standard", "openfwi")


def load(name: str) -> Track:
    """A track by its name, or from the path of a TOML file (for a track of your own).

    Raises `UnknownNameError` for a name that is not a track, `ConfigError` for a bad file.
    """
    if name in names():
        path = _FOLDER / f"{name}.toml"
    elif name.endswith(".toml"):
        path = Path(name)
    else:
        raise UnknownNameError("track", name, names())
    try:
        return Track.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"Track file {path} cannot be read: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"Track file {path} is not valid at '{where}': {first['msg']}."
        ) from error
