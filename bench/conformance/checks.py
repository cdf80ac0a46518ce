"""What the conformance suite checks: one small function for each promise.

A check takes a `Case` and returns what it found; it raises `NonconformanceError`, or lets through
whatever the method raises. Its name and the first line of its text are what people read.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bench.conformance.case import Case, predict
from bench.conformance.requirements import (
    BFLOAT16_TOLERANCE,
    TOLERANCE,
    NonconformanceError,
    require_texts,
)
from bench.conformance.requirements import apart as _apart
from bench.conformance.requirements import require as _require
from bench.contract import OUTPUT_SHAPE
from bench.models import delta
from bench.plugins import adaptation


def describes_itself(case: Case) -> str:
    """Name, one-line summary and source are there, and the name can be typed."""
    method = case.method
    require_texts(method)
    return f"{method.summary} ({method.source})"


def config_is_strict(case: Case) -> str:
    """The config is frozen, refuses unknown options, and survives being written as JSON."""
    kind, config = case.method.config, case.config
    try:
        kind.model_validate({"no_such_option": 1})
    except ValidationError:
        pass
    else:
        raise NonconformanceError("the config takes an option that it does not have")
    _require(bool(kind.model_config.get("frozen")), "the config is not frozen")
    again = kind.model_validate_json(config.model_dump_json())
    _require(again == config, f"{config!r} comes back from JSON as {again!r}")
    return ", ".join(f"{name}={value}" for name, value in config)


def adapts(case: Case) -> str:
    """It returns valid groups, and the same ones each time; counts are as promised."""
    first, again = case.fresh(), case.fresh()
    names = [
        {name: tuple(p.shape) for name, p in a.model.named_parameters() if p.requires_grad}
        for a in (first, again)
    ]
    _require(names[0] == names[1], "adapting twice gives different trainable parameters")
    count = sum(p.numel() for group in first.groups for p in group.parameters)
    if case.trainable is not None:
        _require(
            count == case.trainable,
            f"{count:,} parameters are trainable, {case.trainable:,} were promised",
        )
    total = sum(p.numel() for p in first.model.parameters())
    return f"{count:,} of {total:,} parameters are trainable on {case.network_name}"


def predicts_maps(case: Case) -> str:
    """The prediction has the right shape and is finite, in evaluation and in training mode."""
    adapted = case.fresh()
    adaptation.check_output(case.method, adapted.model, case.x)
    adaptation.training_mode(adapted.model, case.method.traits.batchnorm)
    with torch.no_grad():
        _require(
            bool(torch.isfinite(adapted.model(case.x)).all()),
            "the prediction in training mode is not finite",
        )
    return f"(n, {', '.join(map(str, OUTPUT_SHAPE))})"


def starts_as_declared(case: Case) -> str:
    """Where an identity at the start is declared, the first prediction is bit-equal."""
    apart = _apart(predict(case.fresh().model, case.x), case.foundation_prediction)
    if not case.method.traits.identity_at_start:
        return f"no identity declared; differs by {apart:.2g}"
    _require(apart == 0, f"an identity is declared, but the prediction differs by {apart:.2g}")
    return "bit-equal"


def trainables_get_gradients(case: Case) -> str:
    """Every trainable parameter gets a finite gradient that is not zero, in some step."""
    trained = case.trained
    parameters = dict(trained.adapted.model.named_parameters())
    names = [name for name, p in parameters.items() if id(p) in trained.trainable]
    idle = [name for name in names if id(parameters[name]) not in trained.reached]
    _require(not idle, f"no gradient reaches {', '.join(idle[:5])} in {trained.steps} steps")
    _require(
        not trained.not_finite, f"a gradient is not finite: {', '.join(trained.not_finite[:5])}"
    )
    return f"{len(names)} tensors in {trained.steps} steps" if names else "nothing to train"


def training_has_an_effect(case: Case) -> str:
    """After a few steps the prediction is another one, and finite."""
    trained = case.trained
    apart = _apart(trained.before_finish, trained.at_start)
    _require(bool(torch.isfinite(trained.prediction).all()), "the prediction is not finite")
    if not case.method.traits.trains:
        _require(apart == 0, f"it declares that it trains nothing, but moves by {apart:.2g}")
        return "nothing is trained, and the prediction stays"
    _require(apart > 0, "the prediction is the same as before")
    return f"the prediction moves by {apart:.2g}"


def frozen_stays_frozen(case: Case) -> str:
    """Parameters and buffers that are not trained are bit-equal to the foundation's."""
    trained = case.trained
    adaptation.check_frozen(case.method, trained.adapted, trained.before)
    free = trained.trainable | trained.statistics
    held = 0
    for name, tensor in trained.foundation.items():
        if id(tensor) not in free:
            same = torch.equal(tensor.detach(), case.foundation[name])
            _require(same, f"'{name}' of the foundation has changed and is not trained")
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
        _require(bool(moved), f"the policy is '{policy}', but no statistics have changed")
        return f"{policy}; {len(moved)} statistics moved"
    adapted = case.fresh()
    before = predict(adapted.model, case.x)
    adaptation.training_mode(adapted.model, policy)
    with torch.no_grad():
        for _ in range(3):
            adapted.model(case.x)
    apart = _apart(predict(adapted.model, case.x), before)
    _require(apart == 0, f"three forward passes change the prediction by {apart:.2g}")
    return f"{policy}; three forward passes leave no trace"


