"""The site in a real browser: it works by mouse and keyboard, says no error, asks for nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import factory
import matrix
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from bench.records import measurement
from leaderboard.build import render

pytestmark = pytest.mark.browser

Axe = Callable[[Chrome, Path, str], list[str]]

SMALL_PRINT = """
return [...document.querySelectorAll('svg.plot text')].filter((t) => t.checkVisibility())
  .filter((t) => {
    const m = t.getScreenCTM();
    return parseFloat(getComputedStyle(t).fontSize) * Math.hypot(m.a, m.b) < 8;
  })
  .map((t) => t.textContent);
"""
"""Texts in figures that are drawn smaller than 8 pixels."""
FIRST_COLUMN = """
const wrap = document.querySelector('.board-wrap');
return wrap.querySelector('tbody .first').getBoundingClientRect().width / wrap.clientWidth;
"""
"""Part of the table's width that stays in place when it is scrolled sideways."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with several methods and seeds, and every kind of page."""
    home = tmp_path_factory.mktemp("home")
    factory.populate(home, factory.METHODS[:4])
    for rank in (4, 8):
        for alpha in (4.0, 8.0):
            lora = factory.Fake(name="lora", config={"rank": rank, "alpha": alpha})
            factory.make(home, lora, ("Style_A",), holdout=True, maps=False)
    turns = {"fft": (2.0, 8.0, 4.0), "lora": (1.0, 2.0, 1.0), "adapter": (1.5, 1.5, 1.5)}
    long_name = "A Processor With Quite a Long Name 9999X 128-Core"
    for i, processor in enumerate(("Test CPU", long_name)):
        measured = factory.measurement(turns, processor=processor)
        measurement.write(measured, home / "speed" / f"{i}.json")
    return render.build([home], tmp_path_factory.mktemp("out") / "site").index.parent


@pytest.fixture
def page(browser: Chrome, site: Path) -> Iterator[Chrome]:
    """The front page; afterwards: no message on the console, no request but for our files."""
    browser.set_window_size(1360, 1000)
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)  # what Chromium did before is not ours
    browser.get((site / "index.html").as_uri())
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    asked = {urlsplit(url).scheme for url in _requests(browser)}
    assert asked <= {"file", "about", "data", "blob"}  # a figure on its way to a PNG


def _requests(browser: Chrome) -> Iterator[str]:
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def _all(browser: Chrome, selector: str) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, selector)


