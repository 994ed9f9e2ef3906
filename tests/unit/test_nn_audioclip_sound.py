"""AudioCLIP's audio tower beside its vectors: scaling and framing, the learnt spectrogram and its gradients."""

import copy
import math

import numpy as np
import pytest
import scipy.signal
import torch

from avsbench.errors import AvsbenchError
from avsbench.nn.esresnext import esresnext
from avsbench.nn.fbsp import Spectrogram, blackman_harris


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def small(**options):
    """A spectrogram whose parameters are no longer a Fourier transform's."""
    spectrogram = Spectrogram(**{"size": 64, "window": 50, "hop": 17} | options)
    with torch.no_grad():
        spectrogram.order.copy_(torch.rand(33))
        spectrogram.bandwidth.add_(0.1 * torch.rand(33))
        spectrogram.centre.add_(0.1 * torch.randn(33))
    return spectrogram


# scaling and framing


def test_the_window_is_scipys():
    for length in (1654, 512, 7):
        wanted = scipy.signal.get_window("blackmanharris", length, fftbins=True).astype(np.float32)
        np.testing.assert_array_equal(blackman_harris(length).numpy(), wanted)


def test_the_range_trap():
    """Fed as Sam4AVS does, the whole range has 641 levels, near a constant; scaled before, nothing is lost."""
    wave = torch.linspace(-1, 1, 200_001)
    as_int16, as_unit = small(amplitude="fixed"), small(amplitude="reference")
    assert torch.equal(as_int16.scaled(wave), as_unit.scaled(32768 * wave))
    lost = as_unit.scaled(wave)
    assert len(lost.unique()) == 641
    assert lost.abs().max() < 5e-5
    assert torch.equal(as_unit.scaled(torch.full((9,), 1e-3)), as_unit.scaled(torch.zeros(9)))
    torch.testing.assert_close(as_int16.scaled(wave), wave, rtol=1e-4, atol=2e-5)
    with pytest.raises(AvsbenchError, match="one of fixed, reference"):
        small(amplitude="loud")


def test_fixed_is_the_default():
    assert Spectrogram().gain == esresnext("mini").spectrogram.gain == 32768
    assert esresnext("mini", amplitude="reference").spectrogram.gain == 1


