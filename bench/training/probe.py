"""Facts about the machine and the cost of a phase or a network."""

import gc
import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import psutil
import torch
from torch import nn

from bench.entry_points import HARNESS
from bench.protocol import survey
from bench.records.record import Machine, Phase
from bench.training import allocator
from bench.training.numerics import Numerics
from bench.training.saved_for_backward import saved_bytes_per_sample

_POLL_SECONDS = 0.05


@dataclass
class Meter:
    """Measurements of a phase while it runs; `phase` holds the result afterwards."""

    samples: int = 0
    warmup_samples: int = 0
    warmup_seconds: float | None = None
    phase: Phase | None = None
    paused_seconds: float = 0.0
    _start: float = field(default_factory=time.perf_counter)

    def warmed_up(self, samples: int) -> None:
        """The first `samples` samples were the warm-up; call once, when they are done."""
        if self.warmup_seconds is None:
            self.warmup_seconds = time.perf_counter() - self._start - self.paused_seconds
            self.warmup_samples = samples

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Context whose time does not count."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.paused_seconds += time.perf_counter() - start


@contextmanager
def measure(device: torch.device) -> Iterator[Meter]:
    """Context that measures time and peak memory.

    On a GPU the peaks are the allocator's, on a CPU the process's resident memory, polled; the
    memory in use before is given beside them.
    """
    cuda = device.type == "cuda"
    if not cuda:
        gc.collect()
        allocator.trim()  # else what an earlier fit has freed would hide what this one needs
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    process = psutil.Process()
    baseline = torch.cuda.memory_allocated(device) if cuda else process.memory_info().rss
    peak_resident = process.memory_info().rss
    energy = _energy_joules(device)
    done = threading.Event()

    def poll() -> None:
        nonlocal peak_resident
        while not done.wait(_POLL_SECONDS):
            peak_resident = max(peak_resident, process.memory_info().rss)

    watcher = threading.Thread(target=poll, daemon=True)
    watcher.start()
    meter = Meter()
    try:
        yield meter
        if cuda:
            torch.cuda.synchronize(device)
    finally:
        done.set()
        watcher.join()
    seconds = time.perf_counter() - meter._start - meter.paused_seconds
    steady = seconds - (meter.warmup_seconds or 0.0)
    counted = meter.samples - meter.warmup_samples
    meter.phase = Phase(
        seconds=seconds,
        warmup_seconds=meter.warmup_seconds,
        samples=meter.samples,
        samples_per_second=counted / steady if counted > 0 and steady > 0 else None,
        baseline_bytes=baseline,
        peak_allocated_bytes=torch.cuda.max_memory_allocated(device) if cuda else None,
        peak_reserved_bytes=torch.cuda.max_memory_reserved(device) if cuda else None,
        peak_resident_bytes=max(peak_resident, process.memory_info().rss),
        driver_peak_bytes=_driver_bytes(device) if cuda else None,
        joules=_since(energy, device),
    )


def _energy_joules(device: torch.device) -> float | None:
    """Energy that an NVIDIA GPU has used since its driver was loaded; None if unknown."""
    if device.type != "cuda":
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid.encode())
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except pynvml.NVMLError:  # an older GPU, or a driver without the library
        return None


def _since(before: float | None, device: torch.device) -> float | None:
    now = _energy_joules(device) if before is not None else None
    return None if before is None or now is None else now - before


def _driver_bytes(device: torch.device) -> int:
    """Device memory in use by all processes: torch keeps what it has reserved, so the peak."""
    free, total = torch.cuda.mem_get_info(device)
    return int(total - free)


def optimiser_bytes(adam: torch.optim.Optimizer | None) -> int:
    """Bytes of the optimiser's state tensors."""
    if adam is None:
        return 0
    tensors = [v for s in adam.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    return sum(t.numel() * t.element_size() for t in tensors)


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Hardware-independent cost of a training step, a sample."""

    saved_bytes_per_sample: float
    flops_per_sample: float


def step_cost(model: nn.Module, numerics: Numerics) -> StepCost:
    """Count forward and backward passes of a few samples, in the model's present modes.

    BatchNorm statistics that are in training mode move; gradients are dropped.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports triton, a quarter of a second

    def forward(samples: int) -> torch.Tensor:
        x = torch.zeros((samples, *survey.RECORD_SHAPE), device=numerics.device)
        with numerics.autocast():
            prediction: torch.Tensor = model(x.contiguous(memory_format=torch.channels_last))
        return prediction

    with numerics.frugal_pass(model):
        kept = [*model.parameters(), *model.buffers()]
        saved = saved_bytes_per_sample(forward, resident=kept)
        with FlopCounterMode(display=False) as counter:
            out = forward(2).float().mean()
            if out.requires_grad:
                out.backward()
    model.zero_grad(set_to_none=True)
    return StepCost(saved_bytes_per_sample=saved, flops_per_sample=counter.get_total_flops() / 2)


@cache
def machine() -> Machine:
    """The machine that this process runs on."""
    cuda = torch.cuda.is_available()
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        gpu=torch.cuda.get_device_name() if cuda else None,
        driver=_driver() if cuda else None,
        system=f"{platform.system()} {platform.release()}",
    )


@cache
def versions() -> dict[str, str]:
    """Python's version and those of the packages that compute."""
    known = {"python": platform.python_version()}
    for name in (
        *(HARNESS, "torch", "timm", "peft", "neuraloperator"),
        *("numpy", "deepwave", "scikit-image", "safetensors"),
    ):
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue
    return known


@cache
def commit() -> tuple[str | None, bool | None]:
    """(commit, dirty) of the harness: of its checkout, or of the one that pip installed.

    (None, None) where neither is known: a wheel does not say what it was built from.
    """
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return _installed_commit(), None
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head, bool(_git(folder, "status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _installed_commit() -> str | None:
    """The commit that `pip install git+URL` wrote down (PEP 610)."""
    try:
        written = distribution(HARNESS).read_text("direct_url.json")
        commit: str = json.loads(written or "{}")["vcs_info"]["commit_id"]
    except (PackageNotFoundError, ValueError, KeyError):
        return None
    return commit


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _processor() -> str:
    """The processor's name, and what tells apart kinds that a virtual machine gives one name."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    fields = {}
    for line in first.splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    name = fields.get("model name") or platform.processor() or platform.machine()
    family, model = fields.get("cpu family"), fields.get("model")
    return f"{name} (family {family}, model {model})" if family and model else name


def _driver() -> str | None:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.splitlines()[0].strip()
