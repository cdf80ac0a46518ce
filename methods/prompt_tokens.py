"""Prompt tokens: trained tokens that the blocks of a transformer attend to.

Jia et al. 2022, Visual Prompt Tuning, arXiv:2203.12119. VPT-Deep, the default: each block gets its
own tokens in front of the sequence, and they are dropped behind it. VPT-Shallow: tokens come in
front of the first block, go through all blocks, and are dropped behind the last; a network with
several stages of attention, such as a CAFormer, gets tokens for each stage. Ten tokens is in the
range of the authors' search (1 to 200); the start is their uniform one, bound √(6 / (2 · channels))
here. Attention to new tokens changes the output at once, so this is no identity at the start. It
needs a transformer with sequences (n, tokens, channels). Any BatchNorm is frozen, as the whole
network.
"""

import math
from functools import partial

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from bench.contract import Adapted, Config, ConfigError, Method, ParameterGroup, Traits
from methods._surgery import parameters_of
from methods._transformer import ATTENTION, attention_blocks, is_attention


class PromptTokensConfig(Config):
    """Number of prompt tokens and the blocks that get them."""

    tokens: PositiveInt = 10
    """Tokens in each block, or in front of the first."""
    deep: bool = Field(default=True, exclude_if=bool)  # run ids from before it stay as they are
    """New tokens for each block (VPT-Deep); False, for the first one alone (VPT-Shallow)."""


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


def drop(tokens: int, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Hook behind a block: the sequence without the first tokens."""
    return output[:, tokens:]


def channels(block: nn.Module) -> int:
    """Width of a block's sequence. Raises `ConfigError` if its batch does not come first."""
    layer = next(child for child in block.children() if is_attention(child))
    if isinstance(layer, nn.MultiheadAttention):
        if not layer.batch_first:
            raise ConfigError("Method 'prompt_tokens' needs attention with the batch first.")
        return int(layer.embed_dim)
    width: int = layer.get_submodule("proj").get_parameter("weight").shape[0]
    return width


def runs(model: nn.Module) -> list[list[nn.Module]]:
    """The blocks, those together that follow one another in one part of the network."""
    together: dict[str, list[nn.Module]] = {}
    for name, block in attention_blocks(model).items():
        together.setdefault(name.rpartition(".")[0], []).append(block)
    return list(together.values())


def adapt(model: nn.Module, config: PromptTokensConfig) -> Adapted:
    """Give blocks their tokens; hooks keep the names of the network's modules."""
    prompts = []
    for run in runs(model):
        for blocks in [[block] for block in run] if config.deep else [run]:
            prompt = Prompt(config.tokens, channels(blocks[0]))
            blocks[0].add_module("prompt", prompt)
            blocks[0].register_forward_pre_hook(prepend)
            blocks[-1].register_forward_hook(partial(drop, config.tokens))
            prompts.append(prompt)
    group = ParameterGroup(name="prompts", parameters=parameters_of(prompts))
    return Adapted(model=model, groups=(group,))


method = Method(
    name="prompt_tokens",
    summary="Trained tokens in front of the sequence of transformer blocks.",
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
