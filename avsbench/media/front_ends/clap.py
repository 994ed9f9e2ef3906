"""The waveform that CLAP hears in Sam4AVS (BMVC 2023): one second a frame at 48 kHz, in -1..1, in steps of 16 bits.

CLAP's own loader rounds every sound to 16 bits. To repeat a second up to CLAP's ten is for whoever runs that network.
"""

import numpy as np

from avsbench.media.clip_sound import ClipSound, middle
from avsbench.media.front_ends import FrontEnd
from avsbench.media.resample import soxr_hq
from avsbench.media.sound import Sound, mono_float

RATE = 48000
STEPS = np.float32(32767)
"""Steps of a half wave: the loader scales by 2^15 - 1 and cuts the fraction off, so that values move towards zero."""


def clap_wave(clip: ClipSound) -> np.ndarray:
    """Second k of the mixture for frame k, float32 [T,48000]; zeros where the sound ends before the frames do.

    A still picture gets the middle second, which is ours.
    """
    wave = clip.mixture(voice, RATE)
    length = clip.frames * RATE
    wave = middle(wave, RATE) if clip.still else np.pad(wave[:length], (0, max(0, length - len(wave))))
    return sixteen_bits(np.resize(wave, (clip.frames, RATE)))


def voice(sound: Sound) -> np.ndarray:
    """One source at 48 kHz: mean over channels, resampled by soxr HQ as librosa does, float32 [N]."""
    return soxr_hq(mono_float(sound.samples), sound.rate, RATE)


def sixteen_bits(wave: np.ndarray) -> np.ndarray:
    """A wave as its 16-bit version holds it, float32 of the same shape; what is louder than full scale is cut."""
    return np.trunc(np.clip(wave, -1, 1) * STEPS) / STEPS


FRONT_ENDS = [FrontEnd("clap_wave", (RATE,), clap_wave)]
