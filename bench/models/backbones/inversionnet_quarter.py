"""InversionNet with a quarter of its channels: the same form at about a sixteenth of the cost."""

from functools import partial

from bench.contract import Backbone
from bench.models.backbones.inversionnet import InversionNet, own_name

backbone = Backbone(
    name="inversionnet_quarter",
    summary="InversionNet with a quarter of its channels, for laptops; 1.5 M parameters.",
    source="After Wu & Lin 2019, InversionNet, doi:10.1109/TCI.2019.2956866",
    build=partial(InversionNet, narrower=4),
    own_name=own_name,
)
