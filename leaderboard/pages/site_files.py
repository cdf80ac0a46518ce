"""Files of the site: templates are filled in and written."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from leaderboard.tables import text

ASSETS = Path(__file__).parents[1] / "assets"


@cache
def environment() -> Environment:
    """Template environment: values are escaped, an undefined name is an error.

    A process compiles each template once, for however many sites.
    """
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
    """Writer of pages below one folder; counts them."""

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
