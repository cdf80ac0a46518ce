"""The training stage of one fit: adapt, train, save the weights, count the costs."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench import conformance
from bench.contract import Config, Method
from bench.data import subsets
from bench.data.loader import SampleLoader
from bench.errors import ConfigError, MethodError
from bench.isolation import isolated
from bench.models import delta
from bench.plugins import adaptation, batchnorm, options
from bench.plugins.adaptation import Checked
from bench.progress import Advance
from bench.protocol.spec import FitSpec, digest
from bench.records.record import Counts, Epoch, MethodCard, Phase, Release
from bench.runner import networks, provenance, resume
from bench.runner.context import RunContext
from bench.runner.counts import counts, step_cost
from bench.seeds import derive, seed_everything
from bench.training import evaluate, probe, train
from bench.training.batchnorm import recompute
from bench.training.prefix import FrozenPrefix


class FitTraining:
    """Training of one specification: `run` executes it; attributes hold its state and results."""

    def __init__(self, spec: FitSpec, context: RunContext) -> None:
        self.spec, self.context = spec, context
        self.installed = context.installed(spec)
        self.budget = context.track.budget(spec.kind)
        self.curve: list[Epoch] = []
        self.resumed = 0
        self.foundation_sha256: str | None = None
        self.cost: Phase | None = None
        self.counts: Counts | None = None
        self.facts: dict[str, Any] = {}
        self._checkpoints: resume.CheckpointStore | None = None
        self._prefix: FrozenPrefix | None = None
        self._earlier_seconds, self._earlier_epochs = 0.0, 0

    @cached_property
    def config(self) -> Config:
        """The method's options. Raises what `options.validate` raises."""
        return options.validate(self.installed, self.spec.method.config)

    @cached_property
    def method(self) -> Method:
        """The method, with the traits that it has under its options. Raises `MethodError`."""
        return batchnorm.effective(self.installed.method, self.config)

    def run(self) -> nn.Module:
        """Adapt, train from the last checkpoint, and save the weights; returns the trained network.

        Raises `MethodError` for whatever the method does wrong.
        """
        spec, context = self.spec, self.context
        self._check_conformance()
        adapted, self.foundation_sha256 = networks.adapted(spec, context)
        self._checkpoints = self._open_checkpoints()
        initial = {name: value.cpu().clone() for name, value in adapted.model.state_dict().items()}
        with isolated(f"Method '{self.method.name}'", "training"):
            cost = step_cost(spec, self.method, adapted, context)
            delta.restore(adapted.model, initial)  # measuring the cost moved BatchNorm statistics
            parts = context.parts(spec, self.method)
            loader = self._loader(parts)
            adam = train.optimiser(adapted, self.config.learning_rate_scale)
            self._resume(adapted, adam)
            size = resume.checkpoint_bytes(adapted)
            schedule = resume.CheckpointSchedule(context.checkpoint_share, size)
            stage = context.progress.stage(spec.title, self.budget.epochs * len(loader), "samples")
            earlier = self._earlier_epochs * len(loader)
            with stage as advance, probe.measure(context.numerics.device) as meter:
                advance(earlier)
                for epoch in self._epochs(adapted, adam, loader, advance):
                    meter.samples += len(loader)
                    meter.warmed_up(len(loader))
                    with meter.paused():
                        self.curve.append(self._with_test_mae(epoch, adapted))
                    self._between_epochs(adapted, adam, schedule)
                adaptation.check_trained(self.method, adapted, initial)
                self._recompute_statistics(adapted, loader)
                if adapted.finish is not None:
                    self._finish(adapted, loader, parts)
            self.cost = self._cost(meter, earlier)
            adaptation.check_frozen(self.method, adapted, initial)
            context.check_claim()
            self._save(adapted, adam, initial, cost)
        return adapted.model

    def _check_conformance(self) -> None:
        """Raise `MethodError` if a cheap check of the method fails, before its first fit."""
        if self.spec.kind != "adaptation":
            return

        def check() -> str | None:
            network, _ = networks.unadapted(self.spec, self.context)
            return conformance.first_failure(self.installed.method, self.config, network.eval())

        if failure := self.context.refusal(self.spec, check):
            raise MethodError(failure)

    def _between_epochs(
        self,
        adapted: Checked,
        adam: torch.optim.Optimizer | None,
        schedule: resume.CheckpointSchedule,
    ) -> None:
        """Write a checkpoint if one is due. Raises `LeaseLostError` where another process has taken
        the fit over, and `KeyboardInterrupt` where this one is to stop."""
        self.context.check_claim()
        stopping = self.context.stopping()
        if schedule.due or stopping:
            with schedule.writing():
                self._checkpoint(adapted, adam)
        if stopping:
            raise KeyboardInterrupt

    def _cost(self, meter: probe.Meter, earlier: int) -> Phase:
        """The measured cost of training, with the time and the `earlier` samples before the last
        interruption; what energy those took is not known."""
        assert meter.phase is not None
        return meter.phase.model_copy(
            update={
                "seconds": meter.phase.seconds + self._earlier_seconds,
                "samples": meter.phase.samples + earlier,
                "joules": None if self.resumed else meter.phase.joules,
                "prefix_bytes": self._prefix.nbytes or None if self._prefix else None,
            }
        )

    def _loader(self, parts: dict[str, subsets.Parts]) -> SampleLoader:
        return self.context.datasets.training([(name, p.train) for name, p in parts.items()])

    def _epochs(
        self,
        adapted: Checked,
        adam: torch.optim.AdamW | None,
        loader: SampleLoader,
        advance: Advance,
    ) -> Iterator[Epoch]:
        """The epochs that are still to train."""
        prefix = self._prefix = FrozenPrefix(
            adapted,
            len(loader),
            budget_bytes=self.context.datasets.activation_limit,
            numerics=self.context.numerics,
        )
        epochs = self.budget.epochs if adapted.groups else 0  # else only statistics are gathered
        return train.fit(
            adapted,
            adam,
            lambda epoch: self._batches(loader, prefix, epoch, advance),
            batchnorm=self.method.traits.batchnorm,
            epochs=range(len(self.curve), epochs),
            total_epochs=self.budget.epochs,
            steps_per_epoch=subsets.batches_per_epoch(len(loader), self.budget.batch),
            numerics=self.context.numerics,
            prefix=prefix,
        )

    def _batches(
        self, loader: SampleLoader, prefix: FrozenPrefix, epoch: int, advance: Advance
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch's batches, in an order that depends on the seed and never on the method."""
        seed_everything(derive(self.spec.seed, "epoch", epoch))
        order = self._order(loader, seed=self.spec.seed, epoch=epoch)
        for x, y in prefix.batches(loader, order):
            yield x, y
            advance(len(x))

    def _with_test_mae(self, epoch: Epoch, adapted: Checked) -> Epoch:
        """The epoch with its error on the fit's own test set, if that is asked for."""
        if not self.context.test_curve or len(self.spec.datasets) > 1:
            return epoch
        loader = self.context.datasets.test(self.spec.datasets[0])
        scored = evaluate.score(adapted.model, loader, numerics=self.context.numerics)
        return epoch.model_copy(update={"test_mae": float(np.mean(scored.scores["mae"]))})

    def _order(
        self, loader: SampleLoader, *, seed: int, epoch: int, least: int = 2
    ) -> list[subsets.Indices]:
        return subsets.batch_order(
            len(loader),
            batch=self.budget.batch,
            seed=seed,
            datasets=self.spec.datasets,
            percent=self.spec.percent,
            epoch=epoch,
            least=least,
        )

    def _checkpoint(self, adapted: Checked, adam: torch.optim.Optimizer | None) -> None:
        assert self._checkpoints is not None
        state = adapted.model.state_dict()
        free = adaptation.changeable(self.method, adapted)
        self._checkpoints.save(
            resume.Checkpoint(
                changed={name: value for name, value in state.items() if name in free},
                optimiser=adam.state_dict() if adam else None,
                curve=self.curve,
                seconds=self._earlier_seconds
                + sum(e.seconds for e in self.curve[self._earlier_epochs :]),
                resumed=self.resumed,
            )
        )

    def _recompute_statistics(self, adapted: Checked, loader: SampleLoader) -> int:
        """BatchNorm statistics for the present weights; returns how many samples were passed."""
        layers = batchnorm.moving_layers(self.method, adapted)
        if not layers:
            return 0
        order = self._order(loader, seed=derive(self.spec.seed, "statistics"), epoch=0)
        return recompute(adapted.model, layers, loader.batches(order), self.context.numerics)

    def _finish(
        self, adapted: Checked, training: SampleLoader, parts: Mapping[str, subsets.Parts]
    ) -> None:
        """Let the method choose its final weights on validation samples.

        BatchNorm statistics belong to weights: they are recomputed for each weights it tries.
        """
        assert adapted.finish is not None
        held = [(name, part.choice) for name, part in parts.items()]
        loader = self.context.datasets.held_out(held)

        def validate() -> float:
            self._recompute_statistics(adapted, training)
            scored = evaluate.score(adapted.model, loader, numerics=self.context.numerics)
            return float(np.mean(scored.scores["mae"]))

        with isolated(f"Method '{self.method.name}'", "finish"):
            self.facts = adaptation.plain_facts(self.method, adapted.finish(validate))
        self._recompute_statistics(adapted, training)

    @property
    def progress_kept(self) -> str:
        """Sentence on the progress that an interruption does not lose."""
        kept = self._checkpoints.kept_epochs() if self._checkpoints else 0
        return f"{kept} of {self.budget.epochs} epochs are kept"

    @property
    def card(self) -> MethodCard:
        """The method's description of itself, for the record."""
        try:
            method = self.method
        except (ConfigError, MethodError):  # so does the fit
            method = self.installed.method
        return MethodCard(
            category=method.traits.category,
            summary=method.summary,
            source=method.source,
            start=method.traits.start,
        )

    @property
    def release(self) -> Release:
        """The installed release of the method."""
        return provenance.release(self.installed)

    def _key(self) -> str:
        """Hash of everything that the numbers of this fit depend on: of the harness's own code its
        version, of method and backbone the code itself."""
        settings = self.context.numerics.describe()
        if self.context.numerics.device.type != "cpu":
            settings = settings.model_copy(update={"threads": 1})  # torchrun's own is another
        return digest(
            [
                self.spec.run_id,
                self.release.code,
                provenance.backbone_release(self.spec.backbone).code,
                self.foundation_sha256,
                self.context.data_sha256(self.spec.datasets),
                settings.model_dump(),
                probe.machine().processor,
                probe.versions(),
            ]
        )

    def _open_checkpoints(self) -> resume.CheckpointStore | None:
        return resume.CheckpointStore(self.context.workspace.run(self.spec), self._key())

    def _last_checkpoint(self) -> resume.Checkpoint | None:
        assert self._checkpoints is not None
        return self._checkpoints.load()

    def _resume(self, adapted: Checked, adam: torch.optim.Optimizer | None) -> None:
        """Go on from the last checkpoint, if there is one."""
        checkpoint = self._last_checkpoint()
        if checkpoint is None:
            return
        delta.restore(adapted.model, checkpoint.changed)
        if adam is not None and checkpoint.optimiser is not None:
            adam.load_state_dict(checkpoint.optimiser)
        self.curve, self.resumed = list(checkpoint.curve), checkpoint.resumed + 1
        self._earlier_seconds, self._earlier_epochs = checkpoint.seconds, len(self.curve)
        self.context.progress.say(f"Going on with {self.spec.title} after epoch {len(self.curve)}.")

    def _save(
        self,
        adapted: Checked,
        adam: torch.optim.Optimizer | None,
        initial: dict[str, Tensor],
        cost: probe.StepCost,
    ) -> None:
        model = adapted.model
        changed = delta.extract(model, initial)
        header = delta.Header(
            method=self.spec.method.name,
            config=options.canonical_config(self.config),
            backbone=self.spec.backbone.name,
            foundation_sha256=self.foundation_sha256,
            adapt_seed=derive(self.spec.seed, "adapt"),
            version=self.spec.method.version,
        )
        # Fits start from a foundation alone: buffers that never move belong to it
        saved = delta.whole(model) if self.spec.kind == "pretraining" else changed
        path = self.context.workspace.weights(self.spec)
        delta.save(saved, header, path)
        self.counts = counts(adapted, adam, cost, changed=changed, saved=saved, path=path)
