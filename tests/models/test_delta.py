"""Deltas in memory: exact, whole or not at all, and gone without a trace."""

import copy

import pytest
import torch
from torch import Tensor
from trained import adapt, shaken

from bench.conformance import toy_networks
from bench.conformance.case import predict
from bench.errors import FoundationError
from bench.models import delta


@pytest.mark.parametrize("name", ["lora", "bitfit"])
def test_a_hundred_swaps_leave_no_trace(name: str) -> None:
    torch.manual_seed(0)
    network = toy_networks.convolutional()
    x = toy_networks.records(2)
    plain = predict(network, x)
    tasks, predictions = [], []
    for seed in range(4):
        torch.manual_seed(0)
        adapted = adapt(name, copy.deepcopy(network))
        tasks.append(shaken(adapted, seed))
        if seed == 1:  # one task has changed a buffer as well
            adapted.model.convblock1.layers[1].running_mean += 1
            tasks[-1]["convblock1.layers.1.running_mean"] = adapted.model.convblock1.layers[
                1
            ].running_mean.clone()
        predictions.append(predict(adapted.model, x))
    torch.manual_seed(0)
    model = adapt(name, copy.deepcopy(network)).model
    own = {key: value.clone() for key, value in model.state_dict().items()}
    switch = delta.Switch(model)
    for turn in range(100):
        switch.put(tasks[turn % 4])
        if turn > 94:
            assert torch.equal(predict(model, x), predictions[turn % 4])
    switch.remove()
    for key, value in model.state_dict().items():
        assert torch.equal(value, own[key]), key
    assert torch.equal(predict(model, x), plain)


def test_extract_takes_trainables_and_changed_buffers_only() -> None:
    network = toy_networks.convolutional()
    adapted = adapt("head", network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.convblock8.layers[1].running_var += 1
    assert set(delta.extract(network, before)) == {
        "convblock8.layers.1.running_var",
        *(f"deconv6.layers.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")),
    }
    assert adapted.model is network


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"deconv6.layers.0.bias": torch.zeros(2)}, r"'deconv6\.layers\.0\.bias' is .*\(2,\)"),
        ({"deconv6.layers.0.bias": torch.zeros(1).double()}, "float64"),
        ({"deconv7.bias": torch.zeros(1)}, r"no tensor 'deconv7\.bias'"),
    ],
)
def test_a_delta_that_does_not_fit_changes_nothing(wrong: dict[str, Tensor], message: str) -> None:
    network = toy_networks.convolutional()
    before = copy.deepcopy(network.state_dict())
    first = {"convblock1.layers.0.bias": torch.zeros(4)}
    with pytest.raises(FoundationError, match=message):
        delta.restore(network, first | wrong)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
