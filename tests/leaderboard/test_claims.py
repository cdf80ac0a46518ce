"""Claims: numbers are the records' own means, verdicts follow the data, misprints are left out."""

import json
import re
from pathlib import Path
from statistics import mean

import factory
import pytest

from bench.protocol.spec import TARGETS
from bench.records.record import write
from leaderboard.build import render
from leaderboard.load import reference, results
from leaderboard.tables import findings
from leaderboard.tables.assembly import gather
from leaderboard.tables.findings import Finding

METHODS = (factory.BASELINE, factory.FFT, factory.LORA)


def _found(home: Path) -> dict[str, Finding]:
    (board,) = gather(results.read([home]))
    return {f.claim.key: f for f in findings.findings(board, reference.paper())}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    factory.populate(folder, METHODS, seeds=(0, 1, 2), percents=(10, 100), maps=False)
    return folder


def test_a_difference_is_that_of_the_records(home: Path) -> None:
    records = [json.loads(p.read_text()) for p in home.rglob("record.json")]

    def error(method: str) -> float:
        return mean(
            cell["scores"]["mae"]
            for r in records
            if r["spec"]["method"]["name"] == method and r["spec"]["percent"] == 100
            if r["spec"]["datasets"][0] in TARGETS
            for evaluation in r["evaluations"]
            for cell in evaluation["cells"]
            if cell["test_set"]["dataset"] in TARGETS
            and cell["test_set"]["dataset"] != r["spec"]["datasets"][0]
        )

    finding = _found(home)["lora-fft-ood"]
    assert finding.comparison
    difference = finding.comparison.difference
    assert difference.value == pytest.approx(error("lora") - error("fft"), abs=1e-5)
    assert finding.verdict == "holds"  # the factory's lora reaches further: 0.86 of the error
    assert len(finding.runs) == 2 * 4 * 3


def test_what_the_data_contradict_does_not_hold(tmp_path: Path) -> None:
    worse = factory.Fake(name="lora", skill=1.02, reach=1.4)
    factory.populate(tmp_path, (factory.FFT, worse), seeds=(0, 1, 2), percents=(100,), maps=False)
    found = _found(tmp_path)
    assert found["lora-fft-ood"].verdict == "does not hold"
    assert found["lora-fft-10"].verdict == "not run"
    assert found["fft-baseline-id"].verdict == "not run"


def test_two_seeds_resolve_nothing(tmp_path: Path) -> None:
    factory.populate(tmp_path, METHODS, seeds=(0, 1), percents=(100,), maps=False)
    verdicts = {f.verdict for f in _found(tmp_path).values() if f.comparison}
    assert verdicts == {"not resolved"}


def test_printed_numbers_are_the_papers(home: Path) -> None:
    found = _found(home)
    # Table V, MAE: (0.030 + 0.139 + 0.058 + 0.056) / 4 and (0.035 + 0.164 + 0.062 + 0.068) / 4
    assert found["fft-baseline-id"].printed.endswith("(Table V)")
    assert re.findall(r"0\.\d+", found["fft-baseline-id"].printed) == ["0.071", "0.082"]
    assert "misprinted" in found["lora-fft-25"].printed  # Table VI repeats its 10 % rows there


def test_the_page_links_to_the_runs(home: Path, tmp_path: Path) -> None:
    index = render.build([home], tmp_path / "site").index
    (page,) = index.parent.glob("*-claims.html")
    html = page.read_text()
    links = set(re.findall(r'href="(runs/[^"]+)"', html))
    assert links and all((index.parent / link).is_file() for link in links)
    assert page.name in index.read_text()


def test_memory_that_is_counted_and_measured_may_disagree(tmp_path: Path) -> None:
    """LoRA saves the fewest bytes; where its measured peak is the largest, both are told."""
    records = factory.populate(tmp_path, METHODS, seeds=(0, 1, 2), percents=(100,), maps=False)
    before = _found(tmp_path)["memory"]
    assert before.verdict in ("holds", "does not hold")
    for record in records:
        if record.spec.kind == "adaptation" and record.cost:
            least = record.spec.method.name == "lora"
            agreeing = least == (before.verdict == "holds")
            peak = (1 if not agreeing else 2) * 2_000_000_000
            cost = record.cost.model_copy(
                update={"peak_allocated_bytes": peak, "baseline_bytes": 0}
            )
            settings = record.execution.determinism.model_copy(update={"device": "cuda"})
            execution = record.execution.model_copy(update={"determinism": settings})
            on_gpu = record.model_copy(update={"cost": cost, "execution": execution})
            write(on_gpu, tmp_path / "runs" / record.run_id)
    after = _found(tmp_path)["memory"]
    assert after.verdict == "depends on the measure"
    assert "Measured peaks" in after.note and "LoRA" in after.note
