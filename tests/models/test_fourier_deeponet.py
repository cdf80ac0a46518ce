"""`fourier_deeponet`: its spectral layer against NumPy and by law, its size, layout and library."""

import math
import subprocess
import sys
from pathlib import Path

import matrix
import numpy as np
import pytest
import torch
from conftest import Inside
from torch import Tensor, nn

from bench import conformance
from bench.conformance import toy_networks
from bench.data import generate, layout
from bench.errors import ConfigError
from bench.models import backbones
from bench.models.backbones.fourier_deeponet import FourierDeepONet, SpectralConv2d, UNet
from bench.models.frugal import frugal
from bench.plugins import adaptation, registry
from bench.protocol import survey
from bench.protocol.spec import Data
from bench.seismic.scaling import scale_maps, scale_records
from bench.seismic.simulation import simulate

NAME = "fourier_deeponet"
CHANNELS, RECEIVERS, TIME = 3, 72, 104
FIRST, KEPT = 20, (40, 20)
"""Row of frequency zero along the receivers in the weight, and the weight's frequencies."""


@pytest.fixture
def spectral() -> SpectralConv2d:
    torch.manual_seed(0)
    return SpectralConv2d(CHANNELS)


def wave(receiver: int, time: int, phase: float = 0.3) -> Tensor:
    """One plane wave in the first channel, (1, c, receivers, time)."""
    x = torch.zeros(1, CHANNELS, RECEIVERS, TIME)
    r, t = torch.meshgrid(torch.arange(RECEIVERS), torch.arange(TIME), indexing="ij")
    x[0, 0] = torch.cos(2 * math.pi * (receiver * r / RECEIVERS + time * t / TIME) + phase)
    return x


def test_spectral_convolution_is_that_of_numpy(spectral: SpectralConv2d) -> None:
    """FFT, one matrix for each kept frequency, inverse FFT, written out."""
    x = torch.randn(2, CHANNELS, RECEIVERS, TIME)
    spectrum = np.fft.rfft2(x.numpy())
    weight = (spectral.real + 1j * spectral.imaginary).detach().numpy()
    assert weight.shape == (CHANNELS, CHANNELS, *KEPT)
    out = np.zeros_like(spectrum)
    for row in range(KEPT[0]):
        for column in range(KEPT[1]):  # rows before the first are negative: from the end
            out[:, :, row - FIRST, column] = (
                spectrum[:, :, row - FIRST, column] @ weight[:, :, row, column]
            )
    expected = np.fft.irfft2(out, s=(RECEIVERS, TIME))
    np.testing.assert_allclose(spectral(x).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("receiver", "time", "passes"), [(3, 19, True), (3, 20, False)])
def test_frequencies_above_the_kept_ones_become_zero(
    spectral: SpectralConv2d, receiver: int, time: int, passes: bool
) -> None:
    assert (float(spectral(wave(receiver, time)).detach().abs().max()) > 1e-3) == passes


@pytest.mark.parametrize(("receiver", "passes"), [(19, True), (21, False), (-20, True)])
def test_as_many_frequencies_of_either_sign_pass(
    spectral: SpectralConv2d, receiver: int, passes: bool
) -> None:
    assert (float(spectral(wave(receiver, 2)).detach().abs().max()) > 1e-3) == passes


def test_spectral_convolution_commutes_with_shifts(spectral: SpectralConv2d) -> None:
    x = torch.randn(1, CHANNELS, RECEIVERS, TIME)
    shift = {"shifts": (5, 31), "dims": (2, 3)}
    difference = spectral(torch.roll(x, **shift)) - torch.roll(spectral(x), **shift)
    assert float(difference.detach().abs().max()) < 1e-5


def test_its_gradients_are_those_of_differences(spectral: SpectralConv2d) -> None:
    x = torch.randn(1, CHANNELS, RECEIVERS, TIME)
    up = torch.randn(1, CHANNELS, RECEIVERS, TIME)
    for parameter in (spectral.real, spectral.imaginary):
        step = torch.randn_like(parameter)
        (gradient,) = torch.autograd.grad((spectral(x) * up).sum(), parameter)
        with torch.no_grad():
            before = spectral(x)
            parameter += step  # linear in the weight: any step will do
            change = float(((spectral(x) - before) * up).sum())
        assert float((gradient * step).sum()) == pytest.approx(change, rel=1e-3)


