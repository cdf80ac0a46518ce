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
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
