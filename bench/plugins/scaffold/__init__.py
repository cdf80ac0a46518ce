"""`bench new-method`: a small installable package with one method in it."""

import keyword
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from string import Template

from bench.errors import ConfigError, HomeError
from bench.plugins import registry

_FILES = {
    "pyproject.toml.template": "pyproject.toml",
    "README.md.template": "README.md",
    "method.py.template": "${module}.py",
    "test_method.py.template": "tests/test_${module}.py",
}


def write(name: str, folder: Path) -> Path:
    """Write the package of a new method into `folder`/bench-method-NAME; returns that path.

    It has a pyproject with the entry point, one file with a working method (it trains all biases),
    a test that calls the conformance suite, and a README.

    Raises `ConfigError` for a name that is not valid or that an installed method has, and
    `HomeError` for a target that exists or cannot be written; nothing is left behind then.
    """
    if name in registry.RESERVED:
        raise ConfigError(
            f"No method can be called '{name}', which {registry.RESERVED[name]}; choose another "
            "name."
        )
    if not registry.valid_name(name) or keyword.iskeyword(name):
        raise ConfigError(
            f"'{name}' is no valid method name; use lower-case letters, digits and underscores, "
            "starting with a letter, such as 'my_method'."
        )
    if name in registry.names():
        raise ConfigError(f"A method '{name}' is installed already; choose another name.")
    values = {
        "name": name,
        "module": f"bench_method_{name}",
        "distribution": f"bench-method-{name.replace('_', '-')}",
        "config": "".join(part.capitalize() for part in name.split("_")) + "Config",
    }
    target = folder / values["distribution"]
    if target.exists():
        raise HomeError(f"{target} exists already; remove it or choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-method-") as temporary:
            package = Path(temporary) / target.name
            for template, path in _FILES.items():
                text = files(__name__).joinpath(template).read_text(encoding="utf-8")
                file = package / Template(path).substitute(values)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(Template(text).substitute(values), encoding="utf-8")
            shutil.move(package, target)
    except OSError as error:
        raise HomeError(
            f"Cannot write {target}: {error.strerror or error}; choose another folder."
        ) from error
    return target
