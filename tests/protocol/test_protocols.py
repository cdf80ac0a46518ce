"""The protocols ask for exactly the fits and cells of the paper, each written once."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError, UnknownNameError
from bench.protocol import protocols
from bench.protocol.protocols import Protocol, Slot, others
from bench.protocol.spec import PERCENTS, PRETRAINING, TARGETS, TestSet

Cells = set[tuple[object, TestSet]]
"""Trainings with their test sets."""


def cells(slots: Iterable[Slot]) -> Cells:
    return {(slot.training, test) for slot in slots for test in slot.tests}


def fitted(name: str) -> Protocol:
    """A protocol without what is not a fit of a method."""
    protocol = protocols.get(name)
    return Protocol(name=name, label="", summary="", slots=protocol.fits)


COUNTS = {
    "pretrain": (6, 6),
    "id": (4, 4),
    "ood": (4, 12),
    "lowdata": (20, 80),
    "retention": (4, 24),
    "shift": (4, 52),
    "tuning": (4, 4),
    "sweep": (4, 4),
    "smoke": (26, 158),
    "all": (30, 162),
}
"""Fits of a method from scratch, and their cells."""


def test_every_protocol_is_counted() -> None:
    assert COUNTS.keys() == set(protocols.names())


@pytest.mark.parametrize("name", COUNTS)
def test_numbers_of_fits_and_cells(name: str) -> None:
    protocol = fitted(name)
    assert (len(protocol.fits), len(protocol.cells)) == COUNTS[name]
    assert len(cells(protocol.slots)) == len(protocol.cells), "none twice"


def test_in_distribution_is_the_fitted_dataset_and_out_of_it_are_the_three_others() -> None:
    assert {(s.datasets, s.tests) for s in fitted("id").slots} == {
        ((target,), (TestSet(dataset=target),)) for target in TARGETS
    }
    for slot in fitted("ood").slots:
        (target,) = slot.datasets
        assert {test.dataset for test in slot.tests} == set(TARGETS) - {target}
        assert tuple(test.dataset for test in slot.tests) == others(target)


def test_low_data_is_in_and_out_of_distribution_at_each_fraction() -> None:
    whole = {(s.datasets, t) for name in ("id", "ood") for s, t in fitted(name).cells}
    low = fitted("lowdata")
    assert {slot.percent for slot in low.slots} == set(PERCENTS)
    for percent in PERCENTS:
        assert {(s.datasets, t) for s, t in low.cells if s.percent == percent} == whole


def test_retention_scores_the_fits_on_all_of_a_target_where_the_foundation_was_trained() -> None:
    protocol = fitted("retention")
    assert {s.training for s in protocol.slots} == {s.training for s in fitted("id").slots}
    for slot in protocol.slots:
        assert slot.tests == tuple(TestSet(dataset=name) for name in PRETRAINING)


def test_protocols_share_their_fits() -> None:
    """A fit is trained once for all protocols, and the cells of one are those of no other."""
    whole = {s.training for s in fitted("id").slots}
    assert whole == {s.training for s in fitted("ood").slots}
    assert whole < {s.training for s in fitted("lowdata").slots}
    names = ("id", "ood", "retention", "pretrain")
    counts = [len(cells(fitted(name).slots)) for name in names]
    assert len(set().union(*(cells(fitted(name).slots) for name in names))) == sum(counts)


def test_a_floor_stands_under_every_dataset_that_is_tested() -> None:
    """The mean training map of the tested dataset; sweeps, on validation data, have none."""
    for name in set(protocols.names()) - {"sweep", "tuning"}:
        protocol = protocols.get(name)
        tested = {t.dataset for _, t in fitted(name).cells if t.split == "test"}
        floors = [slot for slot in protocol.slots if slot.kind == "floor"]
        assert {slot.datasets for slot in floors} == {(dataset,) for dataset in tested}
        for slot in floors:
            assert slot.tests == (TestSet(dataset=slot.datasets[0]),)


@pytest.mark.parametrize("name", ["sweep", "tuning"])
def test_a_choice_of_options_never_sees_test_data(name: str) -> None:
    protocol = protocols.get(name)
    assert protocol.sweeps
    assert protocol.only_sweeps
    assert all(slot.holdout and slot.kind == "adaptation" for slot in protocol.slots)
    assert {test.split for _, test in protocol.cells} == {"validation"}
    assert all(slot.tests[0].dataset == slot.datasets[0] for slot in protocol.slots)


def test_only_choices_of_options_see_validation_data() -> None:
    for name in protocols.names():
        for slot, test in protocols.get(name).cells:
            assert (test.split == "validation") == slot.holdout


def test_equal_tuning_is_over_the_same_learning_rates_for_every_method() -> None:
    assert protocols.get("tuning").grid == {"learning_rate_scale": (0.1, 0.3, 1.0, 3.0)}
    assert {n for n in protocols.names() if protocols.get(n).own_grids} == {"sweep", "all"}


def test_smoke_is_all_without_the_sweep_and_each_the_union_of_its_protocols() -> None:
    parts = ("pretrain", "id", "ood", "lowdata", "retention", "shift")
    smoke, everything = protocols.get("smoke"), protocols.get("all")
    union = set().union(*(cells(protocols.get(name).slots) for name in parts))
    assert cells(smoke.slots) == union
    assert cells(everything.slots) == union | cells(protocols.get("sweep").slots)
    for protocol in (smoke, everything):
        assert len({slot.training for slot in protocol.slots}) == len(protocol.slots)
    assert everything.sweeps
    assert not everything.only_sweeps
    assert not smoke.sweeps


def test_the_foundation_is_scored_where_the_protocol_asks() -> None:
    """On what it was trained on, beside training from scratch; elsewhere it is only needed."""
    asks = {
        name: {t.dataset for s, t in protocols.get(name).cells if s.kind == "pretraining"}
        for name in protocols.names()
    }
    assert {name for name, tests in asks.items() if tests} == {"pretrain", "smoke", "all"}
    assert asks["pretrain"] == asks["smoke"] == asks["all"] == set(PRETRAINING)


def test_the_foundation_has_seen_what_only_scratch_is_fitted_on() -> None:
    for slot in protocols.get("all").fits:
        assert slot.scratch_only == (slot.datasets[0] in PRETRAINING)
    assert protocols.get("pretrain").scratch_only
    assert not protocols.get("all").scratch_only


SLOTS = st.builds(
    Slot,
    datasets=st.sampled_from([(name,) for name in TARGETS[:2]]),
    percent=st.sampled_from(PERCENTS[:2]),
    holdout=st.booleans(),
    tests=st.lists(
        st.builds(
            TestSet,
            dataset=st.sampled_from(TARGETS[:3]),
            condition=st.sampled_from(("clean", "other")),
        ),
        unique=True,
        max_size=3,
    ).map(tuple),
)


@given(st.lists(SLOTS, max_size=12))
def test_a_union_has_each_training_once_with_all_of_its_test_sets(slots: list[Slot]) -> None:
    union = protocols._union(*slots)
    assert [slot.training for slot in union] == list(dict.fromkeys(s.training for s in slots))
    assert cells(union) == cells(slots)
    assert sum(len(slot.tests) for slot in union) == len(cells(slots)), "none twice"


def test_names_of_test_sets_tell_them_apart() -> None:
    names = {
        TestSet(dataset="Style_A"): "Style_A",
        TestSet(dataset="Style_A", split="validation"): "Style_A:validation",
        TestSet(dataset="Style_A", condition="noise_10db"): "Style_A@noise_10db",
    }
    for test_set, name in names.items():
        assert test_set.name == name


def test_unknown_protocol_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'sweep'"):
        protocols.get("sweeep")


def test_protocols_together_train_each_fit_once() -> None:
    both = protocols.together(["id,ood", "retention"])
    assert [slot.datasets for slot in both.fits] == [(target,) for target in TARGETS]
    for slot in both.fits:
        assert len(slot.tests) == len(set(slot.tests)) == len(TARGETS) + len(PRETRAINING)
    assert protocols.together(["ood"]) is protocols.get("ood")
    assert protocols.together(["id,tuning"]).grid == protocols.get("tuning").grid
    with pytest.raises(ConfigError, match="tuning and sweep search different grids"):
        protocols.together(["tuning", "sweep"])


def test_a_part_of_low_data_has_its_fractions_and_the_floors() -> None:
    whole, part = protocols.get("lowdata"), protocols.at(protocols.get("lowdata"), {10, 50})
    assert [(s.datasets, s.percent) for s in part.fits] == [
        ((target,), percent) for target in TARGETS for percent in (10, 50)
    ]
    assert [s for s in part.slots if s.kind == "floor"] == [
        s for s in whole.slots if s.kind == "floor"
    ]
    assert set(part.cells) <= set(whole.cells)
    with pytest.raises(ConfigError, match="lowdata fits on 10, 25, 50, 75, 100 %"):
        protocols.at(whole, {10, 30})
    with pytest.raises(ConfigError, match="--percent 10: protocol id fits on 100 %"):
        protocols.at(protocols.get("id"), {10})
