"""Plans in the home: what several processes work on together, and what `bench status` reads."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from uuid import uuid4

from pydantic import ValidationError

from bench.atomic import write_atomically
from bench.errors import HomeError
from bench.protocol.spec import BackboneSpec, Frozen, TestSet, Track
from bench.runner.context import RunContext
from bench.runner.jobs import Job
from bench.runner.plan import Plan
from bench.runner.workspace import Workspace
from bench.training.numerics import AUTO

FOLDER = "plans"
_KEPT = 20
FILE = "plan.json"


class WorkerSettings(Frozen):
    """Settings that a process needs, beside the plan, to execute its jobs as the command would."""

    track: Track
    backbone: BackboneSpec
    device: str
    precision: str = AUTO
    frugal: bool
    data_folder: Path | None
    checkpoint_share: float
    test_curve: bool


class StoredPlan(Frozen):
    """One command's plan. Its folder also holds the logs of its workers."""

    id: str
    command: tuple[str, ...]
    created: datetime
    settings: WorkerSettings
    jobs: tuple[Job, ...]
    untrained: tuple[str, ...]
    datasets_to_make: tuple[str, ...]
    records_to_resimulate: tuple[tuple[TestSet, int], ...]
    records_to_simulate: int

    @classmethod
    def of(cls, plan: Plan, context: RunContext, *, device: str, precision: str) -> Self:
        """The plan of the context's command, under a new id; `device` and `precision` as
        `bench.training.numerics.choose` wants them."""
        now = datetime.now(UTC)
        return cls(
            id=f"{now:%Y%m%d-%H%M%S}-{uuid4().hex[:6]}",
            command=context.command,
            created=now,
            settings=WorkerSettings(
                track=context.track,
                backbone=context.backbone,
                device=device,
                precision=precision,
                frugal=context.numerics.frugal,
                data_folder=context.data_folder,
                checkpoint_share=context.checkpoint_share,
                test_curve=context.test_curve,
            ),
            jobs=plan.jobs,
            untrained=tuple(plan.untrained),
            datasets_to_make=plan.datasets_to_make,
            records_to_resimulate=tuple(plan.records_to_resimulate.items()),
            records_to_simulate=plan.records_to_simulate,
        )

    @property
    def plan(self) -> Plan:
        """The plan, for execution."""
        return Plan(
            jobs=self.jobs,
            untrained=frozenset(self.untrained),
            datasets_to_make=self.datasets_to_make,
            records_to_resimulate=dict(self.records_to_resimulate),
            records_to_simulate=self.records_to_simulate,
        )


def folder(workspace: Workspace, plan_id: str) -> Path:
    """The folder of a plan."""
    return workspace.plan(plan_id)


def write(stored: StoredPlan, workspace: Workspace) -> None:
    """Write a plan, and remove the oldest of many, except those that a process works on."""
    busy = {owner.plan for owner in workspace.leases.owners()}
    for other in sorted(path.name for path in (workspace.folder / FOLDER).glob("*"))[:-_KEPT]:
        if other not in busy:
            shutil.rmtree(folder(workspace, other), ignore_errors=True)
    content = stored.model_dump_json().encode()
    write_atomically(folder(workspace, stored.id) / FILE, content)


def load(workspace: Workspace, plan_id: str) -> StoredPlan:
    """The plan of that id. Raises `HomeError` where it is not there or cannot be read."""
    path = folder(workspace, plan_id) / FILE
    try:
        return StoredPlan.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise HomeError(
            f"{path} is not there: on a cluster, the home must lie on a file system that all its "
            "machines share; choose one with --home."
        ) from error
    except (OSError, ValidationError) as error:
        raise HomeError(f"{path} cannot be read; give its command again.") from error


def plans(workspace: Workspace) -> Iterator[StoredPlan]:
    """The plans of a home that can be read, newest first."""
    for path in sorted((workspace.folder / FOLDER).glob(f"*/{FILE}"), reverse=True):
        try:
            yield StoredPlan.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):  # of another version, or removed in this moment
            continue
