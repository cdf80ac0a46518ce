"""The published runs can be repeated: their methods and backbones are those of this package."""

from pathlib import Path

from bench.models import backbones
from bench.plugins import registry
from bench.protocol.spec import HARNESS, RULES
from bench.records.reader import read
from leaderboard.load import records

RUNS = sorted(records.PUBLISHED.glob("*/*/record.json"))


def test_published_runs_go_by_versions_that_this_package_has() -> None:
    """A version that is raised orphans the runs of the one before, unless it says where it stands
    (`Method.unchanged`): publish new ones, or name the commit that repeats the old."""
    orphans: list[Path] = []
    repeatable = 0
    for path in RUNS:
        spec = (record := read(path)).spec
        if record.rules.version != RULES.version or spec.kind == "floor":
            continue  # those of protocol v1 name a commit, a floor has no method
        method = registry.pretraining()
        if spec.kind == "adaptation":
            method = registry.get(spec.method.name)
        version = method.method.version_on(spec.backbone.name)
        same = version == spec.method.version and method.distribution == HARNESS
        if same and backbones.spec(spec.backbone.name).version == spec.backbone.version:
            repeatable += 1
        else:
            orphans.append(path.parent)
    assert orphans == []
    assert repeatable > 400
