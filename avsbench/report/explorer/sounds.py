"""What a method hears of a clip, to be played and looked at: 16 kHz, a second a frame.

Sources are mixed as the front ends mix them. Those of a still picture (VPO) give their middle three seconds and are
panned to their places, as the stereo front end hears them; mono front ends hear the sum of both channels.
"""

import io

import numpy as np
from PIL import Image

from avsbench.cards import DatasetCard
from avsbench.media.clip_sound import STILL_SECONDS, ClipSound, middle
from avsbench.media.log_mel import RATE, mel_matrix, spectrum, steps
from avsbench.media.sound import Sound
from avsbench.media.vggish_mel import OFFSET, VGGISH, voice

LOUDEST = 4.0
"""Of log-mel, where the colours end: noise of full scale reaches it."""
_SHADES = 64


def heard(card: DatasetCard, sounds: list[Sound], frames: int) -> np.ndarray:
    """float32 [N,C] in -1..1, one channel or, where sources have places, two; silence where the sound ends early."""
    clip = ClipSound.of(card, sounds, frames)
    length = round((STILL_SECONDS if clip.still else frames) * RATE)
    waves = [middle(wave, length) if clip.still else _fitted(wave, length) for wave in clip.voices(voice)]
    placed = clip.still and any(sound.position != 0.5 for sound in sounds)
    places = [(1 - sound.position, sound.position) if placed else (1.0,) for sound in sounds]
    mixed = sum(np.outer(wave, place) for wave, place in zip(waves, places, strict=True))
    return (mixed / max(1.0, np.abs(mixed).max())).astype(np.float32)


def _fitted(wave: np.ndarray, length: int) -> np.ndarray:
    return np.pad(wave[:length], (0, max(0, length - len(wave))))


def encode(wave: np.ndarray) -> bytes:
    """[N,C] -> FLAC of 16 bits: what browsers play, without loss, in about half the bytes of a WAV."""
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, wave, RATE, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def spectrogram(wave: np.ndarray) -> bytes:
    """[N,C] -> PNG: a column every 10 ms, 64 mel bands from 125 Hz (bottom) to 7.5 kHz; the channels one below the
    other, left first. Log-mel as VGGish's relatives hear it."""
    from matplotlib import colormaps

    rows = []
    for channel in wave.T.astype(np.float64):
        padded = np.pad(channel, VGGISH.window // 2)
        found = np.abs(spectrum(padded, VGGISH.window, VGGISH.fft, steps(len(padded), VGGISH.window)))
        mel = np.log(found @ mel_matrix(VGGISH.fft, VGGISH.lowest, VGGISH.highest) + OFFSET)
        rows.append(mel.T[::-1])
    quiet = np.log(OFFSET)
    shades = np.clip((np.concatenate(rows) - quiet) / (LOUDEST - quiet), 0, 1) * (_SHADES - 1)
    image = Image.fromarray(np.rint(shades).astype(np.uint8), "P")
    image.putpalette((colormaps["magma"](np.linspace(0, 1, _SHADES))[:, :3] * 255).round().astype(np.uint8).tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=9)
    return out.getvalue()
