"""What a board says, in sentences: the winner, or that there is none, and the paper's pair."""

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.stats.comparisons import FEWEST_SEEDS, Comparison
from leaderboard.tables.boards import CLAIMED, REFERENCE
from leaderboard.tables.overview import Row

_MOST = 3
"""Methods named at the top; the others are counted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A protocol in words."""

    where: str
    headline: str
    detail: str


def verdict(rows: Sequence[Row], protocol: str, label: str) -> Verdict | None:
    """The winner of a protocol and LoRA against full fine-tuning; None where nothing is scored."""
    scored = [r for r in rows if "mae" in r.standings[protocol].scores]
    scored.sort(key=lambda r: r.standings[protocol].scores["mae"].value)
    if not scored:
        return None
    ranked = [r for r in scored if r.standings[protocol].rank]
    top = [r for r in ranked if (r.standings[protocol].rank or (0, 0))[0] == 1]
    if not ranked:
        headline = f"lowest error: {_scored(scored[0], protocol)}, not compared"
    elif any(r.standings[protocol].provisional for r in top):
        headline = "provisional"
    elif len(top) == 1:
        headline = f"{top[0].variant.title} is best"
    else:
        headline = "no clear winner"
    names = [_scored(r, protocol) for r in (top or scored)]
    shown = ", ".join(names[:_MOST])
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    group = "Not told apart" if len(top) > 1 else "MAE"
    pair = _pair(rows, protocol)
    return Verdict(label, headline, f"{group}: {shown}{more}.{' ' + pair if pair else ''}")


def _scored(row: Row, protocol: str) -> str:
    return f"{row.variant.title} {row.standings[protocol].scores['mae'].value:.3f}"


def _pair(rows: Sequence[Row], protocol: str) -> str:
    """LoRA against full fine-tuning."""
    lora = next((r for r in rows if r.variant.label == CLAIMED), None)
    reference = next((r for r in rows if r.variant.label == REFERENCE), None)
    comparison = lora.standings[protocol].comparison if lora else None
    if lora is None or reference is None or comparison is None:
        return ""
    scores = reference.standings[protocol].scores
    if "mae" not in scores or "mae" not in lora.standings[protocol].scores:
        return ""
    d = comparison.difference
    low, high = sorted((abs(d.low), abs(d.high)))
    span = f"{low:.3f} to {high:.3f}" if d.excludes_zero else f"{d.low:.3f} to {d.high:.3f}"
    word = "better" if comparison.favours_method else "worse"
    return (
        f"{_scored(lora, protocol)} against {_scored(reference, protocol)}: LoRA is {word} by "
        f"{abs(d.value):.3f} ({span.replace('-', '−')}), {_certainty(comparison)}."
    )


def _certainty(comparison: Comparison) -> str:
    if comparison.resolved:
        return "resolved"
    if comparison.difference.seeds < FEWEST_SEEDS:
        return f"provisional below {FEWEST_SEEDS} seeds"
    return "not resolved"
