"""Upgraders of older records: each takes the JSON of one schema version to the next.

Nothing is invented: what an older schema did not ask for is None. An upgraded record gets the run
id that its specification has now; the old one, which names its folder, is kept beside it.
"""

from collections.abc import Callable
from typing import Any

from bench.entry_points import HARNESS
from bench.protocol.fingerprint import Simulation, recorded
from bench.protocol.spec import BackboneSpec, FitSpec, Rules, Track, digest

_NO_RULES = (
    "metrics_version",
    "ssim_window",
    "ssim_sigma",
    "edge_threshold_mps",
    "edge_tolerance_cells",
)
"""What schema 1 counted among the rules of training and only decides scores."""
_SURVEY = {
    "ACCURACY": 4,
    "CELL_METRES": 10.0,
    "COURANT_NUMBER": 0.65,
    "DEPTH_CELLS": 70,
    "MAP_SHAPE": [70, 70],
    "PEAK_FREQUENCY_HZ": 15.0,
    "PML_CELLS": 20,
    "PML_FREQUENCY_HZ": 15.0,
    "PML_MAX_VELOCITY_MPS": 4500.0,
    "RECEIVERS": 70,
    "RECEIVER_ROW": 1,
    "RECORD_SHAPE": [5, 1000, 70],
    "SHOTS": 5,
    "SOURCE_COLUMNS": [0, 17, 34, 52, 69],
    "SOURCE_ROW": 1,
    "STEP_SECONDS": 0.001,
    "TIME_STEPS": 1000,
    "VELOCITY_MAX_MPS": 4500.0,
    "VELOCITY_MIN_MPS": 1500.0,
    "WAVELET_SAMPLES": 147,
    "WIDTH_CELLS": 70,
}
"""The survey of all generated data under schema 1, which knew one version of the generators."""
_LEVELS = {"self_reported": "self_reported", "re_evaluated": "rescored", "retrained": "replayed"}
_SCORES = ("mae", "rmse", "ssim", "edge")


class UpgradeError(Exception):
    """A record of an old schema that does not follow that schema."""


def from_schema_1(old: dict[str, Any]) -> dict[str, Any]:
    """Upgrade JSON of schema 1 to 2: scores apart, identity without code, pretraining as a fit.

    Raises `UpgradeError` for a record that is not of schema 1, or whose id is not the hash of its
    specification.
    """
    try:
        if digest(old["spec"]) != old["run_id"]:
            raise UpgradeError("run_id: it is not the hash of the specification")
        return _from_schema_1(old)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UpgradeError(f"schema 1: {type(error).__name__}: {error}") from error


def _from_schema_1(old: dict[str, Any]) -> dict[str, Any]:
    spec, method = old["spec"], old["spec"]["method"]
    rules = {name: value for name, value in old["rules"].items() if name not in _NO_RULES}
    rules |= {"batchnorm_statistics": "running", "validation_samples": 1}
    simulation = None
    if old["track"]["data"]["source"] == "generated":
        simulation = {"generator_version": 1, "survey": _SURVEY}
    execution = {
        name: old[name]
        for name in (
            *("machine", "versions", "commit", "dirty"),
            *("command", "determinism", "started", "ended"),
        )
    }
    new_spec = {
        "kind": "adaptation" if method else "pretraining",
        "fingerprint": recorded(
            Track.model_validate(old["track"]),
            BackboneSpec(name=spec["backbone"]),
            Rules.model_validate(rules),
            Simulation.model_validate(simulation) if simulation else None,
        ),
        "track": spec["track"],
        "backbone": {"name": spec["backbone"], "distribution": HARNESS, "version": 1},
        "method": {
            "name": method["name"] if method else "foundation",
            "distribution": method["distribution"] if method else HARNESS,
            "version": method["version"] if method else 1,
            "config": method["config"] if method else {"learning_rate_scale": 1.0},
        },
        "datasets": spec["datasets"],
        "percent": spec["percent"],
        "seed": spec["seed"],
        "holdout": spec["part"] == "validation",
    }
    card = old["method_card"] or {
        "category": "full" if method is None else "other",
        "summary": "",
        "source": "",
        "start": "scratch" if method is None else "unknown",
    }
    return {
        "schema_version": 2,
        "run_id": FitSpec.model_validate(new_spec).run_id,
        "former_id": old["run_id"],
        "status": old["status"],
        "error": old["error"],
        "spec": new_spec,
        "track": old["track"],
        "rules": rules,
        "simulation": simulation,
        "method_release": {
            "distribution_version": old["method_distribution_version"],
            "code": method["code"] if method else None,
        },
        "method_card": card,
        "backbone_release": {"distribution_version": None, "code": None},
        "foundation_sha256": old["foundation_sha256"],
        "data_sha256": {name: old["data_sha256"][name] for name in spec["datasets"]},
        "curve": old["curve"],
        "cost": old["train"],
        "counts": old["counts"],
        "facts": old["facts"],
        "execution": execution,
        "resumed": old["resumed"],
        "level": _LEVELS[old["verification"]],
        "evaluations": [_evaluation(old, execution)] if old["cells"] else [],
    }


def _evaluation(old: dict[str, Any], execution: dict[str, Any]) -> dict[str, Any]:
    return {
        "cells": [
            {
                "test_set": {"dataset": cell["dataset"], "split": cell["part"]},
                "samples": cell["samples"],
                "scores": {name: cell[name] for name in _SCORES},
                "versions": dict.fromkeys(_SCORES, 1),
            }
            for cell in old["cells"]
        ],
        "data_sha256": {c["dataset"]: old["data_sha256"][c["dataset"]] for c in old["cells"]},
        "cost": old["score"],
        "execution": execution,
    }


UPGRADERS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: from_schema_1}
