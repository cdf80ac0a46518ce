"""Checks of the adapted network before any training."""

import torch
from torch import Tensor

from bench.conformance.case import Case, predict
from bench.conformance.requirements import (
    LAYOUT_TOLERANCE,
    RUN_NUMERICS,
    difference,
    require,
)
from bench.contract import OUTPUT_SHAPE
from bench.plugins import adaptation
from bench.plugins.storages import Storages


def adapts(case: Case) -> str:
    """It returns valid groups, the same each time and nothing twice; counts are as promised."""
    first, again = case.fresh(), case.fresh()
    names = [
        {name: tuple(p.shape) for name, p in a.model.named_parameters() if p.requires_grad}
        for a in (first, again)
    ]
    require(names[0] == names[1], "adapting twice gives different trainable parameters")
    states = [adapted.model.state_dict() for adapted in (first, again)]
    for name, value in states[0].items():
        require(
            name in states[1] and torch.equal(value, states[1][name]),
            f"adapting twice from one seed gives different values of '{name}'; draw random numbers "
            "from torch's, numpy's or Python's own generator",
        )
    memory = Storages(states[0].values())
    shared = [name for name, value in states[1].items() if value in memory]
    require(
        not shared,
        f"two fits share the tensor '{shared[0] if shared else ''}': make it anew in adapt",
    )
    count = sum(p.numel() for group in first.groups for p in group.parameters)
    if case.trainable is not None:
        require(
            count == case.trainable,
            f"{count:,} parameters are trainable, {case.trainable:,} were promised",
        )
    total = sum(p.numel() for p in first.model.parameters())
    return f"{count:,} of {total:,} parameters are trainable on {case.network_name}"


def keeps_the_foundation(case: Case) -> str:
    """Adapting changes no value of the foundation, in place or under its name."""
    if case.method.traits.start == "scratch":
        return "it starts from scratch"
    model = case.plain()
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    state = case.adapted(model).model.state_dict()
    for name, value in case.foundation.items():
        for now in (tensors.get(name), state.get(name)):
            require(
                now is None or torch.equal(now.detach(), value),
                f"'{name}' of the foundation is another one after adapting",
            )
    return f"{len(tensors)} tensors bit-equal"


def takes_channels_last(case: Case) -> str:
    """In channels-last memory, as runs have convolutions, the first prediction is the same."""
    model = case.fresh().model
    before = predict(model, case.x)
    RUN_NUMERICS.place(model)
    apart = difference(predict(model, case.x), before)
    require(apart <= LAYOUT_TOLERANCE, f"the prediction differs by {apart:.2g}")
    return f"differs by {apart:.2g}"


def penalty_is_a_number(case: Case) -> str:
    """A penalty is one finite number."""
    adapted = case.fresh()
    if adapted.penalty is None:
        return "none"
    value = adapted.penalty()
    value = value.detach() if isinstance(value, Tensor) else value
    require(
        isinstance(value, Tensor) and value.numel() == 1, "the penalty is no tensor with one number"
    )
    require(bool(torch.isfinite(value).all()), f"the penalty is {float(value)} at the start")
    return f"{float(value):.3g} at the start"


def predicts_maps(case: Case) -> str:
    """The prediction has the right shape and is finite, in evaluation and in training mode."""
    adapted = case.fresh()
    adaptation.check_output(case.method, adapted.model, case.x)
    adaptation.training_mode(adapted.model, case.method.traits.batchnorm)
    with torch.no_grad():
        require(
            bool(torch.isfinite(adapted.model(case.x)).all()),
            "the prediction in training mode is not finite",
        )
    return f"(n, {', '.join(map(str, OUTPUT_SHAPE))})"


def starts_as_declared(case: Case) -> str:
    """Where an identity at the start is declared, the first prediction is bit-equal."""
    prediction = adaptation.check_output(case.method, case.fresh().model, case.x)
    apart = difference(prediction, case.foundation_prediction)
    if not case.method.traits.identity_at_start:
        return f"no identity declared; differs by {apart:.2g}"
    require(apart == 0, f"an identity is declared, but the prediction differs by {apart:.2g}")
    return "bit-equal"
