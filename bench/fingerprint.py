"""The fingerprint: a hash over the values of everything that can change a score."""

from bench import maps, spec, survey
from bench.spec import RULES, Rules, Track

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
        "generator_version": maps.GENERATOR_VERSION if generated else None,
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
            "generator_version": maps.GENERATOR_VERSION,
            "survey": _survey(),
        }
    )


def _survey() -> dict[str, object]:
    """All constants of the survey and the forward operator."""
    return {name: value for name, value in vars(survey).items() if name.isupper()}
