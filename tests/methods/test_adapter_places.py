"""Where adapters stand: behind or beside which blocks, what they compute there, what is refused."""

import pickle
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as functional
from timm.models.convnext import ConvNeXtBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from transformer_networks import (
    DEPTH,
    HEADS,
    HIDDEN,
    WIDTH,
    adapt,
    bottleneck,
    count,
    sequence,
    shake,
    torch_blocks,
    trainable,
)

from bench.conformance.case import predict
from bench.errors import ConfigError


def bottleneck_of(x: Tensor, parameters: list[Tensor]) -> Tensor:
    down, b1, up, b2 = parameters
    return functional.linear(functional.relu(functional.linear(x, down, b1)), up, b2)


def two_blocks() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(Block(WIDTH, HEADS, qkv_bias=True, init_values=0.5) for _ in range(2))
    ).eval()


def test_houlsby_adapters_stand_behind_attention_and_mlp() -> None:
    network = two_blocks()
    adapted = adapt("adapter", network, width=3)
    shake(adapted)
    values = {n: p.detach() for n, p in trainable(adapted).items()}
    x = expected = sequence()
    for index, block in enumerate(network):
        first = [v for n, v in values.items() if n.startswith(f"{index}.attn.")]
        second = [v for n, v in values.items() if n.startswith(f"{index}.mlp.")]
        with torch.no_grad():
            mixed = block.attn(block.norm1(expected))
            y = expected + block.ls1(mixed + bottleneck_of(mixed, first))
            fed = block.mlp(block.norm2(y))
            expected = y + block.ls2(fed + bottleneck_of(fed, second))
    torch.testing.assert_close(predict(adapted.model, x), expected)


def test_adaptformer_stands_beside_the_mlp() -> None:
    network = two_blocks()
    adapted = adapt("adaptformer", network, width=3, scale=0.2)
    shake(adapted)
    values = {n: p.detach() for n, p in trainable(adapted).items()}
    x = expected = sequence()
    for index, block in enumerate(network):
        branch = [v for n, v in values.items() if n.startswith(f"{index}.mlp.")]
        with torch.no_grad():
            y = expected + block.ls1(block.attn(block.norm1(expected)))
            given = block.norm2(y)
            expected = y + block.ls2(block.mlp(given) + 0.2 * bottleneck_of(given, branch))
    torch.testing.assert_close(predict(adapted.model, x), expected)


@pytest.mark.parametrize("name", ["adapter", "adaptformer"])
def test_in_blocks_of_torch_adapters_act_in_evaluation_too(name: str) -> None:
    """Torch has a fused way through such a block, which asks no module inside it."""
    adapted = adapt(name, torch_blocks())
    shake(adapted)
    with torch.no_grad():
        training = adapted.model.train()(sequence())
    torch.testing.assert_close(predict(adapted.model, sequence()), training)
    assert not torch.allclose(training, predict(torch_blocks(), sequence()), atol=0.05)


