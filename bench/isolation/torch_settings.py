"""Settings of torch that can change a number."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any

import torch
from torch import overrides
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers
from torch.utils import _python_dispatch as dispatch

from bench.isolation.setting import Setting, attribute

_HOOKS: tuple[dict[int, Any], ...] = (
    modules._global_forward_pre_hooks,
    modules._global_forward_hooks,
    modules._global_forward_hooks_always_called,
    modules._global_forward_hooks_with_kwargs,
    modules._global_backward_pre_hooks,
    modules._global_backward_hooks,
    modules._global_module_registration_hooks,
    modules._global_parameter_registration_hooks,
    modules._global_buffer_registration_hooks,
    optimizers._global_optimizer_pre_hooks,
    optimizers._global_optimizer_post_hooks,
)
_PRECISIONS = (
    *("cuda.matmul", "cudnn.conv", "cudnn.rnn"),
    *("mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"),
)
"""Where torch from 2.9 on keeps how float32 is computed."""
_ATTENTION = ("flash", "mem_efficient", "math", "cudnn")
_AUTOCAST = ("cpu", "cuda")
_MIXED = "set by torch's old and new functions at once"


def _write_hooks(before: list[dict[int, Any]]) -> None:
    for hooks, value in zip(_HOOKS, before, strict=True):
        hooks.clear()
        hooks.update(value)


def _read_precisions() -> dict[str, str]:
    found = {}
    for name in _PRECISIONS:
        with suppress(AttributeError):  # before torch 2.9
            found[name] = attrgetter(name)(torch.backends).fp32_precision
    return found


def _write_precisions(before: dict[str, str]) -> None:
    for name, value in before.items():
        attrgetter(name)(torch.backends).fp32_precision = value


def _unless_mixed(read: Callable[[], Any]) -> Callable[[], Any]:
    def reading() -> Any:
        try:
            return read()
        except RuntimeError:  # torch refuses to say
            return _MIXED

    return reading


def _write_default_device(before: torch.device) -> None:
    torch.set_default_device(None if before.type == "cpu" else before)


def _write_inference(before: bool) -> None:
    # Lasts until the plugin's own context object is gone, which is when torch undoes that one
    _OVERRIDDEN.append(torch.inference_mode(before))
    _OVERRIDDEN[-1].__enter__()


_OVERRIDDEN: list[torch.inference_mode] = []


def _read_autocast() -> list[Any]:
    kinds = [(torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in _AUTOCAST]
    return [*kinds, torch.is_autocast_cache_enabled()]


def _write_autocast(before: list[Any]) -> None:
    *kinds, cache = before
    for device, (enabled, dtype) in zip(_AUTOCAST, kinds, strict=True):
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)
    torch.set_autocast_cache_enabled(cache)


def _write_modes(
    present: Callable[[], Sequence[Any]], pop: Callable[[], Any], push: Callable[[Any], Any]
) -> Callable[[Sequence[Any]], None]:
    def write(before: Sequence[Any]) -> None:
        while list(present()) != list(before[: len(present())]):
            pop()
        for mode in before[len(present()) :]:
            push(mode)

    return write


def _read_saved_tensor_hooks() -> Any:
    return torch._C._autograd._top_saved_tensors_default_hooks(False)


def _write_saved_tensor_hooks(before: Any) -> None:
    while _read_saved_tensor_hooks() not in (before, None):
        torch._C._autograd._pop_saved_tensors_default_hooks()


_SMALLEST = 5e-324


def _flushes_denormals() -> bool:
    return _SMALLEST * 1.0 == 0.0


TORCH = (
    # Modes come first: under one of a plugin's, torch may answer the rest wrongly
    Setting(
        "torch's dispatch modes",
        dispatch._get_current_dispatch_mode_stack,
        _write_modes(
            dispatch._get_current_dispatch_mode_stack, dispatch._pop_mode, dispatch._push_mode
        ),
    ),
    Setting("the default device", torch.get_default_device, _write_default_device),
    Setting(
        "torch's function modes",
        overrides._get_current_function_mode_stack,
        _write_modes(
            overrides._get_current_function_mode_stack, overrides._pop_mode, overrides._push_mode
        ),
    ),
    Setting("the inference mode", torch.is_inference_mode_enabled, _write_inference),
    Setting("the gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting("autocast", _read_autocast, _write_autocast),
    Setting(
        "anomaly detection",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda before: torch.autograd.set_detect_anomaly(*before),
    ),
    Setting("saved-tensor hooks", _read_saved_tensor_hooks, _write_saved_tensor_hooks),
    Setting("global hooks of modules", lambda: [dict(hooks) for hooks in _HOOKS], _write_hooks),
    Setting("the default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("the number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "deterministic algorithms",
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1]),
    ),
    Setting(
        "the float32 precision of matrix products",
        _unless_mixed(torch.get_float32_matmul_precision),
        torch.set_float32_matmul_precision,
    ),
    Setting(
        "cuDNN's use of TF32",
        _unless_mixed(lambda: torch.backends.cudnn.allow_tf32),
        lambda before: setattr(torch.backends.cudnn, "allow_tf32", before),
    ),
    Setting("the float32 precision of backends", _read_precisions, _write_precisions),
    Setting("whether cuDNN is used", *attribute(torch.backends.cudnn, "enabled")),
    Setting("cuDNN's benchmark mode", *attribute(torch.backends.cudnn, "benchmark")),
    Setting("cuDNN's determinism", *attribute(torch.backends.cudnn, "deterministic")),
    Setting("whether oneDNN is used", *attribute(torch.backends.mkldnn, "enabled")),
    Setting(
        "the kernels of attention",
        lambda: [getattr(torch.backends.cuda, f"{kind}_sdp_enabled")() for kind in _ATTENTION],
        lambda before: [
            getattr(torch.backends.cuda, f"enable_{kind}_sdp")(value)
            for kind, value in zip(_ATTENTION, before, strict=True)
        ],
    ),
    Setting("the flushing of denormal numbers", _flushes_denormals, torch.set_flush_denormal),
)
