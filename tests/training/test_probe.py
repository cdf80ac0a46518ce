"""What a record says of the code that made it."""

import json
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from bench.training import probe

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("written", "commit"),
    [
        # The example of PEP 610, and what pip writes for a wheel and for a folder
        (
            {
                "url": "https://github.com/pypa/pip.git",
                "vcs_info": {"vcs": "git", "requested_revision": "1.3.1", "commit_id": COMMIT},
            },
            COMMIT,
        ),
        ({"url": "https://example.org/a.whl", "archive_info": {}}, None),
        ({"url": "file:///home/user/project", "dir_info": {"editable": True}}, None),
        (None, None),
    ],
)
def test_an_installation_from_git_knows_its_commit(
    written: dict[str, object] | None,
    commit: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "fwi_peft_bench-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: fwi-peft-bench\nVersion: 1.0\n")
    if written is not None:
        (folder / "direct_url.json").write_text(json.dumps(written))

    def installed(name: str) -> Distribution:
        assert name == "fwi-peft-bench"
        return PathDistribution(folder)

    monkeypatch.setattr(probe, "distribution", installed)
    monkeypatch.setattr(probe, "__file__", str(tmp_path / "bench" / "training" / "probe.py"))
    probe.commit.cache_clear()
    try:
        assert probe.commit() == (commit, None)
    finally:
        probe.commit.cache_clear()
