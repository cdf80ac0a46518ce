"""Provenance of results: machine, versions, commit, releases of plugins."""

from datetime import UTC, datetime

from bench.entry_points import HARNESS
from bench.models import backbones
from bench.plugins.registry import Installed
from bench.protocol import fingerprint
from bench.protocol.fingerprint import Simulation
from bench.protocol.spec import BackboneSpec, Track
from bench.records.record import Execution, Record, Release
from bench.runner.context import RunContext
from bench.training import probe


def execution(context: RunContext, started: datetime) -> Execution:
    """Execution of the stage that started then and ends now, in this process."""
    commit, dirty = probe.commit()
    return Execution(
        machine=probe.machine(),
        versions=probe.versions(),
        commit=commit,
        dirty=dirty,
        command=context.command,
        determinism=context.numerics.describe(),
        started=started,
        ended=datetime.now(UTC),
    )


def simulation(track: Track) -> Simulation | None:
    """Generator version and survey of the track's data; None for real files."""
    return fingerprint.simulation(track)


def release(installed: Installed) -> Release:
    """The installed release of a method."""
    return Release(distribution_version=installed.distribution_version, code=installed.code)


def own_release() -> Release:
    """The release of this distribution, for fits that involve no plugin."""
    return Release(distribution_version=probe.versions().get(HARNESS), code=None)


def backbone_release(backbone: BackboneSpec) -> Release:
    """The installed release of a backbone."""
    installed = backbones.get(backbone.name)
    return Release(distribution_version=installed.distribution_version, code=installed.code)


def other_code(record: Record, installed: Installed) -> bool:
    """Whether a fit was recorded with other code of the same version of its method."""
    return record.method_release.code not in (None, installed.code)


def other_backbone_code(record: Record) -> bool:
    """Whether a fit was recorded with other code of the same version of its backbone."""
    code = backbones.get(record.spec.backbone.name).code
    return record.backbone_release.code not in (None, code)
