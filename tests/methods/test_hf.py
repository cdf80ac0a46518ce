"""The bridge to the PEFT library: its tuners keep the contract, and agree with our own methods."""

import copy
import sys
from typing import Any

import matrix
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bench import conformance
from bench.conformance import toy_networks
from bench.conformance.case import predict
from bench.contract import Adapted, Traits
from bench.errors import ConfigError, MethodError
from bench.models import backbones
from bench.plugins import adaptation, batchnorm, parameter_counts, registry
from methods import hf

ON_CONVOLUTIONS = {
    "boft": {"targets": "convblock5_2,deconv3_2"},
    "dora": {},
    "hira": {"r": 4},
    "hra": {"targets": "convblock5_2,deconv3_2"},
    "ia3": {},
    "loha": {},
    "lokr": {},
    "lora": {},
    "rslora": {"r": 4, "alpha": 2.0},
}
"""Tuners that take convolutions, with what suits a narrow network."""
ON_LINEAR_LAYERS = {
    "beft": {},
    "c3a": {"options": {"block_size": 4}},
    "deft": {"r": 4},
    "delora": {"r": 4},
    "dora": {},
    "fourierft": {"options": {"n_frequency": 50}},
    "gralora": {"r": 4},
    "lora": {},
    "miss": {"r": 4},
    "oft": {"options": {"oft_block_size": 4}},
    "olora": {},
    "osf": {},
    "peanut": {"r": 4},
    "pissa": {"r": 4, "alpha": 4.0},
    "psoft": {"r": 4},
    "randlora": {"r": 4},
    "road": {"options": {"group_size": 4}},
    "shira": {"r": 4},
    "supertuning": {},
    "waveft": {"options": {"n_frequency": 50}},
}


def adapt(name: str, model: nn.Module, **options: Any) -> Adapted:
    method = registry.load().get(name).method
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return adaptation.adapt(method, copy.deepcopy(model), method.config(**options))


def trained(adapted: Adapted) -> list[nn.Parameter]:
    return [parameter for group in adapted.groups for parameter in group.parameters]


def shake(adapted: Adapted, size: float = 0.05) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trained(adapted):
            parameter += size * torch.randn(parameter.shape, generator=generator)


@pytest.fixture(scope="module")
def convolutional() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return toy_networks.convolutional()


@pytest.fixture(scope="module")
def transformer() -> nn.Module:
    """Blocks of torch, which have a fused way past the modules in them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return toy_networks.transformer()


@pytest.fixture(scope="module")
def records() -> Tensor:
    return torch.randn(2, 5, 1000, 70, generator=torch.Generator().manual_seed(1))


def test_a_tuner_with_dropout_is_taken() -> None:
    """Its dropout rests while it is tried: in training, merged and unmerged outputs differ."""
    config = hf.HfConfig(tuner="lora", options={"lora_dropout": 0.5})
    for layer in (nn.Linear(6, 4), nn.Conv2d(3, 4, 3)):
        assert hf.try_on(layer, config).refusal is None


# --- conformance ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("tuner", matrix.part(sorted(ON_CONVOLUTIONS), "lora"))
def test_a_tuner_conforms_on_convolutions(tuner: str, convolutional: nn.Module) -> None:
    config = hf.HfConfig(tuner=tuner, **ON_CONVOLUTIONS[tuner])
    conformance.check_method(hf.method, config, network=convolutional)


@pytest.mark.slow
@pytest.mark.parametrize("tuner", matrix.part(sorted(ON_LINEAR_LAYERS), "pissa"))
def test_a_tuner_conforms_on_a_transformer(tuner: str, transformer: nn.Module) -> None:
    config = hf.HfConfig(tuner=tuner, **ON_LINEAR_LAYERS[tuner])
    conformance.check_method(hf.method, config, network=transformer)


# --- equality with our own methods ----------------------------------------------------------------


def same_factors(ours: Adapted, theirs: Adapted) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Copy our factors into the library's layers; returns the pairs of parameters."""
    pairs = []
    for name, module in ours.model.named_modules():
        if not hasattr(module, "parametrizations"):
            continue
        made, wrapper = module.parametrizations.weight[0], theirs.model.get_submodule(name)
        low_rank = getattr(made, "update", made)
        pairs.append((low_rank.A, wrapper.lora_A["default"].weight))
        pairs.append((low_rank.B, wrapper.lora_B["default"].weight))
        if made is not low_rank:
            pairs.append((made.magnitude, wrapper.lora_magnitude_vector["default"].weight))
    with torch.no_grad():
        for mine, other in pairs:
            other.copy_(mine.view_as(other))
    return pairs


