"""What every log-mel front end shares: frames, window, power spectrum and bands."""

from functools import lru_cache

import numpy as np

HOP = 160
"""Samples between two steps: 10 ms at 16 kHz, in every published front end."""
RATE = 16000
BANDS = 64


@lru_cache(maxsize=8)
def hann(window: int) -> np.ndarray:
    """Periodic Hann window, float64 [window]."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)


def htk_mel(hertz):
    """The HTK mel scale."""
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


@lru_cache(maxsize=8)
def mel_matrix(fft: int, lowest: float, highest: float, slopes: str = "mel") -> np.ndarray:
    """Weights of 64 triangles between `lowest` and `highest` Hz on the HTK scale, float64 [fft // 2 + 1,64].

    Areas are not normalised, and the DC bin has no weight.

    Args:
        slopes: "mel": the triangles' sides are straight over mel (VGGish); "hertz": over frequency (torchaudio).
    """
    edges = np.linspace(htk_mel(lowest), htk_mel(highest), BANDS + 2)
    bins = np.linspace(0.0, RATE / 2, fft // 2 + 1)[:, None]
    if slopes == "mel":
        bins = htk_mel(bins)
    else:
        edges = 700.0 * np.expm1(edges / 1127.0)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    weights[0] = 0.0
    return weights


def steps(samples: int, window: int) -> int:
    """Whole frames of `window` samples, one every 10 ms, in a wave that is not padded."""
    return max(0, 1 + (samples - window) // HOP)


def spectrum(wave: np.ndarray, window: int, fft: int, count: int) -> np.ndarray:
    """Complex one-sided spectra of the first `count` frames, [...,count,fft // 2 + 1], as precise as `wave`.

    Args:
        wave: [...,N] at 16 kHz, not padded: frame k begins at sample 160 k.
    """
    frames = np.lib.stride_tricks.sliding_window_view(wave, window, axis=-1)[..., ::HOP, :][..., :count, :]
    windowed = frames * hann(window).astype(wave.dtype)
    if wave.dtype == np.float32:
        from scipy.fft import rfft  # numpy takes three times as long in single precision
    else:
        from numpy.fft import rfft
    return rfft(windowed, fft)
