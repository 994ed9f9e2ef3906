"""Multi-resolution log-mel, and CAVP's resampling, crop and log-mel, against vectors measured with the originals."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from avsbench import cards
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS, cavp
from avsbench.media.log_mel import mel_matrix, spectrum
from avsbench.media.resample import windowed_sinc
from avsbench.media.sound import Sound
from avsbench.media.vggish_mel import Recipe, fit_examples, vggish_mel

from .fill import array

ROOT = Path(os.environ.get("AVSBENCH_PARITY", Path(__file__).resolve().parent))


def fixture(folder, file="fixture.json"):
    path = ROOT / folder / file
    return json.loads(path.read_text()) if path.is_file() else {"cases": []}


def expected(folder):
    with np.load(ROOT / folder / "expected.npz") as stored:
        return dict(stored)


MULTI = fixture("multires_mel")
CROP = fixture("cavp/audio", "crop.json")


def test_the_fixtures_are_there():
    assert len(MULTI["cases"]) == 18, f"no vectors in {ROOT}/multires_mel"
    assert len(CROP["cases"]) == 18, f"no vectors in {ROOT}/cavp/audio"


# multires_mel


def wave(name):
    """The fixture's `wave_rule`."""
    about = MULTI["waves"][name]
    i = np.arange(about["samples"], dtype=np.int64)
    gate = (i // 12000) % 3 != 2
    channels = []
    for c in range(about["channels"]):
        k1, k2 = 900 + 1300 * c, 5000 - 700 * c
        tri1 = np.abs((k1 * i) % 65536 - 32768) - 16384
        tri2 = np.abs((k2 * i + i * i // 64) % 65536 - 32768) - 16384
        channels.append((tri1 // 3 + tri2 // 4) * gate)
    x = np.stack(channels, axis=1)
    x = x + np.round(300 * array(f"multires_mel.{name}", x.shape)).astype(np.int64)
    return Sound(np.clip(x, -32768, 32767).astype(np.int16), about["sample_rate"])


def test_the_waves_are_those_of_the_fixture():
    head = expected("multires_mel")["pcm_head"]
    for column, name in enumerate(MULTI["waves"]):
        assert np.array_equal(wave(name).samples[:64, 0], head[:, column]), name


def front_end_of(case):
    """The stored front end of a case: COMBO's window is 400, the others are named after theirs."""
    return "combo_mel" if case["window"] == 400 else f"msai_{case['window']}"


@pytest.mark.parametrize("case", MULTI["cases"], ids=lambda case: case["key"])
def test_multi_resolution_log_mel(case):
    sound = wave(case["wave"])
    if case["key"].startswith("ntavs_default"):
        mel = vggish_mel(sound.samples, sound.rate, Recipe(512, 512, *case["edges"]))
        mel = fit_examples(mel, case["shape"][0], "repeat")
    else:
        card = cards.dataset("s4" if case["script"] == "s4" else "avss")
        mel = FRONT_ENDS[front_end_of(case)].compute(ClipSound.of(card, [sound], card.frames))
    assert list(mel.shape) == case["shape"]
    stored = expected("multires_mel")
    found = mel[:, 0, ::4, ::2]
    if sound.rate == 16000:
        np.testing.assert_allclose(found, stored[case["key"]], rtol=0, atol=1e-4)
        if f"{case['key']}.full" in stored:
            np.testing.assert_allclose(mel[:1], stored[f"{case['key']}.full"], rtol=0, atol=1e-4)
        assert abs(mel.mean(dtype=np.float64) - case["mean"]) < 1e-4
        assert abs(mel.std(dtype=np.float64, ddof=1) - case["std"]) < 1e-4
    else:
        # Another resampler than the original's: the fixture says what may differ.
        np.testing.assert_allclose(found[..., :28], stored[case["key"]][..., :28], rtol=0, atol=0.01)
        assert abs(mel.mean(dtype=np.float64) - case["mean"]) < 0.05


# cavp


@pytest.fixture(scope="module")
def heard():
    return expected("cavp/audio")


@pytest.fixture(scope="module")
def wave3():
    """float32 [2,1,48000], made in single precision throughout as the fixture demands."""
    f = np.float32
    n = np.arange(48000, dtype=f) / f(16000)
    rising = f(2 * np.pi) * (f(500) + f(900) * n) * n
    tone = f(0.4) * np.sin(f(2 * np.pi * 440) * n) + f(0.2) * np.sin(rising)
    return f(0.1) * array("waveform", (2, 1, 48000)) + tone


def close(found, stored):
    np.testing.assert_allclose(found, stored, rtol=1e-4, atol=2e-4)


def test_cavp_bands_and_power(heard, wave3):
    matrix = mel_matrix(cavp.FFT, cavp.LOWEST, cavp.HIGHEST, slopes="hertz")
    close(matrix, heard["filterbank"])
    padded = np.pad(wave3[0, 0, :16000], cavp.WINDOW // 2, mode="reflect")
    power = np.abs(spectrum(padded, cavp.WINDOW, cavp.FFT, 4)) ** 2
    close((power @ matrix.astype(np.float32)).T, heard["power_mel_frames_0_4"])


def test_cavp_log_mel(heard, wave3):
    close(cavp.log_mel(wave3[:, :, :16000], 96), heard["mel_1s"])
    close(cavp.log_mel(wave3, 300)[:, :, ::3], heard["mel_3s"])
    stereo = np.concatenate([np.float32(0.7) * wave3[:1], np.float32(0.3) * wave3[:1]], axis=1)
    close(cavp.log_mel(stereo, 300)[:, :, ::3], heard["mel_stereo"])


def test_cavp_silence_is_exactly_minus_one(heard):
    mel = cavp.log_mel(np.zeros((1, 1, 16000), np.float32), 96)
    assert [mel.min(), mel.max()] == heard["mel_silent_minmax"].tolist() == [-1, -1]


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
def test_cavp_resampling(heard, rate):
    found = windowed_sinc(np.float32(0.1) * array(f"resample_{rate}", (1, rate // 10))[0], rate, 16000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[None], heard[f"resample_{rate}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CROP["cases"], ids=lambda case: f"{case['audio_len_s']}s-{case['input_samples']}")
def test_cavp_reference_crop(case):
    count, length = case["input_samples"], case["output_samples"]
    found = cavp.reference_crop(np.arange(count), length)
    assert np.array_equal(found, case["first_index"] + np.arange(length) % case["period"])
