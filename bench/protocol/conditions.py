"""Conditions: how the records of a test set differ from the clean ones.

Each is one change of acquisition that a field survey meets, at one to three severities. What a
condition does to a record is in `bench.seismic.conditions`; it depends on (condition, dataset,
sample) alone, so that all methods see the same records.
"""

from dataclasses import dataclass

from bench.errors import UnknownNameError
from bench.protocol.spec import CLEAN


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One way in which test records differ; exactly one of the settings is given."""

    name: str
    label: str
    group: str
    """Conditions of a group differ in severity only."""
    noise_db: float | None = None
    """Signal-to-noise ratio of added noise, over all of a record."""
    dead_receivers: int = 0
    """Receivers, of 70, that record nothing in any shot."""
    dead_shots: int = 0
    """Shots, of 5, that are missing."""
    gain: float = 1.0
    """Factor on all amplitudes."""
    static_seconds: float = 0.0
    """Every receiver's traces come this much too early or too late."""
    source_hz: float | None = None
    """Peak frequency of the source; records are simulated anew from the true maps."""
    displaced_cells: int = 0
    """How far receivers stand to the right of where they are thought to be."""

    def __post_init__(self) -> None:
        given = (
            *(self.noise_db is not None, bool(self.dead_receivers), bool(self.dead_shots)),
            *(self.gain != 1.0, bool(self.static_seconds), self.source_hz is not None),
            bool(self.displaced_cells),
        )
        if sum(given) != 1:
            raise ValueError(f"Condition '{self.name}' changes {sum(given)} things, not one.")

    @property
    def resimulated(self) -> bool:
        """Whether records are simulated again instead of being modified."""
        return self.source_hz is not None


CONDITIONS = (
    Condition(name="noise_20db", label="noise, 20 dB", group="noise", noise_db=20),
    Condition(name="noise_10db", label="noise, 10 dB", group="noise", noise_db=10),
    Condition(name="noise_0db", label="noise, 0 dB", group="noise", noise_db=0),
    Condition(
        name="dead_10", label="10 % of receivers dead", group="dead receivers", dead_receivers=7
    ),
    Condition(
        name="dead_30", label="30 % of receivers dead", group="dead receivers", dead_receivers=21
    ),
    Condition(name="dead_shot", label="one shot missing", group="dead shot", dead_shots=1),
    Condition(name="gain_half", label="gain × 0.5", group="gain", gain=0.5),
    Condition(name="gain_double", label="gain × 2", group="gain", gain=2.0),
    Condition(name="static_10ms", label="statics of ± 10 ms", group="statics", static_seconds=0.01),
    Condition(name="source_10hz", label="source of 10 Hz", group="source", source_hz=10.0),
    Condition(name="source_20hz", label="source of 20 Hz", group="source", source_hz=20.0),
    Condition(
        name="displaced_10m",
        label="receivers displaced by 10 m",
        group="displacement",
        displaced_cells=1,
    ),
)
"""All conditions but `clean`, in the order of tables."""


def get(name: str) -> Condition:
    """Look a condition up by name. Raises `UnknownNameError`."""
    for condition in CONDITIONS:
        if condition.name == name:
            return condition
    raise UnknownNameError("condition", name, (CLEAN, *(c.name for c in CONDITIONS)))
