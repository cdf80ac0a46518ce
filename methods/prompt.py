"""Visual prompt: a trained border added to the input, the network itself untouched.

Bahng et al. 2022, Exploring Visual Prompts for Adapting Large-Scale Models, arXiv:2203.17274,
whose border of 30 in 224 pixels is 9 of 70 receivers; along time it has the same share (129 of
1,000 samples), on each shot record its own. It is added to the record instead of padded around
it, so the network's geometry stays. Zero start (identity). 157,080 parameters. BatchNorm is
frozen, as the whole network.
"""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from bench.contract import INPUT_SHAPE, Adapted, Config, ConfigError, Method, ParameterGroup, Traits


class PromptConfig(Config):
    """Size of the border."""

    width: PositiveInt = 9
    """Receivers at each end of the line; along time the border has the same share."""


def border(width: int) -> Tensor:
    """Positions in a flattened (time, receiver) record that the border covers, int64."""
    _, times, receivers = INPUT_SHAPE
    depth = round(width * times / receivers)
    inner = torch.zeros(times, receivers, dtype=torch.bool)
    inner[depth : times - depth, width : receivers - width] = True
    return (~inner).flatten().nonzero().squeeze(1)


def add_prompt(model: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Hook: add the model's prompt to its input, (n, 5, 1000, 70)."""
    (x,) = inputs
    values = model.get_parameter("prompt").to(x.dtype)
    full = values.new_zeros(x[0].flatten(1).shape)
    return (x + full.index_copy(1, model.get_buffer("prompt_index"), values).view_as(x[0]),)


def adapt(model: nn.Module, config: PromptConfig) -> Adapted:
    """Register the border on the network; a hook keeps the names of its modules."""
    shots, _, receivers = INPUT_SHAPE
    if 2 * config.width >= receivers:
        raise ConfigError(
            f"Option width of 'prompt' is {config.width}; two borders must leave some of the "
            f"{receivers} receivers free: at most {(receivers - 1) // 2}."
        )
    index = border(config.width)
    prompt = nn.Parameter(torch.zeros(shots, len(index)))
    model.register_parameter("prompt", prompt)
    model.register_buffer("prompt_index", index, persistent=False)
    model.register_forward_pre_hook(add_prompt)
    return Adapted(model=model, groups=(ParameterGroup(name="prompt", parameters=(prompt,)),))


method = Method(
    name="prompt",
    summary="A trained border added to the input records.",
    source="Bahng et al. 2022, Exploring Visual Prompts, arXiv:2203.17274",
    traits=Traits(category="prompt", batchnorm="frozen"),
    config=PromptConfig,
    adapt=adapt,
)
