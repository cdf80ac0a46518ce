"""The published numbers in `leaderboard/reference/`, as typed frames."""

from importlib import resources

import polars as pl

from bench.errors import DataError

SUSPECT = ("impossible", "repeated")
"""Kinds of flag that say that a number as printed cannot be relied on."""

_TEXT = pl.String()
_PAPER = {
    "table": _TEXT,
    "train_dataset": _TEXT,
    "test_dataset": _TEXT,
    "fraction_percent": pl.Int64(),
    "method": _TEXT,
    "metric": _TEXT,
    "value": _TEXT,
    "flag": _TEXT,
}
_CROSS_DATASET = {
    "backbone": _TEXT,
    "train_dataset": _TEXT,
    "test_dataset": _TEXT,
    "metric": _TEXT,
    "unit": _TEXT,
    "value": pl.Float64(),
    "flag": _TEXT,
    "source": _TEXT,
}


def paper() -> pl.DataFrame:
    """Tables II and V to IX of Ghosal et al. (2024), a row for each number.

    Columns `table`, `train_dataset`, `test_dataset`, `fraction_percent` (null where unstated),
    `method`, `metric`, `value`, `printed` (the digits of the paper), `flag` (null where there is
    nothing to say; reasons ``kind: text`` joined by `` | ``), `suspect` (a flag's kind is in
    `SUSPECT`). Raises `DataError` where the file is missing or damaged.
    """
    suspect = "|".join(rf"(?:^|\| ){kind}:" for kind in SUSPECT)
    return (
        _read("paper.csv", _PAPER)
        .rename({"value": "printed"})
        .with_columns(
            pl.col("printed").cast(pl.Float64).alias("value"),
            pl.col("flag").fill_null("").str.contains(suspect).alias("suspect"),
        )
        .select(*_PAPER, "printed", "suspect")
    )


def openfwi_cross_dataset() -> pl.DataFrame:
    """Published InversionNet checkpoints, each tested on all ten real OpenFWI datasets.

    Columns `backbone`, `train_dataset`, `test_dataset`, `metric`, `unit` (empty on [-1, 1] and for
    SSIM, or ``m/s``), `value`, `flag`, `source`. Raises `DataError`.
    """
    return _read("openfwi_cross_dataset.csv", _CROSS_DATASET).with_columns(
        pl.col("unit").fill_null("")
    )


def _read(name: str, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    file = resources.files("leaderboard").joinpath("reference", name)
    try:
        return pl.read_csv(file.read_bytes(), schema=schema)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"Reference numbers {name} cannot be read ({error}); reinstall fwi-peft-bench."
        ) from error
