"""What all fits of one command share: home, track, data, foundations, numerics, progress."""

from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bench.data import generate
from bench.data.loader import Datasets
from bench.errors import ConfigError, DataError, FoundationError
from bench.models.checkpoint import content_hash
from bench.progress import Progress
from bench.protocol import fingerprint
from bench.protocol.spec import PRETRAINING, FitSpec, MethodSpec, Part, Track
from bench.records.record import FOUNDATION_FILE, Record
from bench.runner.workspace import Home
from bench.training.numerics import Numerics
from bench.training.probe import StepCost


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """Pretrained weights on the CPU, and their hash."""

    state: dict[str, Tensor]
    sha256: str


@dataclass(kw_only=True)
class Session:
    """One command's working surroundings."""

    home: Home
    track: Track
    backbone: str
    numerics: Numerics
    progress: Progress
    command: tuple[str, ...]
    data_folder: Path | None = None
    """Where real files lie, for a track that reads them."""
    checkpoint_share: float = 0.01
    """Part of the training time that may go into writing checkpoints."""
    costs: dict[str, StepCost] = field(default_factory=dict)
    """Measured costs of a training step, by method specification."""
    _foundations: dict[int, Foundation] = field(default_factory=dict)
    _sketches: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.data_folder is not None and self.track.data.source == "generated":
            raise ConfigError(
                f"Track '{self.track.name}' generates its data, so --data has no meaning; choose a "
                "track that reads real files, such as --track openfwi."
            )
        self.fingerprint = fingerprint.fingerprint(self.track, self.backbone)
        self.collection = Datasets(self.data_root, self.track, self.numerics.device)

    @property
    def data_root(self) -> Path:
        """The folder that has one folder for each dataset."""
        if self.track.data.source == "generated":
            return self.home.data(fingerprint.data_key(self.track))
        if self.data_folder is None:
            raise DataError(
                f"Track '{self.track.name}' reads the real files: name their folder with --data."
            )
        return self.data_folder

    def data_sha256(self, datasets: tuple[str, ...]) -> dict[str, str]:
        """Content hashes of the datasets that a fit has seen, by name.

        Of generated data, over the hashes of all files. Of real files, which are too large for
        that, over each file's name, size, header and eight blocks of 4 KiB, evenly spaced.
        """
        return {name: self._content_hash(name) for name in datasets}

    def other_data(self, record: Record) -> tuple[str, ...]:
        """Datasets whose real files are not those that the record was made from.

        A specification fixes the content of generated data, but says nothing of what is in real
        files. Datasets that cannot be read here are passed over: there is nothing to mistake them
        for.
        """
        if self.track.data.source == "generated":
            return ()
        return tuple(name for name in record.data_sha256 if self._differs(name, record))

    def _differs(self, dataset: str, record: Record) -> bool:
        try:
            return self._content_hash(dataset) != record.data_sha256[dataset]
        except DataError:
            return False

    def _content_hash(self, dataset: str) -> str:
        if self.track.data.source == "generated":
            return generate.content_hash(self.data_root, dataset)
        if dataset not in self._sketches:
            self._sketches[dataset] = self.collection.sketch(dataset)
        return self._sketches[dataset]

    def spec(
        self,
        method: MethodSpec | None,
        datasets: tuple[str, ...],
        *,
        seed: int,
        percent: int = 100,
        part: Part = "test",
    ) -> FitSpec:
        """A fit on this session's track and backbone."""
        return FitSpec(
            fingerprint=self.fingerprint,
            track=self.track.name,
            backbone=self.backbone,
            method=method,
            datasets=datasets,
            percent=percent,
            seed=seed,
            part=part,
        )

    def foundation_spec(self, seed: int) -> FitSpec:
        """The pretraining that every fit of that seed starts from."""
        return self.spec(None, PRETRAINING, seed=seed)

    def foundation(self, seed: int) -> Foundation:
        """The pretrained weights of one seed, their hash checked; read once.

        Raises `FoundationError` for a file that is missing, damaged or changed.
        """
        if seed not in self._foundations:
            spec = self.foundation_spec(seed)
            folder = self.home.run(spec)
            record = self.home.find(spec)
            path = folder / FOUNDATION_FILE
            again = f"delete the folder {folder} to have it pretrained again."
            if record is None or record.counts is None:
                raise FoundationError(f"{path}: this foundation has no finished record; {again}")
            try:
                state = load_file(path)
            except (OSError, SafetensorError) as error:
                raise FoundationError(f"{path}: cannot be read ({error}); {again}") from error
            found = content_hash(state)
            if found != record.counts.adapter_sha256:
                raise FoundationError(
                    f"{path}: the content does not have the hash in its record; {again}"
                )
            self._foundations = {seed: Foundation(state=state, sha256=found)}
        return self._foundations[seed]
