"""The protocols ask for exactly the fits and cells of the paper."""

import pytest

from bench.errors import UnknownNameError
from bench.protocol import protocols
from bench.protocol.spec import PRETRAINING, TARGETS
from leaderboard.views import VIEWS, Fit


@pytest.mark.parametrize(
    ("name", "fits", "cells"),
    [
        ("pretrain", 6, 6),
        ("id", 4, 4),
        ("ood", 4, 12),
        ("lowdata", 20, 80),
        ("sweep", 4, 4),
        ("smoke", 26, 86),
        ("all", 30, 90),
    ],
)
def test_numbers_of_fits_and_cells(name: str, fits: int, cells: int) -> None:
    protocol = protocols.get(name)
    assert len(protocol.slots) == fits
    assert sum(len(slot.tests) for slot in protocol.slots) == cells


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_page_and_harness_mean_the_same_cells(name: str) -> None:
    slots = protocols.get(name).slots
    assert {Fit(s.dataset, s.percent): set(s.tests) for s in slots} == {
        fit: set(tests) for fit, tests in VIEWS[name].tests.items()
    }


def test_out_of_distribution_never_tests_on_the_fitted_dataset() -> None:
    for slot in protocols.get("ood").slots:
        assert slot.dataset not in slot.tests
        assert set(slot.tests) | {slot.dataset} == set(TARGETS)


def test_a_sweep_never_sees_test_data() -> None:
    protocol = protocols.get("sweep")
    assert protocol.sweeps
    assert protocol.only_sweeps
    assert {slot.part for slot in protocol.slots} == {"validation"}
    assert not protocol.foundation_tests


def test_smoke_is_all_without_the_sweep() -> None:
    everything, smoke = protocols.get("all"), protocols.get("smoke")
    assert set(smoke.slots) == {s for s in everything.slots if s.part == "test"}
    assert smoke.foundation_tests == everything.foundation_tests == PRETRAINING
    assert everything.sweeps
    assert not smoke.sweeps


def test_the_foundation_has_seen_what_only_scratch_is_fitted_on() -> None:
    for slot in protocols.get("all").slots:
        assert slot.scratch_only == (slot.dataset in PRETRAINING)


def test_unknown_protocol_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'sweep'"):
        protocols.get("sweeep")
