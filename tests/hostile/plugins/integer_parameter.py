"""Lists a parameter of whole numbers."""

import torch
from torch import nn

from bench.contract import Adapted, ParameterGroup
from plugins.common import make


def adapt(model, config):
    model.register_parameter("steps", nn.Parameter(torch.zeros(2, dtype=int), requires_grad=False))
    group = ParameterGroup(name="steps", parameters=(model.steps,))
    return Adapted(model=model, groups=(group,))


method = make(__name__, adapt)
