"""Frozen specifications: datasets, training rules, tracks, fits and test sets."""

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from bench.entry_points import HARNESS

PRETRAINING = (
    "FlatVel_A",
    "CurveVel_A",
    "CurveVel_B",
    "FlatFault_A",
    "FlatFault_B",
    "CurveFault_A",
)
TARGETS = ("FlatVel_B", "CurveFault_B", "Style_A", "Style_B")
DATASETS = PRETRAINING + TARGETS
PERCENTS = (10, 25, 50, 75, 100)
"""Fractions of the training split, in percent."""

Kind = Literal["pretraining", "adaptation", "floor"]
"""``pretraining`` makes a foundation; ``adaptation`` is a method's fit to one dataset; ``floor`` is
the mean training map of a dataset, which predicts the same for every record."""
Split = Literal["test", "validation"]
"""``validation`` is a part of the training split that a fit with a holdout does not train on."""
Natural = Annotated[int, Field(ge=0, le=2**53)]
Count = Annotated[int, Field(ge=1, le=2**53)]
"""Whole numbers that every reader of JSON and every column of integers can hold."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""What may become part of a file's name."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
CLEAN = "clean"
"""The condition of unchanged test records."""


class Frozen(BaseModel):
    """Base model: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rules(Frozen):
    """Training rules of protocol v2. Whatever only decides scores is not among them."""

    version: Count = 2
    record_scale: tuple[float, float] = (30.0, 60.0)
    """log1p of these, negative and positive, is mapped to -1 and 1."""
    velocity_scale_mps: tuple[float, float] = (1500.0, 4500.0)
    loss: Literal["l1"] = "l1"
    optimiser: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    pretraining_weight_decay: float = 1e-4
    peak_learning_rate: float = 8e-4
    warmup: float = 5 / 120
    """Part of training in which the learning rate rises linearly."""
    warmup_start: float = 1e-5
    """Learning rate at the first step, as a factor of the peak (the paper's warm-up factor)."""
    milestones: tuple[float, ...] = (90 / 120, 100 / 120)
    decay: float = 0.1
    """Factor at each milestone."""
    batchnorm_statistics: Literal["running", "recomputed"] = "recomputed"
    """``recomputed``: after the last epoch, over the training subset with the final weights;
    ``running``: as training left them (protocol v1)."""
    validation_percent: Count = 10
    """Part of the training subset that is held out for choices; never test data."""
    validation_samples: Count = 32
    """At least so many are held out, but never more than half of the subset."""


RULES = Rules()


MOST_SAMPLES = 10_000_000
"""Of a dataset. The largest one of the release has 67,000."""
MOST_FILES = 100_000
"""Of a dataset."""
Samples = Annotated[int, Field(ge=1, le=MOST_SAMPLES)]
FileName = Annotated[str, Field(pattern=r"^(data/data\d{1,6}|seis\d{1,2}_1_\d{1,6})\.npy$")]
"""Of a file of records below a dataset's folder; it cannot lead out of it."""
FileSize = Annotated[int, Field(ge=2, le=MOST_SAMPLES)]
"""In samples: at least one to train on and one to test on."""


class Budget(Frozen):
    """Epochs and batch size of a training."""

    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    batch: Annotated[int, Field(ge=2, le=MOST_SAMPLES)]
    """BatchNorm over the 1 × 1 bottleneck needs at least two samples."""


