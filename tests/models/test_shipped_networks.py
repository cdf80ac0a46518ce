"""`hybrid_vit` and `caformer_unet`: sizes, geometry, origin, and that they learn."""

import subprocess
import sys
from itertools import pairwise

import matrix
import pytest
import torch
from shallow import shallow
from torch import Tensor, nn

from bench import conformance
from bench.data import generate, layout
from bench.models import backbones
from bench.plugins import adaptation, registry
from bench.protocol.spec import Data
from bench.seismic.scaling import scale_maps, scale_records
from bench.seismic.simulation import simulate

pytestmark = pytest.mark.slow

NAMES = ("hybrid_vit", "caformer_unet")


@pytest.fixture(scope="module", params=NAMES)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return backbones.build(request.param).eval()


@pytest.fixture(scope="module")
def samples() -> tuple[Tensor, Tensor]:
    """Four scaled samples of FlatVel_A, simulated."""
    pair = layout.files("FlatVel_A", "train", Data(source="generated", train=4, test=1))[0]
    maps = torch.from_numpy(generate.velocity_maps("FlatVel_A", pair, seed=0, first=0))
    maps = maps.reshape(-1, 70, 70)
    return scale_records(simulate(maps)), scale_maps(maps[:, None])


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def convolution(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel + outputs


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def test_hybrid_vit_has_the_parameters_of_a_hand_count() -> None:
    w = 192
    stem = convolution(5, 32, 15) + convolution(32, 64, 9) + convolution(64, 64, 9)
    block = 2 * 2 * w + linear(w, 3 * w) + linear(w, w) + linear(w, 4 * w) + linear(4 * w, w)
    tokens = convolution(64, w, 5 * 7) + 100 * w
    head = 2 * w + linear(w, 32 * 49) + convolution(32, 32, 9) + convolution(32, 1, 9)
    assert stem + tokens + 6 * block + head == 3_489_057
    assert count(backbones.build("hybrid_vit")) == 3_489_057


def test_caformer_unet_has_the_parameters_of_a_hand_count() -> None:
    """The encoder after Table 1 of Yu et al. 2022, the rest as the issue of the network says."""
    widths, depths = (64, 128, 320, 512), (3, 3, 9, 3)
    mixers = (
        lambda w: 2 * (w * 2 * w) + 2 * w * 49 + 2,  # separable convolution, StarReLU's s and b
        lambda w: w * 3 * w + w * w,  # attention without biases
    )
    encoder = convolution(32, 64, 49) + 64
    for stage, (w, depth) in enumerate(zip(widths, depths, strict=True)):
        scales = 2 * w if stage > 1 else 0
        encoder += depth * (mixers[stage // 2](w) + 2 * (w * 4 * w) + 2 + 2 * w + scales)
    encoder += sum(w + convolution(w, v, 9) for w, v in pairwise(widths))
    stem = convolution(5, 32, 15) + convolution(32, 32, 9)
    up = sum(convolution(w + v, v, 9) for v, w in pairwise((32, *widths)))
    network = backbones.build("caformer_unet")
    assert count(network.get_submodule("encoder")) == encoder
    assert count(network) == stem + encoder + up + convolution(32, 1, 9) == 26_390_865


def test_its_encoder_is_timms_without_the_classifier() -> None:
    import timm

    whole = timm.create_model("caformer_s18", pretrained=False, in_chans=32)
    ours = backbones.build("caformer_unet").get_submodule("encoder")
    assert count(ours) == count(whole) - count(whole.head)


def test_geometry(network: nn.Module) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    stages = ("stem", "patches", "blocks", "shuffle", "encoder.stages_0", "encoder.stages_3")
    for name, module in network.named_modules():
        if name in stages:
            module.register_forward_hook(
                lambda m, i, o, name=name: shapes.update({name: tuple(o.shape[1:])})
            )
    with torch.no_grad():
        out = network(torch.randn(2, 5, 1000, 70))
    expected = {
        "HybridViT": {
            "stem": (64, 50, 70),
            "patches": (192, 10, 10),
            "blocks": (100, 192),
            "shuffle": (32, 70, 70),
        },
        "CAFormerUNet": {
            "stem": (32, 72, 70),
            "encoder.stages_0": (64, 18, 18),
            "encoder.stages_3": (512, 3, 3),
        },
    }
    assert shapes == expected[type(network).__name__]
    assert out.shape == (2, 1, 70, 70)
    assert out.abs().max() <= 1


def test_tokens_land_where_their_patches_lie() -> None:
    """A token of the last block makes the 7 × 7 cells at its own place of the map."""
    network = backbones.build("hybrid_vit").eval()
    cells = network.get_submodule("shuffle")
    with torch.no_grad():
        seen: list[Tensor] = []
        cells.register_forward_hook(lambda m, i, o: seen.append(o))
        x = torch.zeros(1, 5, 1000, 70)
        for bump in (0.0, 1.0):
            handle = network.get_submodule("expand").register_forward_hook(
                lambda m, i, o, bump=bump: o.index_add(
                    1, torch.tensor([23]), torch.full((1, 1, o.shape[2]), bump)
                )
            )
            network(x)
            handle.remove()
    moved = (seen[1] - seen[0]).abs().amax(dim=(0, 1)) > 0.5
    expected = torch.zeros(70, 70, dtype=torch.bool)
    expected[14:21, 21:28] = True  # token 23 of 10 × 10: row 2, column 3
    assert torch.equal(moved, expected)


def test_no_layer_moves_without_training(network: nn.Module) -> None:
    """Neither BatchNorm nor another buffer: what the state holds are parameters."""
    assert not list(network.buffers())
    assert not [m for m in network.modules() if isinstance(m, nn.Dropout) and m.p > 0]


def test_it_builds_without_weights(network: nn.Module) -> None:
    """On the meta device, as counts and loading do."""
    name = {"HybridViT": "hybrid_vit", "CAFormerUNet": "caformer_unet"}[type(network).__name__]
    restored = backbones.restore(name, network.state_dict()).eval()
    x = torch.randn(1, 5, 1000, 70)
    with torch.no_grad():
        assert torch.equal(restored(x), network(x))


@pytest.mark.parametrize("name", matrix.part(NAMES))
def test_it_fits_a_batch_better_than_any_constant_map(
    name: str, samples: tuple[Tensor, Tensor]
) -> None:
    """On a batch of generated data, in a few steps: the maps must follow from the records."""
    x, y = samples
    torch.manual_seed(0)
    network = backbones.build(name)
    adam = torch.optim.AdamW(network.parameters(), lr=3e-4)
    losses = []
    for _ in range(32):
        loss = (network(x) - y).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    best_constant_map = y.median(dim=0).values
    assert losses[-1] < 0.9 * float((best_constant_map - y).abs().mean())


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_methods_for_transformers_conform_on_it(name: str) -> None:
    """All promises that a method makes on the suite's tiny transformer hold on the real network:
    one method on all of it, the others on the first block of each stage."""
    network = conformance.network_of(backbones.get(name).backbone)
    conformance.check_method(registry.load().get("attention").method, network=network)
    for method in ("layernorm", "prompt_tokens"):
        conformance.check_method(registry.load().get(method).method, network=shallow(network))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["attention", "layernorm", "prompt_tokens"])
def test_methods_for_transformers_train_what_their_name_says(method: str, name: str) -> None:
    chosen = registry.load().get(method).method
    adapted = adaptation.adapt(chosen, backbones.build(name), chosen.config())
    trained = {n for n, p in adapted.model.named_parameters() if p.requires_grad}
    part = {"attention": ("attn", "token_mixer"), "layernorm": ("norm",)}.get(method, ("prompt",))
    assert trained and all(any(word in n for word in part) for n in trained)


def test_methods_for_transformers_count_by_hand_on_hybrid_vit() -> None:
    counts = {}
    for name in ("attention", "layernorm", "prompt_tokens"):
        method = registry.load().get(name).method
        adapted = adaptation.adapt(method, backbones.build("hybrid_vit"), method.config())
        counts[name] = sum(p.numel() for group in adapted.groups for p in group.parameters)
    assert counts == {
        "attention": 6 * (linear(192, 3 * 192) + linear(192, 192)),
        "layernorm": (2 * 6 + 1) * 2 * 192,
        "prompt_tokens": 6 * 10 * 192,
    }


def test_timm_is_imported_only_by_building() -> None:
    script = (
        "import sys; from bench.models import backbones; backbones.get('hybrid_vit');"
        "backbones.get('caformer_unet'); sys.exit('timm' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
