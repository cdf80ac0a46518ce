"""Command-line options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="BENCH_HOME",
        help="Where data, foundations and runs live. Default: the user's data folder.",
        show_default=False,
    ),
]
BackboneOption = Annotated[
    str | None,
    typer.Option(
        "--backbone", "-b", help="See `bench backbones`. Default: the track's.", show_default=False
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--weights", help="The checkpoint that the runs started from.", show_default=False
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        envvar="BENCH_PRECISION",
        help="Of training: auto, bfloat16 or float32. auto: on a CPU what is faster for the "
        "network, measured once for a home.",
    ),
]
PercentOption = Annotated[
    str | None,
    typer.Option(
        help="Only the fits on these shares of the training data, such as 10 or 10,25. Default: "
        "all that the protocol asks for.",
        show_default=False,
    ),
]
RecordsOption = Annotated[
    Path | None,
    typer.Option(
        "--records",
        help="Folder of published runs, such as leaderboard/records of a checkout. Default: that "
        "of the checkout that is installed with pip install -e.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

_LARGEST = 2**53
"""Largest integer that every reader of a record's JSON sees exactly."""


def check_records(folder: Path | None) -> None:
    """Raise `RecordError` for ``--records`` that names no folder."""
    from bench.errors import RecordError

    if folder is not None and not folder.is_dir():
        raise RecordError(f"--records {folder} is not a folder; name one that holds runs.")


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """The numbers of an option such as ``--seeds 0,1,2``, each once. Raises `ConfigError`."""
    from bench.errors import ConfigError

    try:
        numbers = tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0 or max(numbers) > _LARGEST:
        raise ConfigError(f"{option} {text}: write whole numbers from 0 to 2^53, such as 10,25.")
    return numbers
