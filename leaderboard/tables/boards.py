"""Boards: the records of one track, backbone and fingerprint, and the methods in them."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.protocol.protocols import Protocol
from bench.protocol.spec import CLEAN, PRETRAINING, TARGETS, Rules, TestSet, Track
from bench.seismic import metrics
from leaderboard.load.records import BoardKey
from leaderboard.load.samples import TEST, SampleScores
from leaderboard.tables.protocol_cells import FIT, CellKey, by_cell, complete
from leaderboard.tables.variants import Variant

CLAIMED = "lora"
"""The method that the paper's claims are about."""
TRIAL = "smoke"
"""The track whose scores mean nothing: it only shows that every stage runs."""
REFERENCE = "fft"
"""The method that gains are measured against, as in the paper."""


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Where the per-sample scores of a cell are: (method, seed) first places, and their number."""

    test: TestSet
    firsts: NDArray[np.int64]
    count: int


@dataclass(frozen=True)
class Board:
    """The records of one track, backbone and fingerprint, as frames."""

    key: BoardKey
    track: Track
    rules: Rules
    fits: pl.DataFrame
    """All records, a row each."""
    cells: pl.DataFrame = field(repr=False)
    samples: SampleScores = field(repr=False)
    variants: tuple[Variant, ...]
    """Methods with fits scored on test data, by label."""
    foundation: Variant | None
    """The foundations as a method that is fitted on each pretraining dataset."""

    @property
    def title(self) -> str:
        return f"{self.key.track} · {self.key.backbone}"

    @property
    def network(self) -> str:
        """The backbone with its version, as measurements of speed name it."""
        return str(self.fits["network"][0])

    @property
    def trial(self) -> bool:
        """Whether its scores mean nothing: it is never ranked, nor the index beside another."""
        return self.key.track == TRIAL

    @cached_property
    def tested(self) -> pl.DataFrame:
        """Finished fits of methods, and the foundations: a row for each dataset they trained on.

        A foundation stands for a fit on each of its datasets.
        """
        done = self.fits.filter(
            pl.col("status") == "done", ~pl.col("holdout"), pl.col("kind") != "floor"
        )
        return (
            done.with_columns(pl.col("datasets").alias("train"))
            .explode("train")
            .sort("variant", "train", "percent", "seed")
        )

    @cached_property
    def scored(self) -> pl.DataFrame:
        """A row for each cell of `tested`: a fit on a test set, with its scores.

        The foundation's scores on a dataset count as those of its fit on it.
        """
        fits = self.tested.select("run_id", "kind", "variant", *FIT, "seed")
        joined = fits.join(self.cells, on="run_id", maintain_order="left")
        own = (pl.col("kind") != "pretraining") | (pl.col("train") == pl.col("dataset"))
        return joined.filter(own)

    @cached_property
    def datasets(self) -> frozenset[tuple[str, int]]:
        """The trainings of any method: dataset and per cent."""
        adapted = self.tested.filter(pl.col("kind") == "adaptation")
        return frozenset(adapted.select("train", "percent").unique().iter_rows())

    @cached_property
    def cell_means(self) -> dict[tuple[str, int, str], list[dict[str, Any]]]:
        """Scores of each method on each clean test cell, mean over seeds.

        By training dataset, per cent and test dataset.
        """
        clean = self.scored.filter(pl.col("split") == "test", pl.col("condition") == CLEAN)
        names = [metric.name for metric in metrics.METRICS]
        means = clean.group_by("variant", "train", "percent", "dataset").agg(pl.col(names).mean())
        groups: dict[tuple[str, int, str], list[dict[str, Any]]] = defaultdict(list)
        for row in means.sort("variant").iter_rows(named=True):
            groups[row["train"], row["percent"], row["dataset"]].append(row)
        return groups

    @property
    def pretraining_scored(self) -> bool:
        """Whether a pretraining dataset has scores of what was trained on it."""
        return any((name, 100, name) in self.cell_means for name in PRETRAINING)

    @cached_property
    def sampled(self) -> dict[tuple[str, str, str, str], tuple[int, int]]:
        """Place and number of the per-sample scores of each cell, by run id and test set."""
        rows = self.samples.cells.select("run_id", *TEST, "first", "count").iter_rows()
        return {(run, *test): (first, count) for run, *test, first, count in rows}

    @cached_property
    def errors_known(self) -> bool:
        """Whether per-sample scores of a fit on all of a target, on clean targets, are there."""
        fits = self.tested.filter(
            pl.col("kind") == "adaptation",
            pl.col("percent") == 100,
            pl.col("train").is_in(list(TARGETS)),
        )
        runs = set(fits["run_id"].to_list())
        return any(
            run in runs and test in TARGETS and (split, condition) == ("test", CLEAN)
            for run, test, split, condition in self.sampled
        )

    def has_samples(
        self, variant: Variant, train: str, percent: int, test: str, seeds: Sequence[int]
    ) -> bool:
        """Whether per-sample scores of a clean cell are known for all seeds."""
        runs = self.runs(variant, train, percent)
        return all(
            s in runs and (runs[s]["run_id"], test, "test", CLEAN) in self.sampled for s in seeds
        )

    @cached_property
    def floors(self) -> pl.DataFrame:
        """Finished floors with their scores: a row for each dataset."""
        done = self.fits.filter(pl.col("status") == "done", pl.col("kind") == "floor")
        return done.join(self.cells, on="run_id")

    @cached_property
    def floor_samples(self) -> dict[str, list[tuple[int, int]]]:
        """Place and number of the per-sample scores of the floors, by test dataset."""
        found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        floors = set(self.floors["run_id"])
        for (run, dataset, *_), place in self.sampled.items():
            if run in floors:
                found[dataset].append(place)
        return found

    @cached_property
    def sweeps(self) -> dict[str, pl.DataFrame]:
        """Fits scored on validation data, by method name."""
        held = self.fits.filter(pl.col("holdout")).sort("method")
        return {
            str(name): part for (name,), part in held.partition_by("method", as_dict=True).items()
        }

    @cached_property
    def reference(self) -> Variant | None:
        """The variant named `REFERENCE` that has the most fits."""
        counts = Counter(self.tested["variant"].to_list())
        named = [v for v in self.variants if v.name == REFERENCE]
        return max(named, key=lambda v: counts[v.key], default=None)

    @cached_property
    def machine(self) -> str | None:
        """The machine of most fits."""
        adapted = self.tested.filter(pl.col("kind") == "adaptation")
        machines = Counter(adapted["machine"].to_list())
        return min(machines, key=lambda m: (-machines[m], m), default=None)

    @cached_property
    def numerics(self) -> str | None:
        """The numerics that most methods were trained in: bytes of others do not stand beside."""
        trained = self.tested.filter(pl.col("kind") == "adaptation")
        methods = Counter(trained.select("variant", "numerics").unique()["numerics"].to_list())
        fits = Counter(trained["numerics"].to_list())
        return min(methods, key=lambda n: (-methods[n], -fits[n], n), default=None)

    @property
    def local(self) -> int:
        """Records of the workspaces, which are not published."""
        return int((self.fits["origin"] == "local").sum())

    @property
    def newest(self) -> str:
        return str(self.fits["started"].max())

    def entries(self, variant: Variant) -> list[dict[str, Any]]:
        """All records of a method that are scored on test data, failed ones too."""
        own = self.fits.filter(pl.col("variant") == variant.key, ~pl.col("holdout"))
        return list(own.sort("train", "percent", "seed").iter_rows(named=True))

    def runs(self, variant: Variant, train: str, percent: int) -> dict[int, dict[str, Any]]:
        """The finished fits of a method on a dataset, by seed."""
        chosen = self._by_fit.get((variant.key, train, percent), [])
        return {row["seed"]: row for row in chosen}

    def run_ids(self, key: str, train: str, percent: int) -> dict[int, str]:
        """Ids of the finished fits of a variant's key on a dataset, by seed."""
        return self._ids.get((key, train, percent), {})

    @cached_property
    def fitted(self) -> dict[str, tuple[int, ...]]:
        """Seeds of the finished fits of each method, and of the foundation, by key."""
        rows = self.tested.group_by("variant", maintain_order=True).agg(pl.col("seed").unique())
        return {key: tuple(sorted(seeds)) for key, seeds in rows.iter_rows()}

    @cached_property
    def _ids(self) -> dict[tuple[str, str, int], dict[int, str]]:
        found: dict[tuple[str, str, int], dict[int, str]] = defaultdict(dict)
        rows = self.tested.select("variant", "train", "percent", "seed", "run_id").iter_rows()
        for key, train, percent, seed, run_id in rows:
            found[key, train, percent][seed] = run_id
        return found

    @cached_property
    def _by_fit(self) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
        groups: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
        shown = self.tested.select("variant", *FIT, "seed", "run_id", "title", "folder")
        for row in shown.iter_rows(named=True):
            groups[row["variant"], row["train"], row["percent"]].append(row)
        return groups

    @cached_property
    def places(
        self,
    ) -> dict[tuple[str, tuple[str, ...], tuple[int, ...]], tuple[Place, ...] | None]:
        """The cells of a protocol for several methods and seeds, kept once they are looked up."""
        return {}

    def seeds(self, protocol: Protocol) -> dict[str, tuple[int, ...]]:
        """Seeds with every cell of a protocol, by variant key.

        Means over fewer cells are not comparable.
        """
        return complete(self._scored, protocol)

    def sampled_seeds(self, protocol: Protocol) -> dict[str, tuple[int, ...]]:
        """Seeds with per-sample scores for every cell of a protocol, by variant key."""
        return complete(self._sampled, protocol)

    @cached_property
    def _scored(self) -> dict[CellKey, set[tuple[str, int]]]:
        return by_cell(self.scored)

    @cached_property
    def _sampled(self) -> dict[CellKey, set[tuple[str, int]]]:
        fits = self.tested.select("run_id", "variant", *FIT, "seed")
        return by_cell(fits.join(self.samples.cells.select("run_id", *TEST), on="run_id"))
