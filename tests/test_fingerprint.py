"""Every ingredient that can change a score changes the fingerprint; nothing else does."""

from collections.abc import Callable

import pytest

from bench import fingerprint as module
from bench import maps, spec, survey, tracks
from bench.fingerprint import fingerprint
from bench.spec import RULES, Rules, Track

MINI = tracks.load("mini")


def changed(track: Track, path: str, value: object) -> Track:
    head, _, tail = path.partition(".")
    if not tail:
        return track.model_copy(update={head: value})
    part = getattr(track, head).model_copy(update={tail: value})
    return track.model_copy(update={head: part})


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("field", sorted(Rules.model_fields))
def test_every_rule_counts(field: str) -> None:
    other = RULES.model_copy(update={field: "something else"})
    assert fingerprint(MINI, "inversionnet", other) != fingerprint(MINI, "inversionnet")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 2),
        ("name", "other"),
        ("data.train", 3),
        ("data.test", 3),
        ("data.seed", 1),
        ("data.source", "files"),
        ("pretrain.epochs", 1),
        ("pretrain.batch", 2),
        ("fit.epochs", 1),
        ("fit.batch", 2),
    ],
)
def test_track_and_budget_count(path: str, value: object) -> None:
    other = changed(MINI, path, value)
    assert fingerprint(other, "inversionnet") != fingerprint(MINI, "inversionnet")


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (maps, "GENERATOR_VERSION", -1),
        (survey, "PEAK_FREQUENCY_HZ", 14.0),
        (survey, "ACCURACY", 8),
        (survey, "SOURCE_COLUMNS", (0, 17, 35, 52, 69)),
        (spec, "PRETRAINING", spec.PRETRAINING[:5]),
        (spec, "TARGETS", spec.TARGETS[:3]),
        (spec, "PERCENTS", (10, 100)),
        (module, "GOLDEN_SCORES", {"mae": 0.1}),
    ],
)
def test_constants_count(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, value: object
) -> None:
    before = fingerprint(MINI, "inversionnet")
    monkeypatch.setattr(place, name, value)
    assert fingerprint(MINI, "inversionnet") != before


def test_backbone_counts() -> None:
    assert fingerprint(MINI, "inversionnet") != fingerprint(MINI, "another")


@pytest.mark.parametrize(
    "change",
    [
        lambda track: changed(track, "summary", "other words"),
        lambda track: changed(track, "seeds", (0, 1, 2)),
        lambda track: changed(track, "gallery", 3),
        lambda track: changed(track, "default_protocol", "id"),
    ],
)
def test_words_seeds_and_pictures_do_not_count(change: Callable[[Track], Track]) -> None:
    assert fingerprint(change(MINI), "inversionnet") == fingerprint(MINI, "inversionnet")


def test_order_of_keys_does_not_count() -> None:
    assert spec.digest({"a": 1, "b": 2}) == spec.digest({"b": 2, "a": 1})
