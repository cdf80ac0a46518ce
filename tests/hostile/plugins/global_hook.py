"""Scales what every module of everybody puts out."""

from torch.nn.modules.module import register_module_forward_hook

from plugins.common import head, make


def adapt(model, config):
    register_module_forward_hook(lambda module, inputs, output: output * 1.01)
    return head(model)


method = make(__name__, adapt)
