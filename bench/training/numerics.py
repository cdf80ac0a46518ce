"""Device, precision and seeding: the settings that decide what numbers come out."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from bench.errors import ConfigError
from bench.models.frugal import frugal
from bench.records.record import Determinism, Precision
from bench.training import allocator

AUTO = "auto"
"""Precision that is not asked for: what is faster on the device."""


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Device, precision and layer implementation of a run."""

    device: torch.device
    bfloat16: bool
    """Autocast in training. Scoring is in float32, on a GPU with products in TF32."""
    channels_last: bool = True
    frugal: bool = True
    """Run networks through `bench.models.frugal`, which keeps less for the backward pass and folds
    BatchNorm when scoring; False: torch's own layers."""

    @property
    def precision(self) -> Precision:
        """The word for it in records and on the command line."""
        return "bfloat16" if self.bfloat16 else "float32"

    @property
    def dtype(self) -> torch.dtype:
        """The type in which a network gets its records in training."""
        return torch.bfloat16 if self.bfloat16 else torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def frugal_pass(
        self, model: nn.Module, *, fold: bool | None = None
    ) -> AbstractContextManager[None]:
        """The memory-frugal form of a network's layers; `fold` as in `bench.models.frugal`."""
        return frugal(model, fold=fold) if self.frugal else nullcontext()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Torch's process-wide settings for these numerics inside; those of before afterwards.

        What the C allocator is told (see `bench.training.allocator`) stays.
        """
        precision = torch.get_float32_matmul_precision()
        benchmark = torch.backends.cudnn.benchmark
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32; convolutions use it by default
            torch.backends.cudnn.benchmark = True  # a fit has two or three batch sizes
        else:
            allocator.keep()
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
            torch.backends.cudnn.benchmark = benchmark

    def place(self, model: nn.Module) -> None:
        """Move a network to the device, in the memory format that convolutions like."""
        model.to(self.device)
        if self.channels_last:
            nn.Module.to(model, memory_format=torch.channels_last)

    def describe(self) -> Determinism:
        return Determinism(
            device=str(self.device),
            precision=self.precision,
            channels_last=self.channels_last,
            frugal=self.frugal,
            threads=torch.get_num_threads(),
            deterministic_algorithms=torch.are_deterministic_algorithms_enabled(),
        )


def choose(device: str, *, frugal: bool = True, precision: str = AUTO) -> Numerics:
    """Settings for a device `auto`, `cpu`, `cuda` or `cuda:N` and a precision `auto`, `bfloat16` or
    `float32`; `frugal` as in `Numerics`.

    `auto` is bfloat16 on GPUs that have it. On a processor it is float32, unless a measurement has
    shown more: see `bench.runner.machine_precision`. Raises `ConfigError` for a device that is not
    there, and for other words.
    """
    if precision not in (AUTO, "bfloat16", "float32"):
        raise ConfigError(f"Unknown precision '{precision}'; use auto, bfloat16 or float32.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise ConfigError(f"Unknown device '{device}'; use auto, cpu, cuda or cuda:N.")
    has_bfloat16 = False
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(
                "Device 'cuda' was asked for, but torch finds no CUDA GPU on this machine; "
                "use --device cpu, or check the driver with nvidia-smi."
            )
        if number and int(number) >= torch.cuda.device_count():
            raise ConfigError(
                f"Device '{device}' was asked for, but there are {torch.cuda.device_count()} GPUs."
            )
        has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
    return Numerics(
        device=torch.device(device if kind == "cuda" else "cpu"),
        bfloat16=has_bfloat16 if precision == AUTO else precision == "bfloat16",
        frugal=frugal,
    )
