"""Whatever can change a training changes the fingerprint; nothing else does."""

import io
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import bench
from bench import seeds
from bench.data import layout, subsets
from bench.models import backbones
from bench.protocol import protocols, spec, survey, tracks
from bench.protocol.fingerprint import data_key, fingerprint
from bench.protocol.spec import (
    DATASETS,
    PERCENTS,
    RULES,
    BackboneSpec,
    Data,
    PretrainingBudget,
    Rules,
    Track,
)
from bench.seismic import metrics
from bench.training.schedule import factor

MINI = tracks.load("mini")
NETWORK = backbones.spec("inversionnet")
SURVEY = sorted(name for name in vars(survey) if name.isupper())


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
    assert fingerprint(MINI, NETWORK, other) != fingerprint(MINI, NETWORK)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 99),
        ("name", "other"),
        ("data.train", 3),
        ("data.pretraining_train", 3),
        ("data.test", 3),
        ("data.samples_per_file", 3),
        ("data.seed", 1),
        ("data.source", "files"),
        ("data.files", {"Style_A": {"data/data1.npy": 3}}),
        ("data.test_percent", 20),
        ("pretrain.epochs", 1),
        ("pretrain.batch", 2),
        ("pretrain.shards", 2),
        ("fit.epochs", 1),
        ("fit.batch", 2),
    ],
)
def test_track_and_budget_count(path: str, value: object) -> None:
    other = changed(MINI, path, value)
    assert fingerprint(other, NETWORK) != fingerprint(MINI, NETWORK)


def test_one_shard_is_the_rule_of_older_records() -> None:
    """Tracks without shards keep the fingerprints and the JSON that they had."""
    assert "shards" not in MINI.pretrain.model_dump(mode="json")
    assert "shards" not in MINI.model_dump(mode="json")["pretrain"]
    one = PretrainingBudget(epochs=MINI.pretrain.epochs, batch=MINI.pretrain.batch, shards=1)
    assert fingerprint(changed(MINI, "pretrain", one), NETWORK) == fingerprint(MINI, NETWORK)
    eight = changed(MINI, "pretrain.shards", 8)
    assert Track.model_validate_json(eight.model_dump_json()) == eight


@pytest.mark.parametrize(
    ("shards", "batch", "reason"),
    [(3, 16, "not a power of two"), (8, 15, "two samples for each of 8 shards")],
)
def test_shards_need_a_power_of_two_and_two_samples_each(
    shards: int, batch: int, reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        PretrainingBudget(epochs=1, batch=batch, shards=shards)


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (survey, "GENERATOR_VERSION", -1),
        (spec, "PRETRAINING", spec.PRETRAINING[:5]),
    ],
)
def test_constants_count(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, value: object
) -> None:
    before = fingerprint(MINI, NETWORK)
    monkeypatch.setattr(place, name, value)
    assert fingerprint(MINI, NETWORK) != before


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (spec, "TARGETS", spec.TARGETS[:3]),
        (spec, "PERCENTS", (10, 100)),
        (protocols, "_PROTOCOLS", {}),
        (metrics, "METRICS", metrics.METRICS[:1]),
        (metrics, "SSIM_WINDOW_CELLS", 7),
        (metrics, "EDGE_THRESHOLD_MPS", 50.0),
    ],
)
def test_what_only_decides_which_scores_there_are_does_not_count(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, value: object
) -> None:
    """Trained fits can be scored in new ways: they are found under the same run id."""
    before = fingerprint(MINI, NETWORK), data_key(MINI)
    monkeypatch.setattr(place, name, value)
    assert (fingerprint(MINI, NETWORK), data_key(MINI)) == before


