"""Boards: the records of one track, backbone and fingerprint, and the methods in them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.protocol.protocols import Protocol, Slot
from bench.protocol.spec import CLEAN, TARGETS, Rules, TestSet, Track
from bench.seismic import metrics
from leaderboard.load.records import BoardKey
from leaderboard.load.results import FOUNDATION, Results, config
from leaderboard.load.samples import TEST, SampleScores
from leaderboard.tables import marks, text

CLAIMED = "lora"
"""The method that the paper's claims are about."""
TRIAL = "smoke"
"""The track whose scores mean nothing: it only shows that every stage runs."""
REFERENCE = "fft"
"""The method that gains are measured against, as in the paper."""
FIT = ("train", "percent", "holdout")
"""Columns that name a fit of a method, seed left open."""
CellKey = tuple[Any, ...]
"""Values of `FIT` and of the test set."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A method as it ran: one name, package, version and config."""

    key: str
    label: str
    index: int
    """Its colour and sign, the same on all boards and pages of a site."""
    name: str
    distribution: str
    version: int
    config: dict[str, Any]
    release: str | None
    code: str | None
    category: str
    summary: str
    source: str
    start: str

    @property
    def title(self) -> str:
        """Display name, the short name and what sets this config apart beside it."""
        return text.method(self.name) + self.label.removeprefix(self.name)


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
        """The machine of most fits: only its timings are compared."""
        adapted = self.tested.filter(pl.col("kind") == "adaptation")
        machines = Counter(adapted["machine"].to_list())
        return min(machines, key=lambda m: (-machines[m], m), default=None)

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
        return _complete(self._scored, protocol)

    def sampled_seeds(self, protocol: Protocol) -> dict[str, tuple[int, ...]]:
        """Seeds with per-sample scores for every cell of a protocol, by variant key."""
        return _complete(self._sampled, protocol)

    @cached_property
    def _scored(self) -> dict[CellKey, set[tuple[str, int]]]:
        return _by_cell(self.scored)

    @cached_property
    def _sampled(self) -> dict[CellKey, set[tuple[str, int]]]:
        fits = self.tested.select("run_id", "variant", *FIT, "seed")
        return _by_cell(fits.join(self.samples.cells.select("run_id", *TEST), on="run_id"))


def _by_cell(frame: pl.DataFrame) -> dict[CellKey, set[tuple[str, int]]]:
    """Variant keys and seeds of the fits on each cell."""
    pairs: dict[tuple[str, int], tuple[str, int]] = {}  # each once: there are 100,000s of cells
    found = {}
    grouped = frame.group_by(*FIT, *TEST).agg("variant", "seed")
    for *cell, keys, seeds in grouped.iter_rows():
        own = zip(keys, seeds, strict=True)
        found[tuple(cell)] = {pairs.setdefault(pair, pair) for pair in own}
    return found


def _complete(
    by_cell: Mapping[CellKey, set[tuple[str, int]]], protocol: Protocol
) -> dict[str, tuple[int, ...]]:
    """Seeds that a variant has on every cell of a protocol, by its key."""
    wanted = [by_cell.get(cell, set()) for cell in _cells(protocol)]
    found: dict[str, list[int]] = defaultdict(list)
    for key, seed in sorted(set.intersection(*wanted)) if wanted else ():
        found[key].append(seed)
    return {key: tuple(seeds) for key, seeds in found.items()}


def _cells(protocol: Protocol) -> list[CellKey]:
    return [
        (slot.datasets[0], slot.percent, slot.holdout, test.dataset, test.split, test.condition)
        for slot in protocol.fits
        for test in slot.tests
    ]


def cells_of(protocol: Protocol) -> pl.DataFrame:
    """The cells of a protocol's fits: `train`, `percent`, `holdout`, the test set, `weight`.

    The cells weigh the same and together 1.
    """
    rows = _cells(protocol)
    columns = [*FIT, *TEST]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    return frame.with_columns(pl.lit(1 / max(len(rows), 1)).alias("weight"))


def one_cell(train: str, percent: int, test: TestSet) -> Protocol:
    """One cell as a protocol of its own."""
    slot = Slot(datasets=(train,), percent=percent, tests=(test,))
    label = f"{train} → {test.name}"
    return Protocol(name=f"{train}-{percent}-{test.name}", label=label, summary="", slots=(slot,))


