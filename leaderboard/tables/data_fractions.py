"""One fraction of the training data as a protocol of its own, in or out of distribution."""

from functools import cache

from bench.protocol.protocols import Protocol, Slot, others
from bench.protocol.spec import TARGETS, TestSet

LEAST = "ood10"
"""Name of the protocol that the front page shows: out of distribution with 10 % of the data."""


@cache
def protocol(percent: int, *, own: bool) -> Protocol:
    """Fits on that part of each target, tested on the same (`own`) or on the three others."""
    return Protocol(
        name=f"{'id' if own else 'ood'}{percent}",
        label=f"{percent} % of the data" + (", in distribution" if own else ""),
        summary="",
        slots=tuple(
            Slot(
                datasets=(t,),
                percent=percent,
                tests=tuple(TestSet(dataset=d) for d in ((t,) if own else others(t))),
            )
            for t in TARGETS
        ),
    )
