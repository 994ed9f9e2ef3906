"""Log-mel examples of VGGish and of its relatives: 0.96 s each, 96 steps of 10 ms, 64 mel bands.

The definition is that of the AudioSet VGGish release (Hershey et al., ICASSP 2017), without PCA and quantisation; its
relatives differ in window and bands alone. All steps are float64, the result float32. Other rates are resampled by soxr
where the original used resampy; bands below 7.2 kHz agree within 0.001, those above lie in the transition bands of the
resamplers and differ more.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FrontEnd
from avsbench.media.log_mel import BANDS, HOP, RATE, mel_matrix, spectrum, steps
from avsbench.media.resample import soxr_hq
from avsbench.media.sound import Sound, mono

STEPS = 96
OFFSET = 0.01


class Recipe(NamedTuple):
    """Window and transform length in samples at 16 kHz, lowest and highest edge of the bands in Hz."""

    window: int
    fft: int
    lowest: float
    highest: float


VGGISH = Recipe(400, 512, 125.0, 7500.0)


def front_end(name: str, recipe: Recipe) -> FrontEnd:
    """A front end of this family: one example a frame, float32 [T,1,96,64]."""
    return FrontEnd(name, (1, STEPS, BANDS), partial(frame_examples, recipe=recipe))


def vggish_mel(samples: np.ndarray, rate: int, recipe: Recipe = VGGISH) -> np.ndarray:
    """Log-mel examples of a sound, float32 [n,1,96,64]; an incomplete last example is dropped, so n may be 0.

    Args:
        samples: [N] or [N,channels] as stored (int16, int32 or float); channels are averaged.
        rate: samples a second; anything but 16000 is resampled.
    """
    return log_mel_examples(soxr_hq(mono(np.asarray(samples)), rate, RATE), recipe)


def log_mel_examples(wave: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Log-mel examples of a wave float64 [N] at 16 kHz, float32 [n,1,96,64]."""
    bands = mel_matrix(recipe.fft, recipe.lowest, recipe.highest)
    examples = np.empty((steps(len(wave), recipe.window) // STEPS, 1, STEPS, BANDS), np.float32)
    # One by one: the spectra of a whole clip do not fit into the processor's cache, and take up to three times as long.
    for number, example in enumerate(examples):
        magnitude = np.abs(spectrum(wave[number * STEPS * HOP :], recipe.window, recipe.fft, STEPS))
        example[0] = np.log(magnitude @ bands + OFFSET)
    return examples


def frame_examples(clip: ClipSound, recipe: Recipe) -> np.ndarray:
    """One example a frame, float32 [T,1,96,64]: example k, which begins at 0.96 k s, for frame k.

    A still picture gets the one example from the middle of its sound; this is ours, no publication says.
    """
    return clip.once(recipe, lambda: _frame_examples(clip, recipe))


def _frame_examples(clip: ClipSound, recipe: Recipe) -> np.ndarray:
    wave = clip.mixture(voice, RATE)
    if clip.still:
        length = (STEPS - 1) * HOP + recipe.window
        start = (len(wave) - length) // 2
        return log_mel_examples(wave[start : start + length], recipe)
    mel = log_mel_examples(wave, recipe)
    if len(mel) > clip.frames:
        clip.note(f"the sound goes on after the {clip.frames} frames; what follows is cut")
    return fit_examples(mel, clip.frames, clip.fill)


def voice(sound: Sound) -> np.ndarray:
    """One source at 16 kHz: 16 bits, mean over channels, float64 [N]."""
    return soxr_hq(mono(sound.samples), sound.rate, RATE)


def fit_examples(mel: np.ndarray, frames: int, fill: str) -> np.ndarray:
    """[n,1,96,64] -> [frames,1,96,64], one example a frame.

    Missing examples repeat the last one (`fill` "repeat", S4 and MS3) or are 0.0 (`fill` "zeros", AVSS: the value 0,
    not the -4.6 of silence). Examples beyond the last frame are dropped; the published loaders fail on those.
    """
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
