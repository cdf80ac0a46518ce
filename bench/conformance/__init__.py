"""The conformance suites: what a method promises, checked on a tiny network in seconds, and what a
backbone promises, checked on the backbone itself.

For plugin authors, in a test of their own package:

    from bench.conformance import check_method
    from my_package import method

    def test_conforms():
        check_method(method)

and `check_backbone(backbone)` in the same way. The checks are in `bench.conformance.checks` and
`bench.conformance.backbone_checks`. Exceptions to the rules are declared in `Traits`, and no check
names a method or a backbone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from bench.conformance.backbone_case import BackboneCase
from bench.conformance.backbone_checks import BACKBONE_CHECKS, CHEAP_BACKBONE_CHECKS
from bench.conformance.case import Case
from bench.conformance.checks import CHEAP, CHECKS
from bench.conformance.requirements import NonconformanceError
from bench.contract import Backbone, Config, Method
from bench.errors import BackboneError, BenchError, ConfigError, describe, one_line
from bench.isolation import contained, is_interruption, listed, where
from bench.training import allocator

__all__ = [
    "CheckResult",
    "NonconformanceError",
    "check_accepted",
    "check_backbone",
    "check_backbone_cheaply",
    "check_method",
    "first_failure",
    "network_of",
    "run",
    "run_backbone",
]

AnyCase = TypeVar("AnyCase", Case, BackboneCase)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The outcome of one check."""

    name: str
    """Such as ``frozen stays frozen``."""
    passed: bool
    meaning: str
    """One sentence."""
    detail: str
    """What was found, or the reason for the failure."""


def run(
    method: Method,
    config: Config | None = None,
    *,
    network: nn.Module | None = None,
    trainable: int | None = None,
) -> list[CheckResult]:
    """Run every check, whatever the others say.

    Parameters
    ----------
    config
        Hyper-parameters to check with; the method's defaults if None. The suite's network is
        narrow: options that suit only the full one need another value here, or `network`.
    network
        (n, 5, 1000, 70) → (n, 1, 70, 70), in evaluation mode; a tiny InversionNet or, for methods
        that need one, a tiny transformer if None.
    trainable
        The number of trainable parameters that the method promises on `network`; not checked
        if None.
    """
    case = Case(method, config, network=network, trainable=trainable)
    return [_result(check, case) for check in CHECKS]


def check_method(
    method: Method,
    config: Config | None = None,
    *,
    network: nn.Module | None = None,
    trainable: int | None = None,
) -> None:
    """Run every check as `run` does; raises `NonconformanceError` that lists all failures."""
    results = run(method, config, network=network, trainable=trainable)
    _raise_failures(f"Method '{method.name}'", results)


def check_accepted(
    method: Method, config: Config | None = None, *, network: nn.Module | None = None
) -> None:
    """Raise the `ConfigError` with which a method refuses a network or a config, if it does.

    For one that has failed checks, which have to see its first call. Other faults are theirs to
    tell.
    """
    case = Case(method, config, network=network)
    try:
        with contained([]):
            case.fresh()
    except ConfigError:
        raise
    except BaseException as error:  # a plugin may fail in any way
        if is_interruption(error) or allocator.is_exhausted(error):
            raise


def run_backbone(backbone: Backbone) -> list[CheckResult]:
    """Run every check of a backbone, whatever the others say."""
    case = BackboneCase(backbone)
    return [_result(check, case) for check in BACKBONE_CHECKS]


def network_of(backbone: Backbone) -> nn.Module:
    """A backbone to check a method on, from a fixed seed, with BatchNorm statistics of its own."""
    return BackboneCase(backbone).network


def check_backbone(backbone: Backbone) -> None:
    """Run every check of a backbone; raises `NonconformanceError` that lists all failures."""
    _raise_failures(f"Backbone '{backbone.name}'", run_backbone(backbone))


def _raise_failures(what: str, results: list[CheckResult]) -> None:
    reasons: dict[str, list[str]] = {}
    for result in results:
        if not result.passed:
            reasons.setdefault(result.detail, []).append(result.name)
    if reasons:
        failures = sum(map(len, reasons.values()))
        lines = "".join(f"\n- {', '.join(names)}: {why}" for why, names in reasons.items())
        raise NonconformanceError(f"{what} fails {failures} of {len(results)} checks:{lines}")


def first_failure(method: Method, config: Config, network: nn.Module) -> str | None:
    """What the cheap checks find against a method on a network that a run adapts; else None.

    `network` as in `run`. Takes two forward passes of one sample on the CPU. Lets errors about
    memory through.
    """
    case = Case(method, config, network=network, samples=1)
    for check in CHEAP:
        passed, detail = _outcome(check, case)
        if not passed:
            return (
                f"Method '{method.name}' does not conform ({_name(check)}): {detail.rstrip('.')}. "
                f"`bench check {method.name}` runs the whole suite."
            )
    return None


def check_backbone_cheaply(backbone: Backbone) -> None:
    """Raise `BackboneError` if predictions are no maps, or depend on chance, the memory format or
    the rest of the batch.

    Takes seventeen forward passes of one sample on the CPU. Lets errors about memory through.
    """
    case = BackboneCase(backbone, samples=2, settled=False)
    for check in CHEAP_BACKBONE_CHECKS:
        passed, detail = _outcome(check, case)
        if not passed:
            raise BackboneError(
                f"Backbone '{backbone.name}' does not conform ({_name(check)}): "
                f"{detail.rstrip('.')}. `bench check --backbone {backbone.name}` runs the whole "
                "suite."
            )


def _result(check: Callable[[AnyCase], str], case: AnyCase) -> CheckResult:
    try:
        passed, detail = _outcome(check, case)
    except (MemoryError, RuntimeError) as error:
        passed, detail = False, describe(error)
    return CheckResult(
        name=_name(check),
        meaning=(check.__doc__ or "").partition("\n")[0],
        passed=passed,
        detail=detail,
    )


def _name(check: Callable[[AnyCase], str]) -> str:
    return check.__name__.replace("_", " ")


def _outcome(check: Callable[[AnyCase], str], case: AnyCase) -> tuple[bool, str]:
    """Whether a check passes, and what it found. Lets errors about memory through."""
    changed: list[str] = []
    try:
        with contained(changed):
            passed, detail = True, check(case)
    except NonconformanceError as error:
        passed, detail = False, one_line(str(error))
    except BaseException as error:  # a plugin may fail in any way
        if is_interruption(error) or allocator.is_exhausted(error):
            raise
        place = "" if isinstance(error, BenchError) else where(error)
        passed, detail = False, f"{describe(error)}{place}"
    if changed:
        passed, detail = False, f"{detail}; it changed {listed(changed)} of the whole process"
    return passed, detail