class PretrainingBudget(Budget):
    """Epochs and batch size of pretraining, and the shards that make it independent of devices."""

    shards: Count = 1
    """Parts of equal size, a power of two, into which every batch is cut: each has BatchNorm
    statistics and random numbers of its own, and what they give is combined in a fixed order. As
    many devices may share them. 1: the batch is whole, as on one device."""

    @model_validator(mode="after")
    def _two_in_each_shard(self) -> Self:
        if self.shards & (self.shards - 1):
            raise ValueError(f"shards = {self.shards} is not a power of two")
        if self.batch < 2 * self.shards:
            raise ValueError(
                f"a batch of {self.batch} has not got two samples for each of {self.shards} shards"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_one(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """One shard is left out: it is the rule of older records, whose fingerprints hold."""
        plain: dict[str, Any] = handler(self)
        return {name: value for name, value in plain.items() if (name, value) != ("shards", 1)}


class Data(Frozen):
    """Source of a track's samples, and how many there are in each dataset."""

    source: Literal["generated", "files"]
    train: Samples | None = None
    """Samples a dataset; None: the official split of the real files."""
    pretraining_train: Samples | None = None
    """The same for the six pretraining datasets, where it differs."""
    test: Samples | None = None
    samples_per_file: Samples = 500
    seed: Natural = 0
    files: dict[str, dict[FileName, FileSize]] | None = None
    """Real files other than the official release: files of records by dataset, and the number of
    samples in each. Their values may have 16, 32 or 64 bits."""
    test_percent: Annotated[int, Field(ge=1, le=50)] | None = None
    """Part of each of `files`, at its end, that is for testing."""

    @model_validator(mode="after")
    def _is_one_way_to_split(self) -> Self:
        if (self.files is None) != (self.test_percent is None):
            raise ValueError("files and test_percent belong together")
        sizes = (self.train, self.pretraining_train, self.test)
        if self.files is not None and (self.source != "files" or any(sizes)):
            raise ValueError("files go with source 'files' and have their own sizes")
        if unknown := sorted(set(self.files or ()) - set(DATASETS)):
            raise ValueError(f"files of '{unknown[0]}', which is no dataset")
        if max((s for s in sizes if s), default=0) > MOST_FILES * self.samples_per_file:
            raise ValueError(f"more than {MOST_FILES:,} files a dataset: raise samples_per_file")
        return self

    def tested(self, samples: int) -> int:
        """How many samples of one of `files` are for testing."""
        return max(1, samples * (self.test_percent or 0) // 100)

    def train_samples(self, dataset: str) -> int | None:
        """Training samples of one dataset; None: the official split of the real files."""
        if self.files is not None:
            return sum(held - self.tested(held) for held in self.files.get(dataset, {}).values())
        if dataset in PRETRAINING and self.pretraining_train is not None:
            return self.pretraining_train
        return self.train


class Track(Frozen):
    """Source of the data, budget and default backbone; frozen and versioned."""

    name: Name
    version: Count
    summary: str
    data: Data
    pretrain: PretrainingBudget
    fit: Budget
    seeds: tuple[Natural, ...] = (0,)
    default_protocol: str = "ood"
    default_backbone: str = "inversionnet"
    gallery: Annotated[int, Field(ge=0, le=MOST_SAMPLES)] = 8
    """Test samples of each cell, the first ones, whose predicted maps are kept for the page.
    Elsewhere `kept_maps`; the name here is a key of track files and of published records."""

    def budget(self, kind: Kind) -> Budget:
        """Epochs and batch size of a fit of that kind."""
        return self.pretrain if kind == "pretraining" else self.fit


class BackboneSpec(Frozen):
    """Identity of a fit's backbone."""

    name: Name
    distribution: str = HARNESS
    version: Count = 1
    weights: Sha256 | None = None
    """Content hash of the tensors that replace random initial ones (`bench run --weights`)."""

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Random weights are left out: ids of older records hold."""
        plain: dict[str, Any] = handler(self)
        return {name: value for name, value in plain.items() if value is not None}


class MethodSpec(Frozen):
    """Identity of a fit's method."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    distribution: str
    version: Count
    config: dict[str, Any]
    """Plain values in their one canonical form."""


class TestSet(Frozen):
    """A split of a dataset under a condition, on which fits are scored."""

    __test__: ClassVar[bool] = False  # pytest collects classes of such a name

    dataset: Name
    split: Split = "test"
    condition: Name = CLEAN

    @property
    def name(self) -> str:
        """The test set as one word: ``Style_A``, ``Style_A:validation``, ``Style_A@noise_10db``."""
        split = "" if self.split == "test" else f":{self.split}"
        condition = "" if self.condition == CLEAN else f"@{self.condition}"
        return f"{self.dataset}{split}{condition}"


class FitSpec(Frozen):
    """Identity of one training: its hash is the run id. What only decides scores is not in it."""

    kind: Kind = "adaptation"
    fingerprint: str
    track: Name
    backbone: BackboneSpec
    method: MethodSpec
    datasets: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]
    percent: Count = 100
    seed: Natural
    holdout: bool = False
    """Keep the validation part of the training subset out of training."""

    @property
    def run_id(self) -> str:
        """Hash of the specification, 16 hex digits; a fit with a recorded id is not repeated."""
        return digest(self.model_dump(mode="json"))

    @property
    def title(self) -> str:
        """Readable title: ``lora on FlatVel_B, 10 %, seed 0``; with a holdout, the config too."""
        share = "" if self.percent == 100 else f", {self.percent} %"
        on = self.datasets[0] if len(self.datasets) == 1 else f"{len(self.datasets)} datasets"
        name = self.method.name
        if self.holdout:
            options = sorted(self.method.config.items())
            name = " ".join([name, *(f"{key}={value}" for key, value in options if value)])
        return f"{name} on {on}{share}, seed {self.seed}"


def canonical(value: Any) -> str:
    """Canonical JSON of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(value: Any) -> str:
    """16 hex digits of the SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]