def test_under_autocast_it_runs_in_single_precision(spectral: SpectralConv2d) -> None:
    """Of a rounded input, with a rounded output: neither the FFT nor the products are."""
    x = torch.randn(1, CHANNELS, RECEIVERS, TIME).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = spectral(x)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, spectral(x.float()).bfloat16())


# --- the network ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return backbones.build(NAME).eval()


def convolution(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel + outputs


def test_parameters_by_hand(network: nn.Module) -> None:
    w = 32
    spectral = 2 * w * w * 40 * 20
    down = 5 * (w * w * 9 + 2 * w)
    unet = down + convolution(w, w, 16) + 2 * convolution(2 * w, w, 16) + convolution(2 * w, w, 9)
    shorten = sum(convolution(a, b, 1) for a, b in ((200, 144), (144, 104), (104, 70)))
    lifted = convolution(5, w, 15) + convolution(6, w, 1) + 1
    head = convolution(w, 128, 1) + convolution(128, 1, 1)
    layers = 4 * (spectral + convolution(w, w, 1)) + 3 * unet + shorten
    assert sum(p.numel() for p in network.parameters()) == lifted + layers + head == 7_056_848
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_geometry(network: nn.Module) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    names = {"branch", "fourier", "u_fourier.0", "u_fourier.0.unet.down3", "u_fourier.2"}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda m, i, o, name=name: shapes.update({name: tuple(o.shape[1:])})
        )
    with torch.no_grad():
        out = network(torch.randn(2, 5, 1000, 70))
    assert shapes == {
        "branch": (32, 72, 200),
        "fourier": (32, 72, 200),
        "u_fourier.0.unet.down3": (32, 9, 25),
        "u_fourier.0": (32, 72, 144),
        "u_fourier.2": (32, 72, 70),
    }
    assert out.shape == (2, 1, 70, 70)
    assert out.abs().max() <= 1


def test_a_receiver_stands_above_its_own_column() -> None:
    """Without its two nonlocal parts the network looks at one receiver at a time."""
    torch.manual_seed(0)
    network = FourierDeepONet(width=8).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, SpectralConv2d):
                module.real.zero_(), module.imaginary.zero_()
            elif isinstance(module, UNet):
                module.out.weight.zero_()
        x = torch.randn(1, 5, 1000, 70)
        before = network(x)
        for receiver in (0, 23, 69):
            changed = x.clone()
            changed[..., receiver] *= -1
            moved = (network(changed) - before).abs()[0, 0].amax(dim=0)
            assert moved.nonzero().flatten().tolist() == [receiver]


