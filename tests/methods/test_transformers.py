"""Methods on transformers: merging under the network's own names, scales behind norms, prompts."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformer_networks import (
    WIDTH,
    adapt,
    image,
    metaformer,
    sequence,
    shake,
    torch_blocks,
    trainable,
    vit,
)

from bench.conformance.case import predict
from bench.plugins import registry


@pytest.mark.parametrize("name", ["lora", "dora", "ssf"])
@pytest.mark.parametrize("build", [vit, metaformer, torch_blocks])
def test_weight_space_methods_merge_under_the_networks_own_names(
    name: str, build: Callable[[], nn.Module]
) -> None:
    network = build()
    x = sequence() if build is torch_blocks else image()
    adapted = adapt(name, network, **({} if name == "ssf" else {"rank": 2}))
    shake(adapted)
    before = predict(adapted.model, x)
    assert adapted.merge is not None
    merged = adapted.merge()
    assert merged.state_dict().keys() == network.state_dict().keys()
    network.load_state_dict(merged.state_dict())
    torch.testing.assert_close(predict(network, x), before)
    assert not torch.allclose(before, predict(build(), x), atol=1e-3)


def test_ssf_scales_and_shifts_behind_a_norm() -> None:
    norm = nn.LayerNorm(WIDTH)
    torch.nn.init.normal_(norm.bias)
    adapted = adapt("ssf", nn.Sequential(norm, nn.Linear(WIDTH, 3)))
    shake(adapted)
    x, pair = sequence(), adapted.model[0].parametrizations.bias[0]
    expected = pair.scale * norm(x) + pair.shift
    torch.testing.assert_close(predict(adapted.model[0], x), expected.detach())


def test_ssf_only_scales_behind_a_norm_without_a_bias() -> None:
    norm = nn.LayerNorm(WIDTH, bias=False)
    adapted = adapt("ssf", nn.Sequential(norm, nn.Linear(WIDTH, 3)))
    shake(adapted)
    x, scale = sequence(), adapted.model[0].parametrizations.weight[0].scale
    assert scale.shape == (WIDTH,)
    torch.testing.assert_close(predict(adapted.model[0], x), (scale * norm(x)).detach())


def test_shallow_prompts_are_another_config_and_deep_ones_the_one_from_before_the_option() -> None:
    method = registry.load().get("prompt_tokens").method
    assert "deep" not in method.config().model_dump()
    assert method.config(deep=False).model_dump()["deep"] is False


def test_prompt_tokens_go_through_all_blocks_when_they_are_shallow() -> None:
    network = torch_blocks()
    adapted = adapt("prompt_tokens", network, tokens=3, deep=False)
    (tokens,) = trainable(adapted).values()
    x = torch.cat((tokens.detach().expand(2, 3, WIDTH), sequence()), dim=1)
    torch.testing.assert_close(predict(adapted.model, sequence()), predict(network, x)[:, 3:])
