"""`bench check`, `bench new-method`, `bench new-backbone`: for authors of plugins."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import JsonOption

if TYPE_CHECKING:
    from torch import nn

    from bench.conformance import CheckResult
    from bench.contract import Backbone, Config, Method

FolderOption = Annotated[Path, typer.Option(help="Parent folder of the new package.")]


def check(
    method: Annotated[
        str | None, typer.Argument(help="An installed method, or all.", show_default=False)
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option, such as rank=8; may be repeated."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            "-b",
            help="Without a method: the backbone to check. With one: the network to check it on.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the conformance suite on a method or a backbone; exit code 1 if a check fails.

    A method is tried on a narrow network unless a backbone is named: defaults that suit only the
    full one need another value here, with --set. `bench check all --backbone NAME` tries every
    installed method on a backbone; those that it lacks the layers for, or that refuse it with a
    reason, are left out.
    """
    from bench import conformance
    from bench.errors import ConfigError
    from bench.models import backbones
    from bench.plugins import options, registry

    if method == "all":
        if setting:
            raise ConfigError("--set is for one method; name it: bench check METHOD --set …")
        _check_all(backbone, as_json)
    elif method is not None:
        if method not in registry.names() and method in backbones.names():
            raise ConfigError(f"'{method}' is a backbone: bench check --backbone {method}")
        installed = registry.get(method)
        (config,) = options.configure([installed], setting or []).values()
        chosen = None if backbone is None else _sound(backbone)
        network = None if chosen is None else conformance.network_of(chosen)
        where = "" if backbone is None else f" on {backbone}"
        try:
            results = _results(installed.method, config, network)
        except ConfigError as error:  # does not name the method itself
            raise ConfigError(f"Method '{method}': {error}") from error
        _tell(f"Method '{method}'{where}", results, as_json)
    elif setting:
        raise ConfigError("--set is for a method; name one: bench check METHOD --set …")
    elif backbone is not None:
        results = conformance.run_backbone(backbones.get(backbone).backbone)
        _tell(f"Backbone '{backbone}'", results, as_json)
    else:
        raise ConfigError("Name what to check: bench check METHOD, or bench check --backbone NAME.")


def new_method(
    name: Annotated[str, typer.Argument(help="Lower-case name, such as my_method.")],
    folder: FolderOption = Path(),
) -> None:
    """Write a small installable package with one method in it."""
    from bench.plugins import scaffold

    package = scaffold.write(name, folder)
    typer.echo(f"Wrote {package}. Next: pip install -e {package} && bench check {name}")


def new_backbone(
    name: Annotated[str, typer.Argument(help="Lower-case name, such as my_backbone.")],
    folder: FolderOption = Path(),
) -> None:
    """Write a small installable package with one backbone in it."""
    from bench.plugins import scaffold

    package = scaffold.write(name, folder, "backbone")
    typer.echo(f"Wrote {package}. Next: pip install -e {package} && bench check --backbone {name}")


def _check_all(backbone: str | None, as_json: bool) -> None:
    """A line for every installed method as soon as it is checked; exit code 1 if one failed."""
    from dataclasses import asdict

    from bench import conformance
    from bench.cli import terminal
    from bench.cli.terminal import counted, printable
    from bench.errors import ConfigError, MethodError
    from bench.plugins import registry

    chosen = None if backbone is None else _sound(backbone)
    found = registry.load()
    checked: dict[str, list[CheckResult]] = {}
    left_out: dict[str, str] = {}
    methods = sorted(found.methods.items())
    with (
        terminal.progress(quiet=as_json) as progress,
        progress.stage("check", len(methods), "methods") as advance,
    ):

        def tell(sign: str, name: str, said: str) -> None:
            line = f"{sign} {name}: {said}"
            if as_json:
                typer.echo(printable(line), err=True)
            else:
                progress.say(line)

        for problem in found.problems:
            tell("✗", problem.name, problem.reason)
        for name, installed in methods:
            advance(1)
            network = None if chosen is None else conformance.network_of(chosen)
            try:
                checked[name] = _results(installed.method, None, network)
            except (ConfigError, MethodError) as error:
                if network is None:  # one of the suite's has to suit every method
                    checked[name] = conformance.run(installed.method)
                else:
                    left_out[name] = str(error)
                    tell("–", name, str(error))
                    continue
            failed = [result for result in checked[name] if not result.passed]
            more = f" (and {counted(len(failed) - 1, 'more check')})" if failed[1:] else ""
            reason = f"{failed[0].name}: {failed[0].detail}{more}" if failed else "passes"
            tell("✗" if failed else "✓", name, reason)
    sound = sum(all(result.passed for result in results) for results in checked.values())
    if as_json:
        content = {
            "methods": {name: [asdict(r) for r in results] for name, results in checked.items()},
            "left_out": left_out,
            "problems": [asdict(problem) for problem in found.problems],
        }
        typer.echo(json.dumps(content, indent=1))
    else:
        where = "" if backbone is None else f" on {backbone}"
        broken = f", {len(found.problems)} cannot be used" if found.problems else ""
        aside = f", {len(left_out)} left out" if left_out else ""
        whole = counted(len(checked), "method")
        typer.echo(f"{sound} of {whole} pass all checks{where}{aside}{broken}.")
    if found.problems or sound < len(checked):
        raise typer.Exit(1)


def _results(
    method: "Method", config: "Config | None", network: "nn.Module | None"
) -> "list[CheckResult]":
    """What the suite finds.

    Raises `MethodError` where the network lacks layers that the method needs, and, if checks fail,
    the `ConfigError` with which the method refuses network or config.
    """
    from bench import conformance
    from bench.plugins import adaptation

    if network is not None:
        adaptation.check_needs(method, network)
    results = conformance.run(method, config, network=network)
    if not all(result.passed for result in results):
        conformance.check_accepted(method, config, network=network)
    return results


def _sound(backbone: str) -> "Backbone":
    """A backbone to check methods on. Raises what building it raises, and `BackboneError` where a
    cheap check finds it at fault: no method should be blamed for it."""
    from bench import conformance
    from bench.models import backbones
    from bench.plugins import parameter_counts

    parameter_counts.check_builds(backbone)
    found = backbones.get(backbone).backbone
    conformance.check_backbone_cheaply(found)
    return found


def _tell(what: str, results: "list[CheckResult]", as_json: bool) -> None:
    """Print the results of the checks; exit code 1 if one failed."""
    from dataclasses import asdict

    from bench.cli.terminal import counted, table

    failed = sum(not result.passed for result in results)
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in results], indent=1))
    else:
        reasons: dict[str, str] = {}  # of failures: the first check that failed for each
        rows = []
        for r in results:
            detail, first = r.detail or r.meaning, r.name
            if not r.passed:
                first = reasons.setdefault(detail, r.name)
            said = detail if first == r.name else f"as '{first}'"
            rows.append(("✓" if r.passed else "✗", r.name, said))
        table(("", "check", "what was found"), rows)
        alike = "" if len(reasons) == failed else f", for {counted(len(reasons), 'reason')}"
        typer.echo(
            f"{what} passes all {len(results)} checks."
            if not failed
            else f"{what} fails {failed} of {len(results)} checks{alike}."
        )
    if failed:
        raise typer.Exit(1)
