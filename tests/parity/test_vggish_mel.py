"""Log-mel of VGGish against vectors measured with the original (its resampler was resampy)."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avsbench.media.log_mel import hann, mel_matrix
from avsbench.media.sound import read_wav
from avsbench.media.vggish_mel import VGGISH, vggish_mel

from .fill import array

FOLDER = Path(os.environ.get("AVSBENCH_PARITY", Path(__file__).resolve().parent)) / "vggish_mel"
FIXTURE = json.loads((FOLDER / "fixture.json").read_text()) if (FOLDER / "fixture.json").is_file() else {"cases": {}}
COMPARED_BANDS = 62
"""Bands 62 and 63 lie in the transition band of the resamplers; the fixture leaves them out for other rates."""


def test_the_fixture_is_there():
    assert len(FIXTURE["cases"]) == 7, f"no vectors in {FOLDER}"


def waveform(name, case):
    """The fixture's `waveform_rule`, int16 [N,channels]."""
    count = round(case["rate"] * case["seconds"])
    if name.startswith("silence"):
        return np.zeros((count, case["channels"]), np.int16)
    t = np.arange(count) / case["rate"]
    channels = []
    for c in range(case["channels"]):
        x = 0.3 * np.sin(2 * np.pi * (150 + 350 * t) * t) + 0.15 * np.sin(2 * np.pi * 440 * (c + 1) * t)
        x += 0.05 * array(f"{name}.{c}", (count,)).astype(np.float64)
        channels.append(np.clip(np.round(x * 32767), -32768, 32767).astype(np.int16))
    return np.stack(channels, axis=1)


@pytest.mark.parametrize("name", FIXTURE["cases"])
def test_examples_equal_the_reference(name, tmp_path):
    case = FIXTURE["cases"][name]
    samples = waveform(name, case)
    assert samples[:4, 0].tolist() == case["first_sample_int16"]
    soundfile.write(tmp_path / "sound.wav", samples, case["rate"], subtype="PCM_16")
    sound = read_wav(tmp_path / "sound.wav")
    mel = vggish_mel(sound.samples, sound.rate)
    assert mel.dtype == np.float32
    assert list(mel.shape) == case["output_shape"]
    step = int(re.search(r"::(\d+)", case["stored"])[1])
    with np.load(FOLDER / "expected.npz") as expected:
        stored = expected[name]
    if case["rate"] == 16000:
        np.testing.assert_allclose(mel[:, :, ::step], stored, rtol=0, atol=1e-5)
    else:
        np.testing.assert_allclose(mel[:, :, ::step, :COMPARED_BANDS], stored[..., :COMPARED_BANDS], rtol=0, atol=0.03)


def test_window_and_bands_equal_the_reference():
    with np.load(FOLDER / "expected.npz") as expected:
        np.testing.assert_allclose(hann(VGGISH.window), expected["window"], rtol=0, atol=1e-12)
        matrix = mel_matrix(VGGISH.fft, VGGISH.lowest, VGGISH.highest)
        np.testing.assert_allclose(matrix, expected["mel_matrix"], rtol=0, atol=1e-9)
