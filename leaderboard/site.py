"""Files of the site: templates, safe writing, atomic replacement."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.errors import HomeError
from leaderboard import text

ASSETS = Path(__file__).parent / "assets"
MARK = "fwi-peft-bench-site"
"""A file of this name tells that a folder is a site of ours and may be replaced."""


def environment() -> Environment:
    """Every value is escaped; a name that a template does not get is an error."""
    made = Environment(
        loader=PackageLoader("leaderboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(text.FILTERS)
    return made


class Site:
    """Writes pages below one folder. Counts them."""

    def __init__(self, folder: Path, title: str) -> None:
        self.folder = folder
        self.title = title
        self.pages = 0
        self._environment = environment()
        self._folders: set[Path] = set()

    def page(self, name: str, template: str, **values: object) -> None:
        """Render one page; `name` is its path in the site, at most one folder deep."""
        root = "../" * name.count("/")
        content = self._environment.get_template(f"{template}.html.j2").render(
            root=root, here=name, site_title=self.title, **values
        )
        self.pages += 1
        self.file(name, content.encode())

    def file(self, name: str, content: bytes) -> None:
        path = self.folder / name
        if path.parent not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(path.parent)
        path.write_bytes(content)


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A new folder that takes the place of `out` when the block ends without an error.

    Raises `HomeError` if `out` holds something that is not a site, or cannot be written.
    """
    out = out.expanduser().absolute()
    if out.exists() and not _replaceable(out):
        raise HomeError(
            f"{out} is not empty and not a leaderboard site; choose another folder with --out."
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise HomeError(f"Cannot write beside {out}: {error.strerror or error}.") from error
    try:
        (fresh / MARK).write_text("")
        yield fresh
        fresh.chmod(0o755)
        _swap(fresh, out)
    except OSError as error:
        raise HomeError(
            f"Cannot write the site to {out}: {error.strerror or error}; "
            "free space or choose another folder with --out."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _replaceable(out: Path) -> bool:
    return out.is_dir() and ((out / MARK).exists() or not any(out.iterdir()))


def _swap(fresh: Path, out: Path) -> None:
    """Two renames: at no moment is there a half-written site under the name."""
    if not out.exists():
        fresh.replace(out)
        return
    old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.old."))
    out.replace(old / "site")
    try:
        fresh.replace(out)
    except OSError:
        (old / "site").replace(out)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
