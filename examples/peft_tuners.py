"""The tables of docs/PEFT.md: which tuner of the PEFT library works on which backbone, and why not.

    python examples/peft_tuners.py [--backbone NAME ...] [tuner ...]

Every tuner of the installed library, or each one named, is adapted to every backbone, or to those
named, and goes through the conformance suite there. The outcomes are kept in peft_tuners.json
beside the page, and its tables are written anew from all of them. All on all take some hours on one
core, `boft` and `hra` the longest.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from torch import nn

from bench import conformance
from bench.errors import BenchError, describe
from bench.models import backbones
from methods import hf

PAGE = Path(__file__).parents[1] / "docs" / "PEFT.md"
BEGIN, END = "<!-- begin: python examples/peft_tuners.py -->\n", "<!-- end -->\n"
KEPT = PAGE.with_name("peft_tuners.json")
BACKBONES = (
    "inversionnet",
    "inversionnet_quarter",
    "hybrid_vit",
    "caformer_unet",
    "fourier_deeponet",
)
OPTIONS = {"c3a": {"block_size": 32}}
"""Where the library's defaults fit none of the backbones."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one tuner on one backbone."""

    layers: str = ""
    """Such as ``20 of 25``; empty if the tuner takes none."""
    parameters: int = 0
    failure: str = ""
    """The first check of the conformance suite that fails, and how many more do."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Reasons for not taking a layer, by kind of layer."""

    @property
    def cell(self) -> str:
        """The outcome in the table."""
        if not self.layers:
            return "–"
        return f"{'**fails**, ' * bool(self.failure)}{self.layers}; {self.parameters:,}"


def outcome(tuner: str, backbone: str) -> Outcome:
    """Try every layer, adapt, and run the conformance suite."""
    config = hf.HfConfig(tuner=tuner, options=OPTIONS.get(tuner, {}))
    network = conformance.network_of(backbones.get(backbone).backbone)
    refusals: dict[str, str] = {}
    try:
        trials = hf.trials(network, config)
        for name, trial in trials.items():
            if trial.refusal:
                wide = "wide " * ("max_fan_in" in trial.refusal)
                what = wide + kind(network.get_submodule(name))
                refusals.setdefault(what, short(trial.refusal))
        taken = hf.choose(network, config)
    except BenchError as error:
        return Outcome(refusals=refusals or {"": short(describe(error))})
    results = conformance.run(hf.method, config, network=network)
    adapted = hf.adapt(network, config)
    return Outcome(
        layers=f"{len(taken)} of {len(trials)}",
        parameters=sum(p.numel() for group in adapted.groups for p in group.parameters),
        failure=failure([r for r in results if not r.passed]),
        refusals=refusals,
    )


def failure(failed: list[conformance.CheckResult]) -> str:
    """What the first failed check says, with the number of the others; empty if there is none."""
    if not failed:
        return ""
    more = f" (and {len(failed) - 1} more checks)" if len(failed) > 1 else ""
    return f"{failed[0].name}: {failed[0].detail}{more}"


def kind(layer: nn.Module) -> str:
    """Class name of a layer, and what sets a convolution apart."""
    name = type(layer).__name__
    square = len(set(getattr(layer, "kernel_size", ()))) <= 1
    grouped = getattr(layer, "groups", 1) > 1
    return "grouped " * grouped + name + " with an oblong kernel" * (not square)


def short(reason: str) -> str:
    """A reason without what is the same for many tuners."""
    if "no option target_modules" in reason:
        return "it adapts no layers but prompts or other adapters"
    if "shared state" in reason:
        return "it keeps state outside the layers, which the library does not inject"
    if "create_and_replace" in reason:
        return "the library does not inject it"
    for words in ("not support", "Unknown init", "types compatible", "no attribute", "not a plain"):
        if words in reason:
            return "not supported"
    return re.sub(r"^(Tuner|Options of tuner) '\w+' of 'hf'( cannot be used)?: ", "", reason).strip(
        "."
    )


def tables(found: dict[tuple[str, str], Outcome]) -> str:
    """Two tables in Markdown: tuners that work somewhere, and reasons for the others."""
    works: list[str] = []
    nowhere: dict[str, list[str]] = defaultdict(list)
    for tuner in dict.fromkeys(tuner for tuner, _ in found):
        rows = {b: found[tuner, b] for b in BACKBONES if (tuner, b) in found}
        reasons: dict[str, str] = {}
        for backbone, row in rows.items():
            for what, why in (row.refusals | {backbone: row.failure}).items():
                if why:
                    reasons.setdefault(what, why)
        told = "; ".join(f"{what}: {why}" if what else why for what, why in joined(reasons))
        if any(row.layers and not row.failure for row in rows.values()):
            start = "yes" if tuner in hf.EXACT else "no"
            cells = " | ".join(rows[b].cell if b in rows else "not tried" for b in BACKBONES)
            works.append(f"| `{tuner}` | {start} | {cells} | {told} |")
        else:
            nowhere[told].append(f"`{tuner}`")
    head = " | ".join(f"`{b}`" for b in BACKBONES)
    return "\n".join(
        (
            f"PEFT {version('peft')}. Layers taken, of all convolutions and linear layers "
            "(`ln_tuning`: of all LayerNorms); trainable parameters.",
            "",
            f"| tuner | exact identity at the start | {head} | what it does not take, and why |",
            "|---" * (len(BACKBONES) + 3) + "|",
            *works,
            "",
            "| works on none | why |",
            "|---|---|",
            *(f"| {', '.join(names)} | {why} |" for why, names in nowhere.items()),
            "",
        )
    )


def joined(reasons: dict[str, str]) -> list[tuple[str, str]]:
    """Kinds of layers with the same reason together; plain convolutions stand for all of them."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for what, why in reasons.items():
        kinds[why].append(what)
    together = []
    for why, names in kinds.items():
        plain = [n for n in names if "Conv2d" not in n or "Conv2d" not in names or n == "Conv2d"]
        together.append((", ".join(plain), why))
    return together


def kept() -> dict[tuple[str, str], Outcome]:
    """The outcomes of former calls, by tuner and backbone."""
    if not KEPT.exists():
        return {}
    rows = json.loads(KEPT.read_text(encoding="utf-8"))
    return {
        (tuner, backbone): Outcome(**values)
        for tuner, outcomes in rows.items()
        for backbone, values in outcomes.items()
    }


def keep(found: dict[tuple[str, str], Outcome]) -> None:
    """Write outcomes, and the tables of the page."""
    rows: dict[str, dict[str, object]] = defaultdict(dict)
    for (tuner, backbone), made in sorted(found.items()):
        rows[tuner][backbone] = asdict(made)
    KEPT.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + tables(dict(sorted(found.items()))) + END + after, "utf-8")


def main() -> None:
    """Try what the command line names, outcome after outcome: a call that was stopped loses one."""
    known = {kind.value.lower() for kind in PEFT_TYPE_TO_CONFIG_MAPPING} | hf.PRESETS.keys()
    parser = argparse.ArgumentParser()
    parser.add_argument("tuners", nargs="*", metavar="tuner", default=sorted(known))
    parser.add_argument("--backbone", action="append", choices=BACKBONES, dest="backbones")
    wanted = parser.parse_args()
    for tuner in wanted.tuners:
        for backbone in wanted.backbones or BACKBONES:
            print(tuner, backbone, file=sys.stderr)
            keep(kept() | {(tuner, backbone): outcome(tuner, backbone)})


if __name__ == "__main__":
    main()
