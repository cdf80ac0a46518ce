"""Equal tuning: every method's learning-rate factor, chosen on validation data alone."""

from collections import defaultdict
from dataclasses import replace
from statistics import fmean

from bench.errors import ConfigError, RecordError
from bench.plugins import options
from bench.plugins.options import Choice
from bench.protocol.protocols import Protocol
from bench.protocol.spec import canonical
from bench.records.reader import read
from bench.records.record import Record
from bench.runner.context import RunContext


def tuned(choice: Choice, protocol: Protocol, context: RunContext) -> Choice:
    """The method with the config of the protocol's grid that is best on validation data.

    Best is the lowest mean MAE over the protocol's validation sets and the seeds that all configs
    have. A method that trains nothing has nothing to tune and stays as it is. Raises `ConfigError`
    where the tuning is not complete.
    """
    if not choice.installed.method.traits.trains:
        return choice
    (option, values), *_ = protocol.grid.items()
    recorded = _validation_errors(choice, context)
    by_value = {value: recorded.get(_config(choice, option, value), {}) for value in values}
    seeds = set.intersection(*({seed for _, seed in errors} for errors in by_value.values()))
    wanted = [(slot.datasets, seed) for slot in protocol.fits for seed in sorted(seeds)]
    if not wanted or any(fit not in errors for errors in by_value.values() for fit in wanted):
        name = choice.installed.method.name
        raise ConfigError(
            f"Method '{name}' is not tuned yet; run `bench run --method {name} --protocol "
            f"{protocol.name} --track {context.track.name}` first."
        )
    best = min(values, key=lambda value: fmean(by_value[value][fit] for fit in wanted))
    config = options.validate(choice.installed, choice.config.model_dump() | {option: best})
    return replace(choice, config=config)


def _config(choice: Choice, option: str, value: float) -> str:
    config = options.validate(choice.installed, choice.config.model_dump() | {option: value})
    return canonical(options.canonical_config(config))


def _validation_errors(
    choice: Choice, context: RunContext
) -> dict[str, dict[tuple[tuple[str, ...], int], float]]:
    """Validation MAE of the method's recorded fits: by config, then by datasets and seed."""
    spec = choice.spec
    errors: dict[str, dict[tuple[tuple[str, ...], int], float]] = defaultdict(dict)
    for record in _records(context):
        fit = record.spec
        same = (fit.method.name, fit.method.distribution, fit.method.version)
        if same != (spec.name, spec.distribution, spec.version) or not fit.holdout:
            continue
        for cell in record.cells:
            value = cell.scores.get("mae")
            if cell.test_set.split == "validation" and value is not None:
                errors[canonical(fit.method.config)][fit.datasets, fit.seed] = value
    return errors


def _records(context: RunContext) -> list[Record]:
    records = []
    for path in context.workspace.records():
        try:
            record = read(path)
        except RecordError:  # `bench report` tells of it
            continue
        if record.status == "done" and record.spec.fingerprint == context.fingerprint:
            records.append(record)
    return records
