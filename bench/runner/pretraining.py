"""Pretraining in shards, for tracks that ask for it: in this process, or together with others."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from bench.data import subsets
from bench.data.loader import SampleLoader
from bench.errors import ConfigError, MethodError
from bench.models.checkpoint import content_hash
from bench.plugins import batchnorm
from bench.plugins.adaptation import Checked
from bench.progress import Advance
from bench.protocol.spec import FitSpec, Track
from bench.records.record import Epoch
from bench.runner import resume
from bench.runner.context import RunContext
from bench.runner.training import FitTraining
from bench.seeds import derive
from bench.training import group, probe, sharded
from bench.training.batchnorm import recompute
from bench.training.numerics import Numerics
from bench.training.sharded import BatchPart, Shards


def is_sharded(spec: FitSpec, track: Track) -> bool:
    """Whether a fit is a pretraining whose batches are cut into shards."""
    return spec.kind == "pretraining" and track.pretrain.shards > 1


def settings(spec: FitSpec, context: RunContext) -> AbstractContextManager[None]:
    """Torch's settings while a fit is trained and recorded: those of `sharded.repeatable` if it is
    trained in shards."""
    if is_sharded(spec, context.track):
        return sharded.repeatable(context.numerics.device)
    return nullcontext()


def check_devices(asked: int | None, track: Track, numerics: Numerics) -> int:
    """The number of devices that this process starts for pretraining; 1 where torchrun or Slurm has
    started the processes already, or none is asked for.

    Raises `ConfigError` for devices that are not there or cannot share the track's shards.
    """
    started = group.world_size()
    if started is not None and asked not in (None, started):
        raise ConfigError(
            f"--pretrain-devices {asked}: this process is one of {started} that were started "
            "together, and they are what pretrains; leave the option out."
        )
    wanted, shards = started or asked or 1, track.pretrain.shards
    if wanted == 1:
        return 1
    if shards == 1:
        raise ConfigError(
            f"Track '{track.name}' does not cut its pretraining batch into shards, so it pretrains "
            f"on one device, not on {wanted}; a track file of your own with [pretrain] shards = 8 "
            "can use more (docs/SCALING.md)."
        )
    if shards % wanted:
        widths = ", ".join(str(2**n) for n in range(shards.bit_length()))
        raise ConfigError(
            f"Track '{track.name}' cuts its pretraining batch into {shards} shards, which {wanted} "
            f"devices cannot share equally; use one of {widths}."
        )
    _check_gpus(group.local_world_size() if started else wanted, numerics)
    return 1 if started else wanted


def _check_gpus(wanted: int | None, numerics: Numerics) -> None:
    if numerics.device.type != "cuda" or wanted is None:
        return
    if numerics.device.index is not None:
        raise ConfigError(
            f"Device '{numerics.device}' is one GPU; pretraining on {wanted} takes the first "
            f"{wanted} that CUDA_VISIBLE_DEVICES shows: use --device cuda."
        )
    if wanted > (present := torch.cuda.device_count()):
        raise ConfigError(
            f"Pretraining on {wanted} devices was asked for, but torch finds {present} GPUs on "
            "this machine; ask for fewer, or use --device cpu."
        )


def assist(context: RunContext) -> None:
    """Take part in the leader's pretrainings, as a process that does not lead, until it leaves.

    The precision is the leader's, whatever this process's machine is faster in.
    """
    while (task := context.group.share()) is not None:
        spec, bfloat16 = task
        context.numerics = replace(context.numerics, bfloat16=bfloat16)
        with settings(spec, context):
            ShardedPretraining(spec, context).run()


class ShardedPretraining(FitTraining):
    """This process's part of a pretraining in shards; the leader keeps its checkpoints and weights.

    Every process has the whole network and optimiser, which stay bit-equal among them; each reads
    from the files what its own shards need.
    """

    def __init__(self, spec: FitSpec, context: RunContext) -> None:
        super().__init__(spec, context)
        self._shards = Shards(context.track.pretrain.shards, context.group)

    def run(self) -> nn.Module:
        """Train from the last checkpoint, together with the other processes of the group.

        Raises `PeerLostError` where one of them has ended, and `MethodError` where their networks
        have come apart, as on devices of different kinds.
        """
        if self.context.group.leads:
            self.context.group.share((self.spec, self.context.numerics.bfloat16))
        model = super().run()
        self.facts = {"processes": self.context.group.size, "shards": self._shards.total}
        return model

    def _open_checkpoints(self) -> resume.CheckpointStore | None:
        return super()._open_checkpoints() if self.context.group.leads else None

    def _last_checkpoint(self) -> resume.Checkpoint | None:
        leads = self.context.group.leads
        return self.context.group.share(super()._last_checkpoint() if leads else None)

    def _loader(self, parts: dict[str, subsets.Parts]) -> SampleLoader:
        """Samples in memory for a process alone; several read theirs from the files, which the
        system keeps in memory once for all of them."""
        sources = [(name, part.train) for name, part in parts.items()]
        alone = self.context.group.size == 1
        loader = self.context.datasets.training(sources, resident=None if alone else False)
        if len(loader) < self._least:
            raise ConfigError(
                f"Track '{self.context.track.name}' has {len(loader)} samples to pretrain on; "
                f"{self._shards.total} shards of two samples need {self._least}."
            )
        return loader

    @property
    def _least(self) -> int:
        """Samples of a batch: BatchNorm needs two in each shard."""
        return 2 * self._shards.total

    def _epochs(
        self,
        adapted: Checked,
        adam: torch.optim.AdamW | None,
        loader: SampleLoader,
        advance: Advance,
    ) -> Iterator[Epoch]:
        assert adam is not None, "pretraining trains every parameter"
        return sharded.fit(
            adapted,
            adam,
            lambda epoch: self._parts(loader, epoch, advance),
            shards=self._shards,
            layers=batchnorm.moving_layers(self.method, adapted),
            seed=derive(self.spec.seed, "shards"),
            epochs=range(len(self.curve), self.budget.epochs),
            total_epochs=self.budget.epochs,
            steps_per_epoch=subsets.batches_per_epoch(
                len(loader), self.budget.batch, least=self._least
            ),
            numerics=self.context.numerics,
        )

    def _parts(self, loader: SampleLoader, epoch: int, advance: Advance) -> Iterator[BatchPart]:
        """This process's part of each batch of an epoch."""
        order = self._order(loader, seed=self.spec.seed, epoch=epoch, least=self._least)
        mine = [self._shards.of(batch) for batch in order]
        read = loader.batches([np.concatenate(shards) for shards in mine])
        for batch, shards, (x, y) in zip(order, mine, read, strict=True):
            sizes = [len(shard) for shard in shards]
            pairs: list[tuple[Tensor, Tensor]] = list(
                zip(x.split(sizes), y.split(sizes), strict=True)
            )
            yield BatchPart(pairs, len(batch))
            advance(len(batch))

    def _checkpoint(self, adapted: Checked, adam: torch.optim.Optimizer | None) -> None:
        if self.context.group.leads:
            super()._checkpoint(adapted, adam)

    def _recompute_statistics(self, adapted: Checked, loader: SampleLoader) -> int:
        """The mean over shards of what each gathers from its part of every batch."""
        seed = derive(self.spec.seed, "statistics")
        order = self._order(loader, seed=seed, epoch=0, least=self._least)
        layers = batchnorm.moving_layers(self.method, adapted)

        def gather(shard: int) -> float:
            own = [self._shards.of(batch)[shard - self._shards.first] for batch in order]
            batches = loader.batches(own)
            return recompute(adapted.model, layers, batches, self.context.numerics) / len(loader)

        if layers:
            sharded.combine_statistics(layers, self._shards, gather)
        return len(loader)

    def _save(
        self,
        adapted: Checked,
        adam: torch.optim.Optimizer | None,
        initial: dict[str, Tensor],
        cost: probe.StepCost,
    ) -> None:
        group = self.context.group
        state = {name: value.cpu() for name, value in adapted.model.state_dict().items()}
        if len(set(group.gather(content_hash(state)))) > 1:
            raise MethodError(
                "The processes of this pretraining have come to different weights; use devices of "
                "one kind for all of them."
            )
        if group.leads:
            super()._save(adapted, adam, initial, cost)
