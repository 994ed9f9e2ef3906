"""The two resamplers of the published front ends."""

import math
from functools import lru_cache

import numpy as np

ZEROS, ROLLOFF = 6, 0.99


def soxr_hq(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """`wave` [N] at another rate by soxr HQ, ceil(N target / rate) samples in the same precision."""
    if rate == target:
        return wave
    import soxr

    length = math.ceil(len(wave) * target / rate)
    new = soxr.resample(wave, rate, target, quality="HQ")[:length]
    return np.pad(new, (0, length - len(new)))


def windowed_sinc(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """`wave` float32 [N] at another rate, ceil(N target / rate) samples: torchaudio's default resampler.

    A sinc of six zeros a side under a squared cosine, its cut-off at 0.99 of the lower Nyquist frequency. Sampled at
    the common multiple of both rates it is one filter, of which each output sample takes every `up`-th tap.
    """
    if rate == target:
        return wave
    from scipy.signal import upfirdn

    divisor = math.gcd(rate, target)
    down, up = rate // divisor, target // divisor
    taps, delay = _sinc_filter(down, up)
    length = math.ceil(len(wave) * up / down)
    new = upfirdn(taps, wave, up, down)[delay : delay + length]
    return np.pad(new, (0, length - len(new)))


@lru_cache(maxsize=8)
def _sinc_filter(down: int, up: int) -> tuple[np.ndarray, int]:
    """(taps float32, samples of the result before its first one). Computed in float64."""
    base = ROLLOFF * min(down, up)
    reach = math.floor(ZEROS * down * up / base)
    time = base * np.arange(-reach, reach + 1) / (down * up)
    taps = base / down * np.cos(np.pi * time / (2 * ZEROS)) ** 2 * np.sinc(time)
    # The centre falls on a sample of the result: a whole number of steps of `down` after the first tap.
    delay = math.ceil(reach / down)
    return np.pad(taps, (delay * down - reach, 0)).astype(np.float32), delay
