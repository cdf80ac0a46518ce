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
from bench.conformance.backbone_checks import BACKBONE_CHECKS
from bench.conformance.case import Case
from bench.conformance.checks import CHECKS
from bench.conformance.requirements import NonconformanceError
from bench.contract import Backbone, Config, Method
from bench.errors import PluginError

__all__ = [
    "NonconformanceError",
    "Result",
    "check_backbone",
    "check_method",
    "network_of",
    "run",
    "run_backbone",
]

Trial = TypeVar("Trial", Case, BackboneCase)


@dataclass(frozen=True, kw_only=True)
class Result:
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
) -> list[Result]:
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


def run_backbone(backbone: Backbone) -> list[Result]:
    """Run every check of a backbone, whatever the others say."""
    case = BackboneCase(backbone)
    return [_result(check, case) for check in BACKBONE_CHECKS]


def network_of(backbone: Backbone) -> nn.Module:
    """A backbone to check a method on, from a fixed seed, with BatchNorm statistics of its own."""
    return BackboneCase(backbone).network


def check_backbone(backbone: Backbone) -> None:
    """Run every check of a backbone; raises `NonconformanceError` that lists all failures."""
    _raise_failures(f"Backbone '{backbone.name}'", run_backbone(backbone))


def _raise_failures(what: str, results: list[Result]) -> None:
    failures = [f"{r.name}: {r.detail}" for r in results if not r.passed]
    if failures:
        raise NonconformanceError(
            f"{what} fails {len(failures)} of {len(results)} checks:\n- " + "\n- ".join(failures)
        )


def _result(check: Callable[[Trial], str], case: Trial) -> Result:
    try:
        passed, detail = True, check(case)
    except (NonconformanceError, PluginError) as error:
        passed, detail = False, str(error)
    except Exception as error:  # a plugin may fail in any way
        passed, detail = False, f"{type(error).__name__}: {error}"
    return Result(
        name=check.__name__.replace("_", " "),
        meaning=(check.__doc__ or "").partition("\n")[0],
        passed=passed,
        detail=detail,
    )
