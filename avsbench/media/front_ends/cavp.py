"""Log-mel of CAVP (Chen et al., CVPR 2024): decibels of a power spectrum divided by 100, bands up to 3.8 kHz.

A frame of a video hears one second (96 of its 101 steps), a still picture three (300 of 301); the crop says which:

    aligned     frame k hears second k; a still picture the middle of each source. Where the sound is too short, its
                last second follows again and again, or silence where the data set fills with zeros.
    reference   the published loaders: the middle 10 s (3 s) cut into equal windows, of which the first second counts. A
                sound shorter than that gives its *last* part, repeated, because a negative start counts from the end.
                The released weights were made with it.

Mono is the sum of all sources, stereo the same with each panned to its place: (1 - p) left, p right.
"""

from functools import partial

import numpy as np

from avsbench.media.clip_sound import STILL_SECONDS, ClipSound, middle
from avsbench.media.front_ends import FrontEnd
from avsbench.media.log_mel import BANDS, RATE, mel_matrix, spectrum
from avsbench.media.resample import windowed_sinc
from avsbench.media.sound import Sound, mono_float

WINDOW, FFT = 400, 512
LOWEST, HIGHEST = 125.0, 3800.0
VIDEO_SECONDS = 10.0
STEPS, STILL_STEPS = 96, 300
FLOOR = 1e-5


def cavp_mel(clip: ClipSound, *, crop: str, stereo: bool) -> np.ndarray:
    """Log-mel of each frame, float32 [T,C,steps,64]; C is 2 for stereo, else 1; steps are 96, or 300 for a still."""
    cut = {"aligned": aligned_windows, "reference": reference_windows}[crop]
    windows = [cut(wave, clip) for wave in clip.voices(voice)]  # [T,N] a source
    if stereo:
        places = [np.float32([1 - sound.position, sound.position])[:, None] for sound in clip.sounds]
    else:
        places = [np.ones((1, 1), np.float32)] * len(windows)
    mixed = sum(window[:, None] * place for window, place in zip(windows, places, strict=True))
    return log_mel(mixed, STILL_STEPS if clip.still else STEPS)


def voice(sound: Sound) -> np.ndarray:
    """One source at 16 kHz: mean over channels, float32 [N]."""
    return windowed_sinc(mono_float(sound.samples), sound.rate, RATE)


def aligned_windows(wave: np.ndarray, clip: ClipSound) -> np.ndarray:
    """[N] -> [T,16000], second k for frame k; of a still picture the middle, [1,48000]."""
    if clip.still:
        return middle(wave, round(STILL_SECONDS * RATE))[None]
    missing = clip.frames * RATE - len(wave)
    if missing > 0:
        end = np.resize(wave[-RATE:], missing) if clip.fill == "repeat" else np.zeros(missing, wave.dtype)
        wave = np.concatenate([wave, end])
    return wave[: clip.frames * RATE].reshape(clip.frames, RATE)


def reference_windows(wave: np.ndarray, clip: ClipSound) -> np.ndarray:
    """[N] -> [T,16000] as the published loaders cut it; of a still picture [1,48000]."""
    if clip.still:
        return reference_crop(wave, round(STILL_SECONDS * RATE))[None]
    windows = reference_crop(wave, round(VIDEO_SECONDS * RATE)).reshape(clip.windows, -1)
    return windows[: clip.frames, :RATE]


def reference_crop(wave: np.ndarray, length: int) -> np.ndarray:
    """`length` samples around the middle, with the published slip: a negative start counts from the end."""
    start = len(wave) // 2 - length // 2
    return np.resize(wave[start : start + length], length)


def log_mel(windows: np.ndarray, steps: int) -> np.ndarray:
    """float32 [...,N] at 16 kHz -> [...,steps,64]; silence is -1 and full scale about 0.5."""
    # Frames are centred and the ends reflected. Of the 512 samples of a transform the window leaves the middle 400.
    edge = WINDOW // 2
    padded = np.pad(windows, [(0, 0)] * (windows.ndim - 1) + [(edge, edge)], mode="reflect")
    found = spectrum(padded, WINDOW, FFT, steps)
    power = found.real**2 + found.imag**2
    mel = power @ mel_matrix(FFT, LOWEST, HIGHEST, slopes="hertz").astype(np.float32)
    # The formula for amplitudes, though this is a power: the weights were trained so.
    decibels = 20 * (np.log(np.maximum(mel, np.float32(FLOOR))) / np.float32(np.log(10)))
    return decibels / 100


def _front_end(name: str, crop: str, stereo: bool) -> FrontEnd:
    channels = 2 if stereo else 1
    shapes = [(channels, steps, BANDS) for steps in (STEPS, STILL_STEPS)]
    return FrontEnd(name, shapes[0], partial(cavp_mel, crop=crop, stereo=stereo), still_shape=shapes[1])


FRONT_ENDS = [
    _front_end("cavp_mel", "aligned", stereo=False),
    _front_end("cavp_mel_reference", "reference", stereo=False),
    _front_end("cavp_mel_stereo", "aligned", stereo=True),
    _front_end("cavp_mel_stereo_reference", "reference", stereo=True),
]
