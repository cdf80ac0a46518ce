"""Methods with fewer seeds than the others on a board: what they may and may not change."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.protocol import protocols
from bench.seismic import metrics
from leaderboard.load import records, results
from leaderboard.tables import forgetting, pairs, robustness, severity, variants, verdicts
from leaderboard.tables.advice import cases
from leaderboard.tables.assembly import gather
from leaderboard.tables.backbones import orders
from leaderboard.tables.boards import Board
from leaderboard.tables.overview import rows
from leaderboard.tables.standings import standings

OOD = protocols.get("ood")
MAE = metrics.get("mae")


@pytest.fixture(scope="module")
def boards(unpublished: Path) -> dict[str, Board]:
    """By backbone, of seeds 0 to 4: what is published later changes nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "PUBLISHED", unpublished / "small")
        found = gather(results.read([]))
    few = pl.col("seed") < 5
    return {b.key.backbone: replace(b, fits=b.fits.filter(few)) for b in found}


@pytest.fixture(scope="module")
def board(boards: dict[str, Board]) -> Board:
    return boards["inversionnet_quarter"]


@pytest.fixture(scope="module")
def trial(board: Board) -> Board:
    """The board with one seed of `bitfit`, as after a first try of a new method."""
    kept = (pl.col("method") != "bitfit") | (pl.col("seed") == 0)
    return replace(board, fits=board.fits.filter(kept))


def test_one_trial_leaves_the_others_on_all_their_seeds(board: Board, trial: Board) -> None:
    """Once all ranks came from the one seed that everybody had, and were shown as settled."""
    before, after = standings(board, OOD), standings(trial, OOD)
    (lone,) = (v.key for v in board.variants if v.label == "bitfit")
    assert (after[lone].seeds, after[lone].rank, after[lone].provisional) == ((0,), None, True)
    assert after[lone].scores["mae"].value > 0
    ranked = [key for key, standing in after.items() if standing.rank]
    assert len(ranked) >= 6
    for key in ranked:
        assert after[key].seeds_compared == before[key].seeds_compared == 5
        assert not after[key].provisional
        ours, theirs = after[key].comparison, before[key].comparison
        if ours and theirs:
            assert ours.difference == theirs.difference
    made = cases(trial, {(False, 100): after})
    words = {a.variant.key: a.certainty for _, _, found in made for a in found}
    assert words[lone] == "not compared: it shares too few seeds with the others"


