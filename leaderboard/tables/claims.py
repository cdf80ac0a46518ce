"""The paper's testable sentences, each as a contrast that is negative where it holds.

For "LoRA is better than full fine-tuning out of distribution" it is the MAE of `lora` minus that of
`fft`, each a mean over the cells that the sentence speaks of.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.protocol.protocols import others
from bench.protocol.spec import PERCENTS, PRETRAINING, TARGETS
from bench.seismic import metrics
from leaderboard.load.results import FOUNDATION
from leaderboard.tables.boards import CLAIMED, REFERENCE

SCRATCH = "baseline"
"""The paper's task-specific model, trained from scratch."""
STEP = "step_bytes"
"""Counted memory of a training step, `leaderboard.tables.memory`."""
_COMPLEX = ("CurveVel_A", "CurveVel_B", "FlatFault_B")
_SIMPLE = ("FlatVel_A", "FlatFault_A", "CurveFault_A")

Cell = tuple[str, int, str]
"""Training dataset, per cent, test dataset."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """The mean error of a method over some cells, with its sign in the contrast."""

    sign: int
    method: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper and the contrast that is negative where it holds."""

    key: str
    sentence: str
    place: str
    terms: tuple[Term, ...] = ()
    metric: str = "mae"
    every: bool = False
    """The sentence speaks of every dataset, not of the average."""
    cost: str = ""
    """A counted cost that is compared instead of an error."""
    printed: str = ""
    """What the paper prints; empty: the mean of its tables' numbers."""
    about: str = ""
    """How the sentence is tested."""


