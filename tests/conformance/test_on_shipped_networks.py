"""Methods of every kind pass the suite on the networks that ship, not on toy ones alone.

`bench check all --backbone NAME` does the same for all of them, in up to an hour.
"""

import matrix
import pytest

from bench import conformance
from bench.models import backbones
from bench.plugins import registry

TRANSFORMERS = {
    "adapter": {},
    "attention": {},
    "fft": {},
    "layernorm": {},
    "lora": {},
    "none": {},
    "prompt_tokens": {},
    "prompt_tokens, shallow": {"deep": False},
}
CASES = [
    *(("inversionnet_quarter", name) for name in matrix.METHODS if name != "prompt_tokens"),
    *((backbone, name) for backbone in ("hybrid_vit", "caformer_unet") for name in TRANSFORMERS),
]


@pytest.mark.parametrize(
    "case",
    matrix.part(CASES),
    ids=lambda case: ", ".join(case),
)
def test_method_conforms_on(case: tuple[str, str]) -> None:
    backbone, name = case
    method = registry.load().get(name.partition(",")[0]).method
    config = method.config(**TRANSFORMERS.get(name, {}))
    network = conformance.network_of(backbones.get(backbone).backbone)
    conformance.check_method(method, config, network=network)