@pytest.mark.parametrize(
    ("samples", "frames"), [(220_500, 392), (48_000, 84), (44_100, 77), (1655, 2), (1654, 1), (1600, 1), (1, 1)]
)
def test_frames_cover_the_sound(samples, frames):
    with torch.device("cpu"):
        spectrogram = Spectrogram()
    spectrogram.window.fill_(1)
    wave = torch.rand(1, samples) + 0.1
    found = spectrogram.frames(wave)
    assert found.shape == (1, frames, 1654)
    missing = (frames - 1) * 561 + 1654 - samples
    whole = torch.nn.functional.pad(spectrogram.scaled(wave), (missing // 2, missing - missing // 2))
    assert all(torch.equal(found[0, k], whole[0, 561 * k : 561 * k + 1654]) for k in range(frames))


# the matrix


def test_at_the_start_it_is_a_fourier_transform():
    """Of samples from -pi to pi, both ends included; hence rows of integers are not quite orthogonal."""
    spectrogram = Spectrogram(size=64, window=64, hop=64)
    time = torch.linspace(-math.pi, math.pi, 64, dtype=torch.double)
    wanted = torch.exp(-1j * torch.arange(33, dtype=torch.double)[:, None] * time) / 8
    torch.testing.assert_close(spectrogram.current_matrix().to(torch.cdouble), wanted, rtol=0, atol=2e-6)
    assert spectrogram.norm_loss() < 1e-12


def test_a_row_by_hand():
    """Where the spline is negative, a broken power is taken on the principal branch."""
    m, fb, fc = 0.7, 3.0, 5.2
    order, bandwidth, centre = (torch.tensor([value]) for value in (m, fb, fc))
    row = Spectrogram(size=64, window=64, hop=64).matrix(order, bandwidth, centre)[0].numpy()
    t = np.pi * np.linspace(-1, 1, 64) + 1e-8
    base = np.sin(fb * t / (m + 1e-8)) / (fb * t / (m + 1e-8))
    assert (base < 0).any()
    wanted = math.sqrt(fb) * base.astype(complex) ** m * np.exp(-1j * fc * t) / 8
    np.testing.assert_allclose(row, wanted, atol=1e-5)


def test_what_is_kept_in_eval_is_what_training_computes():
    spectrogram, wave = small(), torch.randn(2, 300).clamp(-1, 1)
    trained = spectrogram(wave)
    assert trained.requires_grad
    with torch.inference_mode():
        assert torch.equal(spectrogram.eval()(wave), trained)
        kept = spectrogram.current_matrix()
        assert spectrogram.current_matrix() is kept
    assert torch.equal(kept, spectrogram.current_matrix().detach())
    spectrogram.requires_grad_(False)
    # Frozen, it is not computed again, whichever the mode; and training may use what inference had made.
    assert spectrogram.train().current_matrix() is kept
    (kept.real * torch.ones(64, requires_grad=True)).sum().backward()


@pytest.mark.parametrize("change", ["step", "load", "assign", "data"])
def test_what_is_kept_follows_the_parameters(change):
    spectrogram, other = small().requires_grad_(False), small().requires_grad_(False)
    before = spectrogram.current_matrix()
    if change == "step":
        spectrogram.order.mul_(2)
        other.load_state_dict(spectrogram.state_dict())
    elif change == "data":
        spectrogram.centre.data += 1
        other.load_state_dict(spectrogram.state_dict())
    else:
        spectrogram.load_state_dict(other.state_dict(), assign=change == "assign")
    assert not torch.equal(spectrogram.current_matrix(), before)
    assert torch.equal(spectrogram.current_matrix(), other.current_matrix())


def test_built_on_meta_and_filled_it_works():
    with torch.device("meta"):
        spectrogram = Spectrogram(size=64, window=50, hop=17).requires_grad_(False)
    source = small().requires_grad_(False)
    spectrogram.load_state_dict(source.state_dict(), assign=True)
    wave = torch.randn(1, 100).clamp(-1, 1)
    assert torch.equal(spectrogram(wave), source(wave))


# decibels


def test_decibels_are_bands_of_power():
    """Rows from low to high in three thirds; the two topmost of 65 are dropped."""
    spectrogram = Spectrogram(size=128, window=128, hop=64).requires_grad_(False)
    tone = (2 * math.pi * 50 * torch.arange(640) / 127).sin()[None]  # row 50 of 0..64
    found = spectrogram(tone)
    assert found.shape == (1, 3, 21, 9)
    assert (found.flatten(1, 2).argmax(dim=1) == 50).all()
    frames, matrix = spectrogram.frames(tone), spectrogram.current_matrix()
    power = torch.einsum("nls,rs->nrl", frames.to(torch.cfloat), matrix).abs() ** 2
    torch.testing.assert_close(found.flatten(1, 2), 10 * power[:, :63].log10(), rtol=0, atol=0.01)


@pytest.mark.parametrize("amplitude", ["fixed", "reference"])
def test_half_precision_stops_at_the_sound(amplitude):
    tower, waves = esresnext("mini", amplitude=amplitude).eval(), 0.1 * torch.randn(2, 1, 4410)
    with torch.no_grad():
        wanted = tower.decibels(waves)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, embedding = tower.decibels(waves), tower(waves)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)
    assert embedding.dtype == torch.bfloat16


SOUNDS = {
    "silence": torch.zeros(2, 1, 4410),
    "exact zeros after scaling": torch.full((2, 1, 4410), -0.5),
    "a click": torch.zeros(2, 1, 4410).index_fill_(2, torch.tensor([0]), 1.0),
    "full scale": torch.ones(2, 1, 4410),
    "one sample": torch.zeros(2, 1, 1),
}


@pytest.mark.parametrize("order", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("amplitude", ["fixed", "reference"])
@pytest.mark.parametrize("sound", SOUNDS)
def test_gradients_are_finite(sound, amplitude, order):
    tower = esresnext("mini", amplitude=amplitude)
    with torch.no_grad():
        tower.spectrogram.order.fill_(order)
        tower.spectrogram.bandwidth.add_(0.1 * torch.rand(257))
    waves = SOUNDS[sound] / (32768 if sound.startswith("exact") and amplitude == "fixed" else 1)
    if sound.startswith("exact"):
        assert not tower.spectrogram.scaled(waves).any()
        assert tower.decibels(waves).unique().tolist() == pytest.approx([-180])
    embedding = tower(waves)
    embedding.square().sum().backward()
    assert embedding.isfinite().all()
    assert all(p.grad.isfinite().all() for p in tower.parameters())


# learning


WAVE = 0.1 * torch.sin(torch.arange(600) / 3)[None]


def learn(spectrogram, factor=1.0):
    (factor * spectrogram(WAVE).square().mean()).backward()
    return [spectrogram.order.grad, spectrogram.bandwidth.grad, spectrogram.centre.grad]


@pytest.mark.parametrize("copied", ["no", "deep copy", "assigned"])
def test_gradients_are_divided_by_their_largest(copied):
    spectrogram, twin = small(), small()
    twin.load_state_dict(spectrogram.state_dict())
    if copied == "deep copy":
        spectrogram = copy.deepcopy(spectrogram)
    elif copied == "assigned":
        spectrogram.load_state_dict({k: v.clone() for k, v in spectrogram.state_dict().items()}, assign=True)
    gradients = learn(spectrogram)
    assert [g.abs().max().item() for g in gradients] == pytest.approx([1, 1, 1], rel=1e-5)
    for gradient, louder in zip(gradients, learn(twin, 1024.0), strict=True):
        torch.testing.assert_close(gradient, louder, rtol=1e-4, atol=1e-5)
    # Otherwise they are as they come.
    plain = [p.detach().requires_grad_() for p in (twin.order, twin.bandwidth, twin.centre)]
    twin.current_matrix = lambda: twin.matrix(*plain)
    twin(WAVE).square().mean().backward()
    for gradient, p in zip(gradients, plain, strict=True):
        torch.testing.assert_close(gradient, p.grad / p.grad.abs().max(), rtol=1e-4, atol=1e-5)


def test_gradients_of_the_matrix_are_true():
    """Against differences in double precision, also where the spline is negative."""
    spectrogram = Spectrogram(size=16, window=16, hop=16)
    draws = [torch.rand(3, dtype=torch.double) + shift for shift in (0.3, 2.0, 4.0)]
    assert (spectrogram.matrix(*draws).imag.abs() > 0.1).any()
    torch.autograd.gradcheck(spectrogram.matrix, [x.requires_grad_() for x in draws], atol=1e-6)


def test_gradients_of_several_uses_are_divided_once():
    """The regulariser works on the matrix of the forward pass; what is divided is the sum."""
    spectrogram = small()
    for _ in range(2):
        (spectrogram(WAVE).square().mean() + 1e4 * spectrogram.norm_loss()).backward()
        parameters = (spectrogram.order, spectrogram.bandwidth, spectrogram.centre)
        assert [p.grad.abs().max().item() for p in parameters] == pytest.approx([1, 1, 1], rel=1e-5)
        spectrogram.zero_grad()


def test_only_what_learns_is_touched():
    spectrogram = small()
    spectrogram.order.requires_grad_(False)
    spectrogram(0.1 * torch.randn(1, 200)).sum().backward()
    assert spectrogram.order.grad is None
    assert spectrogram.centre.grad.abs().max() == pytest.approx(1, rel=1e-5)


# the tower


@torch.no_grad()
def test_audio_channels_are_summed_before_the_last_layer():
    tower, waves = esresnext("mini").eval(), 0.1 * torch.randn(2, 2, 8820)
    left, right, both = tower(waves[:, :1]), tower(waves[:, 1:]), tower(waves)
    assert both.shape == (2, tower.embedding)
    torch.testing.assert_close(both, left + right - tower.head.bias, rtol=0, atol=1e-5)


def test_weights_start_as_published():
    """Kaiming for convolutions; every norm is 1 and 0, the last of a branch too."""
    tower = esresnext("mini")
    norms = [m for m in tower.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)
    for conv in (tower.trunk.layer4[0].conv2, tower.gates[3].point):
        fan_out = conv.out_channels * math.prod(conv.kernel_size)
        assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)
