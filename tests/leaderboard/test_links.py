"""Every link of the rendered site leads to a file, and every fragment to an element there."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import factory
import html5lib
import matrix
import pytest

from leaderboard.build import render
from leaderboard.load import records


class _Anchors(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {str(values["id"])} if values.get("id") else set()
        self.links += [(tag, str(values[k])) for k in ("href", "src") if values.get(k)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with every kind of page, a failed run and a method all of whose runs failed."""
    home = tmp_path_factory.mktemp("home")
    factory.populate(home, factory.METHODS[:3], seeds=(0,), percents=(10, 100))
    factory.make(home, factory.LORA, ("Style_A",), holdout=True)
    factory.make(home, factory.BITFIT, ("Style_A",), status="failed")
    factory.make(home, factory.ADAPTER, ("FlatVel_A",), status="failed")
    return render.build([home], tmp_path_factory.mktemp("out") / "site").index.parent


@pytest.mark.exhaustive
def test_the_boards_of_a_home_are_told_apart_from_published_ones(
    unpublished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PUBLISHED", unpublished / "small")
    smoke = factory.TRACK.model_copy(update={"name": "smoke"})  # never on the front page
    factory.make(tmp_path / "home", factory.LORA, ("Style_A",), track=smoke)
    built = render.build([tmp_path / "home"], tmp_path / "site")
    ((title, page),) = built.local
    assert f"<title>{title} · " in page.read_text(encoding="utf-8")
    assert title.startswith("smoke · ")
    assert page != built.index


@pytest.mark.parametrize("name", matrix.part(["site", "published_site"], "site"))
def test_every_link_leads_somewhere(name: str, request: pytest.FixtureRequest) -> None:
    site: Path = request.getfixturevalue(name)
    pages = {p.resolve(): _Anchors(p.read_text(encoding="utf-8")) for p in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for tag, link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert (tag, parts.scheme) == ("a", "https"), f"{path.name}: {link}"
                continue
            target = (path.parent / parts.path).resolve() if parts.path else path
            named = parts.fragment and "=" not in parts.fragment  # the state of a view has a "="
            if not target.is_file() or (
                named and target in pages and parts.fragment not in pages[target].ids
            ):
                broken.append(f"{path.relative_to(site.resolve())}: {link}")
    assert broken == []


@pytest.mark.parametrize("name", matrix.part(["site", "published_site"], "site"))
def test_pages_are_valid_html(name: str, request: pytest.FixtureRequest) -> None:
    site: Path = request.getfixturevalue(name)
    for path in sorted(site.glob("*.html")) + sorted(site.glob("runs/*.html"))[:3]:
        parser = html5lib.HTMLParser(strict=False)
        parser.parse(path.read_text(encoding="utf-8"))
        found = [(place, code) for place, code, _ in parser.errors]
        assert found == [], path.name


def test_pages_describe_themselves_and_link_out(site: Path) -> None:
    for path in site.glob("*.html"):
        html = path.read_text(encoding="utf-8")
        assert re.search(r'<meta name="description" content="[^"]{40,200}">', html), path.name
        assert "https://arxiv.org/abs/2412.19510" in html
    method = next(p for p in site.glob("methods/*.html"))
    assert "https://openfwi-lanl.github.io/" in method.read_text()
