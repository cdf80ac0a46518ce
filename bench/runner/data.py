"""The data of a run: generated if missing, checked before any training."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from bench.atomic import write_atomically
from bench.data import catalogue, generate, inventory, layout, resimulation
from bench.data.identity import content_sha256
from bench.data.inspection import changed_files, inspect
from bench.data.layout import SPLITS
from bench.errors import BenchError, ConfigError, DataError
from bench.leases import Lease, LeaseLostError
from bench.progress import Advance, Progress
from bench.protocol import conditions, fingerprint
from bench.protocol.spec import TestSet, Track
from bench.runner.context import RunContext
from bench.runner.workspace import Workspace


def make(dataset: str, context: RunContext, *, wait: bool = True) -> bool:
    """Generate what is missing of one dataset of the context's track.

    False if another process does it and `wait` is False. Raises `ConfigError` for a track of real
    files, `HomeError` where files cannot be written.
    """
    path = make_dataset(
        dataset,
        workspace=context.workspace,
        track=context.track,
        device=context.numerics.device,
        progress=context.progress,
        plan=context.plan_id,
        wait=wait,
    )
    return path is not None


def make_dataset(
    dataset: str,
    *,
    workspace: Workspace,
    track: Track,
    device: torch.device,
    progress: Progress,
    plan: str = "",
    wait: bool = True,
) -> Path | None:
    """Generate what is missing of a dataset, one process at a time; returns its folder.

    None if another process does it and `wait` is False. Raises `ConfigError` for a track of real
    files, `HomeError` where files cannot be written.
    """
    root, data = folder(workspace, track), track.data

    def work(lease: Lease) -> None:
        todo = generate.missing(root, dataset, data)
        with progress.stage(f"simulate {dataset}", todo, "records") as advance:
            checked = _checked(advance, lease)
            generate.make(root, dataset, data, device=device, advance=checked)

    name = f"data-{root.name}-{dataset}"
    done = _exclusively(
        name, f"simulate {dataset}", work, workspace, progress, plan=plan, wait=wait
    )
    return root / dataset if done else None


def resimulate(test: TestSet, context: RunContext, *, wait: bool = True) -> bool:
    """Simulate the missing records of a test set under another source.

    False if another process does it and `wait` is False.
    """
    condition = conditions.get(test.condition)
    folder = context.condition_folder(test.dataset, condition)
    pairs = layout.files(test.dataset, "test", context.track.data)
    workspace, progress = context.workspace, context.progress

    def work(lease: Lease) -> None:
        todo = resimulation.missing(folder, pairs)
        with progress.stage(f"simulate {test.name}", todo, "records") as advance:
            resimulation.make(
                folder,
                context.datasets.samples(test.dataset, "test"),
                pairs,
                condition,
                device=context.numerics.device,
                advance=_checked(advance, lease),
            )

    name, title = f"data-{folder.parent.name}-{test.name}", f"simulate {test.name}"
    return _exclusively(name, title, work, workspace, progress, plan=context.plan_id, wait=wait)


def _exclusively(
    name: str,
    title: str,
    work: Callable[[Lease], None],
    workspace: Workspace,
    progress: Progress,
    *,
    plan: str,
    wait: bool,
) -> bool:
    """Do work on files that one process at a time may do; returns whether it has been done.

    If this process stalls for so long that another one takes over, it waits for that one's files.
    """

    def waiting() -> None:
        progress.say(f"Waiting for another process that makes {title.removeprefix('simulate ')} …")

    while True:
        with workspace.claim(name, title, plan=plan, waiting=waiting if wait else None) as lease:
            if lease is None:
                return False
            with _errors_dropped_if_lost(lease):
                work(lease)
                return True


@contextmanager
def _errors_dropped_if_lost(lease: Lease) -> Iterator[None]:
    """Context in which errors do not count once the lease is lost: the files are another's."""
    try:
        yield
    except (LeaseLostError, BenchError):
        if not lease.lost:
            raise


def _checked(advance: Advance, lease: Lease) -> Advance:
    """`advance`, which raises `LeaseLostError` once the lease is lost."""

    def checked(done: int) -> None:
        lease.check()
        advance(done)

    return checked


def folder(workspace: Workspace, track: Track) -> Path:
    """Folder of a track's generated datasets. Raises `ConfigError` for real files."""
    if track.data.source != "generated":
        raise ConfigError(
            f"Track '{track.name}' reads the real files, nothing is generated for it; "
            "name the folder of the files instead."
        )
    return workspace.data(fingerprint.data_key(track))


def check_layout(datasets: Sequence[str], context: RunContext) -> None:
    """Raise `DataError` if real files are not there as the track expects; reads no sample.

    The message says what is there instead, and how it can be used.
    """
    if _generated(context):
        return
    for dataset in datasets:
        try:
            for split in SPLITS:
                context.datasets.samples(dataset, split)
        except DataError as error:
            advice = inventory.advice(context.data_root, dataset, context.track.data)
            raise DataError(f"{error} {advice}." if advice else str(error)) from error


def check(datasets: Sequence[str], context: RunContext) -> None:
    """Raise `DataError` for the first fault in the files of these datasets.

    First every header and size. Then generated files are compared with the hashes in their
    manifest; real files are read once as `bench data check` does, which takes about as long as one
    epoch takes to read them, and is noted in the home under the hash of their content. Files that
    have not changed since they were hashed are not read again.
    """
    for dataset in datasets:
        for split in SPLITS:
            context.datasets.samples(dataset, split)
    for dataset in datasets:
        errors = (_generated_faults if _generated(context) else _real_faults)(dataset, context)
        if errors:
            more = len(errors) - 1
            others = f" There are {more} more: see `bench data check`." if more else ""
            raise DataError(f"{errors[0]}{others}")


def _generated(context: RunContext) -> bool:
    return context.track.data.source == "generated"


def _generated_faults(dataset: str, context: RunContext) -> Sequence[DataError]:
    shelf = catalogue.shelf(context.data_root, dataset, context.track.data)
    assert shelf is not None, "its headers have just been read"
    folder, names = context.data_files(dataset)
    hashes = context.hashes.of(folder, names, context.progress, label=dataset, generated=True)
    return changed_files(shelf, hashes)


def _real_faults(dataset: str, context: RunContext) -> Sequence[DataError]:
    folder, names = context.data_files(dataset)
    known = context.hashes.known(folder, names)
    if len(known) == len(names) and _note(known, context).exists():
        return ()
    report = inspect(
        context.data_root,
        dataset,
        context.track.data,
        device=context.numerics.device,
        progress=context.progress,
    )
    context.hashes.keep(folder, report.hashes)
    if report.ok:
        facts = {"dataset": dataset, "train": report.train, "test": report.test}
        hashes = {name: entry.sha256 for name, entry in report.hashes.items()}
        write_atomically(_note(hashes, context), json.dumps(facts).encode())
    return report.errors


def _note(hashes: Mapping[str, str], context: RunContext) -> Path:
    """Where it is noted that data of this content have been checked."""
    return context.workspace.folder / "checked" / f"{content_sha256(hashes)}.json"
