"""The worst sample of each method in a gallery, out of the whole test split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records.maps import Kept
from leaderboard.figures import maps
from leaderboard.tables.variants import Variant
from leaderboard.tables.worst import Worst

WorstSamples = Mapping[tuple[str, str], Worst]
"""By run id and test dataset."""


@dataclass(frozen=True, slots=True)
class WorstTile:
    """A method on the sample of the whole test split on which it errs most.

    `y` is the place in the sheet of truth, prediction and error, which stand side by side.
    """

    variant: Variant
    sample: int
    y: int
    mae_mps: float


@dataclass(frozen=True, slots=True)
class WorstMaps:
    """The worst sample of each method, and why those of some are not shown."""

    of: int
    """Samples of the test split."""
    tiles: tuple[WorstTile, ...]
    missing: tuple[tuple[str, tuple[tuple[Variant, Worst | None], ...]], ...]
    """Why, and the methods of which that is so, with the sample where it is known."""


def worst_maps(
    methods: Sequence[Variant],
    ids: Mapping[str, str],
    have: Mapping[str, Kept],
    test: str,
    worst_samples: WorstSamples,
    rows: list[list[maps.Bytes]],
) -> WorstMaps:
    """Each method's own worst sample of the whole split; its maps are added to `rows`."""
    missing: dict[str, list[tuple[Variant, Worst | None]]] = {}
    tiles, of = [], 0
    for variant in methods:
        found = worst_samples.get((ids.get(variant.key, ""), test))
        kept = have.get(variant.key)
        of = max(of, found.of if found else 0)
        if variant.key not in ids:
            missing.setdefault("there is no fit with this seed", []).append((variant, None))
        elif found is None:
            missing.setdefault("there are no per-sample scores", []).append((variant, None))
        elif kept is None or found.sample not in kept.samples:
            why = "the run keeps other maps only" if kept else "the run keeps no maps"
            missing.setdefault(why, []).append((variant, found))
        else:
            maps_of = kept.only([found.sample])
            truth, prediction = maps_of.truth[0], maps_of.prediction[0]
            place = maps.PITCH * len(rows)
            error_mps = maps.mae_mps(prediction, truth)
            tiles.append(WorstTile(variant, found.sample, place, error_mps))
            error_tile = maps.error_tile(prediction, truth)
            rows.append([maps.velocity_tile(truth), maps.velocity_tile(prediction), error_tile])
    return WorstMaps(of, tuple(tiles), tuple((why, tuple(who)) for why, who in missing.items()))
