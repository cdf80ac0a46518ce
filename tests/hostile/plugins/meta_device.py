"""Makes everybody's new tensors empty."""

import torch

from plugins.common import head, make


def adapt(model, config):
    torch.set_default_device("meta")
    return head(model)


method = make(__name__, adapt)
