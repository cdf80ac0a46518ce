"""The command `bench`: argv and terminal only. Commands import what is heavy inside themselves."""

import sys
from typing import NoReturn

import typer

from bench.cli import output, shadows
from bench.cli.commands import (
    adapt,
    compare,
    data,
    evaluate,
    lists,
    misfit,
    plugins,
    publish,
    replay,
    report,
    run,
    speed,
    status,
    work,
)
from bench.errors import BenchError, describe

app = typer.Typer(
    name="bench",
    help="Benchmark parameter-efficient fine-tuning of deep-learning full-waveform inversion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("compare")(compare.compare)
app.command("evaluate")(evaluate.evaluate)
app.command("status")(status.status)
app.command("work")(work.work)
app.command("replay")(replay.replay)
app.command("report")(report.report)
app.command("misfit")(misfit.misfit)
app.command("publish")(publish.publish)
app.command("methods")(lists.methods)
app.command("backbones")(lists.backbones)
app.command("protocols")(lists.protocols)
app.command("tracks")(lists.tracks)
app.command("runs")(lists.runs)
app.command("speed")(speed.speed)
app.command("check")(plugins.check)
app.command("new-method")(plugins.new_method)
app.command("new-backbone")(plugins.new_backbone)
app.add_typer(adapt.app, name="adapt")
app.add_typer(data.app, name="data")


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Declare --debug for the help text; `main` accepts it anywhere on the command line."""


def main() -> NoReturn:
    """Run the command. Exit codes: 0 done, 1 some fits failed, 2 bad input, 130 interrupted."""
    debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    output.forgive()
    code = _run(arguments, debug)
    sys.exit(output.flush() or code)


def _run(arguments: list[str], debug: bool) -> int:
    try:
        shadows.check()
        app(arguments, standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BenchError as error:
        if debug:
            raise
        typer.echo(f"Error: {describe(error)}", err=True)
        return 2
    except OSError as error:
        code = output.failed(error)
        if code is None:
            raise
        return code
    except KeyboardInterrupt:
        if debug:
            raise
        typer.echo(
            "\nInterrupted. What is finished is kept; give the same command to go on.", err=True
        )
        return 130
    return 0