def _one(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def _methods(browser: Chrome) -> list[str]:
    heads = [th for th in _all(browser, "table.board tbody tr th") if th.is_displayed()]
    return [th.get_attribute("data-sort") or "" for th in heads]


def _heads(browser: Chrome) -> list[str]:
    cells = [th for th in _all(browser, "th[data-key]") if th.is_displayed()]
    return [th.get_attribute("data-key") or "" for th in cells]


def test_sorting_by_a_column_and_back(page: Chrome) -> None:
    before = _methods(page)
    button = _one(page, 'th[data-key="trainable_parameters"] button')
    button.click()
    assert _methods(page)[0] == "bitfit"  # 8,642 parameters, the fewest
    head = _one(page, 'th[data-key="trainable_parameters"]')
    assert head.get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    assert _methods(page)[-1] == "bitfit"
    button.send_keys(Keys.ENTER)
    assert _methods(page) == before


def test_search_filter_and_the_address(page: Chrome) -> None:
    _one(page, "#search").send_keys("LoRA")
    assert _methods(page) == ["lora"]
    assert _one(page, "#status").text == "1 of 4 methods"
    _one(page, "#search").clear()
    _one(page, "#search").send_keys(" ")
    _one(page, '[data-filter="full"]').click()
    assert sorted(_methods(page)) == ["baseline", "fft"]
    assert "cat=full" in page.current_url


def test_a_linked_view_opens_as_it_was(page: Chrome, site: Path) -> None:
    start = (site / "index.html").as_uri()
    page.get("about:blank")
    page.get(f"{start}#sort=trainable_parameters.desc&cat=additive,selective&cols=ood,ssim")
    assert _methods(page) == ["lora", "bitfit"]
    assert _heads(page) == ["method", "ood-rank", "ood-ssim", "ood-ssim-gain"]


def test_a_protocol_that_nobody_ran_is_folded(browser: Chrome, tmp_path: Path) -> None:
    factory.populate(
        tmp_path / "home", factory.METHODS[:2], percents=(100,), pretraining=False, maps=False
    )
    browser.get(render.build([tmp_path / "home"], tmp_path / "site").index.as_uri())
    assert not [key for key in _heads(browser) if key.startswith("lowdata")]
    assert _one(browser, '[data-columns="lowdata"]').get_attribute("aria-pressed") == "false"


def test_columns_toggle(page: Chrome) -> None:
    assert "id-rmse" not in _heads(page)
    _one(page, '[data-columns="rmse"]').click()
    assert "id-rmse" in _heads(page)
    _one(page, '[data-columns="id"]').click()
    assert "id-rmse" not in _heads(page) and "ood-rmse" in _heads(page)


def test_figures_switch_and_the_legend_hides_a_method(page: Chrome) -> None:
    shown = [f for f in _all(page, "[data-shown-by=plot]") if f.is_displayed()]
    assert [f.get_attribute("data-is") for f in shown] == ["ood trainable_parameters"]
    _one(page, '[data-choose="trainable_parameters"]').send_keys(Keys.ARROW_RIGHT)
    shown = [f for f in _all(page, "[data-shown-by=plot]") if f.is_displayed()]
    assert [f.get_attribute("data-is") for f in shown] == ["ood adapter_bytes"]
    button = _one(page, "[data-series]")
    mark = f".s-{button.get_attribute('data-series')}"
    visible = [g for g in shown[0].find_elements(By.CSS_SELECTOR, mark) if g.is_displayed()]
    assert visible
    button.click()
    assert not visible[0].is_displayed()


def test_a_linked_figure_opens_as_it_was(page: Chrome, site: Path) -> None:
    """The figures chosen and the methods hidden are in the address, and follow it."""
    start = (site / "index.html").as_uri()
    button = _one(page, "[data-series]")
    mark = f"figure:not([hidden]) .s-{button.get_attribute('data-series')}"
    button.click()
    _one(page, '[data-choose="flops_per_sample"]').click()
    address = page.current_url
    assert f"hide={button.get_attribute('data-name')}" in address
    assert "plot=ood,flops_per_sample" in address
    page.get("about:blank")
    page.get(address)
    shown = [f for f in _all(page, "[data-shown-by=plot]") if f.is_displayed()]
    assert [f.get_attribute("data-is") for f in shown] == ["ood flops_per_sample"]
    assert not _one(page, mark).is_displayed()
    page.get(f"{start}#plot=id")  # the same page: no reload
    shown = [f for f in _all(page, "[data-shown-by=plot]") if f.is_displayed()]
    assert [f.get_attribute("data-is") for f in shown] == ["id trainable_parameters"]
    assert _one(page, mark).is_displayed()


def test_the_unit_goes_along_links(page: Chrome) -> None:
    """To a page without numbers and on, to a place on a page and back; off, it goes nowhere."""

    def follow(selector: str) -> None:
        link = _one(page, selector)
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
        link.click()

    def shown() -> str:
        caption = _one(page, "table.plain caption [data-unit]")
        return caption.get_attribute("textContent") or ""

    _one(page, "#unit").click()
    follow('nav a[href$="contribute.html"]')
    assert page.current_url.endswith("contribute.html#unit=mps")
    follow("a.brand")
    assert page.current_url.endswith("index.html#unit=mps")
    assert _one(page, "#unit").get_attribute("aria-pressed") == "true"
    follow('tbody .sub a[href*="#reproduce"]')
    assert page.current_url.endswith("#reproduce&unit=mps") and shown() == "in m/s"
    top = "return document.getElementById('reproduce').getBoundingClientRect().top"
    assert -1 < page.execute_script(top) < 300, "the place is in view"
    follow('a[href*="#q="]')
    assert "unit=mps" in page.current_url and len(_methods(page)) == 1, "with the other state"
    page.get(page.current_url.split("#")[0] + "#unit=mps")
    _one(page, ".skip").send_keys(Keys.ENTER)  # a place on the same page
    assert page.current_url.endswith("#content&unit=mps")
    assert _one(page, "#unit").get_attribute("aria-pressed") == "true"
    _one(page, "#unit").click()
    assert "unit" not in page.current_url
    follow("tbody .name a")
    assert "#" not in page.current_url and shown() == "on [−1, 1]"


def test_the_panel_names_a_method_and_its_command(page: Chrome) -> None:
    """Out of distribution the factory's lora has the lowest error; with little memory, bitfit."""
    part = _one(page, "#which-part")
    assert part.get_attribute("value") == "100"

    def answer() -> str:
        return " ".join(li.text for li in _all(page, "#which-answers li") if li.is_displayed())

    assert answer().startswith("LoRA") and "--method lora" in answer()
    _one(page, "#which-where").send_keys("in")
    assert answer().startswith("Full fine-tuning (fft)")
    limit = _one(page, "#which-memory")
    limit.send_keys("1")
    assert answer() == "" and _one(page, "#which-none").is_displayed()


def test_memory_follows_the_batch(page: Chrome, site: Path) -> None:
    page.get(next(site.glob("*-memory.html")).as_uri())
    row = _one(page, "#memory-table tbody tr")
    fixed, saved = (float(row.get_attribute(f"data-{k}") or 0) for k in ("fixed", "saved"))
    batch = _one(page, "#batch")
    batch.clear()
    batch.send_keys("64")
    shown = _one(page, "#memory-table tbody tr [data-part=total]").text.replace("\u00a0", " ")
    value, unit = shown.split(" ")
    scale = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit]
    assert float(value) * scale == pytest.approx(fixed + 64 * saved, rel=0.01)


