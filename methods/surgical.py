"""Surgical fine-tuning: one contiguous part of the network, all its parameters.

Lee et al. 2022, Surgical Fine-Tuning Improves Adaptation to Distribution Shifts,
arXiv:2210.11466: which part is best tells what kind of shift it is; the first for shifts of the
input, the middle for features, the last for the output. The datasets here share the acquisition
and differ in geology, so the last third is the default (on InversionNet `deconv2_2` to `deconv6`,
1,473,891 parameters). `part` takes ``first``, ``middle``, ``last``, a block's name, or the first
and last name of a range: ``convblock8:deconv2_2``.

The part is trained as in full fine-tuning, weight decay included. Policy ``both``: BatchNorm is in
training mode where its scale and shift are trained, that is, in the part, and frozen elsewhere.
"""

from torch import nn

from bench.contract import Adapted, Config, ConfigError, Method, ParameterGroup, Traits
from methods._surgery import PROTOCOL_WEIGHT_DECAY, parameters_of, parts, unknown

_THIRDS = ("first", "middle", "last")


class SurgicalConfig(Config):
    """The part of the network to train."""

    part: str = "last"
    """``first``, ``middle`` or ``last`` third, a block's name, or ``NAME:NAME``."""


def chosen(blocks: dict[str, nn.Module], part: str) -> list[nn.Module]:
    """The blocks of a part. Raises `ConfigError` for an unknown name or a range backwards."""
    names = list(blocks)
    if part in _THIRDS:
        third = _THIRDS.index(part)
        bounds = [round(len(names) * i / 3) for i in range(4)]
        start, stop = bounds[third], bounds[third + 1]
    else:
        first, _, last = part.partition(":")
        for name in (first, last or first):
            if name not in blocks:
                raise ConfigError(unknown("part", name, [*_THIRDS, *names]))
        start, stop = names.index(first), names.index(last or first) + 1
    if start >= stop:
        raise ConfigError(f"Part '{part}' of 'surgical' is empty; name the earlier block first.")
    return [blocks[name] for name in names[start:stop]]


def adapt(model: nn.Module, config: SurgicalConfig) -> Adapted:
    """Train every parameter of the chosen part."""
    group = ParameterGroup(
        name="part",
        parameters=parameters_of(chosen(parts(model), config.part)),
        weight_decay=PROTOCOL_WEIGHT_DECAY,
    )
    return Adapted(model=model, groups=(group,), merge=lambda: model)


method = Method(
    name="surgical",
    summary="Full fine-tuning of one contiguous part.",
    source="Lee et al. 2022, Surgical Fine-Tuning, arXiv:2210.11466",
    traits=Traits(category="selective", batchnorm="both", mergeable=True),
    config=SurgicalConfig,
    adapt=adapt,
)
