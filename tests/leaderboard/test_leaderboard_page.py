"""Markup, colours and pictures of the site: valid, labelled, readable, safe."""

import io
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import factory
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab
from skimage.filters import sobel

from bench.seismic import colours
from bench.seismic.complexity import spatial_information
from leaderboard.build import render
from leaderboard.figures import maps, palette, svg
from leaderboard.load.records import slug
from leaderboard.pages.runs import chosen
from leaderboard.pages.site_files import ASSETS
from leaderboard.tables import text

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Notes what a page is made of; raises at a tag that is not closed in its place."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({k for k, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """Every page of a small site that has every kind of page."""
    home = tmp_path_factory.mktemp("home")
    methods = (factory.BASELINE, factory.FFT, factory.LORA)
    factory.populate(home, methods, seeds=(0,), percents=(10, 100))
    factory.make(home, factory.LORA, ("Style_A",), holdout=True)
    factory.make(home, factory.BITFIT, ("Style_A",), status="failed")
    folder = render.build([home], tmp_path_factory.mktemp("out") / "site").index.parent
    files = sorted(folder.rglob("*.html"))
    return {str(p.relative_to(folder)): Page(p.read_text(encoding="utf-8")) for p in files}


def test_pages_are_well_formed_and_labelled(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        ids = Counter(a["id"] for _, a in page.tags if "id" in a)
        assert [i for i, n in ids.items() if n > 1] == [], name
        tables = [a for tag, a in page.tags if tag == "table"]
        named = sum("aria-label" in a or "aria-labelledby" in a for a in tables)
        captions = sum(tag == "caption" for tag, _ in page.tags)
        assert named + captions == len(tables), f"{name}: a table without a name"
        for tag, attributes in page.tags:
            if tag == "svg":
                named = attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
                assert named, f"{name}: a figure without a text alternative"
            if tag == "input":
                assert attributes.get("aria-label"), name
            if tag == "th":
                assert attributes.get("scope"), f"{name}: a heading that heads nothing"
            if tag == "img":
                assert "alt" in attributes, name
            for reference in ("aria-labelledby", "aria-describedby"):
                if reference in attributes:
                    assert attributes[reference] in ids, f"{name}: {attributes[reference]}"
        assert sum(tag == "h1" for tag, _ in page.tags) == 1, name


def test_the_security_policy_is_strict_and_kept(pages: dict[str, Page]) -> None:
    """Only own scripts and styles; nothing inline, nothing from elsewhere."""
    for name, page in pages.items():
        policies = [a["content"] for tag, a in page.tags if "Content-Security-Policy" in a.values()]
        assert len(policies) == 1
        assert "default-src 'none'" in str(policies[0]) and "unsafe" not in str(policies[0])
        for tag, attributes in page.tags:
            assert "style" not in attributes and tag != "style", name
            assert not [a for a in attributes if a.startswith("on")], name
            for key in ("src", "href"):
                if tag != "a":  # a link out loads nothing
                    assert not re.match(r"(?i)\s*([a-z]+:|//)", str(attributes.get(key, ""))), name
            data = attributes.get("type") == "application/json"  # no script to a browser
            assert tag != "script" or data or attributes.get("src"), name


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    """WCAG 2.1 contrast ratio."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _themes() -> list[dict[str, str]]:
    sheet = (ASSETS / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", sheet)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]
    return [theme for theme in found if theme]


def test_text_has_contrast_aa_in_both_themes() -> None:
    light, *darks = _themes()
    assert len(darks) == 2 and darks[0] == darks[1]  # by choice and by preference alike
    for number, theme in enumerate((light, {**light, **darks[0]})):
        for paper in ("paper", "raised", "tint"):
            for ink in ("ink", "soft", "accent", "good", "bad"):
                assert _contrast(theme[ink], theme[paper]) >= 4.5, (number, ink, paper)
            for pair in palette.COLOURS:
                assert _contrast(pair[number], theme[paper]) >= 3, (number, pair)
        assert _contrast(theme["warn"], theme["warn-bg"]) >= 4.5


def test_velocity_scale_rises_in_lightness() -> None:
    """Order must be readable without hue (CIE L*, scikit-image)."""
    lightness = rgb2lab(colours.palette("velocity")[None] / 255.0)[0, :, 0]
    assert (np.diff(lightness) > -0.2).all() and lightness[-1] - lightness[0] > 70
    error = rgb2lab(colours.palette("error")[None] / 255.0)[0, :, 0]
    assert error[127] > 95 and abs(error[0] - error[-1]) < 10


def test_sheet_is_a_png_with_the_right_colours() -> None:
    """Decoded by Pillow: slow is the scale's dark end, no error is its middle."""
    slow = np.full((70, 70), 1500, np.uint16)
    fast = np.full((70, 70), 4500, np.uint16)
    rows = [
        [maps.velocity_tile(slow), maps.velocity_tile(fast)],
        [maps.error_tile(slow, slow), maps.error_tile(fast, slow)],
    ]
    sheet = maps.Sheet.of(rows)
    image = np.asarray(Image.open(io.BytesIO(sheet.png)).convert("RGB"))
    assert image.shape == (sheet.height, sheet.width, 3)
    velocity, error = colours.palette("velocity"), colours.palette("error")
    assert (image[0, 0] == velocity[0]).all()
    assert (image[69, maps.PITCH + 69] == velocity[255]).all()
    assert np.abs(image[maps.PITCH, 0].astype(int) - error[127]).max() <= 3
    assert (image[maps.PITCH + 5, maps.PITCH + 5] == error[255]).all()  # beyond the range


def test_spatial_information_is_scikit_images_sobel() -> None:
    velocity = np.random.default_rng(0).integers(1500, 4501, (3, 70, 70)).astype(np.uint16)
    expected = [sobel(v.astype(float)).mean() for v in velocity]
    assert spatial_information(velocity) == pytest.approx(expected, rel=1e-12)


@given(st.text(max_size=80), st.text(max_size=80))
def test_slugs_are_safe_and_distinct(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", slug(one))
    assert (slug(one) == slug(other)) == (one == other)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_even_and_inside(low: float, span: float) -> None:
    high = low + span
    if high - low < 1e-9 * max(abs(low), 1):
        return
    found = svg.ticks(low, high, 5)
    assert 1 <= len(found) <= 7
    assert all(low - 1e-6 * span <= v <= high + 1e-6 * span for v in found)
    steps = [b - a for a, b in pairwise(found)]
    assert all(step == pytest.approx(steps[0], rel=1e-3, abs=1e-9) for step in steps)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=9))
