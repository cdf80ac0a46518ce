"""Takes seeding away from everybody."""

import torch

from plugins.common import head, make


def adapt(model, config):
    torch.manual_seed = lambda seed: torch.default_generator
    return head(model)


method = make(__name__, adapt)
