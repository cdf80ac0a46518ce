"""Tables of a run's page as text: there is a page for each run, and templates take longer."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from markupsafe import Markup, escape

from bench.protocol.columns import COSTS
from bench.records.record import Phase, Record
from bench.seismic import metrics
from leaderboard.tables import text

MPS = 1500.0
"""One unit on [-1, 1] in m/s."""
_HEADS = {
    column.name: escape(column.label)
    + (Markup(' <span class="unit">{}</span>').format(unit) if (unit := text.unit(column)) else "")
    for column in COSTS
}


def scores(record: Record) -> Markup:
    """A row for each test set: every metric, errors on [−1, 1] in m/s too, number of samples."""
    own = set(record.spec.datasets)
    rows = []
    for cell in record.cells:
        note = ' <span class="note">trained on</span>' if cell.test_set.dataset in own else ""
        values = "".join(
            f"<td>{text.score(value, m.name)}{_in_mps(value, m)}</td>"
            for m in metrics.METRICS
            for value in (cell.scores.get(m.name),)
        )
        name = escape(cell.test_set.name)
        rows.append(f'<tr><th scope="row">{name}{note}</th>{values}<td>{cell.samples}</td></tr>\n')
    return Markup("".join(rows))


def _in_mps(value: float | None, metric: metrics.Metric) -> str:
    if value is None or metric.unit != text.UNIT:
        return ""
    return f'<span class="ci">{text.count(value * MPS)} m/s</span>'


def costs(entry: Mapping[str, Any]) -> Markup:
    """Every cost with its label and unit, of a row of `fits`."""
    return Markup(
        "".join(
            f"<div><dt>{head}</dt><dd>{text.cost(entry[name], name)}</dd></div>"
            for name, head in _HEADS.items()
        )
    )


def phases(measured: Iterable[tuple[str, Phase, int | None]]) -> Markup:
    """A row for each phase: its name, time, samples, speed, peak and energy."""
    return Markup("".join(_phase(*row) for row in measured))


def _phase(name: str, phase: Phase, peak: int | None) -> str:
    joules = text.NOTHING if phase.joules is None else f"{text.short(phase.joules)} J"
    values = (
        text.duration(phase.seconds),
        text.duration(phase.warmup_seconds),
        text.count(phase.samples),
        text.cost(phase.samples_per_second, "samples_per_second"),
        text.size(peak),
        joules,
    )
    row = "".join(f"<td>{value}</td>" for value in values)
    return f'<tr><th scope="row">{name}</th>{row}</tr>'


def provenance(record: Record) -> Markup:
    """Everything that made the run: method, data, code, machine."""
    facts = "".join(_fact(escape(key), escape(value)) for key, value in _sorted(record.facts))
    first, rest = "\n".join(_what(record)), "\n".join(_where(record))
    return Markup(f"{first}\n{facts}{rest}\n")


def _what(record: Record) -> Iterator[str]:
    method, release, backbone = record.spec.method, record.method_release, record.spec.backbone
    yield _fact(
        "Method",
        escape(method.name),
        f"{method.distribution} {release.distribution_version or ''}, version {method.version},"
        f" code {release.code or 'unknown'}",
    )
    yield _fact("Config", escape(text.config(method.config)))
    yield _fact(
        "Backbone", escape(backbone.name), f"{backbone.distribution}, version {backbone.version}"
    )


def _where(record: Record) -> Iterator[str]:
    spec, execution = record.spec, record.execution
    machine, numerics = execution.machine, execution.determinism
    datasets = escape(", ".join(spec.datasets))
    yield _fact("Trained on", f"{datasets}, {spec.percent} %, seed {spec.seed}")
    yield _fact("Fingerprint", f"<code>{escape(spec.fingerprint)}</code>")
    foundation = record.foundation_sha256
    code = f"<code>{escape(foundation[:16])}</code>" if foundation else "from scratch"
    yield _fact("Foundation", code)
    started = execution.started.strftime("%Y-%m-%d %H:%M")
    yield _fact("Started", f"{started} UTC, resumed {record.resumed} times")
    gpu = f", {machine.gpu}, driver {machine.driver or 'unknown'}" if machine.gpu else ""
    size = text.size(machine.memory_bytes)
    hardware = f"{machine.processor}, {machine.cores} cores, {size}{gpu}, {machine.system}"
    yield _fact("Machine", escape(hardware))
    how = [f"{numerics.device}, {numerics.precision}"]
    how += ["channels last"] if numerics.channels_last else []
    how += ["frugal"] if numerics.frugal else []
    how += [f"{numerics.threads} threads"]
    how += ["deterministic"] if numerics.deterministic_algorithms else []
    yield _fact("Numerics", escape(", ".join(how)))
    versions = (f"{name} {version}" for name, version in _sorted(execution.versions))
    yield _fact("Versions", escape(", ".join(versions)))
    commit = execution.commit
    changed = ", with changes" if execution.dirty else ""
    yield _fact("Commit", f"<code>{escape(commit[:12])}</code>{changed}" if commit else "unknown")


def _fact(term: str, value: str, note: str = "") -> str:
    """A term with its value, both escaped, and a note beside it, which is not."""
    beside = f' <span class="note">{escape(note)}</span>' if note else ""
    return f"<div><dt>{term}</dt><dd>{value}{beside}</dd></div>"


def _sorted(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(values.items(), key=lambda item: item[0].lower())