@pytest.mark.parametrize("backbone", ["hybrid_vit", "inversionnet_quarter"])
@pytest.mark.parametrize("tuner", ["lora", "dora"])
def test_it_equals_our_own_method(tuner: str, backbone: str, records: Tensor) -> None:
    """Predictions, gradients and merged weights, on every layer that the library takes.

    In double precision: in single, rounding gives some activation another sign on some processors.
    """
    network = conformance.network_of(backbones.get(backbone).backbone)
    theirs = adapt("hf", network, tuner=tuner, r=4, alpha=6.0)
    wrapped = [n for n, m in theirs.model.named_modules() if hasattr(m, "base_layer")]
    ours = adapt(tuner, network, rank=4, alpha=6.0, layers=",".join(wrapped))
    shake(ours)
    for adapted in (ours, theirs):
        adapted.model.double()
    network, records = network.double(), records.double()
    pairs = same_factors(ours, theirs)
    assert len(pairs) == len(wrapped) * (3 if tuner == "dora" else 2)
    assert len(wrapped) == (31 if backbone == "hybrid_vit" else 20)
    predictions = [adapted.model.eval()(records) for adapted in (ours, theirs)]
    assert (predictions[0] - predict(network, records)).abs().max() > 1e-3
    torch.testing.assert_close(predictions[1], predictions[0], atol=1e-5, rtol=0)
    for prediction in predictions:
        prediction.square().mean().backward()
    for mine, other in pairs:
        assert mine.grad is not None and other.grad is not None
        apart = (other.grad.view_as(mine) - mine.grad).abs().max()
        assert apart <= 1e-5 * max(1.0, float(mine.grad.abs().max()))
    merged = [adapted.merge() for adapted in (ours, theirs) if adapted.merge is not None]
    for name, value in merged[0].state_dict().items():
        torch.testing.assert_close(merged[1].state_dict()[name], value, atol=1e-5, rtol=0)


# --- what it does with a network ------------------------------------------------------------------


def sequence(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*layers)


def test_pissa_leaves_the_foundation_alone_and_splits_a_copy_of_its_weight() -> None:
    network = sequence(nn.Linear(8, 6), nn.Linear(6, 8))
    before = network[0].weight.detach().clone()
    config = hf.HfConfig(tuner="pissa", r=2, alpha=2.0)
    plain = network[0].weight
    adapted = adaptation.adapt(hf.method, network, config)
    assert torch.equal(plain, before)
    wrapper = adapted.model.get_submodule("0")
    a, b = (f["default"].weight.detach() for f in (wrapper.lora_A, wrapper.lora_B))
    u, s, v = torch.linalg.svd(before)
    torch.testing.assert_close(b @ a, u[:, :2] @ torch.diag(s[:2]) @ v[:2], atol=1e-5, rtol=0)
    torch.testing.assert_close(wrapper.base_layer.weight + b @ a, before, atol=1e-6, rtol=0)


def test_targets_are_exact_names() -> None:
    """`1` is no pattern for the end of `0.1`."""
    network = sequence(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 4))
    adapted = adapt("hf", network, r=2, targets="1")
    assert [n for n, m in adapted.model.named_modules() if hasattr(m, "base_layer")] == ["1"]


