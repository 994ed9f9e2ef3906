"""The front end of CLAP: seconds at 48 kHz, as 16 bits hold them."""

import librosa
import numpy as np
import pytest
import soundfile

from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.front_ends.clap import sixteen_bits
from avsbench.media.sound import Sound, read_wav

RATE = 48000


def compute(*sounds, frames=5, **about):
    return FRONT_ENDS["clap_wave"].compute(ClipSound(list(sounds), frames, **about))


def floats(*values, length=RATE):
    """A sound at 48 kHz that begins with these values; zeros follow."""
    samples = np.zeros((length, 1), np.float32)
    samples[: len(values), 0] = values
    return Sound(samples, RATE, "FLOAT")


def test_sixteen_bits_by_hand():
    step = np.float32(1 / 32767)
    given = np.float32([0, 0.5, -0.5, 1, -1, 1.7, -2, 0.9 * step, -0.9 * step, 1.5 * step, -1.5 * step])
    # 0.5 is 16383.5 steps; the half step goes, on both sides of zero. The last four are smaller than two steps.
    expected = np.array([0, 16383, -16383, 32767, -32767, 32767, -32767, 0, 0, 1, -1]) / 32767
    found = sixteen_bits(given)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=0)


def test_the_clip_is_quantised_as_the_loader_does_it():
    wave = np.random.default_rng(0).uniform(-1.2, 1.2, 2 * RATE).astype(np.float32)
    stored = (np.clip(wave, -1, 1) * np.float32(32767)).astype(np.int16)
    found = compute(floats(*wave, length=2 * RATE), frames=2)
    assert np.array_equal(found.ravel(), (stored / 32767).astype(np.float32))


@pytest.mark.parametrize(("seconds", "frames"), [(5, 5), (10, 10), (7.3, 5)])
def test_frame_k_hears_second_k(seconds, frames):
    values = np.arange(round(seconds * RATE)) % 30011 / 32767  # no two seconds alike
    found = compute(floats(*values, length=len(values)), frames=frames)
    whole = np.round(values[: frames * RATE] * 32767).reshape(frames, RATE)
    np.testing.assert_allclose(found * 32767, whole, rtol=0, atol=1)


@pytest.mark.parametrize("fill", ["repeat", "zeros"])
def test_a_short_clip_ends_in_silence(fill):
    found = compute(floats(*np.full(2 * RATE + 100, 0.25), length=2 * RATE + 100), frames=4, fill=fill)
    assert (found[:2] > 0.24).all()
    assert (found[2, :100] > 0.24).all()
    assert not found[2, 100:].any()
    assert not found[3].any()


def test_a_still_picture_hears_the_middle_second():
    values = np.repeat([0.1, 0.2, 0.3], RATE)
    found = compute(floats(*values, length=len(values)), frames=1, still=True)
    np.testing.assert_allclose(found, np.full((1, RATE), 0.2), atol=1 / 32767)


@pytest.mark.parametrize(("rate", "subtype"), [(16000, "PCM_16"), (44100, "PCM_24"), (48000, "FLOAT")])
def test_it_hears_what_librosa_loads(rate, subtype, tmp_path):
    wave = np.random.default_rng(1).uniform(-0.6, 0.6, (5 * rate, 2))
    soundfile.write(tmp_path / "a.wav", wave, rate, subtype=subtype)
    loaded, _ = librosa.load(tmp_path / "a.wav", sr=RATE, mono=True)
    found = compute(read_wav(tmp_path / "a.wav")).ravel()
    expected = sixteen_bits(loaded[: 5 * RATE])
    # A value on the edge of a step may fall to the next one: the resampler's last bit depends on its block size.
    assert np.abs(found - expected).max() < 1.01 / 32767
    assert (found == expected).mean() > 0.999
