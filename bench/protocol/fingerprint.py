"""The fingerprint: a hash over the values of everything that can change a training.

What only decides scores (metrics, conditions, test sets) is not among it, so that trained fits can
be scored in new ways.
"""

from typing import Any

from bench.protocol import spec, survey
from bench.protocol.spec import RULES, BackboneSpec, Frozen, Rules, Track


class Simulation(Frozen):
    """Everything that determines generated samples: generator version and survey."""

    generator_version: int
    survey: dict[str, Any]
    """Constants of acquisition and forward operator by name."""


def simulation(track: Track) -> Simulation | None:
    """How this program generates the track's samples; None for real files."""
    if track.data.source != "generated":
        return None
    return Simulation(generator_version=survey.GENERATOR_VERSION, survey=survey_constants())


def ingredients(
    track: Track, backbone: BackboneSpec, rules: Rules, simulation: Simulation | None
) -> dict[str, object]:
    """Every ingredient by name, as plain values: renaming a constant in code changes nothing.

    What is None is left out, so that a new optional field changes no recorded fingerprint.
    """
    return {
        "rules": rules.model_dump(mode="json", exclude_none=True),
        "pretraining": spec.PRETRAINING,
        "data": track.data.model_dump(mode="json", exclude_none=True),
        "pretrain": track.pretrain.model_dump(mode="json"),
        "fit": track.fit.model_dump(mode="json"),
        "track": [track.name, track.version],
        "simulation": simulation.model_dump(mode="json") if simulation else None,
        "backbone": backbone.model_dump(mode="json"),
    }


def recorded(
    track: Track, backbone: BackboneSpec, rules: Rules, simulation: Simulation | None
) -> str:
    """The fingerprint of a recorded training, from what its record says: 16 hex digits."""
    return spec.digest(ingredients(track, backbone, rules, simulation))


def fingerprint(track: Track, backbone: BackboneSpec, rules: Rules = RULES) -> str:
    """Fingerprint of a track and backbone, 16 hex digits; different ones never share a table."""
    return recorded(track, backbone, rules, simulation(track))


def data_key(track: Track) -> str:
    """Folder name of a track's generated data: the hash of whatever determines the samples."""
    return spec.digest(
        {
            "data": track.data.model_dump(mode="json", exclude_none=True),
            "generator_version": survey.GENERATOR_VERSION,
            "survey": survey_constants(),
        }
    )


def survey_constants() -> dict[str, object]:
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
