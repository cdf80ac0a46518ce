"""`bench replay`: a run repeated from its record agrees, an altered record does not."""

import json
import subprocess
from pathlib import Path
from typing import Any

import homes
import pytest
import torch
from conftest import Inside

from bench.protocol.spec import TestSet
from bench.records.reader import read
from bench.records.record import Cell, Execution, Record, write
from bench.runner import replay
from bench.runner.reproducibility import Reproduction

Ran = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def recorded(ran: Ran) -> Record:
    """Of lora on Style_A, as if nobody had changed the harness since the last commit."""
    found = [read(path) for path in ran[0].glob("runs/*/record.json")]
    (one,) = (r for r in found if r.spec.method.name == "lora" and r.spec.datasets == ("Style_A",))
    (scored,) = one.evaluations
    clean = [e.model_copy(update={"dirty": False}) for e in (one.execution, scored.execution)]
    evaluations = (scored.model_copy(update={"execution": clean[1]}),)
    return one.model_copy(update={"execution": clean[0], "evaluations": evaluations})


def with_cells(record: Record, cells: tuple[Cell, ...]) -> Record:
    (evaluation,) = record.evaluations
    return record.model_copy(
        update={"evaluations": (evaluation.model_copy(update={"cells": cells}),)}
    )


def files(home: Path) -> dict[Path, tuple[int, int]]:
    """All files of a home, with size and time."""
    found = (path for path in home.rglob("*") if path.is_file())
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def test_a_run_is_repeated_from_its_record_bit_for_bit(
    ran: Ran, recorded: Record, inside: Inside, tmp_path: Path
) -> None:
    """The record lies elsewhere; data and foundation come from a home, which stays as it is.

    Checked against the record's own numbers, and noted in it if asked for.
    """
    home, _ = ran
    path = write(recorded, tmp_path)
    before = files(home)
    code, out, error = inside("replay", tmp_path, "--verify", "--json", home=home)
    assert code == 0, out + error
    content = json.loads(out)
    assert content["verdict"] == "Agrees bit for bit, scores and weights."
    assert content["agrees"]
    assert content["same_weights"]
    assert len(content["differences"]) == 3 * 4
    for row in content["differences"]:
        (cell,) = (c for c in recorded.cells if c.test_set.name == row["test_set"])
        assert row["recorded"] == row["replayed"] == cell.scores[row["metric"]]
    assert files(home) == before
    verified = read(path)
    assert verified.level == "replayed"
    assert verified.model_copy(update={"level": "self_reported"}) == recorded


def test_an_altered_record_disagrees_and_is_not_verified(
    ran: Ran, recorded: Record, inside: Inside, tmp_path: Path
) -> None:
    """One score is made better by a tenth, in a copy of the home; found by its run id."""
    home = tmp_path / "home"
    for part in ("data", "foundations"):
        (home / part).parent.mkdir(exist_ok=True)
        (home / part).symlink_to(ran[0] / part, target_is_directory=True)
    first, *others = recorded.cells
    mae = first.scores["mae"]
    assert mae is not None
    better = first.model_copy(update={"scores": first.scores | {"mae": mae * 0.9}})
    claims = with_cells(recorded, (better, *others))
    path = write(claims, home / "runs" / recorded.run_id)
    before = path.read_bytes()
    code, out, _ = inside("replay", recorded.run_id[:9], "--verify", home=home)
    assert code == 1
    assert "Disagrees: " in out
    assert "Noted" not in out
    assert path.read_bytes() == before


def test_from_nothing_but_the_record(ran: Ran, inside: Inside, tmp_path: Path) -> None:
    """Its data are simulated again: a run from scratch in an empty home."""
    found = [read(path) for path in ran[0].glob("runs/*/record.json")]
    record = next(r for r in found if r.spec.method.name == "baseline")
    path = write(record, tmp_path / "elsewhere")
    code, out, error = inside("replay", path, home=tmp_path / "home")
    assert code == 0, out + error
    assert "Agrees bit for bit, scores and weights." in out
    assert not files(tmp_path / "home")