def test_the_trunk_gets_the_sources_of_the_survey(network: nn.Module) -> None:
    """Locations from 0 to 690 m and the frequency from 5 to 25 Hz lie in [-1, 1], as logarithms."""
    scaled = (network.get_buffer("sources").double() + 1) / 2
    metres = torch.expm1(scaled[:5] * math.log1p(690))
    hertz = torch.expm1(math.log1p(5) + scaled[5] * (math.log1p(25) - math.log1p(5)))
    evenly = torch.linspace(0, (survey.RECEIVERS - 1) * survey.CELL_METRES, 5)
    assert metres.tolist() == pytest.approx(evenly.tolist(), abs=1e-2)
    columns = [round(float(m) / survey.CELL_METRES) for m in metres]
    assert all(abs(a - b) <= 1 for a, b in zip(columns, survey.SOURCE_COLUMNS, strict=True))
    assert float(hertz) == pytest.approx(survey.PEAK_FREQUENCY_HZ, abs=1e-3)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_it_fits_a_batch_better_than_any_constant_map() -> None:
    pair = layout.files("FlatVel_A", "train", Data(source="generated", train=4, test=1))[0]
    maps = torch.from_numpy(generate.velocity_maps("FlatVel_A", pair, seed=0, first=0))
    maps = maps.reshape(-1, 70, 70)
    x, y = scale_records(simulate(maps)), scale_maps(maps[:, None])
    torch.manual_seed(0)
    network = backbones.build(NAME)
    adam = torch.optim.AdamW(network.parameters(), lr=8e-4)
    for _ in range(20):
        loss = (network(x) - y).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    best_constant_map = y.median(dim=0).values
    assert float(loss.detach()) < 0.9 * float((best_constant_map - y).abs().mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", matrix.part(["fft", "lora", "bitfit", "batchnorm"], "bitfit"))
def test_methods_through_the_frugal_pass(name: str) -> None:
    """Output and gradients are those of torch's own layers."""
    torch.manual_seed(0)
    method = registry.load().get(name).method
    model = adaptation.adapt(method, FourierDeepONet(width=8), method.config()).model
    adaptation.training_mode(model, method.traits.batchnorm)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad and not p.any():
                p.normal_(std=0.02)
    x, results = torch.randn(2, 5, 1000, 70), []
    for frugally in (False, True):
        model.zero_grad()
        if frugally:
            with frugal(model):
                out = model(x)
                out.square().sum().backward()
        else:
            out = model(x)
            out.square().sum().backward()
        results.append((out.detach(), {n: p.grad for n, p in model.named_parameters()}))
    (out, expected), (ours, gradients) = results
    assert float((ours - out).abs().max()) < 1e-5
    scale = max(float(g.abs().max()) for g in expected.values() if g is not None)
    for key, gradient in expected.items():
        if gradient is None:
            assert gradients[key] is None
        else:
            assert float((gradients[key] - gradient).abs().max()) / scale < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", matrix.part(["none", "fft", "lora", "bitfit", "adapter", "prompt"])
)
def test_methods_conform_on_it(name: str) -> None:
    """With a quarter of its channels; all else is as it is."""
    torch.manual_seed(0)
    network = toy_networks.settle(FourierDeepONet(width=8))
    conformance.check_method(registry.load().get(name).method, network=network)


def test_methods_count_by_hand_on_it() -> None:
    def adapted(name: str) -> nn.Module:
        method = registry.load().get(name).method
        return adaptation.adapt(method, backbones.build(NAME), method.config()).model

    def factors(inputs: int, outputs: int, kernel: int = 1) -> int:
        return 16 * (inputs * kernel + outputs)

    w = 32
    shorten = ((200, 144), (144, 104), (104, 70))
    biases = 3 * w + 3 * (5 * w) + (144 + 104 + 70) + 129
    unet = 5 * factors(w, w, 9) + factors(w, w, 16) + 2 * factors(2 * w, w, 16)
    expected = {
        "none": 0,
        "bias": biases,
        "bitfit": biases + 1 + 15 * w,
        "batchnorm": 2 * 15 * w,
        "lora": factors(5, w, 15)
        + factors(6, w)
        + 4 * factors(w, w)
        + 3 * (unet + factors(2 * w, w, 9))
        + sum(factors(a, b) for a, b in shorten)
        + factors(w, 128)
        + factors(128, 1),
    }
    for name, count in expected.items():
        trained = {n: p.numel() for n, p in adapted(name).named_parameters() if p.requires_grad}
        assert sum(trained.values()) == count
        assert not [n for n in trained if "spectral" in n], "no method for layers knows of it"


# --- the library ----------------------------------------------------------------------------------


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neuralop.layers.spectral_convolution", None)


SENTENCE = (
    "Backbone 'fourier_deeponet' needs the library neuraloperator: "
    "pip install 'fwi-peft-bench[operators]'."
)


@pytest.mark.usefixtures("no_library")
def test_without_the_library_it_says_what_to_install(inside: Inside, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        backbones.build(NAME)
    assert str(told.value) == SENTENCE
    code, out, error = inside("backbones")
    assert code == 0
    assert "inversionnet_quarter" in out
    assert error.strip() == SENTENCE
    words = ("run", "--method", "fft", "--track", "smoke", "--protocol", "id", "--backbone", NAME)
    code, out, error = inside(*words, home=tmp_path)
    assert code == 2
    assert SENTENCE in error
    assert not list(tmp_path.rglob("*.npy"))


def test_the_library_is_imported_only_where_the_network_is_built() -> None:
    source = f"""
import sys
from bench.models import backbones
backbones.get("{NAME}")
backbones.build("inversionnet_quarter")
assert "neuralop" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
