"""Checks of what training changes, and what it must not change."""

import json

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from bench.conformance.case import Case, Trained, predict
from bench.conformance.requirements import (
    BFLOAT16_TOLERANCE,
    FRUGAL_GRADIENT_TOLERANCE,
    FRUGAL_LOSS_TOLERANCE,
    difference,
    neighbours_matter,
    require,
    same,
)
from bench.errors import ConfigError
from bench.plugins import adaptation
from bench.plugins.storages import Storages


def trainables_get_gradients(case: Case) -> str:
    """Every trainable parameter gets a finite gradient that is not zero, in some step."""
    trained = case.trained
    parameters = dict(trained.adapted.model.named_parameters())
    names = [name for name, p in parameters.items() if id(p) in trained.trainable]
    steps = trained.steps
    idle = [name for name in names if id(parameters[name]) not in steps.reached]
    require(not idle, f"no gradient reaches {', '.join(idle[:5])} in {len(steps.losses)} steps")
    require(not steps.not_finite, f"a gradient is not finite: {', '.join(steps.not_finite[:5])}")
    return f"{len(names)} tensors in {len(steps.losses)} steps" if names else "nothing to train"


def training_has_an_effect(case: Case) -> str:
    """After a few steps the prediction is another one, and finite."""
    trained = case.trained
    apart = difference(trained.before_finish, trained.at_start)
    require(bool(torch.isfinite(trained.prediction).all()), "the prediction is not finite")
    if not case.method.traits.trains:
        require(apart == 0, f"it declares that it trains nothing, but moves by {apart:.2g}")
        return "nothing is trained, and the prediction stays"
    require(apart > 0, "the prediction is the same as before")
    return f"the prediction moves by {apart:.2g}"


def every_group_moves(case: Case) -> str:
    """Every group has a parameter that training changes."""
    trained = case.trained
    after = trained.before_finish_state
    for group in trained.adapted.groups:
        own = Storages(group.parameters)
        names = [n for n, v in trained.adapted.model.state_dict().items() if v in own]
        moved = [n for n in names if not torch.equal(after[n], trained.before[n])]
        require(bool(moved), f"no parameter of group '{group.name}' has changed in training")
    return f"{len(trained.adapted.groups)} groups"


def options_have_an_effect(case: Case) -> str:
    """Every option of the grid has a value that gives another fit."""
    trained = case.trained
    for option, values in case.method.grid.items():
        same = []
        for value in values:
            config = type(case.config).model_validate(case.config.model_dump() | {option: value})
            if config == case.config:
                continue
            try:
                if _differs(case.with_config(config), trained):
                    break
            except ConfigError:  # not on this network
                continue
            same.append(str(value))
        else:
            own = getattr(case.config, option)
            require(
                not same,
                f"the grid varies '{option}', but {', '.join(same)} and {own} give the same fit",
            )
    return ", ".join(case.method.grid) or "no grid"


def _differs(other: Case, trained: Trained) -> bool:
    """Whether a case trains other tensors than those, or comes to another prediction."""
    shapes = [
        {n: p.shape for n, p in adapted.model.named_parameters() if p.requires_grad}
        for adapted in (other.fresh(), trained.adapted)
    ]
    return shapes[0] != shapes[1] or not torch.equal(other.train().prediction, trained.prediction)


def frozen_stays_frozen(case: Case) -> str:
    """Parameters and buffers that are not trained are bit-equal to the foundation's."""
    trained = case.trained
    adaptation.check_frozen(case.method, trained.adapted, trained.before)
    held = 0
    for name, tensor in trained.foundation.items():
        if tensor not in trained.free:
            same = torch.equal(tensor.detach(), case.foundation[name])
            require(same, f"'{name}' of the foundation has changed and is not trained")
            held += 1
    return f"{held} tensors of the foundation bit-equal"


