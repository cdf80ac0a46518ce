"""What the conformance suite checks: one small function for each promise.

A check takes a `Case` and returns what it found; it raises `NonconformanceError`, or lets through
whatever the method raises. Its name and the first line of its text are what people read.
"""

from collections.abc import Callable

from bench.conformance import adapting, declaring, learning, saving
from bench.conformance.case import Case

CHECKS: tuple[Callable[[Case], str], ...] = (
    declaring.describes_itself,
    declaring.config_is_strict,
    declaring.config_is_the_same_everywhere,
    adapting.adapts,
    adapting.keeps_the_foundation,
    adapting.predicts_maps,
    adapting.starts_as_declared,
    adapting.takes_channels_last,
    adapting.penalty_is_a_number,
    learning.trainables_get_gradients,
    learning.training_has_an_effect,
    learning.every_group_moves,
    learning.options_have_an_effect,
    learning.frozen_stays_frozen,
    learning.batchnorm_policy_holds,
    learning.trains_alike_frugally,
    learning.scores_each_sample_alone,
    saving.delta_restores_predictions,
    saving.whole_state_can_be_saved,
    saving.delta_comes_off,
    saving.merges_as_declared,
    learning.bfloat16_is_close,
    learning.reports_facts,
    learning.is_repeatable,
    learning.fits_are_independent,
)
"""All checks, in the order of the report."""

CHEAP: tuple[Callable[[Case], str], ...] = (
    adapting.adapts,
    adapting.keeps_the_foundation,
    adapting.starts_as_declared,
    adapting.penalty_is_a_number,
)
"""Those that train nothing: a run makes them before the first fit of a method."""
