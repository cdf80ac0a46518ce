"""The process after a plugin's call is the process before it, and errors end where they should."""

import builtins
import gc
import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import BaseTorchFunctionMode

from bench.errors import BenchError, ConfigError, MethodError, UnknownNameError, describe
from bench.isolation import isolated
from bench.protocol import tracks
from bench.seismic import metrics

KEPT: list[object] = []
"""What a plugin enters and never leaves."""


def enter(context: object) -> None:
    KEPT.append(context)
    context.__enter__()  # type: ignore[attr-defined]


def delete_function() -> None:
    del F.leaky_relu


def use_new_precision_api() -> None:
    if not hasattr(torch.backends.mkldnn, "conv"):
        pytest.skip("torch before 2.9")
    torch.backends.mkldnn.conv.fp32_precision = "bf16"


def forget_filters() -> None:
    warnings.filters.clear()


CHANGES: dict[str, Callable[[], object]] = {
    "autocast": lambda: enter(torch.autocast("cpu", torch.bfloat16)),
    "torch's function modes": lambda: enter(BaseTorchFunctionMode()),
    "saved-tensor hooks": lambda: enter(
        torch.autograd.graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t)
    ),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "whether oneDNN is used": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "whether cuDNN is used": lambda: setattr(torch.backends.cudnn, "enabled", False),
    "cuDNN's benchmark mode": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cuDNN's determinism": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "cuDNN's use of TF32": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "the float32 precision of backends": use_new_precision_api,
    "the kernels of attention": lambda: torch.backends.cuda.enable_math_sdp(False),
    "the signal mask": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]),
    "garbage collection": gc.disable,
    "the trace function": lambda: sys.settrace(lambda *_: None),
    "the exception hook": lambda: setattr(sys, "excepthook", print),
    "the warning filters": forget_filters,
    "torch.nn.functional.leaky_relu": delete_function,
    "builtins.abs": lambda: setattr(builtins, "abs", lambda x: x),
    "bench.seismic.metrics.METRICS": lambda: setattr(metrics, "METRICS", ()),
    "bench.seismic.metrics.len": lambda: setattr(metrics, "len", lambda x: 1),
    "torch.nn.modules.conv.F": lambda: setattr(nn.modules.conv, "F", np),
    "torch.nn.modules.conv.Conv2d.train": lambda: setattr(nn.Conv2d, "train", lambda self: self),
    "numpy.random.seed": lambda: setattr(np.random, "seed", lambda seed: None),
    "random.seed": lambda: setattr(random, "seed", lambda seed: None),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_put_back_and_named(what: str) -> None:
    with (
        pytest.raises(MethodError, match=r"^Method 'bad' changed .* in adapt, which") as caught,
        isolated("Method 'bad'", "adapt"),
    ):
        CHANGES[what]()
    assert what in str(caught.value)
    with isolated("Method 'good'", "adapt"):
        pass
    x = torch.ones(1, 1, 3, 3, requires_grad=True)
    y = nn.Conv2d(1, 1, 3).train()(x)
    assert y.dtype == torch.float32
    y.sum().backward()
    KEPT.clear()


def test_what_plugins_may_do_is_no_change() -> None:
    with isolated("Method 'good'", "adapt"):
        torch.manual_seed(5)
        np.random.seed(6)  # noqa: NPY002
        torch.rand(3)
        layer = nn.Linear(2, 2)
        adam = torch.optim.AdamW(layer.parameters())  # torch imports its compiler now
        adam.zero_grad()
        layer(torch.ones(1, 2)).sum().backward()
        adam.step()
        warnings.filterwarnings("ignore", message="a warning of a library's own")
        with torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            layer(torch.ones(1, 2))


def raises(error: BaseException) -> None:
    with isolated("Method 'bad'", "training"):
        raise error


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BenchError("of a plugin"), ValueError()],
)
def test_whatever_a_plugin_raises_ends_there(error: BaseException) -> None:
    with pytest.raises(MethodError, match=r"^Method 'bad' failed in training: ") as caught:
        raises(error)
    assert describe(error) in str(caught.value)
    assert "test_isolation.py:" in str(caught.value)


def test_the_line_is_the_plugins_whoever_raised() -> None:
    """Torch and the harness say what is wrong, not where it was asked of them."""

    def in_torch() -> None:
        nn.Conv2d(3, 4, 1, groups=2)

    def in_the_harness() -> None:
        metrics.mean_absolute_error(torch.ones(2, 3), torch.ones(4))

    for call in (in_torch, in_the_harness):
        with pytest.raises(MethodError) as caught, isolated("Method 'bad'", "adapt"):
            call()
        line = call.__code__.co_firstlineno + 1
        assert f"(test_isolation.py:{line})" in str(caught.value)


def test_errors_of_the_harness_and_of_configs_pass() -> None:
    with pytest.raises(UnknownNameError, match="track 'nowhere'"), isolated("x", "adapt"):
        tracks.load("nowhere")
    with pytest.raises(ConfigError, match=r"^rank . is too large$"):
        raises(ConfigError("rank \udc80 is too large"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_the_users_whatever_the_plugin_does(number: signal.Signals) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, stop)
    try:
        with pytest.raises(KeyboardInterrupt), isolated("Method 'bad'", "training"):
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt), isolated("Method 'bad'", "training"):
            try:
                signal.raise_signal(number)
            except BaseException:
                raise ValueError("it is hidden") from None
        with (
            pytest.raises(KeyboardInterrupt),
            isolated("Method 'bad'", "training"),
            isolated("Method 'bad'", "finish"),
            suppress(KeyboardInterrupt),
        ):  # and goes on
            signal.raise_signal(number)
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)


def test_processes_that_a_plugin_starts_may_end() -> None:
    code = (
        "import os\n"
        "from bench.isolation import isolated\n"
        "with isolated('Method', 'adapt'):\n"
        "    child = os.fork()\n"
        "    if not child: os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ,
    )
    assert done.stdout == "7\n"


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise SystemExit


class Odd(Exception, metaclass=Nameless):  # noqa: N818
    def __str__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\nlines\tof  it"), "ValueError: two lines of it"),
        (ValueError(), "ValueError"),
        (BenchError("A sentence."), "A sentence."),
        (
            ValueError("a\udcffb\x07"),
            "ValueError: a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}",
        ),
    ],
)
def test_every_error_can_be_described(error: BaseException, text: str) -> None:
    assert describe(error) == text


def test_descriptions_are_short_and_ask_nobody() -> None:
    assert describe(Odd()) == "Odd: its text cannot be made"
    text = describe(ValueError("x" * 50_000_000))
    assert text == f"ValueError: {'x' * 2000} …"
