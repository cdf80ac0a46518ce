"""Frozen specifications: protocol constants, tracks, fits, cells; fingerprint and run id."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

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

Part = Literal["test", "validation"]


class Frozen(BaseModel):
    """Immutable, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Rules(Frozen):
    """Protocol v1: whatever of it can change a score (DESIGN section 3)."""

    version: PositiveInt = 1
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
    validation_percent: PositiveInt = 10
    """Part of the training split that is held out for choices; never test data."""
    metrics_version: PositiveInt = 1
    ssim_window: PositiveInt = 11
    ssim_sigma: PositiveFloat = 1.5
    edge_threshold_mps: PositiveFloat = 100.0
    """Velocity change per cell (Sobel) from which a cell is an interface."""
    edge_tolerance_cells: NonNegativeInt = 1


RULES = Rules()


class Budget(Frozen):
    """How long and how a network is trained."""

    epochs: PositiveInt
    batch: Annotated[int, Field(ge=2)]
    """BatchNorm over the 1 × 1 bottleneck needs at least two samples."""


class Data(Frozen):
    """Where a track's samples come from and how many there are in each dataset."""

    source: Literal["generated", "files"]
    train: PositiveInt | None = None
    """Samples a dataset; None: the official split of the real files."""
    test: PositiveInt | None = None
    samples_per_file: PositiveInt = 500
    seed: NonNegativeInt = 0


class Track(Frozen):
    """Where data come from and how large the budget is; frozen and versioned."""

    name: str
    version: PositiveInt
    summary: str
    data: Data
    pretrain: Budget
    fit: Budget
    seeds: tuple[NonNegativeInt, ...] = (0,)
    default_protocol: str = "ood"
    gallery: NonNegativeInt = 8
    """Test samples of each cell, the first ones, whose predicted maps are kept for the page."""


class MethodSpec(Frozen):
    """The method of a fit, exactly."""

    name: str
    distribution: str
    version: int
    code: str
    """Hash of the plugin's code."""
    config: dict[str, Any]


class FitSpec(Frozen):
    """One training. With `method` None: the pretraining of a foundation on `datasets`."""

    fingerprint: str
    track: str
    backbone: str
    method: MethodSpec | None
    datasets: tuple[str, ...]
    percent: PositiveInt = 100
    seed: NonNegativeInt
    part: Part = "test"
    """What is scored. ``validation`` is held out of the training split and not trained on."""

    @property
    def run_id(self) -> str:
        """Hash of the specification: the same specification is found, not repeated."""
        return digest(self.model_dump(mode="json"))

    @property
    def method_name(self) -> str:
        return self.method.name if self.method else "foundation"

    @property
    def title(self) -> str:
        """For people: ``lora on FlatVel_B, 10 %, seed 0``; in a sweep with its config."""
        share = "" if self.percent == 100 else f", {self.percent} %"
        on = self.datasets[0] if len(self.datasets) == 1 else f"{len(self.datasets)} datasets"
        name = self.method_name
        if self.method and self.part == "validation":
            options = sorted(self.method.config.items())
            name = " ".join([name, *(f"{key}={value}" for key, value in options if value)])
        return f"{name} on {on}{share}, seed {self.seed}"

    @property
    def test_datasets(self) -> tuple[str, ...]:
        """Datasets that this fit is scored on: its own, and for a target the other targets too."""
        if self.part == "test" and set(self.datasets) <= set(TARGETS):
            return self.datasets + tuple(t for t in TARGETS if t not in self.datasets)
        return self.datasets


def canonical(value: Any) -> str:
    """One text for one meaning: JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(value: Any) -> str:
    """16 hex digits of the SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]
