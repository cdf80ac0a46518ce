"""`bench new-method` and `bench new-backbone`: a small installable package with one plugin in it.

The templates of each kind are in a folder of its name.
"""

import keyword
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

from bench.errors import ConfigError, HomeError
from bench.models import backbones
from bench.plugins import registry

Kind = Literal["method", "backbone"]

_FILES = {
    "pyproject.toml.template": "pyproject.toml",
    "README.md.template": "README.md",
    "plugin.py.template": "${module}.py",
    "test_plugin.py.template": "tests/test_${module}.py",
}


def write(name: str, folder: Path, kind: Kind = "method") -> Path:
    """Write the package of a new plugin into `folder`/bench-KIND-NAME; returns that path.

    It has a pyproject with the entry point, one file with a working plugin (a method that trains
    all biases, or a small convolutional backbone), a test that calls the conformance suite, and a
    README.

    Raises `ConfigError` for a name that is not valid or that an installed plugin of the kind has,
    and `HomeError` for a target that exists or cannot be written; nothing is left behind then.
    """
    if kind == "method" and name in registry.RESERVED:
        raise ConfigError(
            f"No method can be called '{name}', which {registry.RESERVED[name]}; choose another "
            "name."
        )
    if not registry.valid_name(name) or keyword.iskeyword(name):
        raise ConfigError(
            f"'{name}' is no valid {kind} name; use lower-case letters, digits and underscores, "
            f"starting with a letter, and no word of Python's own, such as 'my_{kind}'."
        )
    if name in _installed(kind):
        raise ConfigError(f"A {kind} '{name}' is installed already; choose another name.")
    values = {
        "name": name,
        "module": f"bench_{kind}_{name}",
        "distribution": f"bench-{kind}-{name.replace('_', '-')}",
        "classname": "".join(part.capitalize() for part in name.split("_")),
    }
    target = folder / values["distribution"]
    if target.exists():
        raise HomeError(f"{target} exists already; remove it or choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".new-{kind}-") as temporary:
            package = Path(temporary) / target.name
            for template, path in _FILES.items():
                source = files(__name__).joinpath(kind, template)
                file = package / Template(path).substitute(values)
                file.parent.mkdir(parents=True, exist_ok=True)
                text = Template(source.read_text(encoding="utf-8")).substitute(values)
                file.write_text(text, encoding="utf-8")
            shutil.move(package, target)
    except OSError as error:
        raise HomeError(
            f"Cannot write {target}: {error.strerror or error}; choose another folder."
        ) from error
    return target


def _installed(kind: Kind) -> set[str]:
    """Names of the installed plugins of a kind, those that cannot be used among them."""
    if kind == "backbone":
        return set(backbones.names())
    return registry.names()
