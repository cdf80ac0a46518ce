"""Evaluation as a stage of its own: trained weights and missing test sets to scores."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from bench.data import layout, subsets
from bench.errors import FoundationError, MethodError
from bench.isolation import isolated
from bench.models import delta
from bench.models.checkpoint import content_hash
from bench.models.foreign import load_safetensors
from bench.plugins import adaptation
from bench.protocol.spec import CLEAN, FitSpec, TestSet
from bench.records import gathers, maps, scores
from bench.records.record import Cell, Evaluation, Phase, Record, write
from bench.runner import networks, provenance
from bench.runner.context import RunContext
from bench.runner.floor import MeanMap
from bench.runner.workspace import Workspace
from bench.seismic import metrics
from bench.training import evaluate, probe
from bench.training.evaluate import Scored


def missing(record: Record, wanted: Iterable[TestSet]) -> tuple[TestSet, ...]:
    """Test sets without scores by every metric in its present version."""
    current = {metric.name: metric.version for metric in metrics.METRICS}
    scored = {
        cell.test_set
        for cell in record.cells
        if all(cell.versions.get(name) == version for name, version in current.items())
    }
    return tuple(test for test in dict.fromkeys(wanted) if test not in scored)


def samples(fit: FitSpec, test_set: TestSet, context: RunContext) -> int:
    """Number of samples of a test set, without opening files."""
    if test_set.split == "test":
        return layout.size(test_set.dataset, "test", context.track.data)
    size = layout.size(test_set.dataset, "train", context.track.data)
    held = subsets.validation_size(subsets.size(size, fit.percent))
    return subsets.scored_size(held, chooses=context.installed(fit).method.traits.holdout)


def load(record: Record, context: RunContext) -> nn.Module:
    """The trained network of a recorded fit, on the device.

    Raises `FoundationError` for weights that are not those of the record, and what adapting raises.
    """
    path = context.workspace.weights(record.spec)
    tensors = _weights(record, path)
    if record.spec.kind == "floor":
        return MeanMap(tensors["mean"]).to(context.numerics.device)
    adapted, foundation_sha256 = networks.adapted(record.spec, context)
    if foundation_sha256 != record.foundation_sha256:
        raise FoundationError(
            f"{path} belongs to another foundation than the one in this workspace; repeat the fit "
            "with `bench run … --again`."
        )
    delta.check_complete(adapted.model, tensors)
    delta.restore(adapted.model, tensors)
    return adapted.model


def damaged(record: Record, workspace: Workspace) -> bool:
    """Whether the weights of a recorded fit cannot be read, or are not those of its record."""
    try:
        _weights(record, workspace.weights(record.spec))
    except FoundationError:
        return True
    return False


def _weights(record: Record, path: Path) -> dict[str, Tensor]:
    repeat = "repeat the fit with `bench run … --again`."
    try:
        tensors, _ = load_safetensors(path)
    except FoundationError as error:
        raise FoundationError(f"{str(error).rstrip('.')}; {repeat}") from error
    expected = record.counts.adapter_sha256 if record.counts else None
    if content_hash(tensors) != expected:
        raise FoundationError(f"{path}: the content does not have the hash in its record; {repeat}")
    return tensors


def scores_of(
    model: nn.Module, fit: FitSpec, tests: Iterable[TestSet], context: RunContext
) -> Iterator[tuple[TestSet, Scored]]:
    """Scores of a network on each test set in turn; the network may be any, of any weights file.

    Raises `MethodError` for predictions that are not finite, and for a network that fails or
    changes while it is scored.
    """
    before = adaptation.contents(model)
    prefix = networks.scoring_prefix(model, fit, context)
    for test in tests:
        kept_maps = context.track.gallery if _pictured(test) else 0
        loader = context.test_loader(fit, test)
        shared = prefix if test.split == "test" else None  # each fit has its own validation part
        with isolated(f"Method '{fit.method.name}'", f"scoring on {test.name}"):
            scored = evaluate.score(
                model,
                loader,
                kept_maps=kept_maps,
                numerics=context.numerics,
                forward=shared.over(test.name, len(loader)) if shared else None,
            )
            adaptation.check_unchanged(fit.method.name, model, before)
        if not np.isfinite(scored.scores[metrics.METRICS[0].column]).all():
            raise MethodError(
                f"Method '{fit.method.name}' predicts values that are not finite (NaN) on "
                f"{test.name} after training."
            )
        yield test, scored


def score(
    record: Record, tests: tuple[TestSet, ...], context: RunContext, model: nn.Module
) -> Record:
    """Score a trained network on these test sets and write scores, maps and record.

    Where it is interrupted, the test sets that have been scored are kept.
    """
    started, title = datetime.now(UTC), f"score {record.spec.title}"
    total = sum(samples(record.spec, test, context) for test in tests)
    done: dict[TestSet, Scored] = {}
    stage = context.progress.stage(title, total, "samples")
    meter = None
    try:
        with stage as advance, probe.measure(context.numerics.device) as meter:
            for test, scored in scores_of(model, record.spec, tests, context):
                context.check_claim()
                done[test] = scored
                meter.samples += scored.samples
                advance(scored.samples)
    finally:
        if done and not (context.lease and context.lease.lost):
            cost = meter.phase if meter else None
            record = _keep(record, done, cost, context, started)
    return record


def _keep(
    record: Record,
    done: Mapping[TestSet, Scored],
    cost: Phase | None,
    context: RunContext,
    started: datetime,
) -> Record:
    """Scores and maps first, the record last: it lists nothing that is not there."""
    folder = context.workspace.run(record.spec)
    scores.update(folder, {test: result.scores for test, result in done.items()})
    maps.update(
        folder,
        {t.dataset: r.kept for t, r in done.items() if _pictured(t)},
    )
    for result in done.values():
        for truth, picture in zip(result.kept.truth, result.gathers, strict=True):
            gathers.write(folder, truth, picture)
    evaluation = Evaluation(
        cells=tuple(_cell(test, result) for test, result in done.items()),
        data_sha256=context.data_sha256(tuple(dict.fromkeys(test.dataset for test in done))),
        cost=cost,
        execution=provenance.execution(context, started),
    )
    record = record.with_evaluation(evaluation)
    write(record, folder)
    return record


def _cell(test_set: TestSet, scored: Scored) -> Cell:
    return Cell(
        test_set=test_set,
        samples=scored.samples,
        scores=aggregated(scored),
        versions={m.name: m.version for m in metrics.METRICS},
    )


def aggregated(scored: Scored) -> dict[str, float | None]:
    """Scores over all samples, by metric."""
    return {m.name: m.aggregated(scored.scores[m.column]) for m in metrics.METRICS}


def _pictured(test_set: TestSet) -> bool:
    """Whether the page shows maps of it."""
    return test_set.split == "test" and test_set.condition == CLEAN
