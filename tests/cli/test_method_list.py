"""`bench methods` counts once for an installation, and again when something of it changes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packages import install

from bench.cli import method_list

SOURCE = """
from bench.contract import Adapted, Method, ParameterGroup, Traits

def adapt(model, config):
    *others, last = model.parameters()
    for parameter in others:
        parameter.requires_grad_(False)
    return Adapted(model=model, groups=(ParameterGroup(name="last", parameters=(last,)),))

method = Method(
    name="newcomer", summary="SUMMARY", source="s", adapt=adapt,
    traits=Traits(category="selective", batchnorm="affine"),
)
"""


def listed(site: Path, cache: Path) -> tuple[dict[str, dict[str, Any]], bool, bool]:
    """Rows by name; whether they were counted, and whether torch was imported."""
    code = (
        "import json, sys\n"
        "from bench.cli import method_list\n"
        "said = []\n"
        "found = method_list.listed('inversionnet_quarter', said.append)\n"
        "print(json.dumps([found, bool(said), 'torch' in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    found, counted, imported = json.loads(done.stdout)
    return {row["name"]: row for row in found["methods"]}, counted, imported


@pytest.mark.slow
@pytest.mark.exhaustive
def test_rows_are_kept_until_something_is_installed_or_edited(tmp_path: Path) -> None:
    site, cache = tmp_path / "site", tmp_path / "cache"
    site.mkdir()
    first, counted, _ = listed(site, cache)
    assert counted
    again, counted, imported = listed(site, cache)
    assert (again, counted, imported) == (first, False, False)
    install(site, "bench-method-new", {"newcomer": "method"}, SOURCE)
    more, counted, _ = listed(site, cache)
    assert counted
    assert more.keys() - first.keys() == {"newcomer"}
    assert more["newcomer"]["trainable_parameters"] == 1, "the last BatchNorm's bias"
    (site / "bench_method_new.py").write_text(SOURCE.replace("SUMMARY", "Other"), encoding="utf-8")
    edited, counted, _ = listed(site, cache)
    assert counted
    assert edited["newcomer"]["summary"] == "Other"


def counting(monkeypatch: pytest.MonkeyPatch, problems: list[dict[str, str]]) -> list[str]:
    """Replaces the counting; the backbones that it was asked about."""
    asked: list[str] = []

    def counted(backbone: str) -> dict[str, Any]:
        asked.append(backbone)
        return {"methods": [{"name": backbone}], "problems": problems, "meddlers": []}

    monkeypatch.setattr(method_list, "_counted", counted)
    return asked


def test_plugins_with_problems_are_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they failed for may have gone without a trace in the installation."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = counting(monkeypatch, [{"name": "n", "distribution": "d", "reason": "r"}])
    for _ in range(2):
        method_list.listed("a", print)
    assert asked == ["a", "a"]


def test_each_backbone_is_counted_once_and_a_damaged_cache_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = counting(monkeypatch, [])
    for backbone in "abab":
        assert method_list.listed(backbone, print)["methods"] == [{"name": backbone}]
    assert asked == ["a", "b"]
    for content in (b"[]", b"\xff", b"{"):
        for path in tmp_path.rglob("methods-*.json"):
            path.write_bytes(content)
        method_list.listed("a", print)
    assert asked == ["a", "b", "a", "a", "a"]


def test_a_cache_that_cannot_be_written_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    asked = counting(monkeypatch, [])
    for _ in range(2):
        assert method_list.listed("a", print)["methods"] == [{"name": "a"}]
    assert asked == ["a", "a"]
