"""The numbers of every built-in method and backbone, kept in `behaviour.json`.

    python tests/methods/behaviour.py

writes the table anew; `test_behaviour.py` says when.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.conformance import case, toy_networks
from bench.contract import Method
from bench.models import backbones
from bench.plugins import adaptation, registry
from bench.protocol.spec import HARNESS, RULES
from bench.training import train

TABLE = Path(__file__).with_name("behaviour.json")
STEPS = 3
METHODS = sorted(n for n, i in registry.load().methods.items() if i.distribution == HARNESS)
BACKBONES = tuple(n for n in backbones.names() if backbones.spec(n).distribution == HARNESS)


@contextmanager
def float64() -> Iterator[None]:
    """Rounding in float32 differs between processors, and Adam enlarges it."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def method_numbers(method: Method) -> dict[str, Any]:
    """Version, losses of three training steps, and the mean of the final prediction, in float64."""
    needs_attention = isinstance(case.choose_network(method), toy_networks.Transformer)
    config = method.config()
    with float64():
        torch.manual_seed(10)
        model = toy_networks.transformer() if needs_attention else toy_networks.convolutional()
        torch.manual_seed(11)
        x = toy_networks.records(3)
        y = torch.rand(3, 1, 70, 70) * 2 - 1
        torch.manual_seed(12)
        adapted = adaptation.adapt(method, model, config)
    adam = train.optimiser(adapted, config.learning_rate_scale)
    losses = []
    for step in range(STEPS):
        train.activate(adapted, step / STEPS)
        adaptation.training_mode(adapted.model, method.traits.batchnorm)
        loss = (adapted.model(x) - y).abs().mean()
        losses.append(float(loss.detach()))
        if adam is None:
            continue
        for group in adam.param_groups:
            group["lr"] = RULES.peak_learning_rate * group["scale"]
        objective = loss if adapted.penalty is None else loss + adapted.penalty()
        adam.zero_grad(set_to_none=True)
        if objective.requires_grad:
            objective.backward()
            adam.step()
            if adapted.after_step is not None:
                adapted.after_step()
    if adapted.finish is not None:
        adapted.finish(lambda: float((case.predict(adapted.model, x) - y).abs().mean()))
    prediction = case.predict(adapted.model, x)
    return {"version": method.version, "losses": losses, "prediction": float(prediction.mean())}


def backbone_numbers(name: str) -> dict[str, Any]:
    """Version, and the loss before and after a training step, in float64."""
    with float64():
        torch.manual_seed(13)
        model = backbones.build(name).train()
        x = toy_networks.records(2)
        y = torch.rand(2, 1, 70, 70) * 2 - 1
    adam = torch.optim.AdamW(model.parameters(), lr=RULES.peak_learning_rate)
    losses = []
    for _ in range(2):
        loss = nn.functional.l1_loss(model(x), y)
        losses.append(float(loss.detach()))
        adam.zero_grad()
        loss.backward()
        adam.step()
    return {"version": backbones.spec(name).version, "losses": losses}


def write_table() -> None:
    """Numbers of the present code; those of an unchanged version are kept as they were."""
    known = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    numbers = {
        "methods": {n: method_numbers(registry.load().get(n).method) for n in METHODS},
        "backbones": {n: backbone_numbers(n) for n in BACKBONES},
    }
    for kind, entries in numbers.items():
        for name, entry in entries.items():
            old = known.get(kind, {}).get(name)
            if old and old["version"] == entry["version"]:
                entries[name] = old
    TABLE.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_table()
