"""Networks as fits start from them: fresh or the foundation, then adapted by the method."""

from torch import nn

from bench.models import backbones
from bench.plugins import adaptation
from bench.plugins.adaptation import Checked
from bench.protocol.spec import FitSpec
from bench.runner.context import RunContext
from bench.seeds import derive, seed_everything
from bench.training.scoring_prefix import ScoringPrefix


def unadapted(spec: FitSpec, context: RunContext) -> tuple[nn.Module, str | None]:
    """The network that a fit adapts, on the CPU, and its foundation's hash; None from scratch.

    Initial weights (``--weights``) are where pretraining starts; a method that starts from scratch
    gets random ones all the same.
    """
    if context.installed(spec).method.traits.start == "foundation":
        foundation = context.foundation(spec.seed)
        return backbones.restore(spec.backbone.name, foundation.state), foundation.sha256
    seed_everything(derive(spec.seed, "network"))
    if spec.kind == "pretraining":
        return context.network(), None
    return backbones.build(spec.backbone.name), None


def adapted(spec: FitSpec, context: RunContext) -> tuple[Checked, str | None]:
    """The adapted network of a fit before training, on the device, and its foundation's hash.

    Adapting runs on the CPU, so that a seed gives the same start on every device. The hash is None
    for a start from scratch.
    """
    method = context.installed(spec).method
    model, sha256 = unadapted(spec, context)
    seed_everything(derive(spec.seed, "adapt"))
    checked = adaptation.adapt(method, model, method.config(**spec.method.config))
    context.numerics.place(checked.model)
    return checked, sha256


def scoring_prefix(model: nn.Module, spec: FitSpec, context: RunContext) -> ScoringPrefix | None:
    """What lets a fit's trained network be scored from activations that another of the same
    foundation has had; None for what does not start from one, and on a GPU, which promises no bits
    and whose memory training needs."""
    if spec.kind != "adaptation" or not context.numerics.frugal:
        return None
    if context.numerics.device.type != "cpu":
        return None
    if context.installed(spec).method.traits.start != "foundation":
        return None
    foundation = context.foundation(spec.seed)
    shared = context.test_activations.of(foundation.sha256, lambda: unadapted(spec, context)[0])
    return ScoringPrefix(model, shared)