def test_figures_can_be_taken_away(page: Chrome) -> None:
    """The files are whole: an SVG with its colours inside, a PNG at twice the size."""
    page.execute_script(
        "window.files = []; const make = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { window.files.push(blob); return make(blob); };"
    )
    for button in [b for b in _all(page, ".take button") if b.is_displayed()][:2]:
        button.click()
    script = """
      const done = arguments[0];
      const kinds = () => window.files.map((f) => f.type);
      setTimeout(async () => done([kinds(), await window.files[0].text()]), 1500);
    """
    kinds, source = page.execute_async_script(script)
    assert kinds == ["image/svg+xml", "image/svg+xml", "image/png"]
    assert source.startswith("<svg") and 'fill="rgb' in source and "var(" not in source


def test_runs_are_filtered_by_field(page: Chrome, site: Path) -> None:
    page.get(next(site.glob("*-runs.html")).as_uri() + "#method=lora&percent=10")
    shown = [tr for tr in _all(page, "table.board tbody tr") if tr.is_displayed()]
    assert len(shown) == 2 * 4  # seeds × targets
    assert {tr.get_attribute("data-method") for tr in shown} == {"lora"}
    _one(page, "#search").send_keys("nothing like it")
    assert _one(page, "#status").text == "No runs match"


@pytest.mark.parametrize("theme", matrix.part(["light", "dark"]))
def test_axe_finds_nothing_serious(page: Chrome, site: Path, axe: Axe, theme: str) -> None:
    """On each kind of page."""
    pages = [p for p in site.glob("*.html") if "-gallery-" not in p.name]
    pages += [next(site.glob(f"{kind}/*.html")) for kind in ("runs", "methods", "compare")]
    for path in pages:
        assert axe(page, path, theme) == [], path.name


def test_tips_answer_the_keyboard(page: Chrome) -> None:
    tip = _one(page, "#tip")
    dot = _one(page, "figure:not([hidden]) .dot[tabindex]")
    page.execute_script("arguments[0].focus()", dot)
    assert "MAE" in tip.text and "Trainable" in tip.text
    dot.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


