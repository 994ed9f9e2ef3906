"""Log-mel examples of VGGish: 0.96 s each, 96 steps of 10 ms, 64 mel bands.

The definition is that of the AudioSet VGGish release (Hershey et al., ICASSP 2017), without PCA and quantisation.
All steps are float64, the result float32. Other rates are resampled by soxr where the original used resampy; bands
below 7.2 kHz agree within 0.001, the top two lie in the transition band of the resamplers and differ more.
"""

from functools import lru_cache

import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.media.sound import mono

RATE = 16000
WINDOW, HOP, FFT = 400, 160, 512
BANDS, LOWEST, HIGHEST = 64, 125.0, 7500.0
STEPS = 96
OFFSET = 0.01


@lru_cache(maxsize=1)
def hann() -> np.ndarray:
    """Periodic Hann window, float64 [400]."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


@lru_cache(maxsize=1)
def mel_matrix() -> np.ndarray:
    """Weights of the 64 bands, float64 [257,64]: triangles that are linear in mel (HTK scale), the DC bin left out."""

    def mel(hertz):
        return 1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0)

    edges = np.linspace(mel(LOWEST), mel(HIGHEST), BANDS + 2)
    bins = mel(np.linspace(0.0, RATE / 2, FFT // 2 + 1))[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    weights[0] = 0.0
    return weights


def vggish_mel(samples: np.ndarray, rate: int) -> np.ndarray:
    """Log-mel examples of a sound, float32 [n,1,96,64]; an incomplete last example is dropped, so n may be 0.

    Args:
        samples: [N] or [N,channels] as stored (int16, int32 or float); channels are averaged.
        rate: samples a second; anything but 16000 is resampled.
    """
    wave = mono(np.asarray(samples))
    if rate != RATE:
        import soxr

        wave = soxr.resample(wave, rate, RATE, quality="HQ")
    count = max(0, 1 + (len(wave) - WINDOW) // HOP) // STEPS
    if count == 0:
        return np.zeros((0, 1, STEPS, BANDS), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP][: count * STEPS]
    magnitude = np.abs(np.fft.rfft(windows * hann(), FFT))
    mel = np.log(magnitude @ mel_matrix() + OFFSET)
    return mel.reshape(count, 1, STEPS, BANDS).astype(np.float32)


def fit_examples(mel: np.ndarray, frames: int, fill: str) -> np.ndarray:
    """[n,1,96,64] -> [frames,1,96,64], one example a frame.

    Missing examples repeat the last one (`fill` "repeat", S4 and MS3) or are 0.0 (`fill` "zeros", AVSS: the value 0,
    not the -4.6 of silence). Examples beyond the last frame are dropped; the published loaders fail on those.
    """
    if fill not in ("repeat", "zeros"):
        raise AvsbenchError(f"unknown way to fill missing examples: {fill!r}", expected="repeat or zeros")
    missing = frames - len(mel)
    if missing <= 0:
        return mel[:frames]
    if fill == "repeat":
        if not len(mel):
            raise AvsbenchError(
                "the sound is too short for a single VGGish example",
                found="no example",
                expected="at least 0.975 s of sound",
            )
        return np.concatenate([mel, np.repeat(mel[-1:], missing, axis=0)])
    return np.concatenate([mel, np.zeros((missing, *mel.shape[1:]), mel.dtype)])
