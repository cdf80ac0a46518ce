"""A training pass that keeps the memory promise of parameter-efficient fine-tuning.

Stock PyTorch keeps the input of every convolution and of every BatchNorm for the backward pass,
frozen or not. Inside `frugal(model)` the same network, unchanged, runs through forms of its layers
that keep only what the gradients asked for need:

    with frugal(adapted.model):
        for x, y in batches:
            loss(adapted.model(x), y).backward()

Outputs and gradients are those of the stock layers up to rounding.
"""

from bench.models.frugal.install import frugal

__all__ = ["frugal"]