def test_options_reach_the_library() -> None:
    network = sequence(nn.Linear(8, 8), nn.Linear(8, 8))
    oft = adapt("hf", network, tuner="oft", r=4).model.get_submodule("0")
    assert oft.r["default"] == 4
    assert oft.oft_block_size["default"] == 2
    stabilised = adapt("hf", network, r=4, alpha=6.0, options={"use_rslora": True})
    assert stabilised.model.get_submodule("0").scaling["default"] == 3.0


def test_counts_on_inversionnet() -> None:
    """20 convolutions, rank 8 · (inputs · kernel + outputs); IA³ one number for each output."""
    layers = [m for m in backbones.build("inversionnet").modules() if isinstance(m, nn.Conv2d)]
    expected = sum(8 * (m.weight[0].numel() + m.out_channels) for m in layers)
    outputs = sum(m.out_channels for m in layers)
    for options, count in (({}, expected), ({"tuner": "ia3"}, outputs)):
        config = hf.HfConfig(**options)
        assert parameter_counts.count(hf.method, config, "inversionnet").trainable == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tuner": "lota"}, r"Unknown tuner 'lota'\. Did you mean 'lora'\? Known: .*lora"),
        ({"tuner": "adalora"}, "'adalora' of 'hf' cannot be used: it changes ranks"),
        ({"tuner": "prompt_tuning"}, "'prompt_tuning' of 'hf' has no option target_modules"),
        ({"tuner": "ia3", "r": 4}, "'ia3' of 'hf' has no option r"),
        ({"tuner": "ia3", "alpha": 4}, "'ia3' of 'hf' has no option alpha"),
        ({"options": {"rank": 4}}, "'lora' of 'hf' has no option rank"),
        ({"options": {"modules_to_save": ["deconv6"]}}, "option modules_to_save cannot be set"),
        (
            {"options": {"target_modules": ["deconv6"]}},
            "option target_modules cannot be set: name layers by --set",
        ),
        (
            {"options": {"r": "abc"}},
            "Option r of 'hf' cannot be 'abc': input should be a valid int",
        ),
        ({"tuner": "vera"}, "does not take the layer 'convblock1.layers.0'.*shared state"),
        ({"tuner": "pissa"}, "does not take the layer 'convblock1.layers.0'.*pissa"),
        ({"tuner": "oft"}, "does not take the layer 'convblock1.layers.0'.*square kernels only"),
        ({"targets": "deconv1_1*"}, "does not take the layer 'deconv1_1.layers.0'.*not supported"),
        ({"targets": "deconw1_1*"}, "Unknown layer 'deconw1_1"),
        ({"tuner": "ln_tuning"}, "no layer of the kinds LayerNorm"),
        (
            {"tuner": "hra", "max_fan_in": 143, "targets": "convblock5_2*"},
            "Tuner 'hra' .* layer 'convblock5_2.layers.0'.*fan-in is 144.*max_fan_in, .*allows 143",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    options: dict[str, Any], message: str, convolutional: nn.Module
) -> None:
    with pytest.raises(ConfigError, match=message):
        adapt("hf", convolutional, **options)


@pytest.mark.parametrize(
    ("layer", "tuner"),
    [
        *(
            (nn.Linear(24, 16), tuner)
            for tuner in ["lora", "dora", "pissa", "ia3", "loha", "lokr", "oft", "boft", "hra"]
        ),
        *((nn.Conv2d(8, 8, 3), tuner) for tuner in ["lora", "dora", "ia3", "loha", "lokr"]),
    ],
)
def test_merged_the_output_is_the_same_but_for_rounding(layer: nn.Module, tuner: str) -> None:
    """Sums of at most 72 products in float32: a few times its resolution, 1.2e-7."""
    x = torch.randn(4, 24) if isinstance(layer, nn.Linear) else torch.randn(2, 8, 9, 7)
    adapted = adapt("hf", sequence(layer), tuner=tuner)
    start = predict(adapted.model, x)
    shake(adapted, 0.01)
    before = predict(adapted.model, x)
    assert (before - start).abs().max() > 1e-3
    assert adapted.merge is not None
    merged = adapted.merge()
    assert [type(module) for module in merged] == [type(layer)]
    torch.testing.assert_close(predict(merged, x), before, atol=1e-6, rtol=1e-6)


