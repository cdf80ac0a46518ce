"""Run a model's standard layers as memory-frugal blocks, within a context."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.models.frugal import attention, batchnorm, layernorm, pointwise
from bench.models.frugal.attention import FrugalAttentions
from bench.models.frugal.block import BlockCall, FrugalBlock, evaluate
from bench.models.frugal.convolution import Convolution, weight_is_trained
from bench.models.frugal.kernels import Kernels, is_constant
from bench.models.frugal.layernorm import FrugalLayerNorm, LayerNorm
from bench.models.frugal.layers import (
    Layer,
    is_plain,
    is_plain_sequence,
    leading_block,
    recognise,
    weight_and_bias,
)
from bench.models.frugal.pointwise import FrugalPointwise, Pointwise
from bench.models.frugal.recipe import Recipe, Recipes


@contextmanager
def frugal(model: nn.Module, *, fold: bool | None = None) -> Iterator[None]:
    """Context in which `model` saves as little as it can for its backward passes.

    Convolutions (depthwise ones too) and linear layers, BatchNorm, LayerNorm, (leaky) ReLU, Tanh,
    Sigmoid, GELU and timm's StarReLU are taken over, and scaled-dot-product attention inside
    modules whose class is called an attention. Convolution, BatchNorm and activation do best where
    they follow each other in an `nn.Sequential`. Bilinear upsampling needs no taking over: torch
    keeps nothing but sizes for it. Subclasses with a forward of their own, modules
    whose `forward` has been replaced and all other modules run as they are; layers with hooks do
    not join a block. What is trained, and which BatchNorm layers use batch statistics, is read
    off `requires_grad` and `training` at every call. Names, parameters, buffers, parametrizations
    and hooks stay as they are; leaving the context restores the model exactly.

    `fold` says whether BatchNorm in evaluation mode becomes part of the convolution before it,
    where possible and worth it. That is faster and rounds differently: over many layers enough to
    turn the sign of an activation here and there. By default it is done in half precision, where
    rounding is as coarse anyway; in single precision the forward pass is the stock one bit for bit
    on the CPU.

    Gradients of gradients are not available inside. Frozen tensors may change in place, but not
    through `.data`, which autograd does not see: a copy of a frozen weight in the computing type
    is kept for as long as the weight stays the same.
    """
    router = _Router(model, fold=fold)
    try:
        router.install()
        yield
    finally:
        router.remove()


class _Router:
    """Sends the calls of a model's modules to frugal blocks, or to the modules' own forward."""

    def __init__(self, model: nn.Module, *, fold: bool | None) -> None:
        self._fold = fold
        layers = [layer for m in model.modules() if (layer := recognise(m)) is not None]
        self._layers = {layer.module: layer for layer in layers}
        self._sequences = [m for m in model.modules() if is_plain_sequence(m)]
        self._alone = {m: forward for m in model.modules() if (forward := self._forward(m))}
        self._kernels = Kernels()
        self._recipes = Recipes()
        # Layers mostly run in the order in which they are registered. Where they do not, a block
        # keeps its output instead of its signs, or both: some bytes more, nothing else.
        self._next_convolution: dict[nn.Module, nn.Module] = {}
        following: nn.Module | None = None
        for layer in reversed(layers):
            if following is not None:
                self._next_convolution[layer.module] = following
            if layer.convolution is not None:
                following = layer.module

    def install(self) -> None:
        for module in self._sequences:
            vars(module)["forward"] = partial(self._sequence, module)
        for module, layer in self._layers.items():
            if not layer.works_in_place:
                vars(module)["forward"] = partial(self._single, layer, module.forward)
        for module, forward in self._alone.items():
            vars(module)["forward"] = forward

    def remove(self) -> None:
        for module in (*self._sequences, *self._layers, *self._alone):
            vars(module).pop("forward", None)

    def _forward(self, module: nn.Module) -> Callable[..., Any] | None:
        """The frugal forward of a module that is in no block; None for anything else."""
        if "forward" in vars(module):
            return None
        if (norm := layernorm.recognise(module)) is not None:
            return partial(self._lone, partial(self._layernorm, norm, module), module.forward)
        if (function := pointwise.recognise(module)) is not None:
            return partial(self._lone, partial(self._pointwise, function), module.forward)
        if attention.recognise(module):
            return partial(self._attention, module.forward)
        return None

    def _lone(
        self,
        ours: Callable[[Tensor], Tensor | None],
        stock: Callable[..., Any],
        *inputs: Any,
        **options: Any,
    ) -> Any:
        if len(inputs) == 1 and not options and is_plain(inputs[0]):
            y = ours(inputs[0])
            if y is not None:
                return y
        return stock(*inputs, **options)

    def _layernorm(self, norm: LayerNorm, module: nn.Module, x: Tensor) -> Tensor | None:
        """The layer's output; None where torch's own pass does as well."""
        gamma, beta = weight_and_bias(module)
        if not norm.admits(x.shape) or not _graph(x, gamma, beta):
            return None
        sink: list[Recipe] = []
        if not norm.of_images:
            return self._noted(FrugalLayerNorm.apply(norm, sink, x, gamma, beta), sink)
        y = FrugalLayerNorm.apply(norm, sink, x.permute(0, 2, 3, 1), gamma, beta)
        return self._noted(y, sink).permute(0, 3, 1, 2)

    def _pointwise(self, function: Pointwise, x: Tensor) -> Tensor | None:
        """The function's output; None where torch's own pass does as well."""
        parameters = function.parameters()
        if not _graph(x, *parameters):
            return None
        sink: list[Recipe] = []
        source = self._recipes.find(x)
        return self._noted(FrugalPointwise.apply(function, source, sink, x, *parameters), sink)

    def _attention(self, stock: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return stock(*inputs, **options)
        with FrugalAttentions(self._recipes):
            return stock(*inputs, **options)

    def _single(self, layer: Layer, stock: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        if len(inputs) == 1 and not options and layer.admits(inputs[0]):
            return self._run([layer], inputs[0])
        return stock(*inputs, **options)

    def _sequence(self, sequence: nn.Module, x: Any) -> Any:
        modules = list(sequence.children())
        while modules:
            block = leading_block(modules, self._layers)
            if len(block) > 1 and block[0].admits(x):
                x, modules = self._run(block, x), modules[len(block) :]
            else:
                x, modules = modules[0](x), modules[1:]
        return x

    def _run(self, layers: list[Layer], x: Tensor) -> Tensor:
        conv = norm = act = None
        weight: Tensor | None = None
        bias: Tensor | None = None
        gamma: Tensor | None = None
        beta: Tensor | None = None
        for layer in layers:
            if layer.convolution is not None:
                conv = layer.convolution
                weight, bias = weight_and_bias(layer.module)
            elif layer.batchnorm is not None:
                norm = layer.batchnorm
                gamma, beta = weight_and_bias(layer.module)
            else:
                act = layer.activation
        graph = _graph(x, weight, bias, gamma, beta)
        normalisation = batchnorm.count(norm) if norm is not None else None
        kernel: Tensor | None = None
        dtype: torch.dtype | None = None
        folded = False
        if conv is not None:
            assert weight is not None
            if torch.is_autocast_enabled(x.device.type):
                dtype = torch.get_autocast_dtype(x.device.type)
            folded = normalisation is not None and not normalisation.of_batch
            # A trained scale needs what is normalised by itself.
            folded = folded and not (graph and gamma is not None and gamma.requires_grad)
            if folded:
                assert isinstance(conv, Convolution)
                folded = self._folding_pays(conv, weight, dtype, x)
            kernel = self._kernels.get(
                layers[0].module,
                conv,
                weight,
                normalisation if folded else None,
                gamma,
                weight.dtype if dtype is None else dtype,
            )
        following = self._next_convolution.get(layers[-1].module)
        block = BlockCall(
            convolution=conv,
            normalisation=normalisation,
            activation=act,
            dtype=dtype,
            folded=folded,
            output_is_kept=graph and following is not None and weight_is_trained(following),
        )
        if not graph:
            with torch.no_grad():
                return evaluate(block, x, kernel, bias, gamma, beta).y
        sink: list[Recipe] = []
        y: Tensor = FrugalBlock.apply(
            block,
            self._recipes.find(x),
            sink,
            x,
            weight,
            kernel,
            bias,
            gamma,
            beta,
        )
        return self._noted(y, sink)

    def _noted(self, y: Tensor, sink: list[Recipe]) -> Tensor:
        for recipe in sink:
            self._recipes.add(y, recipe)
        return y

    def _folding_pays(
        self, conv: Convolution, weight: Tensor, dtype: torch.dtype | None, x: Tensor
    ) -> bool:
        """A weight that changes is folded at every step, which costs about what an output twice
        as large costs to scale; a frozen one is folded once.
        """
        half = (x.dtype if dtype is None else dtype).itemsize < 4
        if not (half if self._fold is None else self._fold):
            return False
        return is_constant(weight) or conv.output_numel(x.shape, weight) > 2 * weight.numel()


def _graph(*tensors: Tensor | None) -> bool:
    """Whether what is computed from the tensors has a backward pass."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