def batchnorm_policy_holds(case: Case) -> str:
    """Statistics stay when the policy says so, in any number of forward passes, and move if not."""
    policy = case.method.traits.batchnorm
    if not any(isinstance(m, _BatchNorm) for m in case.network.modules()):
        return f"{policy}; the network has no BatchNorm"
    if policy in ("statistics", "both"):
        trained = case.trained
        after = trained.adapted.model.state_dict()
        moved = [
            name
            for name, value in trained.before.items()
            if name.endswith(("running_mean", "running_var"))
            and not torch.equal(value, after[name])
        ]
        require(bool(moved), f"the policy is '{policy}', but no statistics have changed")
        return f"{policy}; {len(moved)} statistics moved"
    adapted = case.fresh()
    before = predict(adapted.model, case.x)
    adaptation.training_mode(adapted.model, policy)
    with torch.no_grad():
        for _ in range(3):
            adapted.model(case.x)
    apart = difference(predict(adapted.model, case.x), before)
    require(apart == 0, f"three forward passes change the prediction by {apart:.2g}")
    return f"{policy}; three forward passes leave no trace"


def scores_each_sample_alone(case: Case) -> str:
    """In evaluation mode a prediction does not depend on the rest of the batch."""
    model = case.trained.adapted.model
    apart = difference(predict(model, case.x)[:1], predict(model, case.x[:1]))
    require(same(apart, case.network, case.x), neighbours_matter(apart))
    return f"alone and in a batch differ by {apart:.2g}"


def bfloat16_is_close(case: Case) -> str:
    """Evaluation under bfloat16 autocast is close to float32."""
    model = case.trained.adapted.model
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predict(model, case.x).float()
    apart = float((rounded - case.trained.prediction).abs().mean())
    require(apart <= BFLOAT16_TOLERANCE, f"differs by {apart:.2g} on average")
    return f"differs by {apart:.2g} on average"


def trains_alike_frugally(case: Case) -> str:
    """Training through the memory-frugal pass, as runs do, is training with torch's own layers."""
    stock, ours = case.trained.steps.losses, case.frugal_losses()
    apart = max(abs(a - b) / a for a, b in zip(stock, ours, strict=True))
    require(
        apart <= FRUGAL_LOSS_TOLERANCE,
        f"in {len(stock)} steps a loss comes to differ by {apart:.2g} of itself",
    )
    if not case.method.traits.trains or not case.trained.trainable:
        return f"losses differ by {apart:.2g}; nothing is trained"
    expected, gradients = case.gradients(frugally=False), case.gradients(frugally=True)
    require(expected.keys() == gradients.keys(), "other parameters get a gradient")
    largest = max(float(g.abs().max()) for g in expected.values())
    off = max(difference(gradients[name], g) for name, g in expected.items()) / largest
    require(off <= FRUGAL_GRADIENT_TOLERANCE, f"a gradient differs by {off:.2g} of the largest")
    return f"losses differ by {apart:.2g}, gradients by {off:.2g} of the largest"


def reports_facts(case: Case) -> str:
    """What `finish` returns can stand in a record: JSON with names."""
    facts = case.trained.facts
    if facts is None:
        return "no finish"
    require(isinstance(facts, dict), f"finish returns a {type(facts).__name__}, not a dict")
    return json.dumps(facts, allow_nan=False)


def is_repeatable(case: Case) -> str:
    """Adapting and training again from the same seed gives bit-equal predictions."""
    apart = difference(case.train().prediction, case.trained.prediction)
    require(apart == 0, f"two runs differ by {apart:.2g}; draw no random numbers of its own")
    return "bit-equal"


def fits_are_independent(case: Case) -> str:
    """A fit leaves nothing behind: adapting after it gives what adapting gave before it."""
    before = case.trained.before
    for name, value in case.fresh().model.state_dict().items():
        require(
            name in before and torch.equal(value, before[name]),
            f"'{name}' is another one after a fit: it is kept from fit to fit",
        )
    return "bit-equal"