class Stage(nn.Sequential):
    """Two inputs through one convolution, norm and activation; what is made of it is twice that."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(6, 4, 3, 1, 1)
        self.norm = nn.BatchNorm2d(4)
        self.activation = nn.LeakyReLU()

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        y = super().forward(torch.cat((x, other), dim=1))
        return torch.cat((y, y), dim=1)


class Staged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.stage(x, 2 * x)
        return y


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.einsum("oi,nizx->nozx", weight.flatten(1), x) + bias.view(-1, 1, 1)


@pytest.mark.parametrize("name", ["adapter", "adaptformer", "conv_adapter"])
def test_a_sequence_with_its_own_forward_method_keeps_it(name: str) -> None:
    """The adapter is its last layer, the branch stands beside them all; whatever comes of that."""
    torch.manual_seed(0)
    network = Staged().eval()
    adapted = adapt(name, network)
    assert adapted.model.state_dict().keys() > network.state_dict().keys()
    assert torch.equal(predict(adapted.model, maps()), predict(network, maps()))
    shake(adapted)
    p = {".".join(n.rsplit(".", 2)[1:]): v for n, v in trainable(adapted).items()}
    x = maps()
    with torch.no_grad():
        y = predict(network, x)[:, :4]
        given = torch.cat((x, 2 * x), dim=1) if name == "adaptformer" else y
        if name == "conv_adapter":  # 4 channels at compression 8 share one inner channel
            inner = functional.conv2d(y, p["depthwise.weight"], p["depthwise.bias"], padding=1)
            change = pointwise(inner.relu(), p["pointwise.weight"], p["pointwise.bias"])
        else:
            inner = pointwise(given, p["down.weight"], p["down.bias"]).relu()
            change = pointwise(inner, p["up.weight"], p["up.bias"])
        change = 0.1 * change if name == "adaptformer" else change
    expected = torch.cat((y + change, y + change), dim=1)
    torch.testing.assert_close(predict(adapted.model, x), expected)


def maps() -> Tensor:
    return torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(5))


def test_blocks_of_convnext_mix_by_a_bare_convolution_on_maps() -> None:
    """timm's: a depthwise convolution on maps, then norm and MLP on (n, z, x, channels)."""
    block = ConvNeXtBlock(WIDTH, ls_init_value=1.0).eval()
    x = torch.randn(2, WIDTH, 5, 6)
    assert count(adapt("adapter", block, width=4)) == 2 * bottleneck(WIDTH, 4)
    assert count(adapt("adaptformer", block, width=4)) == bottleneck(WIDTH, 4)
    assert count(adapt("conv_adapter", block)) == 9 * WIDTH + 1 + WIDTH + WIDTH
    for name in ("adapter", "adaptformer", "conv_adapter"):
        adapted = adapt(name, block)
        assert torch.equal(predict(adapted.model, x), predict(block, x))
        shake(adapted)
        assert not torch.allclose(predict(adapted.model, x), predict(block, x), atol=1e-3)
        pickle.loads(pickle.dumps(adapted.model))


def test_a_decoder_of_torch_has_adapters_behind_both_attentions() -> None:
    layer = nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True)
    places = {n.partition(".adapter")[0] for n in trainable(adapt("adapter", layer))}
    assert places == {"self_attn", "multihead_attn", "linear2"}


@pytest.mark.parametrize("name", ["colora", "spectral_adapter"])
def test_methods_on_convolutions_are_refused_where_these_are_the_readout_only(name: str) -> None:
    patches, head = nn.Linear(WIDTH, WIDTH), nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU())
    network = nn.Sequential(patches, *(Block(WIDTH, HEADS) for _ in range(2)), head)
    with pytest.raises(ConfigError, match=f"'{name}' finds nothing to adapt in this"):
        adapt(name, network)
    adapt(name, network, layers="3.0")


class OnlyAHead(nn.Module):
    """A transformer without convolutional blocks but for the one that refines its output."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(5, WIDTH, 4, 4)
        self.blocks = nn.Sequential(*(Block(WIDTH, HEADS) for _ in range(DEPTH)))
        self.refine = nn.Sequential(nn.Conv2d(WIDTH, 1, 3, 1, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.blocks(self.patches(x).flatten(2).transpose(1, 2))
        y: Tensor = self.refine(tokens.transpose(1, 2).unflatten(2, (2, 2)))
        return y


def unknown_encoder() -> nn.Module:
    """Linear layers that are no block that a method knows, and a convolution behind them."""
    linear = [nn.Linear(WIDTH, WIDTH // 2) for _ in range(3)]
    return nn.ModuleDict(
        {"encoder": nn.ModuleList(linear), "head": nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1))}
    )


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("conv_adapter", OnlyAHead),
        ("adapter", unknown_encoder),
        ("adaptformer", unknown_encoder),
        ("conv_adapter", unknown_encoder),
    ],
)
def test_a_method_that_would_leave_the_encoder_untouched_is_refused(
    name: str, build: Callable[[], nn.Module]
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"'{name}' finds nothing to adapt in this")):
        adapt(name, build())


@pytest.mark.parametrize("name", ["adapter", "adaptformer"])
def test_a_head_of_convolutions_is_adapted_beside_the_blocks(name: str) -> None:
    places = {n.partition(".")[0] for n in trainable(adapt(name, OnlyAHead()))}
    assert places == {"blocks", "refine"}