def gather(results: Results) -> list[Board]:
    """Boards, the one with the most records of one's own first, trials last.

    Then published ones: the newest rules first, the track's own network, the largest.
    """
    labels = _labels(results.fits)
    order = marks.indices(_methods(results, labels))
    boards = []
    for key, (track, rules) in results.protocols.items():
        fits = results.fits.filter(pl.col("board") == key.slug)
        ids = fits.select("run_id")
        boards.append(
            Board(
                key=key,
                track=track,
                rules=rules,
                fits=fits,
                cells=results.cells.join(ids, on="run_id", how="semi"),
                samples=results.samples.of(ids),
                variants=_variants(fits, labels, order),
                foundation=_foundation(fits, max(order.values(), default=-1) + 1),
            )
        )
    return sorted(boards, key=_order)


def _methods(results: Results, labels: Mapping[str, str]) -> list[list[str]]:
    """Keys of the methods of each board by label, the board with the most records first."""
    own = results.fits.filter(pl.col("variant").is_in(list(labels)))
    by_board = own.group_by("board").agg(pl.len(), pl.col("variant").unique())
    rows = sorted(by_board.iter_rows(), key=lambda row: (-row[1], row[0]))
    return [sorted(keys, key=lambda k: (labels[k].lower(), k)) for _, _, keys in rows]


def _order(board: Board) -> tuple[Any, ...]:
    other_network = board.key.backbone != board.track.default_backbone
    return (
        board.trial,
        -board.local,
        -board.rules.version,
        other_network,
        -board.fits.height,
        board.key,
    )


def _variants(
    fits: pl.DataFrame, labels: Mapping[str, str], order: Mapping[str, int]
) -> tuple[Variant, ...]:
    own = fits.filter(pl.col("kind") == "adaptation", ~pl.col("holdout")).sort("run_id")
    firsts = own.unique("variant", keep="first", maintain_order=True).iter_rows(named=True)
    made = [_variant(row, labels[row["variant"]], order[row["variant"]]) for row in firsts]
    return tuple(sorted(made, key=lambda v: (v.label.lower(), v.key)))


def _foundation(fits: pl.DataFrame, index: int) -> Variant | None:
    done = fits.filter(pl.col("kind") == "pretraining", pl.col("status") == "done")
    if done.is_empty():
        return None
    return _variant(done.row(0, named=True), FOUNDATION, index)


def _variant(row: dict[str, Any], label: str, index: int) -> Variant:
    return Variant(
        key=row["variant"],
        label=label,
        index=index,
        name=row["method"],
        distribution=row["distribution"],
        version=row["version"],
        config=config(row),
        release=row["release"],
        code=row["code"],
        category=row["category"],
        summary=row["summary"],
        source=row["source"],
        start=row["start"],
    )


def _labels(fits: pl.DataFrame) -> dict[str, str]:
    """The method's name, with what sets it apart from others of that name."""
    own = fits.filter(pl.col("kind") == "adaptation", ~pl.col("holdout"))
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in own.unique("variant", keep="first", maintain_order=True).iter_rows(named=True):
        kinds[row["method"]].append(row)
    return {
        row["variant"]: " ".join((name, *_marks(row, rivals)))
        for name, rivals in kinds.items()
        for row in rivals
    }


def _marks(row: dict[str, Any], rivals: Sequence[dict[str, Any]]) -> list[str]:
    if len(rivals) == 1:
        return []
    configs = [config(rival) for rival in rivals]
    own = config(row)
    options = sorted({key for c in configs for key in c})
    marks = [
        f"{key}={own[key]}"
        for key in options
        if own.get(key) is not None and len({repr(c.get(key)) for c in configs}) > 1
    ]
    for word in ("distribution", "version"):
        if len({rival[word] for rival in rivals}) > 1:
            marks.append(f"{word} {row[word]}")
    return marks


def targets_first(names: Iterable[str]) -> list[str]:
    """Datasets: targets in their order, then the others."""
    rank = {name: i for i, name in enumerate(TARGETS)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))
