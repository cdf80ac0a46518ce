"""The tracks, as data files beside this module."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from bench.errors import ConfigError, UnknownNameError, one_line
from bench.files import open_regular
from bench.protocol.spec import Track

DEFAULT = "small"
_FOLDER = Path(__file__).parent
_LARGEST_FILE = 4_000_000
"""Bytes; a track that names all files of the release has 60,000."""


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
    text = _read(path)
    try:
        return Track.model_validate(tomllib.loads(text))
    except RecursionError as error:
        raise ConfigError(f"Track file {path} cannot be read: nested too deeply.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"Track file {path} cannot be read: {one_line(str(error))}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = one_line(".".join(map(str, first["loc"])))
        raise ConfigError(
            f"Track file {path} is not valid at '{where}': {one_line(first['msg'])}."
        ) from error


def _read(path: Path) -> str:
    """The text of a track file, in UTF-8, with or without a byte-order mark."""
    try:
        with open_regular(path) as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(
            f"Track file {path} cannot be read: {error.strerror or error}."
        ) from error
    if len(content) > _LARGEST_FILE:
        raise ConfigError(f"Track file {path} is larger than {_LARGEST_FILE:,} bytes; is it one?")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"Track file {path} is not in UTF-8 (byte {error.start}); save it in that encoding."
        ) from error
