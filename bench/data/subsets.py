"""The samples of a fit and their order: nested fractions, validation part, batches."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench import seeds
from bench.protocol.spec import RULES

Indices = NDArray[np.int64]
SMALLEST_SUBSET = 3
"""Two to train on (BatchNorm needs them) and one to hold out."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Sample numbers of one fit on one dataset: what it trains on and what it holds out."""

    train: Indices
    validation: Indices
    """What scores are on."""
    choice: Indices
    """What a method with `Traits.holdout` chooses its final weights on."""


def parts(
    samples: int, *, dataset: str, percent: int, seed: int, holdout: bool, chooses: bool = False
) -> Parts:
    """The nested subset of a training split, and the validation part held out of that subset.

    One permutation for (seed, dataset); a fraction is its beginning, so 10 % ⊂ 25 % ⊂ …; every
    method gets the same. The validation part is the end of the subset: a method that chooses on
    validation data chooses on its own fraction.

    `holdout`: configs are compared on the validation part; `chooses`: the method chooses its final
    weights on it. Where both hold, each has its own half: the best of several tries on the samples
    that score it would be too good.
    """
    order = np.random.default_rng(seeds.derive(seed, "subset", dataset)).permutation(samples)
    count = size(samples, percent)
    held = validation_size(count) if holdout or chooses else 0
    train, validation = order[: count - held], order[count - held : count]
    if not (holdout and chooses):
        return Parts(train=train, validation=validation, choice=validation)
    half = held - scored_size(held, chooses=True)
    return Parts(train=train, validation=validation[half:], choice=validation[: half or held])


def size(samples: int, percent: int) -> int:
    """Number of samples in a fraction of a training split, its validation part included."""
    return min(samples, max(SMALLEST_SUBSET, round(samples * percent / 100)))


def validation_size(count: int) -> int:
    """Number of samples of a subset of `count` that are held out for choices."""
    share = round(count * RULES.validation_percent / 100)
    return min(max(RULES.validation_samples, share), count // 2)


def scored_size(held: int, *, chooses: bool) -> int:
    """Number of `held` validation samples on which configs of a method are compared: half of them
    where the method `chooses` on the others, the larger half if they are odd."""
    return held - held // 2 if chooses else held


def batch_order(
    samples: int,
    *,
    batch: int,
    seed: int,
    datasets: tuple[str, ...],
    percent: int,
    epoch: int,
    least: int = 2,
) -> list[Indices]:
    """The batches of one epoch: a permutation cut into equal parts (to within one sample).

    Never a batch of less than `least` samples where there are so many: batches of two may become
    three. It
    depends on the seed, never on the method.
    """
    rng = np.random.default_rng(seeds.derive(seed, "batches", *datasets, percent, epoch))
    count = batches_per_epoch(samples, batch, least=least)
    return [np.asarray(part) for part in np.array_split(rng.permutation(samples), count)]


def batches_per_epoch(samples: int, batch: int, *, least: int = 2) -> int:
    """Number of batches of at most `batch` samples, limited so that each holds at least `least`."""
    return max(1, min(-(-samples // batch), samples // least))
