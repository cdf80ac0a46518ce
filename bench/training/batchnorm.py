"""BatchNorm statistics, recomputed after training for the final weights.

Running statistics lag behind the weights that gave them, the more the fewer steps there were. After
the last epoch those of every layer that may move are therefore reset and become the cumulative
average over the fit's own training subset (`torch.optim.swa_utils.update_bn`; Wu and Johnson 2021,
*Rethinking "Batch" in BatchNorm*, arXiv:2105.07576). Never over test data.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.training.numerics import Numerics


def recompute(
    model: nn.Module,
    layers: Sequence[_BatchNorm],
    batches: Iterable[tuple[Tensor, Tensor]],
    numerics: Numerics,
) -> int:
    """Set the running statistics of `layers` to the mean over batches of their batch statistics.

    Forward passes in the precision in which the network is scored (float32; on a GPU its products
    in TF32), with these layers in training mode and all others in evaluation mode. `batches` are
    pairs of scaled records (b, 5, 1000, 70) and maps. Returns the number of samples.
    """
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch's word for the cumulative average
        layer.train()
    samples = 0
    try:
        with numerics.frugal_pass(model), torch.no_grad():
            for x, _ in batches:
                model(x.float())
                samples += len(x)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()
    return samples