@pytest.mark.parametrize("name", SURVEY)
def test_every_constant_of_the_survey_counts_where_data_are_generated(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = tracks.load("openfwi")
    before = fingerprint(MINI, NETWORK), data_key(MINI), fingerprint(real, NETWORK)
    other = -1 if name == "GENERATOR_VERSION" else "something else"
    monkeypatch.setattr(survey, name, other)
    assert fingerprint(MINI, NETWORK) != before[0]
    assert data_key(MINI) != before[1]
    assert fingerprint(real, NETWORK) == before[2]


def test_every_part_of_a_track_is_tried_above() -> None:
    assert Track.model_fields.keys() == {
        *("name", "version", "data", "pretrain", "fit"),
        # these do not count
        *("summary", "seeds", "gallery", "default_protocol", "default_backbone"),
    }
    assert Data.model_fields.keys() == {
        *("source", "train", "pretraining_train", "test", "samples_per_file", "seed"),
        *("files", "test_percent"),
    }
    assert spec.Budget.model_fields.keys() == {"epochs", "batch"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "another"), ("distribution", "another"), ("version", 2), ("weights", "0" * 64)],
)
def test_backbone_counts(field: str, value: object) -> None:
    other = NETWORK.model_copy(update={field: value})
    assert fingerprint(MINI, other) != fingerprint(MINI, NETWORK)
    assert BackboneSpec.model_fields.keys() == {"name", "distribution", "version", "weights"}


@pytest.mark.parametrize(
    "change",
    [
        lambda track: changed(track, "summary", "other words"),
        lambda track: changed(track, "seeds", (0, 1, 2)),
        lambda track: changed(track, "gallery", 3),
        lambda track: changed(track, "default_protocol", "id"),
        lambda track: changed(track, "default_backbone", "another"),
    ],
)
def test_words_seeds_and_pictures_do_not_count(change: Callable[[Track], Track]) -> None:
    assert fingerprint(change(MINI), NETWORK) == fingerprint(MINI, NETWORK)


def test_order_of_keys_does_not_count() -> None:
    assert spec.digest({"a": 1, "b": 2}) == spec.digest({"b": 2, "a": 1})


RENAMED = {
    "PEAK_FREQUENCY_HZ": "DOMINANT_FREQUENCY_HZ",
    "GENERATOR_VERSION": "RELEASE",
    "RULES": "PROTOCOL",
    "PERCENTS": "SHARES",
    "TARGETS": "AIMS",
}


def test_to_rename_a_variable_changes_no_fingerprint(tmp_path: Path) -> None:
    """In a copy of the package, everywhere in the code (names, not texts)."""
    source = Path(bench.__file__).parent
    shutil.copytree(source, tmp_path / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    seen = set()
    for path in tmp_path.rglob("*.py"):
        tokens = [
            (token.type, RENAMED.get(token.string, token.string), token.string)
            for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        ]
        seen |= {old for _, new, old in tokens if new != old}
        path.write_text(tokenize.untokenize((kind, new) for kind, new, _ in tokens), "utf-8")
    assert seen == RENAMED.keys(), "each is there to be renamed"
    code = (
        "from bench.protocol import fingerprint as f, survey, tracks; "
        "from bench.protocol.spec import BackboneSpec; survey.DOMINANT_FREQUENCY_HZ; "
        "t = tracks.load('mini'); b = BackboneSpec(name='inversionnet'); "
        "print(f.fingerprint(t, b), f.data_key(t))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [fingerprint(MINI, NETWORK), data_key(MINI)]


def test_what_the_version_of_the_rules_stands_for_is_as_it_was() -> None:
    """Code that decides trainings and has no value of its own in the fingerprint.

    Where this fails, trainings change: raise the version in `Rules` and put the new hash here.
    """
    chosen = [
        subsets.parts(samples, dataset=name, percent=percent, seed=1, holdout=True)
        for samples in (40, 500)
        for name in DATASETS
        for percent in PERCENTS
    ]
    orders = subsets.batch_order(
        23, batch=8, seed=1, datasets=("Style_A",), percent=25, epoch=2
    ) + subsets.batch_order(9, batch=8, seed=0, datasets=spec.PRETRAINING, percent=100, epoch=0)
    splits = [
        (pair.records, pair.maps, pair.samples)
        for name in DATASETS
        for split in layout.SPLITS
        for data in (Data(source="files"), MINI.data, tracks.load("small").data)
        for pair in layout.files(name, split, data)
    ]
    with torch.device("meta"):
        network = backbones.build("inversionnet").state_dict()
    decides = {
        "subsets": [(part.train.tolist(), part.validation.tolist()) for part in chosen],
        "batches": [batch.tolist() for batch in orders],
        "splits": splits,
        "seeds": [seeds.derive(3, purpose) for purpose in ("network", "adapt")],
        "schedule": [round(factor(step, 240), 9) for step in range(240)],
        "network": [(name, list(value.shape)) for name, value in network.items()],
    }
    assert (RULES.version, spec.digest(decides)) == (2, "40ecb67f85f49773")
