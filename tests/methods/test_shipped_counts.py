"""Trained parameters of every method on the transformers that ship, from their layers by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt

import matrix
import pytest
import torch
from torch import nn
from transformer_networks import adapt, bottleneck, count

from bench.errors import MethodError
from bench.models import backbones
from bench.plugins import registry


@dataclass(frozen=True)
class Layer:
    """A convolution or, without a kernel, a linear layer; `inputs` are those of one group."""

    inputs: int
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = True
    fused: bool = False
    """Whether it makes queries, keys and values at once."""

    @property
    def area(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def columns(self) -> int:
        return self.inputs * self.area

    @property
    def weights(self) -> int:
        return self.outputs * self.columns

    @property
    def biases(self) -> int:
        return self.outputs if self.bias else 0


SQUARE = (3, 3)


def vit_block(width: int) -> list[Layer]:
    return [
        Layer(width, 3 * width, fused=True),
        Layer(width, width),
        Layer(width, 4 * width),
        Layer(4 * width, width),
    ]


def metaformer_block(width: int, attends: bool) -> list[Layer]:
    """Without biases: attention or a separable convolution of twice the width; then the MLP."""
    mixer = (
        [Layer(width, 3 * width, bias=False, fused=True), Layer(width, width, bias=False)]
        if attends
        else [
            Layer(width, 2 * width, bias=False),
            Layer(1, 2 * width, (7, 7), groups=2 * width, bias=False),
            Layer(2 * width, width, bias=False),
        ]
    )
    return [*mixer, Layer(width, 4 * width, bias=False), Layer(4 * width, width, bias=False)]


REFINE = [Layer(32, 32, SQUARE), Layer(32, 1, SQUARE)]
HYBRID_VIT = [
    Layer(5, 32, (15, 1)),
    Layer(32, 64, SQUARE),
    Layer(64, 64, SQUARE),
    Layer(64, 192, (5, 7)),  # patches
    *vit_block(192) * 6,
    Layer(192, 32 * 7 * 7),
    *REFINE,
]

STAGES = ((3, 64, False), (3, 128, False), (9, 320, True), (3, 512, True))
DECODER = [
    Layer(512 + 320, 320, SQUARE),
    Layer(320 + 128, 128, SQUARE),
    Layer(128 + 64, 64, SQUARE),
    Layer(64 + 32, 32, SQUARE),
]
CAFORMER_UNET = [
    Layer(5, 32, (15, 1)),
    Layer(32, 32, SQUARE),
    Layer(32, 64, (7, 7)),
    Layer(64, 128, SQUARE),
    Layer(128, 320, SQUARE),
    Layer(320, 512, SQUARE),
    *(
        layer
        for depth, width, attends in STAGES
        for layer in metaformer_block(width, attends) * depth
    ),
    *DECODER,
    Layer(32, 1, SQUARE),
]

HYBRID_NORMS = 13 * 192
# two to each block; behind the stem, and before the downsampling to each of the later stages
CAFORMER_NORMS = 2 * sum(depth * width for depth, width, _ in STAGES) + 64 + 64 + 128 + 320
# each a scale and a bias: one in a separable convolution, one in every MLP
STAR_RELUS = (3 + 3) + (3 + 3 + 9 + 3)
# two to each block with attention
RESIDUAL_SCALES = 2 * (9 * 320 + 3 * 512)
POSITIONS = 100 * 192


def largest_divisor(number: int, at_most: int) -> int:
    return next(d for d in range(min(at_most, number), 0, -1) if number % d == 0)


def near_root(number: int) -> tuple[int, int]:
    """Two factors, the smaller first and as large as it can be."""
    small = largest_divisor(number, isqrt(number))
    return small, number // small


def lora(layer: Layer, rank: int = 16) -> int:
    return rank * (layer.columns + layer.outputs)


def miss(layer: Layer) -> int:
    return min(64, layer.columns) * layer.outputs


def pissa(layer: Layer) -> int:
    return lora(layer, min(16, layer.columns, layer.outputs))


def fourierft(layer: Layer) -> int:
    return min(1000, layer.weights)


def lora_c(layer: Layer) -> int:
    height, width = layer.kernel
    return 4 * min(height, width) * (layer.outputs * height + layer.inputs * width)


def lokr(layer: Layer) -> int:
    (p, k), (m, n) = near_root(layer.outputs), near_root(layer.inputs)
    full, factors = k * n * layer.area, 16 * (k + n * layer.area)
    return p * m + (factors if max(k, n) / 2 > 16 else full)


def oft(layer: Layer) -> int:
    return layer.columns * (largest_divisor(layer.columns, 32) - 1) // 2


def ia3(layer: Layer) -> int:
    return layer.outputs * 2 // 3 if layer.fused else layer.inputs * layer.groups


def filter_atoms(layer: Layer) -> int:
    area = layer.area
    if area == 1:
        area = largest_divisor(layer.outputs, 4) * largest_divisor(layer.inputs, 4)
    return min(9, area) * area


def colora(layer: Layer) -> int:
    return layer.outputs * (layer.inputs + layer.area) if layer.area > 1 else 0


def spectral_adapter(layer: Layer) -> int:
    return 2 * 26 * layer.outputs + 26 + layer.outputs if layer.area > 1 else 0


PER_LAYER: dict[str, Callable[[Layer], int]] = {
    "bias": lambda layer: layer.biases,
    "colora": colora,
    "dora": lambda layer: lora(layer) + layer.outputs,
    "filter_atoms": filter_atoms,
    "fourierft": fourierft,
    # LoRA of rank 8, on no convolution in groups
    "hf": lambda layer: lora(layer, 8) if layer.groups == 1 else 0,
    "ia3": ia3,
    "loha": lambda layer: 2 * lora(layer, 8),
    "lokr": lokr,
    "lora": lora,
    "lora_c": lora_c,
    "lora_fa": lambda layer: 16 * layer.outputs,
    "lora_plus": lora,
    "miss": miss,
    "oft": oft,
    "pissa": pissa,
    "rslora": lora,
    "shira": lambda layer: round(0.02 * layer.weights),
    "spectral_adapter": spectral_adapter,
    "vera": lambda layer: 256 + layer.outputs,
}

EVERYTHING = ("baseline", "fft", "l2sp", "lp_ft", "wise")
PROMPT = 5 * (1000 * 70 - (1000 - 2 * 129) * (70 - 2 * 9))


def all_of(layers: Sequence[Layer]) -> int:
    return sum(layer.weights + layer.biases for layer in layers)


def outputs(layers: Sequence[Layer]) -> int:
    return sum(layer.outputs for layer in layers)


HYBRID_VIT_COUNTS = {
    **{name: sum(map(law, HYBRID_VIT)) for name, law in PER_LAYER.items()},
    **dict.fromkeys(EVERYTHING, all_of(HYBRID_VIT) + 2 * HYBRID_NORMS + POSITIONS),
    # two in each block; behind the stem (64) and the refining sequence (1)
    "adapter": 12 * bottleneck(192, 16) + bottleneck(64, 16) + bottleneck(1, 16),
    # beside the MLPs; beside the refining sequence, 32 → 1
    "adaptformer": 6 * bottleneck(192, 64) + 33 * 64 + 64 + 1,
    "attention": 6 * all_of(vit_block(192)[:2]),
    "bitfit": sum(layer.biases for layer in HYBRID_VIT) + HYBRID_NORMS,
    # behind stem and refining sequence
    "conv_adapter": 9 * 64 + 8 + 8 * 64 + 64 + (9 + 1) + (1 + 1),
    "head": all_of(REFINE),
    "layernorm": 2 * HYBRID_NORMS,
    "none": 0,
    "prompt": PROMPT,
    "prompt_tokens": 6 * 10 * 192,
    "ssf": 2 * outputs(HYBRID_VIT) + 2 * HYBRID_NORMS,
    # the last block and what follows it
    "surgical": all_of([*vit_block(192), Layer(192, 1568), *REFINE]) + (2 + 1) * 2 * 192,
}

CAFORMER_UNET_COUNTS = {
    **{name: sum(map(law, CAFORMER_UNET)) for name, law in PER_LAYER.items()},
    **dict.fromkeys(
        EVERYTHING,
        all_of(CAFORMER_UNET) + CAFORMER_NORMS + 2 * STAR_RELUS + RESIDUAL_SCALES,
    ),
    # two in each block; behind the stem's sequence and the decoder's convolutions
    "adapter": sum(2 * depth * bottleneck(width, 16) for depth, width, _ in STAGES)
    + bottleneck(32, 16)
    + sum(bottleneck(layer.outputs, 16) for layer in DECODER),
    # beside the MLPs and the decoder's convolutions
    "adaptformer": sum(depth * bottleneck(width, 64) for depth, width, _ in STAGES)
    + sum(64 * (up.inputs + up.outputs) + 64 + up.outputs for up in DECODER),
    "attention": 9 * 4 * 320**2 + 3 * 4 * 512**2,
    "bitfit": sum(layer.biases for layer in CAFORMER_UNET) + STAR_RELUS,
    # behind separable convolutions, the stem and the decoder's convolutions
    "conv_adapter": sum(
        n * (9 * c + c // 8 + c * c // 8 + c)
        for n, c in ((3, 64), (3, 128), (1, 32), *((1, up.outputs) for up in DECODER))
    ),
    "head": all_of([Layer(32, 1, SQUARE)]),
    "layernorm": CAFORMER_NORMS,
    "none": 0,
    "prompt": PROMPT,
    "prompt_tokens": 10 * (9 * 320 + 3 * 512),
    # a shift where the layer has a bias to take it
    "ssf": outputs(CAFORMER_UNET) + sum(x.biases for x in CAFORMER_UNET) + CAFORMER_NORMS,
    "surgical": all_of([DECODER[-1], Layer(32, 1, SQUARE)]),
}

FOURIER_DEEPONET_COUNTS = {
    # behind 24 blocks of the U-Nets (32), not behind the readout
    "conv_adapter": 24 * (9 * 32 + 4 + 4 * 32 + 32),
    # behind branch, four spectral convolutions and nine layers of each U-Net
    "spectral_adapter": (1 + 4 + 3 * 9) * (2 * 26 * 32 + 26 + 32),
}

COUNTS = {
    "hybrid_vit": HYBRID_VIT_COUNTS,
    "caformer_unet": CAFORMER_UNET_COUNTS,
    "fourier_deeponet": FOURIER_DEEPONET_COUNTS,
}


def build(backbone: str, *, device: str = "meta") -> nn.Module:
    """Without storage, unless on another device."""
    with torch.device(device):
        return backbones.build(backbone)


@pytest.mark.parametrize(
    ("backbone", "name"),
    matrix.rows(
        [(b, n) for b in COUNTS for n in sorted(COUNTS[b])],
        *(("hybrid_vit", name) for name in HYBRID_VIT_COUNTS if name != "hf"),
        *(("caformer_unet", name) for name in ("fft", "layernorm", "lora", "prompt_tokens")),
    ),
)
def test_counts_on_the_networks_that_ship(name: str, backbone: str) -> None:
    # The PEFT library's tuners look at the values of weights
    network = build(backbone, device="cpu" if name == "hf" else "meta")
    assert count(adapt(name, network)) == COUNTS[backbone][name]


@pytest.mark.parametrize("backbone", ["hybrid_vit", "caformer_unet"])
def test_the_tables_cover_every_method_but_those_that_need_batchnorm(backbone: str) -> None:
    own = {n for n, i in registry.load().methods.items() if i.distribution == registry.HARNESS}
    others = own - COUNTS[backbone].keys()
    assert others == {"batchnorm", "batchnorm_stats"}
    for name in others:
        with pytest.raises(MethodError, match="BatchNorm"):
            adapt(name, build(backbone))


QUERIES_AND_VALUES = [
    ("hybrid_vit", 6 * 2 * 16 * (192 + 192)),
    ("caformer_unet", 2 * 16 * (9 * (320 + 320) + 3 * (512 + 512))),
]


@pytest.mark.parametrize(("backbone", "expected"), QUERIES_AND_VALUES)
def test_lora_on_queries_and_values(backbone: str, expected: int) -> None:
    assert count(adapt("lora", build(backbone), layers="*.q,*.v")) == expected
