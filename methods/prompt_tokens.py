"""Prompt tokens: trained tokens that every block of a transformer attends to (VPT-Deep).

Jia et al. 2022, Visual Prompt Tuning, arXiv:2203.12119. Each block gets its own tokens in front of
the sequence, and they are dropped behind it. Ten tokens is in the range of the authors' search
(1 to 200); the start is their uniform one, bound √(6 / (2 · channels)) here. Attention to new
tokens changes the output at once, so this is no identity at the start. It needs a transformer with
sequences (n, tokens, channels). Any BatchNorm is frozen, as the whole network.
"""

import math

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Config, ConfigError, Method, ParameterGroup, Traits
from methods._surgery import parameters_of
from methods._transformer import ATTENTION, attention_blocks, is_attention


class PromptTokensConfig(Config):
    """Number of prompt tokens per block."""

    tokens: PositiveInt = 10
    """Tokens in each block."""


class Prompt(nn.Module):
    """Tokens (tokens, channels) that go in front of a sequence (n, length, channels)."""

    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        bound = math.sqrt(6 / (2 * channels))
        self.tokens = nn.Parameter(torch.empty(tokens, channels).uniform_(-bound, bound))

    def forward(self, sequence: Tensor) -> Tensor:
        tokens = self.tokens.to(sequence.dtype).expand(len(sequence), -1, -1)
        return torch.cat((tokens, sequence), dim=1)


def prepend(block: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Hook before a block: its prompt in front of the sequence."""
    sequence, *rest = inputs
    if sequence.ndim != 3:
        raise ConfigError(
            "Method 'prompt_tokens' needs blocks that take sequences (n, tokens, channels); this "
            f"network's take {sequence.ndim} axes."
        )
    return (block.get_submodule("prompt")(sequence), *rest)


def drop(block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Hook behind a block: the sequence without the prompt."""
    return output[:, len(block.get_parameter("prompt.tokens")) :]


def channels(block: nn.Module) -> int:
    """Width of a block's sequence. Raises `ConfigError` if its batch does not come first."""
    layer = next(child for child in block.children() if is_attention(child))
    if isinstance(layer, nn.MultiheadAttention):
        if not layer.batch_first:
            raise ConfigError("Method 'prompt_tokens' needs attention with the batch first.")
        return int(layer.embed_dim)
    width: int = layer.get_submodule("proj").get_parameter("weight").shape[0]
    return width


def adapt(model: nn.Module, config: PromptTokensConfig) -> Adapted:
    """Give every block its tokens; hooks keep the names of the network's modules."""
    prompts = []
    for block in attention_blocks(model).values():
        prompt = Prompt(config.tokens, channels(block))
        block.add_module("prompt", prompt)
        block.register_forward_pre_hook(prepend)
        block.register_forward_hook(drop)
        prompts.append(prompt)
    group = ParameterGroup(name="prompts", parameters=parameters_of(prompts))
    return Adapted(model=model, groups=(group,))


method = Method(
    name="prompt_tokens",
    summary="Trained tokens in front of every transformer block's sequence.",
    source="Jia et al. 2022, Visual Prompt Tuning, arXiv:2203.12119",
    traits=Traits(
        category="prompt",
        batchnorm="frozen",
        identity_at_start=False,
        needs=frozenset({"|".join(sorted(ATTENTION))}),
    ),
    config=PromptTokensConfig,
    adapt=adapt,
)
