"""Lets the processor round float32 to bfloat16."""

import torch

from plugins.common import head, make


def adapt(model, config):
    torch.set_float32_matmul_precision("medium")
    return head(model)


method = make(__name__, adapt)