def scores_each_sample_alone(case: Case) -> str:
    """In evaluation mode a prediction does not depend on the rest of the batch."""
    model = case.trained.adapted.model
    apart = _apart(predict(model, case.x)[:1], predict(model, case.x[:1]))
    _require(apart <= TOLERANCE, f"alone and in a batch differ by {apart:.2g}")
    return f"alone and in a batch differ by {apart:.2g}"


def delta_restores_predictions(case: Case) -> str:
    """The delta, saved and put on a fresh network, gives bit-equal predictions."""
    saved, size = _through_a_file(case)
    model = case.fresh().model
    delta.restore(model, saved)
    apart = _apart(predict(model, case.x), case.trained.prediction)
    _require(apart == 0, f"reloaded and trained network differ by {apart:.2g}")
    return f"{len(saved)} tensors, {size:,} bytes"


def delta_comes_off(case: Case) -> str:
    """Taking the delta off brings back the network before training, bit for bit."""
    model = case.fresh().model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    switch = delta.Switch(model)
    switch.put(case.trained.delta)
    switch.remove()
    for name, value in model.state_dict().items():
        _require(torch.equal(value, before[name]), f"'{name}' does not come back")
    apart = _apart(predict(model, case.x), case.trained.at_start)
    _require(apart == 0, f"the prediction comes back with a difference of {apart:.2g}")
    return "bit-equal"


def merges_as_declared(case: Case) -> str:
    """Merged, the state is a plain backbone's, and the predictions are those of the delta."""
    adapted = case.fresh()
    if not case.method.traits.mergeable:
        _require(adapted.merge is None, "it has a merge, but Traits.mergeable is not set")
        return "not declared"
    if adapted.merge is None:
        raise NonconformanceError("Traits.mergeable is set, but it has no merge")
    delta.restore(adapted.model, case.trained.delta)
    merged = adapted.merge()
    plain = case.plain()
    _require(
        set(merged.state_dict()) == set(plain.state_dict()),
        "the merged state has other names than the backbone's: "
        + ", ".join(sorted(set(merged.state_dict()) ^ set(plain.state_dict()))[:5]),
    )
    plain.load_state_dict(merged.state_dict())
    for what, model in (("merged network", merged), ("backbone with the merged state", plain)):
        apart = _apart(predict(model, case.x), case.trained.prediction)
        _require(apart <= TOLERANCE, f"the {what} predicts otherwise, by {apart:.2g}")
    return f"merged and unmerged differ by {apart:.2g}"


def bfloat16_is_close(case: Case) -> str:
    """Evaluation under bfloat16 autocast is close to float32."""
    model = case.trained.adapted.model
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predict(model, case.x).float()
    apart = float((rounded - case.trained.prediction).abs().mean())
    _require(apart <= BFLOAT16_TOLERANCE, f"differs by {apart:.2g} on average")
    return f"differs by {apart:.2g} on average"


def reports_facts(case: Case) -> str:
    """What `finish` returns can stand in a record: JSON with names."""
    facts = case.trained.facts
    if facts is None:
        return "no finish"
    _require(isinstance(facts, dict), f"finish returns a {type(facts).__name__}, not a dict")
    return json.dumps(facts, allow_nan=False)


def is_repeatable(case: Case) -> str:
    """Adapting and training again from the same seed gives bit-equal predictions."""
    apart = _apart(case.train().prediction, case.trained.prediction)
    _require(apart == 0, f"two runs differ by {apart:.2g}; draw random numbers from torch alone")
    return "bit-equal"


def _through_a_file(case: Case) -> tuple[dict[str, Tensor], int]:
    header = delta.Header(
        method=case.method.name,
        config=case.config.model_dump(mode="json"),
        backbone=case.network_name,
        foundation_sha256=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "delta.safetensors"
        delta.save(case.trained.delta, header, path)
        loaded, again = delta.load(path)
        _require(again == header, "the delta's header does not come back")
        return loaded, path.stat().st_size


CHECKS: tuple[Callable[[Case], str], ...] = (
    describes_itself,
    config_is_strict,
    adapts,
    predicts_maps,
    starts_as_declared,
    trainables_get_gradients,
    training_has_an_effect,
    frozen_stays_frozen,
    batchnorm_policy_holds,
    scores_each_sample_alone,
    delta_restores_predictions,
    delta_comes_off,
    merges_as_declared,
    bfloat16_is_close,
    reports_facts,
    is_repeatable,
)