@pytest.mark.exhaustive
def test_a_run_of_a_gpu_is_repeated_on_a_processor_if_asked(
    ran: Ran, recorded: Record, inside: Inside, tmp_path: Path
) -> None:
    """The record says that it was made on a GPU, in the precision that this run did not have."""
    wanted = recorded.execution.determinism.model_copy(
        update={"device": "cuda", "precision": "bfloat16", "threads": 16}
    )
    execution = recorded.execution.model_copy(update={"determinism": wanted})
    path = write(recorded.model_copy(update={"execution": execution}), tmp_path)
    if not torch.cuda.is_available():
        code, _, error = inside("replay", path, home=ran[0])
        assert code == 2
        assert "torch finds no CUDA GPU on this machine; use --device cpu" in error
    words = ("--device", "cpu", "--precision", recorded.execution.determinism.precision)
    code, out, error = inside("replay", path, *words, home=ran[0])
    assert code == 0, out + error
    assert "Agrees bit for bit" in out
    content = json.loads(inside("replay", path, *words, "--json", home=ran[0])[1])
    assert content["tolerance"]["relative"] == 0.05
    assert "on cpu, not cuda" in content["tolerance"]["reasons"]


@pytest.mark.exhaustive
def test_records_that_are_simulated_under_another_source_are_simulated_again(
    ran: Ran, inside: Inside, tiny_track: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    homes.copy(ran[0], home, "data", "foundations")
    words = ("--method", "none", "--protocol", "shift", "--track", tiny_track)
    code, out, error = inside("run", *words, home=home)
    assert code == 0, out + error
    record = next(
        r for r in homes.records(home, "none").values() if r.spec.datasets == ("Style_A",)
    )
    assert {"source_10hz", "source_20hz"} < {c.test_set.condition for c in record.cells}
    path = home / "runs" / record.run_id
    code, out, error = inside("replay", path, home=home)
    assert code == 0, out + error
    assert "Agrees bit for bit, scores and weights." in out


def test_noting_a_replay_keeps_what_was_added_meanwhile(recorded: Record, tmp_path: Path) -> None:
    compared = Reproduction(recorded=recorded, replayed=recorded)
    (scored,) = recorded.evaluations
    other = TestSet(dataset="FlatVel_A")
    cells = tuple(c.model_copy(update={"test_set": other}) for c in scored.cells[:1])
    added = recorded.with_evaluation(scored.model_copy(update={"cells": cells}))
    path = write(added, tmp_path)
    assert replay.note(compared, path)
    assert read(path) == added.model_copy(update={"level": "replayed"})
    assert recorded.counts is not None
    counts = recorded.counts.model_copy(update={"adapter_sha256": "0" * 64})
    retrained = added.model_copy(update={"counts": counts})
    write(retrained, tmp_path)
    assert not replay.note(compared, path)
    assert read(path) == retrained


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "failed"}, "is failed: there is nothing to compare"),
        ({"spec": {"seed": 7}, "run_id": None}, "the id is not the hash of its specification"),
        ({"spec": {"fingerprint": "f" * 16}}, "follows another protocol (fingerprint ffff"),
        ({"track": {"version": 99}}, "follows another protocol"),
        ({"method": {"version": 99}}, "version 99, is needed; installed is version 1"),
        ({"method": {"distribution": "other"}}, "'lora' of other, version 1, is needed"),
        ({"method": {"name": "lorra"}}, "Did you mean 'lora'?"),
    ],
)
def test_what_cannot_be_repeated_is_refused_in_one_sentence(
    ran: Ran,
    recorded: Record,
    inside: Inside,
    tmp_path: Path,
    changes: dict[str, Any],
    expected: str,
) -> None:
    spec = recorded.spec.model_copy(update=changes.get("spec", {}))
    method = spec.method.model_copy(update=changes.get("method", {}))
    record = recorded.model_copy(
        update={
            "status": changes.get("status", "done"),
            "spec": spec.model_copy(update={"method": method}),
            "track": recorded.track.model_copy(update=changes.get("track", {})),
        }
    )
    if "run_id" not in changes:
        record = record.model_copy(update={"run_id": record.spec.run_id})
    code, _, error = inside("replay", write(record, tmp_path), home=ran[0])
    assert code == 2
    assert expected in error
    assert len(error.strip().splitlines()) == 1
    assert not list(ran[0].glob("replay-*"))


def test_runs_are_found_by_the_beginning_of_their_id(ran: Ran, inside: Inside) -> None:
    home, _ = ran
    code, _, error = inside("replay", "", home=home)
    assert (code, "is ambiguous" in error) == (2, True)
    code, _, error = inside("replay", "nothing", home=home)
    assert code == 2
    assert "Unknown run 'nothing'" in error
    assert "`bench runs` lists them" in error
    code, _, error = inside("replay", "no/such/run", home=home)
    assert code == 2
    assert "no/such/run is not there; name a run's folder, its record, or a run id." in error