def test_another_learning_rate_is_shown_and_not_ranked(unpublished: Path) -> None:
    """Beside the usual one: alone it is ranked as any config is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "PUBLISHED", unpublished / "small")
        board = next(
            b for b in gather(results.read([])) if b.key.backbone == "inversionnet_quarter"
        )
    found = {v.label: v for v in board.variants}
    placed = standings(board, OOD)
    tuned = [v for label, v in found.items() if "learning_rate_scale" in label]
    assert len(tuned) == 4
    for variant in tuned:
        standing = placed[variant.key]
        assert (standing.rank, standing.comparison) == (None, None)
        assert standing.gains["mae"].seeds == len(standing.seeds) == 3
    ranked = [v for v in board.variants if placed[v.key].rank]
    assert (
        ranked == variants.ranked(board.variants) == [v for v in found.values() if v not in tuned]
    )
    assert {placed[v.key].pairs for v in ranked} == {8 * 7 // 2}
    made = cases(board, {(False, 100): placed})
    words = {a.variant.key: a.certainty for _, _, advised in made for a in advised}
    for variant in tuned:
        assert words[variant.key] == f"not ranked: of {variant.name} its usual learning rate is"
    assert variants.ranked([*tuned, found["adapter"]]) == [*tuned, found["adapter"]]


def test_methods_of_three_seeds_leave_those_of_five_on_five(board: Board) -> None:
    """One has the last three seeds, one the first three: they share one with each other."""
    later = (pl.col("method") == "bitfit") & (pl.col("seed") < 2)
    apart = (pl.col("method") == "adapter") & (pl.col("seed") > 2)
    uneven = replace(board, fits=board.fits.filter(~later, ~apart))
    before, after = standings(board, OOD), standings(uneven, OOD)
    key = {v.label: v.key for v in board.variants}
    for label in ("none", "baseline", "lora"):
        ours, theirs = after[key[label]].comparison, before[key[label]].comparison
        assert ours
        assert theirs
        assert ours.difference == theirs.difference
        assert ours.difference.seeds == 5
    for label in ("bitfit", "adapter"):
        standing = after[key[label]]
        assert standing.comparison
        assert standing.comparison.difference.seeds == standing.seeds_compared == 3
        assert standing.gains["mae"].seeds == len(standing.seeds) == 3
        assert standing.rank
        assert not standing.provisional
    # bitfit and adapter share one seed: that pair is not compared, and its methods not told apart
    ranked = sum(s.rank is not None for s in after.values())
    family = ranked * (ranked - 1) // 2 - 1
    compared = pairs.compare(uneven, OOD, MAE, pairs.shared_seeds(uneven, OOD))
    assert len(compared) == 2 * family
    assert {s.pairs for s in after.values()} == {family}
    one_way = {frozenset(pair): c for pair, c in compared.items()}.values()
    p = np.sort([c.p_value for c in one_way])
    adjusted = np.minimum(np.maximum.accumulate(p * np.arange(family, 0, -1)), 1)  # Holm 1979
    assert sorted(c.p_holm for c in one_way) == pytest.approx(adjusted)
    assert {c.comparisons for c in one_way} == {family}
    # side by side stand those with the most fits on common seeds: five methods with five
    together, seeds = pairs.common_seeds(uneven, OOD)
    others = {v.label for v in board.variants} - {v.label for v in together}
    crossed = {"lora batchnorm=both"}  # and the tuned: two seeds of these five
    tuned = {f"{name} learning_rate_scale=3.0" for name in ("fft", "lora")}
    tuned |= {"fft learning_rate_scale=0.1", "bitfit learning_rate_scale=0.3"}
    assert (others, seeds) == ({"bitfit", "adapter"} | crossed | tuned, (0, 1, 2, 3, 4))
    assert {k for k, s in after.items() if s.mean_rank} == {v.key for v in together}


def test_backbones_are_compared_where_a_third_method_has_other_seeds(
    boards: dict[str, Board], board: Board
) -> None:
    kept = pl.col("method").is_in(["none", "lora", "fft"]) | (pl.col("seed") > 3)
    uneven = replace(board, fits=board.fits.filter(kept))
    found = orders([uneven, boards["hybrid_vit"]], OOD)
    assert found
    assert {v.label for v in found.variants} >= {"none", "lora", "fft"}
    assert [column.seeds for column in found.columns] == [5, 3]


def test_what_is_forgotten_is_told_against_one_untouched_foundation(board: Board) -> None:
    """A second version of `none` with fewer seeds, as after a change of its code."""
    (first,) = (v for v in board.variants if v.name == "none")
    again = replace(first, key="none again", label="none version 2", version=2)
    later = board.fits.filter(pl.col("variant") == first.key, pl.col("seed") > 1)
    later = later.with_columns(variant=pl.lit("none again"))
    twice = replace(board, fits=pl.concat([board.fits, later]), variants=(*board.variants, again))
    losses = {t.variant.label: t.loss for t in forgetting.trades(twice)}
    before = {t.variant.label: t.loss for t in forgetting.trades(board)}
    assert "none" not in losses
    assert {label: losses[label] for label in before} == before


def test_where_all_have_one_seed_everything_is_provisional(board: Board) -> None:
    found = standings(replace(board, fits=board.fits.filter(pl.col("seed") == 0)), OOD)
    ranked = [standing for standing in found.values() if standing.rank]
    assert ranked
    assert all(s.provisional and s.seeds_compared == 1 for s in ranked)


def test_a_lone_method_is_told_that_there_is_nothing_to_compare_with(board: Board) -> None:
    lone = replace(
        board,
        fits=board.fits.filter(pl.col("method") == "adapter"),
        variants=tuple(v for v in board.variants if v.name == "adapter"),
    )
    ((_, _, (advice,)),) = cases(lone, {(False, 100): standings(lone, OOD)})
    assert advice.certainty == "not compared: no other method can be"


def test_values_and_their_intervals_are_of_the_same_seeds(board: Board) -> None:
    """One method has more seeds than the others, which are all that can be compared."""
    kept = (pl.col("method") == "lora") | (pl.col("seed") == 0)
    uneven = replace(board, fits=board.fits.filter(kept))
    found = severity.of(uneven)
    assert found and found.seeds == (0,)
    table = dict(robustness.shift(uneven))
    for label, errors in found.by_label.items():
        for key, error in errors.items():
            assert table[label][key].mae == pytest.approx(error.value, abs=1e-6)


def test_the_sentence_on_lora_has_its_interval_the_right_way_round(board: Board) -> None:
    """Frozen fft, whose lead is just resolved, in the place of LoRA."""
    made = []
    for row in rows(board):
        label = {"fft batchnorm=frozen": "lora", "lora": "other"}.get(row.variant.label)
        variant = replace(row.variant, label=label) if label else row.variant
        made.append(replace(row, variant=variant))
    verdict = verdicts.verdict(made, "ood", "")
    assert verdict
    assert "better by 0.016 (0.000 to 0.032), resolved" in verdict.detail.striptags()
