"""The frugal pass on the layers of transformers and MetaFormers: numbers of torch, fewer bytes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from frugal_networks import assert_same, step
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import LayerNorm2d
from timm.models.metaformer import Attention as MetaFormerAttention
from timm.models.metaformer import LayerNormNoBias, SepConv, StarReLU
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

from bench.models.frugal import frugal
from bench.training.saved_for_backward import saved_bytes_per_sample

WIDTH = 6

# --- random networks ------------------------------------------------------------------------------

TOKENS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "linear without bias": lambda: nn.Linear(WIDTH, WIDTH, bias=False),
    "norm": lambda: nn.LayerNorm(WIDTH),
    "plain norm": lambda: nn.LayerNorm(WIDTH, elementwise_affine=False),
    "wide norm": lambda: nn.LayerNorm((5, WIDTH)),
    "norm without bias": lambda: LayerNormNoBias(WIDTH),
    "gelu": nn.GELU,
    "tanh gelu": lambda: nn.GELU(approximate="tanh"),
    "star": lambda: StarReLU(scale_value=0.9, bias_value=-0.4),
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "dropout": lambda: nn.Dropout(0.3),
    "attention": lambda: Attention(WIDTH, 2, qkv_bias=True),
    "attention with normalised queries": lambda: Attention(
        WIDTH, 2, qk_norm=True, norm_layer=nn.LayerNorm
    ),
    "attention with dropout": lambda: Attention(WIDTH, 2, attn_drop=0.3),
    "attention of a metaformer": lambda: MetaFormerAttention(WIDTH, head_dim=2),
    "block": lambda: Block(WIDTH, 2, qkv_bias=True, norm_layer=nn.LayerNorm, init_values=0.5),
}
IMAGES: dict[str, Callable[[], nn.Module]] = {
    "pointwise": lambda: nn.Conv2d(WIDTH, WIDTH, 1),
    "depthwise": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH, bias=False),
    "wide depthwise": lambda: nn.Conv2d(WIDTH, WIDTH, (5, 3), padding=(4, 2), groups=WIDTH),
    "norm": lambda: LayerNorm2d(WIDTH),
    "batchnorm": lambda: nn.BatchNorm2d(WIDTH),
    "gelu": nn.GELU,
    "star": lambda: StarReLU(scale_value=0.9, bias_value=-0.4),
    "leaky": lambda: nn.LeakyReLU(0.2),
    "up": lambda: nn.Upsample(scale_factor=(1.5, 2), mode="bilinear"),
    "thin": lambda: nn.AvgPool2d(2, ceil_mode=True),
    "separable": lambda: SepConv(WIDTH),
}


@st.composite
def stacks(draw: st.DrawFn, parts: dict[str, Callable[[], nn.Module]]) -> nn.Module:
    """Up to six layers one after the other, any of their tensors trained."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    names = draw(st.lists(st.sampled_from(sorted(parts)), min_size=1, max_size=6))
    model = nn.Sequential(*(parts[name]() for name in names)).double()
    trained = draw(st.sampled_from([(True,), (False,), (False, True), (False, False, True)]))
    for p in model.parameters():
        if p.dim() == 1:
            nn.init.uniform_(p, -1.5, 1.5)
        p.requires_grad_(draw(st.sampled_from(trained)))
    if any(p.requires_grad for p in model.parameters()):
        # A shift before a norm has a gradient of zero, up to rounding; this one sets the scale.
        last = nn.Linear(WIDTH, 2) if parts is TOKENS else nn.Conv2d(WIDTH, 2, 1)
        model.append(last.double())
    return model


@settings(max_examples=150)
@given(stacks(TOKENS), st.booleans())
def test_random_stacks_on_tokens(model: nn.Module, input_is_trained: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, WIDTH, dtype=torch.float64, requires_grad=input_is_trained)
    assert_same(model, x, tolerance=1e-9, times=2)


@settings(max_examples=100)
@given(stacks(IMAGES), st.booleans(), st.booleans())
def test_random_stacks_on_images(
    model: nn.Module, input_is_trained: bool, channels_last: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, WIDTH, 6, 5, dtype=torch.float64)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    assert_same(model, x.requires_grad_(input_is_trained), tolerance=1e-9, times=2)


# --- unusual uses ---------------------------------------------------------------------------------


class Views(nn.Module):
    """Looks at a layer's output through views, one of which it may overwrite."""

    def __init__(self, *, overwrites: bool) -> None:
        super().__init__()
        self.norm, self.act = nn.LayerNorm(6), nn.GELU()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(4, 3)
        self.overwrites = overwrites

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        if self.overwrites:
            x[..., 3:].mul_(2)
        left, right = x.split(3, dim=-1)
        crossed: Tensor = self.left(self.act(left)).transpose(1, 2) @ right
        return self.right(x[:, 1:, 1:5]).sum(1, keepdim=True) + crossed


@pytest.mark.parametrize("overwrites", [False, True])
@pytest.mark.parametrize("frozen", ["norm", "left", "nothing"])
def test_views_of_an_output(overwrites: bool, frozen: str) -> None:
    torch.manual_seed(0)
    model = Views(overwrites=overwrites).double()
    for name, p in model.named_parameters():
        p.requires_grad_(not name.startswith(frozen))
    x = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    assert_same(model, x, tolerance=1e-9, times=2)