def beside(recorded: Record, relative: float = 0.0, **changes: Any) -> Reproduction:
    """A record and another whose MAEs are larger by a factor of 1 + relative."""
    cells = tuple(
        c.model_copy(update={"scores": c.scores | {"mae": (c.scores["mae"] or 0) * (1 + relative)}})
        for c in recorded.cells
    )
    again = with_cells(recorded, cells)
    inside = {name for name in changes if name in Execution.model_fields}
    execution = again.execution.model_copy(update={name: changes.pop(name) for name in inside})
    return Reproduction(
        recorded=recorded, replayed=again.model_copy(update=changes | {"execution": execution})
    )


def test_on_one_kind_of_cpu_the_last_bit_counts(recorded: Record) -> None:
    assert beside(recorded).agrees
    assert beside(recorded, resumed=3).agrees
    last_bit = beside(recorded, 2**-52)
    assert not last_bit.agrees
    assert last_bit.tolerance.relative == 0
    assert "promise bit-identical scores and weights, and these are not" in last_bit.verdict
    assert recorded.counts is not None
    weights = recorded.counts.model_copy(update={"adapter_sha256": "0" * 64})
    assert not beside(recorded, counts=weights).agrees


@pytest.mark.parametrize(
    ("part", "changes", "reason"),
    [
        ("determinism", {"device": "cuda:0"}, "GPU kernels do not fix the order of their sums"),
        ("determinism", {"threads": 99}, "99 threads, not "),
        ("determinism", {"precision": "other"}, "other, not "),
        ("machine", {"processor": "Other CPU"}, "on Other CPU, not "),
        ("versions", {"torch": "9.9"}, "torch 9.9, not "),
        ("data_sha256", {"Style_A": "0"}, "the data have another content hash"),
        ("foundation_sha256", None, "the foundation was pretrained again"),
        ("commit", None, "harness of commit "),
    ],
)
def test_elsewhere_scores_may_differ_by_the_tolerance_and_the_verdict_says_why(
    recorded: Record, part: str, changes: Any, reason: str
) -> None:
    now = getattr(recorded.execution if part in Execution.model_fields else recorded, part)
    if changes is None:
        change: dict[str, Any] = {part: "0" * 40}
    elif isinstance(now, dict):
        change = {part: now | changes}
    else:
        change = {part: now.model_copy(update=changes)}
    near, far = beside(recorded, 0.04, **change), beside(recorded, 0.06, **change)
    assert (near.agrees, far.agrees) == (True, False)
    for found, word in ((near, "Agrees"), (far, "Disagrees")):
        assert found.verdict.startswith(f"{word}: the largest relative difference is 0.0")
        assert "allowed is 0.05, because " in found.verdict
        assert reason in found.verdict


def test_scores_from_elsewhere_may_differ_too(recorded: Record) -> None:
    """Trained here, scored on another machine: only the scores' last bits are not promised."""
    (scored,) = recorded.evaluations
    machine = scored.execution.machine.model_copy(update={"processor": "Other CPU"})
    execution = scored.execution.model_copy(update={"machine": machine})
    away = recorded.model_copy(
        update={"evaluations": (scored.model_copy(update={"execution": execution}),)}
    )
    replayed = beside(recorded, 2**-52).replayed
    found = Reproduction(recorded=away, replayed=replayed)
    assert found.agrees
    assert "not Other CPU" in found.verdict


def test_uncommitted_changes_promise_no_bits(recorded: Record) -> None:
    found = beside(recorded, 2**-52, dirty=True)
    assert found.agrees
    assert "changes that were not committed" in found.verdict


def test_without_a_metric_in_common_nothing_agrees(recorded: Record) -> None:
    cells = tuple(
        c.model_copy(update={"versions": dict.fromkeys(c.versions, 99)}) for c in recorded.cells
    )
    found = Reproduction(recorded=with_cells(recorded, cells), replayed=recorded)
    assert not found.agrees
    assert found.verdict == "Disagrees: no metric has the version that it has in the record."


def test_cells_that_are_not_of_the_specification_disagree(recorded: Record) -> None:
    first, *others = recorded.cells
    renamed = first.model_copy(update={"test_set": TestSet(dataset="FlatVel_A")})
    for cells in ((renamed, *others), tuple(others), (*recorded.cells, renamed), ()):
        claims = with_cells(recorded, tuple(cells))
        found = Reproduction(recorded=claims, replayed=recorded)
        assert not found.agrees
        assert "cells are not those of its specification" in found.verdict


def test_a_repetition_that_fails_disagrees_and_says_why(recorded: Record) -> None:
    found = beside(recorded, status="failed", error="the loss became nan")
    assert not found.agrees
    assert found.verdict == "Disagrees: the replay is failed: the loss became nan"
