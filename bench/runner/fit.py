"""One fit, step by step: adapt, train, save the delta, score. Gathers the facts of its record."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.contract import Adapted, Method
from bench.data import loader, subsets
from bench.errors import FoundationError, MethodError
from bench.models import backbones, delta
from bench.models.checkpoint import content_hash
from bench.plugins import adaptation
from bench.protocol import survey
from bench.protocol.spec import FitSpec, digest
from bench.records.record import DELTA_FILE, FOUNDATION_FILE, Cell, Counts, Epoch, Phase
from bench.runner import outputs, resume
from bench.runner.context import Session
from bench.seeds import derive, seed_everything
from bench.training import evaluate, probe, train


class Fit:
    """Runs one specification. `run` does it all; the attributes hold what is known so far."""

    def __init__(self, spec: FitSpec, method: Method, session: Session) -> None:
        self.spec, self.method, self.session = spec, method, session
        self.folder: Path = session.home.run(spec)
        self.budget = session.track.fit if spec.method else session.track.pretrain
        self.config = method.config(**(spec.method.config if spec.method else {}))
        self.curve: list[Epoch] = []
        self.resumed = 0
        self._unfinished: resume.Unfinished | None = None
        self.foundation_sha256: str | None = None
        self.train_phase: Phase | None = None
        self.score_phase: Phase | None = None
        self.counts: Counts | None = None
        self.cells: list[Cell] = []
        self.facts: dict[str, Any] = {}

    def run(self) -> None:
        """Train from the last checkpoint, save the delta, score every test dataset.

        What is finished already, epochs or cells, is not repeated.
        """
        adapted = self._adapt()
        self._unfinished = unfinished = resume.Unfinished(self.folder, self._key())
        trained = unfinished.trained()
        if trained is None or not self._restore(adapted.model, trained):
            unfinished.discard_cells()
            self._fit(adapted, unfinished)
        self._score(adapted.model, unfinished)

    @property
    def kept_epochs(self) -> int:
        """How many epochs an interruption does not lose."""
        return self._unfinished.kept_epochs() if self._unfinished else 0

    def forget_progress(self) -> None:
        """The record is written: what it takes to go on is not needed any more."""
        shutil.rmtree(self.folder / resume.FOLDER, ignore_errors=True)

    def _key(self) -> str:
        """Hash of everything that the numbers of this fit depend on."""
        return digest(
            [
                self.spec.run_id,
                self.foundation_sha256,
                self.session.data_sha256(self.spec.datasets + self.spec.test_datasets),
                self.session.numerics.describe().model_dump(),
                probe.machine().processor,
                probe.versions(),
            ]
        )

    def _restore(self, model: nn.Module, trained: resume.Trained) -> bool:
        """Take over a training that is over; False if its weights are not there as recorded."""
        try:
            weights, _ = delta.load(self._weights)
        except FoundationError:
            return False
        if content_hash(weights) != trained.counts.adapter_sha256:
            return False
        delta.restore(model, weights)
        self.curve, self.train_phase = list(trained.curve), trained.train
        self.counts, self.facts = trained.counts, trained.facts
        self.resumed = trained.resumed + 1
        self.session.progress.say(f"Going on with {self.spec.title}: it is trained.")
        return True

    @property
    def _weights(self) -> Path:
        return self.folder / (DELTA_FILE if self.spec.method else FOUNDATION_FILE)

    def _fit(self, adapted: Adapted, unfinished: resume.Unfinished) -> None:
        """Train and save the delta."""
        initial = {name: value.cpu().clone() for name, value in adapted.model.state_dict().items()}
        cost = self._cost(adapted)
        delta.restore(adapted.model, initial)  # measuring the cost moved BatchNorm statistics
        adam = self._train(adapted, unfinished)
        adaptation.check_frozen(self.method, adapted, initial)
        self._save(adapted, adam, initial, cost)
        assert self.train_phase is not None and self.counts is not None
        unfinished.save_trained(
            resume.Trained(
                curve=tuple(self.curve),
                train=self.train_phase,
                counts=self.counts,
                facts=self.facts,
                resumed=self.resumed,
            )
        )

    def _adapt(self) -> Adapted:
        """The adapted network on the device. Adapting runs on the CPU, so that a seed gives the
        same start on every device."""
        if self.method.traits.start == "foundation":
            foundation = self.session.foundation(self.spec.seed)
            model = backbones.restore(self.spec.backbone, foundation.state)
            self.foundation_sha256 = foundation.sha256
        else:
            seed_everything(derive(self.spec.seed, "network"))
            model = backbones.build(self.spec.backbone)
        seed_everything(derive(self.spec.seed, "adapt"))
        adapted = adaptation.adapt(self.method, model, self.config)
        self.session.numerics.place(adapted.model)
        return adapted

    def _cost(self, adapted: Adapted) -> probe.StepCost:
        """Of a training step; the same for all fits of a method's config, so measured once.

        Raises `MethodError` for a network that predicts a wrong shape or NaN.
        """
        key = self.spec.method.model_dump_json() if self.spec.method else ""
        if key not in self.session.costs:
            numerics = self.session.numerics
            records = torch.zeros((2, *survey.RECORD_SHAPE), device=numerics.device)
            adaptation.check_output(self.method, adapted.model, records)
            adaptation.training_mode(adapted.model, self.method.traits.batchnorm)
            self.session.costs[key] = probe.step_cost(adapted.model, numerics)
        return self.session.costs[key]

    def _train(
        self, adapted: Adapted, unfinished: resume.Unfinished
    ) -> torch.optim.Optimizer | None:
        spec, session, budget = self.spec, self.session, self.budget
        chosen = self._parts()
        pool = session.collection.training([(name, p.train) for name, p in chosen.items()])
        adam = train.optimiser(adapted, self.config.learning_rate_scale)
        before = self._resume(adapted, adam, unfinished)
        stage = session.progress.stage(spec.title, budget.epochs * len(pool), "samples")
        with stage as advance, probe.measure(session.numerics.device) as meter:
            advance(len(self.curve) * len(pool))

            def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
                seed_everything(derive(spec.seed, "epoch", epoch))
                order = subsets.batch_order(
                    len(pool),
                    batch=budget.batch,
                    seed=spec.seed,
                    datasets=spec.datasets,
                    percent=spec.percent,
                    epoch=epoch,
                )
                for x, y in pool.batches(order):
                    yield x, y
                    advance(len(x))

            free = adaptation.changeable(self.method, adapted)
            trained = sum(p.nbytes for g in adapted.groups for p in g.parameters)
            pace = resume.Pace(session.checkpoint_share, 3 * trained)  # AdamW has two moments
            for epoch in train.fit(
                adapted,
                adam,
                batches,
                batchnorm=self.method.traits.batchnorm,
                epochs=range(len(self.curve), budget.epochs),
                total_epochs=budget.epochs,
                steps_per_epoch=subsets.batches_per_epoch(len(pool), budget.batch),
                numerics=session.numerics,
            ):
                self.curve.append(epoch)
                meter.samples += len(pool)
                meter.warmed_up(len(pool))
                if pace.due:
                    with pace.writing():
                        state = adapted.model.state_dict()
                        unfinished.save_checkpoint(
                            resume.Checkpoint(
                                changed={name: state[name] for name in state if name in free},
                                optimiser=adam.state_dict() if adam else None,
                                curve=self.curve,
                                seconds=before + sum(e.seconds for e in self.curve),
                                resumed=self.resumed,
                            )
                        )
            if adapted.finish is not None:
                held = [(name, p.validation) for name, p in chosen.items()]
                facts = adapted.finish(
                    lambda: self._mean_mae(adapted.model, session.collection.training(held))
                )
                self.facts = adaptation.plain_facts(self.method, facts)
        assert meter.phase is not None
        self.train_phase = meter.phase.model_copy(update={"seconds": meter.phase.seconds + before})
        return adam

    def _parts(self) -> dict[str, subsets.Parts]:
        holdout = self.method.traits.holdout or self.spec.part == "validation"
        return {
            name: subsets.parts(
                len(self.session.collection.samples(name, "train")),
                dataset=name,
                percent=self.spec.percent,
                seed=self.spec.seed,
                holdout=holdout,
            )
            for name in self.spec.datasets
        }

    def _resume(
        self, adapted: Adapted, adam: torch.optim.Optimizer | None, unfinished: resume.Unfinished
    ) -> float:
        """Load the checkpoint, if there is one; returns the seconds spent before it."""
        checkpoint = unfinished.checkpoint()
        if checkpoint is None:
            return 0.0
        delta.restore(adapted.model, checkpoint.changed)
        if adam is not None and checkpoint.optimiser is not None:
            adam.load_state_dict(checkpoint.optimiser)
        self.curve, self.resumed = list(checkpoint.curve), checkpoint.resumed + 1
        self.session.progress.say(f"Going on with {self.spec.title} after epoch {len(self.curve)}.")
        return checkpoint.seconds

    def _save(
        self,
        adapted: Adapted,
        adam: torch.optim.Optimizer | None,
        initial: dict[str, Tensor],
        cost: probe.StepCost,
    ) -> None:
        model = adapted.model
        changed = delta.extract(model, initial)
        header = delta.Header(
            method=self.spec.method_name,
            config=self.config.model_dump(mode="json"),
            backbone=self.spec.backbone,
            foundation_sha256=self.foundation_sha256,
            adapt_seed=derive(self.spec.seed, "adapt"),
        )
        delta.save(changed, header, self._weights)
        parameters = {name for name, _ in model.named_parameters()}
        self.counts = Counts(
            trainable_parameters=sum(p.numel() for g in adapted.groups for p in g.parameters),
            total_parameters=sum(p.numel() for p in model.parameters()),
            optimiser_bytes=probe.optimiser_bytes(adam),
            saved_bytes_per_sample=cost.saved_bytes_per_sample,
            flops_per_sample=cost.flops_per_sample,
            changed_buffers=sum(name not in parameters for name in changed),
            adapter_bytes=self._weights.stat().st_size,
            adapter_sha256=content_hash(changed),
        )

    def _score(self, model: nn.Module, unfinished: resume.Unfinished) -> None:
        session, part = self.session, self.spec.part
        if part == "test":
            tests = {name: session.collection.test(name) for name in self.spec.test_datasets}
        else:
            tests = {
                name: session.collection.training([(name, p.validation)])
                for name, p in self._parts().items()
            }
        scored = {name: cell for name in tests if (cell := unfinished.cell(name))}
        total = sum(len(pool) for name, pool in tests.items() if name not in scored)
        stage = session.progress.stage(f"score {self.spec.title}", total, "samples")
        with stage as advance, probe.measure(session.numerics.device) as meter:
            for name, pool in tests.items():
                if name in scored:
                    continue
                result = evaluate.score(
                    model,
                    pool,
                    gallery=session.track.gallery,
                    numerics=session.numerics,
                )
                if not np.isfinite(result.scores["mse"]).all():
                    raise MethodError(
                        f"Method '{self.method.name}' predicts values that are not finite (NaN) "
                        f"on {name} after training."
                    )
                scored[name] = result
                unfinished.save_cell(name, result)
                meter.samples += len(pool)
                advance(len(pool))
        scored = {name: scored[name] for name in tests}
        self.score_phase = meter.phase
        self.cells = [outputs.cell(name, part, result) for name, result in scored.items()]
        outputs.write_scores(self.folder, part, scored)
        outputs.write_maps(self.folder, scored)

    def _mean_mae(self, model: nn.Module, pool: loader.SampleLoader) -> float:
        result = evaluate.score(model, pool, gallery=0, numerics=self.session.numerics)
        return float(np.mean(result.scores["mae"]))
