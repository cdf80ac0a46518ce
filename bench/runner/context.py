"""The run context: what jobs need in their process and cannot be serialised."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.contract import Config, Method
from bench.data import generate, layout, subsets
from bench.data.identity import KnownHashes, content_sha256
from bench.data.loader import Datasets, SampleLoader
from bench.entry_points import HARNESS
from bench.errors import ConfigError, DataError, FoundationError, MethodError
from bench.leases import Lease
from bench.models import backbones
from bench.models.checkpoint import content_hash
from bench.plugins import options, registry
from bench.plugins.registry import Installed
from bench.progress import Progress
from bench.protocol import conditions, fingerprint, spec
from bench.protocol.conditions import Condition
from bench.protocol.spec import (
    CLEAN,
    BackboneSpec,
    FitSpec,
    MethodSpec,
    TestSet,
    Track,
    digest,
)
from bench.records.record import Record
from bench.runner import initial_weights
from bench.runner.workspace import Workspace
from bench.training.group import Group
from bench.training.numerics import Numerics
from bench.training.probe import StepCost
from bench.training.scoring_prefix import SharedActivations

FLOOR = MethodSpec(name="floor", distribution=HARNESS, version=1, config={})
"""Takes the place of a method in the specification of a floor, which has no options."""


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """Pretrained weights on the CPU, and their hash."""

    state: dict[str, Tensor]
    sha256: str


@dataclass(kw_only=True)
class RunContext:
    """Workspace, track, backbone, device, and caches shared by the jobs of one process."""

    workspace: Workspace
    track: Track
    backbone: BackboneSpec
    numerics: Numerics
    progress: Progress
    command: tuple[str, ...]
    data_folder: Path | None = None
    """Where real files lie, for a track that reads them."""
    checkpoint_share: float = 0.01
    """Part of the training time that may go into writing checkpoints."""
    test_curve: bool = False
    """Score each epoch on the fit's own test set, for the record; no choice sees it."""
    pretrain_devices: int = 1
    """Processes to start for pretraining, one a device."""
    group: Group = field(default_factory=Group)
    """The processes that this one was started with, to pretrain together."""
    plan_id: str = ""
    """Plan that this process works on, where it is one of several that do."""
    stopping: Callable[[], bool] = lambda: False
    """Whether to stop at the end of the epoch, after a checkpoint: the batch system's warning."""
    lease: Lease | None = None
    """The claim of the job that is executed now."""
    step_costs: dict[str, StepCost] = field(default_factory=dict)
    """Measured costs of a training step, by method specification."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Reasons why fits of methods are refused; keys as of `_owner`."""
    _checked: dict[str, str | None] = field(default_factory=dict)
    """What a check has found against methods, by specification; None where nothing."""
    _foundations: dict[int, Foundation] = field(default_factory=dict)
    _contents: dict[str, str] = field(default_factory=dict)

    def check_claim(self) -> None:
        """Raise `LeaseLostError` if another process has taken over the job that is executed."""
        if self.lease is not None:
            self.lease.check()

    def __post_init__(self) -> None:
        if self.data_folder is not None and self.track.data.source == "generated":
            raise ConfigError(
                f"Track '{self.track.name}' generates its data, so --data has no meaning; choose a "
                "track that reads real files, such as --track openfwi."
            )
        self.fingerprint = fingerprint.fingerprint(self.track, self.backbone)
        self.datasets = Datasets(self.data_root, self.track, self.numerics.device)
        self.hashes = KnownHashes(self.workspace.hashes)

    @cached_property
    def test_activations(self) -> SharedActivations:
        """What fits of one foundation share when this process scores them: at most an eighth of the
        memory that was free at first."""
        return SharedActivations(self.datasets.activation_limit // 2)

    @property
    def data_root(self) -> Path:
        """The folder that holds one folder per dataset."""
        if self.track.data.source == "generated":
            return self.workspace.data(fingerprint.data_key(self.track))
        if self.data_folder is None:
            raise DataError(
                f"Track '{self.track.name}' reads the real files: name their folder with --data."
            )
        return self.data_folder

    def data_sha256(self, datasets: tuple[str, ...]) -> dict[str, str]:
        """Content hashes of datasets by name, over the SHA-256 of all their files.

        Those of generated data are in their manifest; those of real files are computed where no
        unchanged ones are known. Raises `DataError` for files that cannot be read.
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
        recorded = dict(record.data_sha256)
        for evaluation in record.evaluations:
            recorded |= evaluation.data_sha256
        return tuple(name for name, sha in recorded.items() if self._differs(name, sha))

    def _differs(self, dataset: str, sha256: str) -> bool:
        try:
            return self._content_hash(dataset) != sha256
        except DataError:
            return False

    def _content_hash(self, dataset: str) -> str:
        if self.track.data.source == "generated":
            return generate.content_hash(self.data_root, dataset)
        if dataset not in self._contents:
            folder, names = self.data_files(dataset)
            hashes = self.hashes.of(folder, names, self.progress, label=dataset)
            self._contents[dataset] = content_sha256(hashes)
        return self._contents[dataset]

    def data_files(self, dataset: str) -> tuple[Path, list[str]]:
        """The folder of a dataset of this track, and the names of its files there."""
        pairs = layout.all_files(dataset, self.track.data)
        names = dict.fromkeys(name for pair in pairs for name in (pair.records, pair.maps))
        return layout.folder(self.data_root, dataset), list(names)

    def fit_spec(
        self,
        method: MethodSpec,
        datasets: tuple[str, ...],
        *,
        seed: int,
        percent: int = 100,
        holdout: bool = False,
    ) -> FitSpec:
        """A method's fit on this track and backbone."""
        return FitSpec(
            fingerprint=self.fingerprint,
            track=self.track.name,
            backbone=self.backbone,
            method=method,
            datasets=datasets,
            percent=percent,
            seed=seed,
            holdout=holdout,
        )

    def foundation_spec(self, seed: int) -> FitSpec:
        """The pretraining that every fit of that seed starts from."""
        method = options.method_spec(registry.pretraining(), Config(), self.backbone.name)
        fit = self.fit_spec(method, spec.PRETRAINING, seed=seed)
        return fit.model_copy(update={"kind": "pretraining"})

    def floor_spec(self, dataset: str) -> FitSpec:
        """The mean training map of a dataset; the same for every seed."""
        fit = self.fit_spec(FLOOR, (dataset,), seed=0)
        return fit.model_copy(update={"kind": "floor"})

    def installed(self, fit: FitSpec) -> Installed:
        """The installed method of a specification.

        Raises `MethodError` where another version or distribution is installed, and
        `UnknownNameError` where none is.
        """
        if fit.kind == "pretraining":
            return registry.pretraining()
        installed = registry.get(fit.method.name)
        version = installed.method.version_on(fit.backbone.name)
        if (installed.distribution, version) != (fit.method.distribution, fit.method.version):
            raise MethodError(
                f"Method '{fit.method.name}' of {fit.method.distribution}, version "
                f"{fit.method.version}, is needed; installed is version {version} "
                f"of {installed.distribution}."
            )
        return installed

    def refuse_method(self, fit: FitSpec, reason: str) -> None:
        """Refuse further fits of the same method in this process, for this reason."""
        self.refusals[_owner(fit)] = f"Method '{fit.method.name}' is not tried: {reason}"

    def refusal(self, fit: FitSpec, check: Callable[[], str | None]) -> str | None:
        """Reason why fits of this method are refused.

        `check` is called once for each config of a method: what a method promises may depend on it.
        """
        if _owner(fit) in self.refusals:
            return self.refusals[_owner(fit)]
        key = fit.method.model_dump_json()
        if key not in self._checked:
            self._checked[key] = check()
        return self._checked[key]

    def parts(self, fit: FitSpec, method: Method) -> dict[str, subsets.Parts]:
        """Training and validation samples of a fit, by dataset."""
        return {
            name: subsets.parts(
                len(self.datasets.samples(name, "train")),
                dataset=name,
                percent=fit.percent,
                seed=fit.seed,
                holdout=fit.holdout,
                chooses=method.traits.holdout,
            )
            for name in fit.datasets
        }

    def test_loader(self, fit: FitSpec, test_set: TestSet) -> SampleLoader:
        """The samples of a test set; the validation split is that of the fit's own subset.

        Raises `UnknownNameError` for a condition that is not known.
        """
        if test_set.condition != CLEAN:
            condition = conditions.get(test_set.condition)
            folder = self.condition_folder(test_set.dataset, condition)
            return self.datasets.disturbed(test_set.dataset, condition, folder)
        if test_set.split == "test":
            return self.datasets.test(test_set.dataset)
        parts = self.parts(fit, self.installed(fit).method)[test_set.dataset]
        return self.datasets.held_out([(test_set.dataset, parts.validation)])

    def condition_folder(self, dataset: str, condition: Condition) -> Path:
        """Folder of records simulated under a condition, keyed by all that they depend on: the
        content of their maps, which of them are tested on, the condition, and the simulation."""
        (content,) = self.data_sha256((dataset,)).values()
        pairs = layout.files(dataset, "test", self.track.data)
        settings = asdict(condition) | {"label": "", "group": ""}
        key = digest(
            [content, [asdict(p) for p in pairs], settings, fingerprint.survey_constants()]
        )
        return self.workspace.conditions / key / f"{dataset}@{condition.name}"

    def network(self) -> nn.Module:
        """The network to pretrain, on the CPU: freshly initialised, with the backbone's initial
        weights if it has any. Seed torch first for a repeatable one.

        Raises `FoundationError` for initial weights that are not in the workspace.
        """
        network = backbones.build(self.backbone.name)
        if self.backbone.weights is not None:
            initial_weights.put(network, self.workspace, self.backbone.weights)
        return network

    def foundation(self, seed: int) -> Foundation:
        """The pretrained weights of one seed, their hash checked; read once.

        Raises `FoundationError` for a file that is missing, damaged or changed.
        """
        if seed not in self._foundations:
            fit = self.foundation_spec(seed)
            record, path = self.workspace.trained(fit), self.workspace.weights(fit)
            again = f"remove the folder {path.parent} to have it pretrained again."
            if record is None or record.counts is None:
                raise FoundationError(f"{path}: this foundation has no finished record; {again}")
            try:
                state = load_file(path)
            except (OSError, SafetensorError) as error:
                raise FoundationError(f"{path}: cannot be read ({error}); {again}") from error
            sha256 = content_hash(state)
            if sha256 != record.counts.adapter_sha256:
                raise FoundationError(
                    f"{path}: the content does not have the hash in its record; {again}"
                )
            self._foundations = {seed: Foundation(state=state, sha256=sha256)}
        return self._foundations[seed]


def _owner(fit: FitSpec) -> str:
    """Package and name of a fit's method."""
    return f"{fit.method.distribution}/{fit.method.name}"
