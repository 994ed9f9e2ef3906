"""What AVSBench-Robust (arXiv 2502.00358) feeds to VGGish in place of its own log-mel, for negatives alone.

It has the shape of VGGish's examples and another meaning: decibels over Slaney's mel scale up to 11 kHz, each second
shifted and scaled by itself, and half of each example is blank. A network that was trained on VGGish's examples can
tell the two apart without listening, which is why nothing but the comparison with the authors' numbers uses it.
"""

import math
from functools import lru_cache

import numpy as np

from avsbench.media.clip_sound import ClipSound, middle
from avsbench.media.front_ends import FrontEnd
from avsbench.media.resample import soxr_hq
from avsbench.media.sound import Sound, mono_float

RATE, FFT, HOP, BANDS = 22050, 1024, 512, 64
STEPS, FILLED = 96, 1 + RATE // HOP
FLOOR, RANGE = 1e-10, 80.0


def robust_mel(clip: ClipSound) -> np.ndarray:
    """The mixture cut into as many seconds as there are frames, zeros where it ends early: float32 [T,1,96,64].

    A still picture gets the middle second, which is ours.
    """
    wave, length = clip.mixture(voice, RATE), clip.frames * RATE
    wave = middle(wave, RATE) if clip.still else np.pad(wave[:length], (0, max(0, length - len(wave))))
    return np.stack([example(second) for second in wave.reshape(clip.frames, RATE)])


def voice(sound: Sound) -> np.ndarray:
    """One source at 22,050 Hz: mean over channels, resampled by soxr HQ as librosa does, float32 [N]."""
    return soxr_hq(mono_float(sound.samples), sound.rate, RATE)


def example(second: np.ndarray) -> np.ndarray:
    """Decibels of one second [22050], of mean 0 and deviation 1 unless constant: 44 steps of 96, float32 [1,96,64]."""
    padded = np.pad(second, FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
    power = np.abs(np.fft.rfft(frames * window)) ** 2 @ slaney_matrix()
    decibels = 10 * np.log10(np.maximum(power, FLOOR))
    decibels = np.maximum(decibels, decibels.max() - RANGE)
    deviation = decibels.std()
    if deviation > 0:
        decibels = (decibels - decibels.mean()) / deviation
    whole = np.zeros((1, STEPS, BANDS), np.float32)
    whole[0, :FILLED] = decibels
    return whole


@lru_cache(maxsize=1)
def slaney_matrix() -> np.ndarray:
    """Triangles of equal area, straight over hertz, between edges of even distance on Slaney's mel scale:
    float64 [513,64]. That scale is linear below 1 kHz, 15 mel, and has 27 steps to a factor of 6.4 above."""
    step = math.log(6.4) / 27
    mel = np.linspace(0.0, 15 + math.log(RATE / 2 / 1000) / step, BANDS + 2)
    edges = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(step * (mel - 15)))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    hertz = np.linspace(0.0, RATE / 2, FFT // 2 + 1)[:, None]
    sides = np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre))
    return np.maximum(0.0, sides) * 2 / (high - low)


FRONT_ENDS = [FrontEnd("robust_mel", (1, STEPS, BANDS), robust_mel)]
