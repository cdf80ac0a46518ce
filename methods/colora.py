"""CoLoRA: a trained separable convolution as the update of each convolution.

Rivera & Hoyos 2025, CoLoRA: Parameter-Efficient Fine-Tuning for Convolutional Models,
arXiv:2505.18315: beside the frozen convolution a pointwise (1 × 1, in → out) and then a depthwise
one with the layer's kernel. Together they are one kernel, P[out, in] · D[out, kernel], added to
the weight. P starts as Glorot uniform, D at zero; there is neither a rank nor a scale.
out · (in + kernel) parameters a layer; 1,297,289 on InversionNet.

The authors fold the update into the weight after each epoch and start it anew (they call it
optional in their code); here it is folded once, at the end, as in the other methods. Layers
without a spatial kernel, linear and 1 × 1, are left alone: there P alone would be the whole
weight. Transposed convolutions are treated alike: out · in and the kernel of each output channel.
BatchNorm is frozen.
"""

from torch import Tensor, nn

from bench.contract import Adapted, Method, Traits
from methods._surgery import check_encoder
from methods._weights import LayersConfig, WeightUpdate, spatial_convolutions, update_weights


class SeparableUpdate(WeightUpdate):
    """W ↦ W + P[out, in] · D[out, kernel]."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer)
        rows, inputs = self.geometry.outputs, self.geometry.inputs
        weight = layer.get_parameter("weight")
        self.pointwise = nn.Parameter(nn.init.xavier_uniform_(weight.new_empty(rows, inputs)))
        self.depthwise = nn.Parameter(weight.new_zeros(rows, self.geometry.columns // inputs))

    def change(self, matrix: Tensor) -> Tensor:
        return (self.pointwise[:, :, None] * self.depthwise[:, None, :]).flatten(1)


def adapt(model: nn.Module, config: LayersConfig) -> Adapted:
    """Put a separable update on the weight of every chosen convolution."""
    layers = spatial_convolutions(model, config.layers)
    adapted = update_weights(model, layers.values(), SeparableUpdate, "colora")
    if not config.layers:
        updates = [module for module in model.modules() if isinstance(module, SeparableUpdate)]
        check_encoder("colora", model, updates)
    return adapted


method = Method(
    name="colora",
    summary="A separable convolution, pointwise and depthwise, as the update of each convolution.",
    source="Rivera & Hoyos 2025, CoLoRA, arXiv:2505.18315",
    traits=Traits(
        category="additive",
        batchnorm="frozen",
        mergeable=True,
        needs=frozenset({"Conv2d|ConvTranspose2d"}),
    ),
    config=LayersConfig,
    adapt=adapt,
)
