"""Fixtures of the browser tests: Chromium without a network of its own, and axe."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1360,1000",
)
AXE = """
const done = arguments[0];
axe.run(document, { resultTypes: ["violations"], preload: false })
  .then((found) => done(found.violations
  .filter((v) => ["serious", "critical"].includes(v.impact))
  .map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 120)}`)));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    driver = shutil.which("chromedriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not driver or not chromium:
        pytest.skip("no Chromium with chromedriver on this machine")
    options = ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    chrome = Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Chrome, Path, str], list[str]]:
    """Serious findings of axe on a page, in the light or dark theme."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if not npm:
        pytest.skip("no npm on this machine")
    got = subprocess.run(
        [npm, "install", "--no-save", "--silent", "axe-core"], cwd=folder, check=False, timeout=120
    )
    if got.returncode:
        pytest.skip("axe-core cannot be fetched")
    source = (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")

    def find(chrome: Chrome, path: Path, theme: str) -> list[str]:
        scheme = [{"name": "prefers-color-scheme", "value": theme}]
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        chrome.get(path.as_uri())
        chrome.execute_script(source)
        found: list[str] = chrome.execute_async_script(AXE)
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        return found

    return find
