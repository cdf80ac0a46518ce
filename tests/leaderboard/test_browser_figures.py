"""The published runs in a real browser: figures of protocol v2, errors in m/s, worst samples."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

pytestmark = [pytest.mark.browser, pytest.mark.exhaustive]

MPS = 1500
BOARD = "small-inversionnet_quarter-*"
LOOKS = """
const corners = (e) => (e.getAttribute('points') || '').split(' ').length;
return [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility())
  .map((e) => [getComputedStyle(e).fill, e.tagName, corners(e)]);
"""
"""Colour and shape of each visible mark."""


@pytest.fixture(scope="module")
def site(published_site: Path) -> Path:
    return published_site


@pytest.fixture
def page(browser: Chrome, site: Path) -> Iterator[Chrome]:
    """Afterwards: no message on the console."""
    browser.set_window_size(1360, 1000)
    browser.get("about:blank")
    browser.get_log("browser")
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def _open(page: Chrome, site: Path, kind: str, state: str = "") -> None:
    (path,) = site.glob(f"{BOARD}-{kind}.html") if kind else [site / "index.html"]
    page.get("about:blank")
    page.get(path.as_uri() + state)


def _shown(page: Chrome, selector: str) -> list[str]:
    return [e.text for e in page.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]


def _number(text: str) -> float:
    return float(text.replace("−", "-").replace("\u202f", ""))


def test_every_method_keeps_its_mark_between_backbones(page: Chrome, site: Path) -> None:
    _open(page, site, "backbones")
    assert _shown(page, "section h2") == ["Out of distribution"]
    looks = page.execute_script(LOOKS, ".plot .dot")
    assert len(looks) == 10 and len({tuple(look) for look in looks}) == 5
    assert looks[::2] == looks[1::2]
    page.find_element(By.CSS_SELECTOR, '[data-choose="id"]').click()
    assert _shown(page, "section h2") == ["In distribution"] and "tested=id" in page.current_url
    rows = [tr for tr in page.find_elements(By.CSS_SELECTOR, "tbody tr") if tr.is_displayed()]
    assert len(rows) == 5
    assert _shown(page, ".take button") == ["SVG", "PNG"]


def test_gain_against_loss_switches_and_a_legend_hides(page: Chrome, site: Path) -> None:
    _open(page, site, "robustness")
    assert len(page.find_elements(By.CSS_SELECTOR, "#shift ~ .panels svg")) == 7
    scatter = "[data-shown-by=gain]:not([hidden])"
    figure = page.find_element(By.CSS_SELECTOR, scatter)
    assert figure.get_attribute("data-is") == "id"
    page.find_element(By.CSS_SELECTOR, '[data-choose="ood"]').click()
    figure = page.find_element(By.CSS_SELECTOR, scatter)
    assert figure.get_attribute("data-is") == "ood" and "gain=ood" in page.current_url
    button = page.find_element(By.CSS_SELECTOR, "[data-series]")
    mark = f"{scatter} .s-{button.get_attribute('data-series')}"
    assert page.find_element(By.CSS_SELECTOR, mark).is_displayed()
    button.click()
    assert not page.find_element(By.CSS_SELECTOR, mark).is_displayed()


@pytest.mark.parametrize("kind", ["", "robustness", "backbones", "compare", "claims", "ood"])
def test_errors_are_shown_in_mps_and_back(page: Chrome, site: Path, kind: str) -> None:
    """Every number on [−1, 1] is 1500 times as large; the address keeps the choice."""
    _open(page, site, kind)
    before = page.execute_script(
        "return [...document.querySelectorAll('data')].map((e) => [e.textContent, e.value])"
    ) + page.execute_script(
        "return [...document.querySelectorAll('[data-mae]')]"
        ".map((e) => [e.textContent, e.dataset.mae || e.textContent])"
    )
    words = page.find_element(By.TAG_NAME, "main").text
    assert len(before) > 10 and "m/s" not in "".join(_shown(page, "[data-unit]"))
    button = page.find_element(By.ID, "unit")
    button.click()
    assert button.get_attribute("aria-pressed") == "true" and "unit=mps" in page.current_url
    address = page.current_url
    for visit in range(2):
        after = page.execute_script(
            "return [...document.querySelectorAll('data'), ...document.querySelectorAll("
            "'[data-mae]')].map((e) => e.textContent)"
        )
        for (text, exact), shown in zip(before, after, strict=True):
            decimals = len(shown.split(".")[1]) if "." in shown else 0
            expected = MPS * _number(exact)
            assert _number(shown) == pytest.approx(expected, abs=0.5000001 * 10**-decimals), text
            assert shown.startswith("+") == text.startswith("+")
        assert "[−1, 1]" not in "".join(_shown(page, "[data-unit]"))
        if not visit:
            page.get("about:blank")
            page.get(address)
    page.find_element(By.ID, "unit").click()
    assert page.find_element(By.TAG_NAME, "main").text == words and "unit" not in page.current_url


def test_other_state_is_kept_beside_the_unit_and_tips_follow(page: Chrome, site: Path) -> None:
    _open(page, site, "", "#cols=ood,mae&plot=ood,adapter_bytes")
    dot = page.find_element(By.CSS_SELECTOR, "figure:not([hidden]) .dot[tabindex]")
    page.execute_script("arguments[0].focus()", dot)
    tip = page.find_element(By.ID, "tip").text
    (error,) = re.findall(r"MAE (\d\.\d{4}) \(", tip)
    assert "{" not in tip
    page.find_element(By.ID, "unit").click()
    assert "cols=ood,mae" in page.current_url and "unit=mps" in page.current_url
    page.execute_script("arguments[0].blur(); arguments[0].focus()", dot)
    # The pointer, still on the button, may have hidden it again
    tip = page.find_element(By.ID, "tip").get_attribute("textContent") or ""
    (mps,) = re.findall(r"MAE ([\d\u202f.]+) \(", tip)
    assert _number(mps) == pytest.approx(MPS * float(error), abs=0.051)
    search = page.find_element(By.ID, "search")
    search.send_keys("lora")
    assert "unit=mps" in page.current_url and "q=lora" in page.current_url


def test_without_a_script_the_values_are_those_of_the_records(page: Chrome, site: Path) -> None:
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        _open(page, site, "backbones", "#unit=mps")
        assert not page.find_element(By.ID, "unit").is_displayed()
        texts = [e.get_attribute("innerHTML") for e in page.find_elements(By.TAG_NAME, "data")]
        assert texts and all(re.fullmatch(r"0\.\d{4}", str(text)) for text in texts)
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_pages_without_such_numbers_have_no_switch(page: Chrome, site: Path) -> None:
    _open(page, site, "memory")
    assert not page.find_element(By.ID, "unit").is_displayed()


def test_families_of_comparisons_are_named_with_their_size(page: Chrome, site: Path) -> None:
    """8 methods at their usual learning rate are 28 pairs, on the front page and when compared."""
    _open(page, site, "")
    reading = page.find_element(By.ID, "reading").text
    assert "28 pairs in distribution, 28 pairs out of distribution" in reading
    _open(page, site, "compare")
    rows = page.find_elements(By.CSS_SELECTOR, "#content table:first-of-type tbody tr")
    shown = [row for row in rows if row.is_displayed()]
    assert len(shown) == 8
    assert f"{8 * 7 // 2} pairs" in "".join(_shown(page, "caption"))
    _open(page, site, "claims")
    tested = len([p for p in _shown(page, "td:nth-child(5)") if p != "–"])
    assert f"The {tested} claims with a p-value are one family" in "".join(_shown(page, "caption"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_new_pages_have_no_serious_findings(
    page: Chrome, site: Path, axe: Callable[[Chrome, Path, str], list[str]], theme: str
) -> None:
    for kind in ("robustness", "backbones", "gallery"):
        (path,) = site.glob(f"{BOARD}-{kind}.html")
        assert axe(page, path, theme) == [], kind


def test_a_phone_shows_the_new_pages_without_scrolling_sideways(page: Chrome, site: Path) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        for kind in ("robustness", "backbones", "gallery", ""):
            _open(page, site, kind)
            root = "document.documentElement"
            wide = page.execute_script(f"return {root}.scrollWidth - {root}.clientWidth")
            assert wide <= 0, kind
            small = page.execute_script(
                "return [...document.querySelectorAll('svg.plot text')].filter((t) => {"
                "const m = t.getScreenCTM(); return t.checkVisibility() && m &&"
                "parseFloat(getComputedStyle(t).fontSize) * Math.hypot(m.a, m.b) < 8; })"
                ".map((t) => t.textContent)"
            )
            assert small == [], kind
        _open(page, site, "gallery")
        assert page.execute_script("return document.documentElement.scrollHeight") < 13_000
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
