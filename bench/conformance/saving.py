"""Checks of deltas and whole networks: saved, loaded, taken off, merged."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from bench.conformance.case import Case, predict
from bench.conformance.requirements import NonconformanceError, difference, require, same
from bench.models import delta
from bench.models.checkpoint import save_safetensors
from bench.models.foreign import load_safetensors


def delta_restores_predictions(case: Case) -> str:
    """The delta, saved and put on a fresh network, gives bit-equal predictions."""
    saved, size = _through_a_file(case)
    model = case.fresh().model
    delta.restore(model, saved)
    apart = difference(predict(model, case.x), case.trained.prediction)
    require(apart == 0, f"reloaded and trained network differ by {apart:.2g}")
    return f"{len(saved)} tensors, {size:,} bytes"


def whole_state_can_be_saved(case: Case) -> str:
    """The whole adapted network, as `bench adapt apply` writes it, comes back from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.safetensors"
        save_safetensors(case.trained.adapted.model.state_dict(), path)
        state, _ = load_safetensors(path)
        model = case.fresh().model
        model.load_state_dict(state)
        apart = difference(predict(model, case.x), case.trained.prediction)
        require(apart == 0, f"reloaded and trained network differ by {apart:.2g}")
        return f"{len(state)} tensors, {path.stat().st_size:,} bytes"


def delta_comes_off(case: Case) -> str:
    """Taking the delta off brings back the network before training, bit for bit."""
    model = case.fresh().model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    switch = delta.Switch(model)
    switch.put(case.trained.delta)
    switch.remove()
    for name, value in model.state_dict().items():
        require(torch.equal(value, before[name]), f"'{name}' does not come back")
    apart = difference(predict(model, case.x), case.trained.at_start)
    require(apart == 0, f"the prediction comes back with a difference of {apart:.2g}")
    return "bit-equal"


def merges_as_declared(case: Case) -> str:
    """Merged, the state is a plain backbone's, and the predictions are those of the delta."""
    adapted = case.fresh()
    if not case.method.traits.mergeable:
        require(adapted.merge is None, "it has a merge, but Traits.mergeable is not set")
        return "not declared"
    if adapted.merge is None:
        raise NonconformanceError("Traits.mergeable is set, but it has no merge")
    delta.restore(adapted.model, case.trained.delta)
    merged = adapted.merge()
    plain = case.plain()
    require(
        set(merged.state_dict()) == set(plain.state_dict()),
        "the merged state has other names than the backbone's: "
        + ", ".join(sorted(set(merged.state_dict()) ^ set(plain.state_dict()))[:5]),
    )
    plain.load_state_dict(merged.state_dict())
    for what, model in (("merged network", merged), ("backbone with the merged state", plain)):
        apart = difference(predict(model, case.x), case.trained.prediction)
        require(same(apart, plain, case.x), f"the {what} predicts otherwise, by {apart:.2g}")
    return f"merged and unmerged differ by {apart:.2g}"


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
        require(again == header, "the delta's header does not come back")
        return loaded, path.stat().st_size
