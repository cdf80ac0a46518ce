"""The fingerprint: a hash over the values of everything that can change a score."""

from bench.protocol import spec, survey
from bench.protocol.spec import RULES, Rules, Track

GOLDEN_SCORES = {"mae": 0.0885, "mse": 0.018701, "ssim": 0.925738, "edge": 1.0}
"""Scores of the golden pair of maps in tests/test_metrics.py, to 6 digits."""


def ingredients(track: Track, backbone: str, rules: Rules = RULES) -> dict[str, object]:
    """Every ingredient by name, in plain values. Names in the code do not count, values do."""
    generated = track.data.source == "generated"
    return {
        "rules": rules.model_dump(mode="json"),
        "datasets": {"pretraining": spec.PRETRAINING, "targets": spec.TARGETS},
        "percents": spec.PERCENTS,
        "data": track.data.model_dump(mode="json"),
        "pretrain": track.pretrain.model_dump(mode="json"),
        "fit": track.fit.model_dump(mode="json"),
        "track": [track.name, track.version],
        "generator_version": survey.GENERATOR_VERSION if generated else None,
        "survey": _survey() if generated else None,
        "golden_scores": GOLDEN_SCORES,
        "backbone": backbone,
    }


def fingerprint(track: Track, backbone: str, rules: Rules = RULES) -> str:
    """16 hex digits; records with different fingerprints never share a table."""
    return spec.digest(ingredients(track, backbone, rules))


def data_key(track: Track) -> str:
    """Names the folder of a track's generated data: the hash of whatever shapes the samples."""
    return spec.digest(
        {
            "data": track.data.model_dump(mode="json"),
            "generator_version": survey.GENERATOR_VERSION,
            "survey": _survey(),
        }
    )


def _survey() -> dict[str, object]:
    """All constants of the survey and the forward operator, under names of the fingerprint's own:
    to rename a constant changes no fingerprint."""
    return {
        "ACCURACY": survey.ACCURACY,
        "CELL_METRES": survey.CELL_METRES,
        "COURANT_NUMBER": survey.COURANT_NUMBER,
        "DEPTH_CELLS": survey.DEPTH_CELLS,
        "MAP_SHAPE": survey.MAP_SHAPE,
        "PEAK_FREQUENCY_HZ": survey.PEAK_FREQUENCY_HZ,
        "PML_CELLS": survey.PML_CELLS,
        "PML_FREQUENCY_HZ": survey.PML_FREQUENCY_HZ,
        "PML_MAX_VELOCITY_MPS": survey.PML_MAX_VELOCITY_MPS,
        "RECEIVERS": survey.RECEIVERS,
        "RECEIVER_ROW": survey.RECEIVER_ROW,
        "RECORD_SHAPE": survey.RECORD_SHAPE,
        "SHOTS": survey.SHOTS,
        "SOURCE_COLUMNS": survey.SOURCE_COLUMNS,
        "SOURCE_ROW": survey.SOURCE_ROW,
        "STEP_SECONDS": survey.STEP_SECONDS,
        "TIME_STEPS": survey.TIME_STEPS,
        "VELOCITY_MAX_MPS": survey.VELOCITY_MAX_MPS,
        "VELOCITY_MIN_MPS": survey.VELOCITY_MIN_MPS,
        "WAVELET_SAMPLES": survey.WAVELET_SAMPLES,
        "WIDTH_CELLS": survey.WIDTH_CELLS,
    }
