"""(IA)³: a trained factor for each activation that enters a layer.

Liu et al. 2022, Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context
Learning, arXiv:2205.05638, section 3.3: learnt vectors, ones at the start, rescale the keys and
values of attention and the inner activations of each MLP. They are folded into the weights.

Elsewhere the paper has nothing to say. Chosen here: the input channels of every (transposed)
convolution and linear layer are rescaled, of which the MLP's second layer is the paper's l_ff;
only a fused projection to queries, keys and values (timm's `qkv`, `in_proj` of torch's attention)
is scaled at its output instead, keys and values alone, as in the paper; `layers` can name one of
the two. `in` parameters a layer, 2 / 3 · out for a fused projection; 4,325 on InversionNet.
BatchNorm is frozen.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench.contract import Adapted, ConfigError, Method, ParameterGroup, Traits
from methods._low_rank import full_precision
from methods._projections import weights
from methods._surgery import Weight
from methods._weights import LayersConfig


class InputScale(nn.Module):
    """W ↦ W diag(scale), a factor for each input channel."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        weight = layer.get_parameter("weight")
        self.transposed = isinstance(layer, nn.ConvTranspose2d)
        self.groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        inputs = weight.shape[0] if self.transposed else weight.shape[1] * self.groups
        self.scale = nn.Parameter(weight.new_ones(inputs))

    def forward(self, weight: Tensor) -> Tensor:
        with full_precision(weight):
            if self.transposed:  # (in, out / groups, *kernel): a row for each input channel
                return weight * self.scale.view(-1, *[1] * (weight.ndim - 1))
            # (out, in / groups, *kernel): the output channels of a group are consecutive
            grouped = weight.unflatten(0, (self.groups, -1))
            scale = self.scale.view(self.groups, 1, -1, *[1] * (weight.ndim - 2))
            scaled: Tensor = grouped * scale
            return scaled.flatten(0, 1)


class KeyValueScale(nn.Module):
    """Rows of keys and values ↦ rows · scale, for the weight or the bias of a fused projection.

    `part` is 1 for keys alone, 2 for values alone, None for both.
    """

    def __init__(self, weight: Tensor, part: int | None) -> None:
        super().__init__()
        third = len(weight) // 3
        self.first = third if part is None else part * third
        self.scale = nn.Parameter(weight.new_ones(2 * third if part is None else third))

    def forward(self, rows: Tensor) -> Tensor:
        with full_precision(rows):
            before = self.scale.new_ones(self.first)
            behind = self.scale.new_ones(len(rows) - self.first - len(self.scale))
            factors = torch.cat((before, self.scale, behind))
            return rows * factors.view(-1, *[1] * (rows.ndim - 1))


class SameScale(nn.Module):
    """The bias scaled as the weight is."""

    def __init__(self, rows: KeyValueScale) -> None:
        super().__init__()
        self._rows = (rows,)  # in a tuple: its parameters are saved once, with the weight

    def forward(self, bias: Tensor) -> Tensor:
        scaled: Tensor = self._rows[0](bias)
        return scaled


def scale_of(weight: Weight, name: str) -> InputScale | KeyValueScale:
    """The factors for a weight; raises `ConfigError` for queries."""
    if not weight.fused:
        return InputScale(weight.stand_in())
    if weight.part == 0:
        raise ConfigError(
            f"Method 'ia3' scales keys and values, not the queries '{name}'; name other layers."
        )
    return KeyValueScale(weight.layer.get_parameter(weight.tensor), weight.part)


def adapt(model: nn.Module, config: LayersConfig) -> Adapted:
    """Fold a scale of its inputs, or of keys and values, into every chosen layer."""
    chosen = weights(model, config.layers)
    folded: list[tuple[nn.Module, str, nn.Module]] = []
    scales = []
    for name, weight in chosen.items():
        factors = scale_of(weight, name)
        scales.append(factors.scale)
        folded.append((weight.layer, weight.tensor, factors))
        if isinstance(factors, KeyValueScale) and weight.bias is not None:
            folded.append((weight.layer, weight.bias_name, SameScale(factors)))
    for layer, tensor, module in folded:
        parametrize.register_parametrization(layer, tensor, module, unsafe=True)

    def merge() -> nn.Module:
        for layer, tensor in dict.fromkeys((layer, tensor) for layer, tensor, _ in folded):
            parametrize.remove_parametrizations(layer, tensor, leave_parametrized=True)
        return model

    group = ParameterGroup(name="ia3", parameters=tuple(scales))
    return Adapted(model=model, groups=(group,), merge=merge)


method = Method(
    name="ia3",
    summary="A factor for each activation that enters a layer, and for keys and values.",
    source="Liu et al. 2022, (IA)³, arXiv:2205.05638",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=LayersConfig,
    adapt=adapt,
    version=2,
)
