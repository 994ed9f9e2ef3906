"""The waveform that AudioCLIP hears in Sam4AVS (BMVC 2023): one second a frame at 44.1 kHz, in -1..1.

Sam4AVS repeats a second five times before the network; that, and the network's own scaling, are the model's. AudioCLIP
was trained on 32768 times these values; Sam4AVS leaves them as they are, and so does this front end.
"""

import numpy as np

from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FrontEnd
from avsbench.media.resample import soxr_hq
from avsbench.media.sound import Sound, mono_float

RATE = 44100


def audioclip_wave(clip: ClipSound) -> np.ndarray:
    """Second k of the mixture for frame k, float32 [T,44100].

    A shorter sound gives its whole seconds and then, as often as needed, its last 44100 samples; below one second it is
    repeated to fill one. A still picture gets the middle second, which is ours.
    """
    wave = clip.mixture(voice, RATE)
    if clip.still or len(wave) < RATE:
        start = max(0, len(wave) - RATE) // 2
        return np.tile(np.resize(wave[start : start + RATE], RATE), (clip.frames, 1))
    whole = min(clip.frames, len(wave) // RATE)
    last = np.tile(wave[-RATE:], (clip.frames - whole, 1))
    return np.concatenate([wave[: whole * RATE].reshape(whole, RATE), last])


def voice(sound: Sound) -> np.ndarray:
    """One source at 44.1 kHz: mean over channels, resampled by soxr HQ as librosa does, float32 [N]."""
    return soxr_hq(mono_float(sound.samples), sound.rate, RATE)


FRONT_ENDS = [FrontEnd("audioclip_wave", (RATE,), audioclip_wave)]