def test_every_page_is_reached_and_is_silent(page: Chrome, site: Path) -> None:
    """Links lead to files; each kind of page loads without a message."""
    seen: set[str] = set()
    queue = [(site / "index.html").as_uri()]
    kinds: set[str] = set()
    while queue:
        url = queue.pop()
        name = url.removeprefix(site.as_uri() + "/")
        kind = name.split("/")[0]
        if url in seen or (kind in kinds and "/" in name) or not name.endswith(".html"):
            continue
        seen.add(url)
        kinds.add(kind)
        page.get(url)
        script = "return [...document.querySelectorAll('a[href]')].map(a => a.href.split('#')[0])"
        links = page.execute_script(script)
        queue += [link for link in links if link.startswith("file:")]
        missing = [a for a in queue if not Path(urlsplit(a).path).is_file()]
        assert missing == []
    names = {url.rsplit("/", 1)[1] for url in seen}
    assert {"problems.html", "protocol.html", "contribute.html"} <= names
    for kind in (
        *("lowdata", "ood", "pretrain", "sweep", "gallery", "explorer", "compare", "runs"),
        "speed",
    ):
        assert any(name.endswith(f"-{kind}.html") for name in names), kind


def test_the_error_explorer_sorts_by_the_chosen_method(page: Chrome, site: Path) -> None:
    """Choices change chart, table and address; the address alone restores them."""
    (path,) = site.glob("*-explorer.html")
    page.get(path.as_uri())

    def column() -> list[int]:
        cells = page.find_elements(By.CSS_SELECTOR, "#samples tbody td:nth-child(2)")
        return [int(cell.text) for cell in cells]

    def choose(name: str, label: str) -> None:
        Select(page.find_element(By.ID, name)).select_by_visible_text(label)

    before = column()
    assert before == sorted(before, reverse=True) and len(before) == factory.SAMPLES
    choose("method", "fft")
    choose("other", "lora")
    choose("train", "Style_A")
    choose("test", "Style_B")
    after = column()
    assert after == sorted(after, reverse=True) != before
    dots = page.find_elements(By.CSS_SELECTOR, "#sorted circle")
    crosses = page.find_elements(By.CSS_SELECTOR, "#sorted .plus")
    assert len(dots) == len(crosses) == len(after)
    said = page.find_element(By.ID, "summary").text
    assert f"worst {after[0]} m/s" in said and "lora: mean" in said
    address = page.current_url
    page.get("about:blank")
    page.get(address)
    assert column() == after
    (link, *_) = page.find_elements(By.CSS_SELECTOR, "#samples tbody a")
    link.click()
    assert "Style_B" in page.find_element(By.TAG_NAME, "main").text


def test_fits_a_phone_in_both_themes(page: Chrome, site: Path) -> None:
    """No page scrolls sideways; the theme button turns the paper dark and back."""
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    paper = "return getComputedStyle(document.documentElement).backgroundColor"
    for path in [*site.glob("*.html"), next(site.glob("runs/*.html"))]:
        page.get(path.as_uri())
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.execute_script(wide) <= 0, path.name
        assert page.execute_script(SMALL_PRINT) == [], path.name
        if page.find_elements(By.CSS_SELECTOR, ".board-wrap"):
            assert page.execute_script(FIRST_COLUMN) < 0.5, path.name
    before = page.execute_script(paper)
    _one(page, "#theme").click()
    assert page.execute_script(paper) != before
    _one(page, "#theme").click()
    assert page.execute_script(paper) == before
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_velocity_maps_are_drawn(page: Chrome, site: Path) -> None:
    """The pictures load: the sheet of a run has its true size."""
    run = next(p for p in site.glob("runs/*.html") if p.with_suffix(".png").is_file())
    page.get(run.as_uri())
    script = """
      const done = arguments[0], image = document.querySelector('svg.map image');
      const probe = new Image();
      probe.onload = () => done([probe.width, +image.getAttribute('width')]);
      probe.onerror = () => done(null);
      probe.src = image.href.baseVal;
    """
    width, stated = page.execute_async_script(script)
    assert width == stated > 0