def claims() -> tuple[Claim, ...]:
    """Every sentence that is tested, in the order of the paper."""
    own = tuple((t, 100, t) for t in TARGETS)
    away = {p: _away(TARGETS, p) for p in PERCENTS}
    pretrained = "Fig. 2, bars without numbers"
    return (
        Claim(
            key="pretraining-complex",
            sentence="PFM demonstrates significant improvement in the complex datasets, such as "
            "CurveVel A/B, and FlatFault B.",
            place="Section IV-B",
            terms=_pair(FOUNDATION, SCRATCH, tuple((d, 100, d) for d in _COMPLEX)),
            every=True,
            printed=pretrained,
        ),
        Claim(
            key="pretraining-simple",
            sentence="For simpler datasets such as FlatVel A, FlatFault A and CurveFault A, we see "
            "a small dip in performance.",
            place="Section IV-B",
            terms=_pair(SCRATCH, FOUNDATION, tuple((d, 100, d) for d in _SIMPLE)),
            printed=pretrained,
            about="Tested as: the baseline has the lower error.",
        ),
        Claim(
            key="pretraining-average",
            sentence="PFM on average improves performance over the baseline model.",
            place="Section IV-B",
            terms=_pair(FOUNDATION, SCRATCH, tuple((d, 100, d) for d in PRETRAINING)),
            printed=pretrained,
        ),
        Claim(
            key="fft-baseline-id",
            sentence="FFT-PFM performs better than the baseline across all four datasets.",
            place="Section IV-C",
            terms=_pair(REFERENCE, SCRATCH, own),
            every=True,
        ),
        Claim(
            key="lora-baseline-id",
            sentence="Both methods outperform the Baseline method in both ID and OOD scenarios: "
            "LoRA, in distribution.",
            place="Section IV-E",
            terms=_pair(CLAIMED, SCRATCH, own),
            printed="Table III",
        ),
        Claim(
            key="fft-baseline-ood",
            sentence="Both methods outperform the Baseline method in both ID and OOD scenarios: "
            "full fine-tuning, out of distribution.",
            place="Section IV-E",
            terms=_pair(REFERENCE, SCRATCH, away[100]),
            printed="Table IV",
        ),
        Claim(
            key="lora-baseline-ood",
            sentence="Both methods outperform the Baseline method in both ID and OOD scenarios: "
            "LoRA, out of distribution.",
            place="Section IV-E",
            terms=_pair(CLAIMED, SCRATCH, away[100]),
            printed="Table IV",
        ),
        *(
            Claim(
                key=f"fft-lora-id-{metric.name}",
                sentence="For ID, FFT-PFM is slightly ahead of LoRA-PFM in terms of MAE, RMSE, and "
                f"SSIM: {metric.label}.",
                place="Section IV-E",
                terms=_pair(REFERENCE, CLAIMED, own),
                metric=metric.name,
                printed="Table III",
            )
            for metric in metrics.METRICS
            if metric.name in ("mae", "rmse", "ssim")
        ),
        Claim(
            key="lora-fft-ood",
            sentence="LoRA-PFM demonstrates superior generalization to unseen data and outperforms "
            "FFT-PFM in OOD scenarios.",
            place="Section IV-E",
            terms=_pair(CLAIMED, REFERENCE, away[100]),
        ),
        Claim(
            key="fft-lora-style-b",
            sentence="When trained on Style B, FFT-PFM slightly outperforms LoRA-PFM on FlatVel B "
            "and CurveFault B.",
            place="Section IV-E",
            terms=_pair(
                REFERENCE,
                CLAIMED,
                (("Style_B", 100, "FlatVel_B"), ("Style_B", 100, "CurveFault_B")),
            ),
            every=True,
        ),
        *(
            Claim(
                key=f"lora-fft-{percent}",
                sentence="Even in a low-data regime … LoRA-PFM is a better fine-tuning method "
                f"compared to FFT-PFM for handling OOD samples: {percent} % of the data.",
                place="Section IV-F",
                terms=_pair(CLAIMED, REFERENCE, away[percent]),
            )
            for percent in (10, 25, 50, 75)
        ),
        Claim(
            key="more-data-flatvel",
            sentence="As the training dataset increases, the performance of the network improves "
            "with LoRA-PFM (trained with FlatVel B).",
            place="Section IV-F",
            terms=(
                Term(sign=1, method=CLAIMED, cells=_away(("FlatVel_B",), 100)),
                Term(sign=-1, method=CLAIMED, cells=_away(("FlatVel_B",), 10)),
            ),
            about="Tested as: lower error with 100 % than with 10 % of the data.",
        ),
        Claim(
            key="converges",
            sentence="During the inference over FlatVel B … with increasing datasets the "
            "performance between FFT-PFM and LoRA-PFM converges (trained with CurveFault B).",
            place="Section IV-F",
            terms=(
                Term(sign=1, method=REFERENCE, cells=(("CurveFault_B", 100, "FlatVel_B"),)),
                Term(sign=-1, method=CLAIMED, cells=(("CurveFault_B", 100, "FlatVel_B"),)),
                Term(sign=-1, method=REFERENCE, cells=(("CurveFault_B", 10, "FlatVel_B"),)),
                Term(sign=1, method=CLAIMED, cells=(("CurveFault_B", 10, "FlatVel_B"),)),
            ),
            about="Tested as: LoRA's lead is smaller with 100 % than with 10 % of the data.",
        ),
        Claim(
            key="parameters",
            sentence="Baseline and FFT-PFM utilize 24.4 million trainable parameters, whereas "
            "LoRA-PFM uses only 1.1 million parameters.",
            place="Section IV-G",
            cost="trainable_parameters",
            printed="24.4 M and 1.1 M (Table III)",
            about="Tested as: LoRA trains fewer parameters.",
        ),
        Claim(
            key="memory",
            sentence="Among three methods (Baseline, FFT-PFM, and LoRA), LoRA-PFM exhibited the "
            "lowest memory consumption for fine-tuning.",
            place="Section IV-G",
            cost=STEP,
            printed="parameters only (Table III)",
            about="Tested as: the fewest bytes of weights, gradients, optimiser and what is saved "
            "for the backward pass, at the track’s batch size.",
        ),
    )


def _pair(better: str, worse: str, cells: tuple[Cell, ...]) -> tuple[Term, ...]:
    return (
        Term(sign=1, method=better, cells=cells),
        Term(sign=-1, method=worse, cells=cells),
    )


def _away(trained: Sequence[str], percent: int) -> tuple[Cell, ...]:
    return tuple((t, percent, test) for t in trained for test in others(t))