def test_words_that_the_library_takes_without_declaring_them_are_taken() -> None:
    options = {"init_lora_weights": "pissa_niter_4"}
    config = hf.tuner_config(hf.HfConfig(tuner="lora", options=options), ["0"])
    assert config.init_lora_weights == "pissa_niter_4"


def test_a_layer_that_does_not_merge_is_refused() -> None:
    """OFT on a convolution of PEFT 0.21 is no identity at the start, and does not merge."""
    trial = hf.try_on(nn.Conv2d(16, 16, 3), hf.HfConfig(tuner="oft"))
    assert trial.refusal == "merged, it gives another output."


@pytest.mark.parametrize("tuner", ["boft", "hra"])
def test_tuners_whose_time_grows_with_the_cube_of_the_fan_in_leave_wide_layers(tuner: str) -> None:
    """By default above 1152, inputs × kernel of a 3 × 3 convolution of 128 channels."""

    def refusal(layer: nn.Module, **options: Any) -> str | None:
        return hf.try_on(layer, hf.HfConfig(tuner=tuner, **options)).refusal

    wide = nn.Conv2d(129, 2, 3)
    assert "fan-in is 1161" in (told := refusal(wide) or "") and "allows 1152" in told
    with pytest.raises(ConfigError, match=rf"'{tuner}' .* layer '1' .*fan-in is 1161.*max_fan_in"):
        adapt("hf", sequence(nn.Linear(8, 8), wide), tuner=tuner, targets="1")
    narrow = nn.Conv2d(4, 2, 3)
    assert refusal(narrow, max_fan_in=36) is None
    assert "fan-in is 36" in (refusal(narrow, max_fan_in=35) or "")


def test_other_tuners_have_no_bound_on_the_fan_in_unless_one_is_set() -> None:
    network = sequence(nn.Linear(1153, 2), nn.Linear(2, 2))
    assert list(hf.choose(network, hf.HfConfig())) == ["0", "1"]
    with pytest.raises(ConfigError, match="no layer of this network's encoder"):
        hf.choose(network, hf.HfConfig(max_fan_in=1152))


def test_a_config_without_a_bound_is_the_one_from_before_the_option() -> None:
    assert "max_fan_in" not in hf.HfConfig(tuner="hra").model_dump()
    assert hf.HfConfig(max_fan_in=576).model_dump()["max_fan_in"] == 576


def test_a_tuner_that_leaves_the_encoder_untouched_is_refused() -> None:
    network = sequence(*(nn.Conv2d(3, 3, 1) for _ in range(3)), nn.Linear(4, 4))
    with pytest.raises(ConfigError, match="takes no layer of this network's encoder"):
        adapt("hf", network, tuner="pissa", r=2)
    adapt("hf", network, tuner="pissa", r=2, targets="3")


def test_without_the_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, convolutional: nn.Module
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"needs .* pip install 'fwi-peft-bench\[peft\]'"):
        adapt("hf", convolutional)


def test_an_identity_at_the_start_is_promised_for_each_tuner() -> None:
    def promised(**options: Any) -> bool:
        return batchnorm.effective(hf.method, hf.HfConfig(**options)).traits.identity_at_start

    assert promised(tuner="lora") and promised(tuner="oft")
    assert not promised(tuner="pissa") and not promised(tuner="a_new_one")
    assert not promised(tuner="lora", options={"init_lora_weights": "gaussian"})


class Breaking(hf.HfConfig):
    def promises(self, traits: Traits) -> Traits:
        raise RuntimeError("no promises")


def test_promises_that_fail_are_the_plugins_failure() -> None:
    with pytest.raises(MethodError, match=r"'hf' failed in its config's promises: .*no promises"):
        batchnorm.effective(hf.method, Breaking())


@pytest.mark.parametrize("options", [{"r": 0}, {"alpha": -1}, {"rank": 4}])
def test_options_that_are_no_options(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        hf.HfConfig(**options)
