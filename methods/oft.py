"""OFT: the inputs of every layer turned by a trained block-diagonal rotation.

Qiu et al. 2023, Controlling Text-to-Image Diffusion by Orthogonal Finetuning, arXiv:2306.07280:
W ↦ W R with orthogonal R, so the angles between the rows of W, the neurons, stay as they are. R is
block-diagonal, and each block is a Cayley transform (I + Q)(I − Q)⁻¹ of a trained skew-symmetric Q
that starts at zero. Blocks of 32 as in PEFT libraries; where 32 does not divide the number of
columns, the largest divisor below it. columns · (block − 1) / 2 parameters a layer; 1,045,177 on
InversionNet.

On (transposed) convolutions the columns are the input channels times the kernel, in this order
(PEFT rotates unfolded patches, which is the same matrix). The Cayley transform is exact; PEFT's
default is a series of five terms. W + W (R − I) starts as the foundation bit for bit. BatchNorm is
frozen.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.contract import Adapted, ConfigError, Method, Traits
from methods._projections import weights
from methods._weights import Geometry, LayersConfig, WeightUpdate, largest_divisor, update_weights


class OFTConfig(LayersConfig):
    """The size of the rotations."""

    block: int = Field(default=32, ge=2)
    """Columns that one rotation turns, at most."""


class Rotation(WeightUpdate):
    """W ↦ W R, R block-diagonal and orthogonal; as W + W (R − I)."""

    def __init__(self, layer: nn.Module, block: int) -> None:
        super().__init__(layer)
        self.block = block
        pairs = torch.triu_indices(block, block, 1, device=layer.get_parameter("weight").device)
        self.register_buffer("pairs", pairs)
        count = self.geometry.columns // block
        self.angles = nn.Parameter(layer.get_parameter("weight").new_zeros(count, pairs.shape[1]))
        """The upper triangle of each Q, row by row."""

    def change(self, matrix: Tensor) -> Tensor:
        rows, columns = self.get_buffer("pairs")
        q = self.angles.new_zeros(len(self.angles), self.block, self.block)
        q[:, rows, columns] = self.angles
        q = q - q.transpose(1, 2)
        identity = torch.eye(self.block, dtype=q.dtype, device=q.device)
        # R − I = 2 Q (I − Q)⁻¹; I − Q is never singular
        turn, _ = torch.linalg.solve_ex(identity - q, 2 * q)
        blocks = matrix.unflatten(1, (len(self.angles), self.block))
        return torch.einsum("onb,nbc->onc", blocks, turn).flatten(1)


def block_size(layer: nn.Module, config: OFTConfig) -> int:
    """Columns of a layer's matrix that are turned together."""
    return largest_divisor(Geometry.of(layer).columns, config.block)


def adapt(model: nn.Module, config: OFTConfig) -> Adapted:
    """Put a rotation on the weight of every chosen layer whose columns can be turned in blocks."""
    found = weights(model, config.layers)
    chosen = {n: w for n, w in found.items() if block_size(w.stand_in(), config) > 1}
    if not chosen:
        raise ConfigError(f"No layer's columns can be split into blocks of 2 to {config.block}.")
    if config.layers and (left := next((name for name in found if name not in chosen), None)):
        raise ConfigError(
            f"The columns of layer '{left}' cannot be split into blocks of 2 to {config.block}."
        )
    return update_weights(
        model, chosen.values(), lambda layer: Rotation(layer, block_size(layer, config)), "oft"
    )


method = Method(
    name="oft",
    summary="A trained block-diagonal rotation of every layer's inputs.",
    source="Qiu et al. 2023, OFT, arXiv:2306.07280",
    traits=Traits(category="additive", batchnorm="frozen", mergeable=True),
    config=OFTConfig,
    grid={"block": (4, 8, 16, 32, 64)},
    adapt=adapt,
    version=2,
)
