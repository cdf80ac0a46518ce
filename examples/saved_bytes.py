"""Bytes a sample that a training step saves for backward, of what stock full fine-tuning saves.

    python examples/saved_bytes.py hybrid_vit caformer_unet

Counted on the CPU in bfloat16, which is the same on every machine: torch's own layers, and the
memory-frugal ones. What a training step saves is what limits the batch, on a GPU above all.
"""

import argparse

import torch
from rich.console import Console
from rich.table import Table

from bench.errors import BenchError
from bench.models import backbones
from bench.plugins import adaptation, registry
from bench.training.numerics import Numerics
from bench.training.probe import step_cost

METHODS = ("fft", "lora", "bias", "bitfit", "layernorm", "attention", "adapter", "head")


def saved_bytes(method: str, backbone: str, *, frugal: bool) -> float:
    """Bytes that a step of a method in its own modes saves for each sample."""
    plugin = registry.get(method).method
    torch.manual_seed(0)
    adapted = adaptation.adapt(plugin, backbones.build(backbone), plugin.config())
    numerics = Numerics(device=torch.device("cpu"), bfloat16=True, frugal=frugal)
    numerics.place(adapted.model)
    adaptation.training_mode(adapted.model, plugin.traits.batchnorm)
    return step_cost(adapted.model, numerics).saved_bytes_per_sample


def main() -> None:
    """Print a table for each backbone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbones", nargs="*", default=["hybrid_vit", "caformer_unet"])
    for backbone in parser.parse_args().backbones:
        whole = saved_bytes("fft", backbone, frugal=False)
        table = Table("method", "torch's layers", "memory-frugal", title=backbone)
        for method in METHODS:
            try:
                stock, frugal = (saved_bytes(method, backbone, frugal=f) for f in (False, True))
            except BenchError as error:
                table.add_row(method, "–", str(error))
            else:
                table.add_row(method, f"{stock / whole:.3f}", f"{frugal / whole:.3f}")
        table.caption = f"1 is {whole / 2**20:.1f} MiB a sample."
        Console().print(table)


if __name__ == "__main__":
    main()
