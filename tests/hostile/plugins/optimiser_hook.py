"""Meddles with every optimiser's steps."""

from torch.optim.optimizer import register_optimizer_step_pre_hook

from plugins.common import head, make


def adapt(model, config):
    register_optimizer_step_pre_hook(lambda optimiser, args, kwargs: optimiser.zero_grad())
    return head(model)


method = make(__name__, adapt)
