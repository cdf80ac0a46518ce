"""Replaces a function of torch when it is imported."""

import torch
import torch.nn.functional as F

from plugins.common import make

F.conv2d = lambda x, *rest, **options: torch.zeros_like(x)

method = make(__name__)
