"""What a board says, in sentences: the winner, or that there is none, and the paper's pair."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from leaderboard.stats.comparisons import FEWEST_SEEDS, Comparison
from leaderboard.tables import text
from leaderboard.tables.boards import CLAIMED, REFERENCE
from leaderboard.tables.overview import Row

_DIGITS = 3
_MOST = 3
"""Methods named at the top; the others are counted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A protocol in words."""

    where: str
    headline: Markup
    detail: Markup


def verdict(rows: Sequence[Row], protocol: str, label: str) -> Verdict | None:
    """The winner of a protocol and LoRA against full fine-tuning; None where nothing is scored."""
    scored = [r for r in rows if "mae" in r.standings[protocol].scores]
    scored.sort(key=lambda r: r.standings[protocol].scores["mae"].value)
    if not scored:
        return None
    ranked = [r for r in scored if r.standings[protocol].rank]
    top = [r for r in ranked if (r.standings[protocol].rank or (0, 0))[0] == 1]
    if not ranked:
        headline = Markup("lowest error: {}, not compared").format(_scored(scored[0], protocol))
    elif any(r.standings[protocol].provisional for r in top):
        headline = Markup("provisional")
    elif len(top) == 1:
        headline = Markup("{} is best").format(top[0].variant.title)
    else:
        headline = Markup("no clear winner")
    names = [_scored(r, protocol) for r in (top or scored)]
    shown = Markup(", ").join(names[:_MOST])
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    group = "Not told apart" if len(top) > 1 else "MAE"
    pair = _pair(rows, protocol)
    detail = Markup("{}: {}{}. {}").format(group, shown, more, pair)
    return Verdict(label, headline, Markup(detail.rstrip()))


def _scored(row: Row, protocol: str) -> Markup:
    value = row.standings[protocol].scores["mae"].value
    return Markup("{} {}").format(row.variant.title, text.error(value, _DIGITS))


def _pair(rows: Sequence[Row], protocol: str) -> Markup:
    """LoRA against full fine-tuning."""
    lora = next((r for r in rows if r.variant.label == CLAIMED), None)
    reference = next((r for r in rows if r.variant.label == REFERENCE), None)
    comparison = lora.standings[protocol].comparison if lora else None
    if lora is None or reference is None or comparison is None:
        return Markup()
    scores = reference.standings[protocol].scores
    if "mae" not in scores or "mae" not in lora.standings[protocol].scores:
        return Markup()
    d = comparison.difference
    ends = (d.low, d.high) if d.value > 0 else (-d.high, -d.low)
    low, high = (text.error(end, _DIGITS) for end in ends)
    return Markup("{} against {}: LoRA is {} by {} ({} to {}), {}.").format(
        _scored(lora, protocol),
        _scored(reference, protocol),
        "better" if comparison.favours_method else "worse",
        text.error(abs(d.value), _DIGITS),
        low,
        high,
        _certainty(comparison),
    )


def _certainty(comparison: Comparison) -> str:
    if comparison.resolved:
        return "resolved"
    if comparison.difference.seeds < FEWEST_SEEDS:
        return f"provisional below {FEWEST_SEEDS} seeds"
    return "not resolved"