class OwnAttention(nn.Module):
    """An attention of one's own, with options that torch's kernels take."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(6), nn.Linear(6, 18).requires_grad_(False)
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        y: Tensor = nn.functional.scaled_dot_product_attention(q, k, v, **self.options)
        return y


def saved(model: nn.Module, x: Tensor, *, frugally: bool) -> float:
    def forward(samples: int) -> Tensor:
        y: Tensor = model(x[:1].repeat(samples, *[1] * (x.dim() - 1)))
        return y

    resident = [*model.parameters(), *model.buffers()]
    if not frugally:
        return saved_bytes_per_sample(forward, resident=resident)
    with frugal(model):
        return saved_bytes_per_sample(forward, resident=resident)


def test_a_frozen_projection_is_attended_to_for_the_bytes_of_its_input() -> None:
    """x̂ and 1/σ of the norm, in place of x, y, mean, 1/σ, q, k, v, the output and log-sums."""
    torch.manual_seed(0)
    tokens, width = 5, 6
    x = torch.randn(3, tokens, width, dtype=torch.float64, requires_grad=True)
    model = OwnAttention(is_causal=True, scale=0.7).double()
    assert_same(model, x, tolerance=1e-9)
    assert saved(model, x, frugally=True) == 8 * tokens * (width + 1)


@pytest.mark.parametrize(
    "options", [{"dropout_p": 0.3}, {"attn_mask": torch.eye(5, dtype=torch.bool)}]
)
def test_dropout_and_masks_are_those_of_the_forward_pass(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    assert_same(OwnAttention(**options).double(), x, tolerance=1e-9)


def test_attention_of_torch_is_left_to_torch() -> None:
    torch.manual_seed(0)

    class Self(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(6)
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x)
            y: Tensor = self.attention(x, x, x, need_weights=False)[0]
            return y

    model = Self().double()
    x = torch.randn(3, 5, 6, dtype=torch.float64)
    assert_same(model, x, tolerance=1e-9)
    with torch.no_grad():
        expected = model.eval()(x)
        with frugal(model):
            assert torch.equal(model(x), expected)


@pytest.mark.parametrize(
    ("model", "numbers"),
    [
        # x̂ and 1/σ: the norm's output, which the linear layer needs, is computed from x̂
        (nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6)), 5 * 6 + 5),
        # the function's input, which the first layer's output is; its output is computed
        (nn.Sequential(nn.Linear(6, 24), nn.GELU(), nn.Linear(24, 6)), 5 * (6 + 24)),
        (nn.Sequential(nn.Linear(6, 24), StarReLU(), nn.Linear(24, 6)), 5 * (6 + 24)),
    ],
)
def test_trained_layers_keep_one_number_where_torch_keeps_more(
    model: nn.Module, numbers: int
) -> None:
    x = torch.randn(1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert saved(model.double(), x, frugally=True) == 8 * numbers
    assert saved(model, x, frugally=False) > 8 * numbers


def test_frozen_layers_behind_a_norm_keep_nothing_of_their_own() -> None:
    """An MLP costs what its norm does, x̂ and 1/σ, whatever its width; upsampling costs nothing."""
    mlp = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 24), nn.GELU(), nn.Linear(24, 6)).double()
    mlp.requires_grad_(False)
    x = torch.randn(1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert saved(mlp, x, frugally=True) == 8 * 5 * (6 + 1)
    up = nn.Sequential(
        nn.Conv2d(6, 6, 7, padding=3, groups=6), nn.Upsample(scale_factor=2, mode="bilinear")
    )
    image = torch.randn(1, 6, 5, 4, requires_grad=True)
    up.requires_grad_(False)
    assert saved(up, image, frugally=True) == 0


def test_layers_of_timm_that_do_something_else_run_as_they_are() -> None:
    torch.manual_seed(0)
    norm, star = LayerNorm2d(6), StarReLU(inplace=True)
    norm._fast_norm = True  # under autocast it normalises in half precision
    model = nn.Sequential(nn.BatchNorm2d(6), norm, star)
    x = torch.randn(2, 6, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        stock, ours = (step(model, x, frugally=frugally)[0] for frugally in (False, True))
    assert torch.equal(stock, ours)
    seen: list[int] = []
    star.relu.register_forward_hook(lambda m, i, o: seen.append(1))
    with frugal(model):
        model(x)
    assert seen == [1]


class Overwriting(nn.Module):
    """A linear layer whose output the next layer overwrites, as stock torch allows."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.relu, self.up = nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(self.relu(self.down(x)))
        return x + y


def test_the_output_of_a_linear_layer_may_be_overwritten() -> None:
    torch.manual_seed(0)
    model = Overwriting().double()
    assert_same(model, torch.randn(3, 5, 6, dtype=torch.float64), tolerance=1e-12)
    model.down.requires_grad_(False)
    with frugal(model):
        model(torch.randn(3, 5, 6, dtype=torch.float64)).sum().backward()


def test_no_trace_is_left() -> None:
    model = nn.Sequential(Block(6, 2), StarReLU(), nn.LayerNorm(6), nn.GELU())
    before = {name: set(vars(m)) for name, m in model.named_modules()}
    with frugal(model):
        model(torch.randn(2, 5, 6)).sum().backward()
    assert {name: set(vars(m)) for name, m in model.named_modules()} == before


def test_calls_by_keyword_and_of_other_shapes_are_those_of_torch() -> None:
    torch.manual_seed(0)
    norm, gelu, x = nn.LayerNorm(6), nn.GELU(), torch.randn(6, requires_grad=True)
    expected = gelu(norm(x))
    with frugal(norm), frugal(gelu):
        assert torch.equal(gelu(input=norm(input=x)), expected)
        assert torch.equal(gelu(norm(x)), expected)
        with pytest.raises(RuntimeError, match="normalized_shape"):
            norm(torch.randn(2, 5))
