"""Turns gradients off when it is imported."""

import torch

from plugins.common import make

torch.set_grad_enabled(False)

method = make(__name__)