def test_chosen_are_best_median_and_worst(errors: list[float]) -> None:
    picks = dict(chosen(np.array(errors)))
    assert errors[picks["best"]] == min(errors)
    worst = picks.get("worst", picks["best"])
    assert errors[worst] == max(errors)
    assert len(set(picks.values())) == min(len(errors), 3)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (text.short(1_148_480), "1.15\u00a0M"),
        (text.count(24_409_123), "24\u202f409\u202f123"),
        (text.size(4_600_000), "4.39\u00a0MiB"),
        (text.size(1_020 * 2**20), "1020\u00a0MiB"),
        (text.short(999_900), "1\u00a0M"),
        (text.short(999.9), "1\u00a0k"),
        (text.duration(3_725), "1\u00a0h 02\u00a0min"),
        (text.duration(59.99), "60\u00a0s"),
        (text.signed(-0.04), "0.0"),
        (text.signed(-2.25, 2), "−2.25"),
        (text.score(None), "–"),
        (text.command(("bench", "run", "--set", "a=b c")), "bench run --set 'a=b c'"),
    ],
)
def test_numbers_as_people_read_them(shown: str, expected: str) -> None:
    assert shown == expected


def test_a_failed_fit_says_why(pages: dict[str, Page]) -> None:
    assert len([name for name in pages if name.startswith("runs/")]) == 1 + 6 + 24 + 2


def test_assets_are_written_once(tmp_path: Path) -> None:
    render.build([], tmp_path / "site")
    names = {p.name for p in (tmp_path / "site" / "assets").iterdir()}
    assert names == {p.name for p in ASSETS.iterdir()} | {"methods.css"}
