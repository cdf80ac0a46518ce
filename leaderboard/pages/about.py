"""The pages on the protocol and on contributing."""

from collections.abc import Sequence

from pydantic import BaseModel

from bench.protocol import protocols
from bench.protocol.columns import COSTS
from bench.protocol.spec import PERCENTS, PRETRAINING, RULES, TARGETS
from bench.seismic import metrics
from leaderboard.pages.site_files import Site
from leaderboard.tables import epoch_choice
from leaderboard.tables.boards import REFERENCE, Board

_SENTENCES = {
    "version": "Version of the protocol",
    "record_scale": "Records: sign(a)·log1p(|a|), where minus and plus these become −1 and 1",
    "velocity_scale_mps": "Velocities (m/s) that become −1 and 1",
    "loss": "Loss, on [−1, 1]",
    "optimiser": "Optimiser",
    "betas": "Its momentum terms",
    "pretraining_weight_decay": "Weight decay of pretraining",
    "peak_learning_rate": "Peak learning rate",
    "warmup": "Part of training with a rising learning rate",
    "warmup_start": "Learning rate at the first step, as a factor of the peak",
    "milestones": "Parts of training after which the learning rate falls",
    "decay": "Factor at each of them",
    "batchnorm_statistics": "BatchNorm statistics after training",
    "validation_percent": "Validation part, held out of the training subset (%)",
    "validation_samples": "Its least number of samples, at most half of the subset",
}


_GLOSSARY = (
    ("Track", "Where the data come from, how large the budget is, and the default network."),
    (
        "Foundation",
        "A network pretrained once on six datasets, which methods adapt to four others.",
    ),
    ("Method", "A way of adapting the foundation; the baseline trains from scratch instead."),
    ("fft", "Full fine-tuning: every weight is trained. Not a Fourier transform."),
    ("Fit", "One training: a method on a part of one dataset, with one seed."),
    ("Cell", "One fit, scored on one test set."),
    ("In distribution", "Tested on the dataset that the fit was trained on."),
    ("Out of distribution", "Tested on the three other target datasets."),
    ("Floor", "The error of predicting the mean training map of the test dataset."),
    ("none", "The foundation as it is, without adaptation: with the floor, the level to beat."),
    ("Fingerprint", "A hash of everything that can change a training; tables never mix two."),
    ("MAE, RMSE", "Mean absolute and root-mean-square error on [−1, 1]; one unit is 1500 m/s."),
    ("SSIM", "Structural similarity of velocity maps, 1 for equal maps."),
    ("Resolved", "Interval without zero, corrected p ≤ 0.05, three seeds or more."),
)


def write(site: Site, boards: Sequence[Board]) -> None:
    """Write the pages on the protocol and on contributing; they need no record."""
    site.page(
        "protocol.html",
        "protocol",
        rules=_facts(boards[0].rules if boards else RULES, _SENTENCES),
        boards=[
            (b, _facts(b.track.data), _facts(b.track.pretrain), _facts(b.track.fit)) for b in boards
        ],
        epoch_choices=[(b, lines) for b in boards if (lines := epoch_choice.table(b))],
        protocols=[protocols.get(name) for name in protocols.names()],
        scores=metrics.METRICS,
        costs=COSTS,
        pretraining=PRETRAINING,
        targets=TARGETS,
        percents=PERCENTS,
        reference=REFERENCE,
        glossary=_GLOSSARY,
    )
    site.page("contribute.html", "contribute")


def _facts(model: BaseModel, names: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """Every field of a specification, in its order."""
    named = names or {}
    return [
        (named.get(key, key.replace("_", " ")), _value(value))
        for key, value in model.model_dump().items()
    ]


def _value(value: object) -> str:
    if value is None:
        return "official split"
    if isinstance(value, tuple | list):
        return ", ".join(_value(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
