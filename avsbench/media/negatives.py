"""Sounds that do not belong to the pictures above them: silence and noise (AVSBench-Robust, arXiv 2502.00358).

The third kind, the sound of another clip, needs no making: `avsbench.store.offscreen` says whose.
"""

import numpy as np

from avsbench.media.sound import Sound

SILENCE_RATE, NOISE_RATE = 11025, 44100
REFERENCE_SECONDS = 5


def silence(seconds: float) -> Sound:
    """Digital silence, one channel of 16 bits; at 11,025 Hz, as the authors' tool wrote it."""
    return Sound(np.zeros((round(seconds * SILENCE_RATE), 1), np.int16), SILENCE_RATE)


def white_noise(seconds: float, draw: np.random.Generator) -> Sound:
    """Uniform white noise of full scale, one channel of 16 bits at 44.1 kHz: what the authors meant."""
    wave = draw.uniform(-1, 1, round(seconds * NOISE_RATE))
    return Sound((32767 * wave).astype(np.int16)[:, None], NOISE_RATE)


def reference_noise(draw: np.random.Generator | np.random.RandomState) -> Sound:
    """What the authors' script writes: the bytes of float64 noise read as samples of 16 bits, four for each value.

    So 5 s became 20 s. Three samples of four are uniform; the fourth holds sign and exponent and clusters near half of
    full scale.
    """
    wave = draw.uniform(-1, 1, REFERENCE_SECONDS * NOISE_RATE)
    return Sound(wave.astype("<f8").view("<i2").astype(np.int16)[:, None], NOISE_RATE)
