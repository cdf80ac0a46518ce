"""The protocols as sets of cells: which fits, tested on what."""

from dataclasses import dataclass
from typing import NamedTuple

from bench.protocol.spec import PERCENTS, PRETRAINING, TARGETS


class Fit(NamedTuple):
    """One training of a method, seed left open. A tuple: it is looked up very often."""

    train: str
    percent: int = 100


@dataclass(frozen=True, slots=True)
class View:
    """A protocol: fits and, for each, the datasets whose scores count."""

    name: str
    label: str
    summary: str
    tests: dict[Fit, tuple[str, ...]]

    @property
    def cells(self) -> tuple[tuple[Fit, str], ...]:
        return tuple((fit, test) for fit, tests in self.tests.items() for test in tests)


def of_cell(fit: Fit, test: str) -> View:
    """One cell as a protocol of its own."""
    return View("cell", f"{fit.train} → {test}", "", {fit: (test,)})


def _others(target: str) -> tuple[str, ...]:
    return tuple(t for t in TARGETS if t != target)


ID = View(
    "id",
    "In distribution",
    "Fit on each target, tested on the same.",
    {Fit(t): (t,) for t in TARGETS},
)
OOD = View(
    "ood",
    "Out of distribution",
    "Fit on each target, tested on the three others.",
    {Fit(t): _others(t) for t in TARGETS},
)
LOWDATA = View(
    "lowdata",
    "Low data",
    "Fit on 10, 25, 50, 75 and 100 % of each target, tested on all four.",
    {Fit(t, p): TARGETS for t in TARGETS for p in PERCENTS},
)
PRETRAIN = View(
    "pretrain",
    "Pretraining",
    "The foundation against training from scratch on the six pretraining datasets.",
    {Fit(d): (d,) for d in PRETRAINING},
)
RANKED = (ID, OOD, LOWDATA)
"""The leaderboards of the front page."""
VIEWS = {view.name: view for view in (ID, OOD, LOWDATA, PRETRAIN)}
