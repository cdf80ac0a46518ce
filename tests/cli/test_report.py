"""`bench report` and the published runs: an installation without them says so."""

from pathlib import Path

import factory
from conftest import Inside

FEW = {"seeds": (0,), "percents": (100,), "pretraining": False, "maps": False}
METHODS = (factory.FFT, factory.LORA)


def test_an_installation_without_published_runs_says_where_they_are(
    inside: Inside, tmp_path: Path
) -> None:
    """The tests' own folder of published runs is empty, as that of a wheel."""
    home, site = tmp_path / "home", tmp_path / "site"
    home.mkdir()
    code, out, error = inside("report", "--out", site, home=home)
    assert code == 0 and out.startswith("0 records")
    assert "--records leaderboard/records" in error and len(error.splitlines()) == 1
    assert "--records leaderboard/records" in (site / "index.html").read_text(encoding="utf-8")
    factory.populate(home, METHODS, **FEW)
    code, _, error = inside("report", "--out", site, home=home)
    assert code == 0 and "--records leaderboard/records" in error


def test_published_runs_of_a_checkout_are_named(inside: Inside, tmp_path: Path) -> None:
    home, site, checkout = tmp_path / "home", tmp_path / "site", tmp_path / "records"
    home.mkdir()
    factory.populate(tmp_path / "made", METHODS, **FEW)
    (tmp_path / "made" / "runs").rename(checkout)
    code, out, error = inside("report", "--records", checkout, "--out", site, home=home)
    assert (code, error) == (0, "")
    assert out.startswith(f"{len(METHODS) * 4} records")
    assert "badge published" in (site / "index.html").read_text(encoding="utf-8")


def test_a_folder_without_runs_is_told(inside: Inside, tmp_path: Path) -> None:
    home, site = tmp_path / "home", tmp_path / "site"
    home.mkdir()
    code, out, error = inside("report", "--records", tmp_path / "no", "--out", site, home=home)
    assert (code, out) == (2, "") and "is not a folder" in error
    assert not site.exists()
    code, _, error = inside("report", "--records", home, "--out", site, home=home)
    assert code == 0 and f"there are none in {home}" in error
