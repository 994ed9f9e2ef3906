"""Timbres of the embedded data, in integer arithmetic: each class keeps to its own bands and rhythm.

A timbre takes (rate, n, dice) and gives n samples, int64, of any loudness; `soundtrack` levels and mixes them.
Frequencies are in 1/256 Hz, phases in 2^32 a turn, envelopes in 2^15.
"""

import math

import numpy as np

from avsbench.datasets.mini_kinds import Dice
from avsbench.datasets.mini_scene import SINE, Scene

LOUDNESS = 3000
"""Root mean square of a source over its whole clip, in 16-bit steps, before its own level of 80 to 125 %."""
HISS = 60
"""Peak of the noise that lies under every sound track, in 16-bit steps."""
_ONE = 1 << 15


def soundtrack(scene: Scene, dice: Dice, rate: int, channels: int) -> np.ndarray:
    """The sound of a scene, int16 [N,channels]: its sources in the seconds in which they sound, and a little hiss.

    Every source is centred; only the hiss differs between channels. Seconds begin and end with ramps of 10 ms where
    the source starts or stops.
    """
    count = scene.seconds * rate
    mix = np.zeros(count, np.int64)
    for number, thing in enumerate(scene.things):
        if any(thing.sounding):
            own = TIMBRES[thing.kind.timbre](rate, count, Dice(*dice.key, "timbre", number))
            level = LOUDNESS * dice.between(80, 125) // 100
            mix += levelled(own, level) * gate(thing.sounding, rate) >> 15
    tracks = [mix + (dice.noise(count) * HISS >> 15) for _ in range(channels)]
    return np.clip(np.stack(tracks, axis=1), -32768, 32767).astype(np.int16)


def levelled(samples: np.ndarray, loudness: int) -> np.ndarray:
    """Samples scaled to a root mean square of `loudness`."""
    samples = samples * 4096 // max(1, int(abs(samples).max()))
    power = max(1, math.isqrt(int((samples * samples).sum()) // len(samples)))
    return samples * loudness // power


def gate(sounding: tuple[bool, ...], rate: int) -> np.ndarray:
    """Envelope of the seconds in which a source sounds, with ramps of 10 ms inside them."""
    ramp = rate // 100
    envelope = np.repeat(np.array(sounding, np.int64) * _ONE, rate)
    rise = np.arange(ramp, dtype=np.int64) * _ONE // ramp
    for second, on in enumerate(sounding):
        start, end = second * rate, (second + 1) * rate
        if on and (second == 0 or not sounding[second - 1]):
            envelope[start : start + ramp] = rise
        if on and (second + 1 == len(sounding) or not sounding[second + 1]):
            envelope[end - ramp : end] = rise[::-1]
    return envelope


# parts of timbres


def tone(rate: int, count: int, hertz) -> np.ndarray:
    """A sine of 2^14 at `hertz` (1/256 Hz; a number or int64 [count])."""
    step = np.broadcast_to(np.asarray(hertz, np.int64) * (1 << 24) // rate, count)
    return SINE[(np.cumsum(step) & 0xFFFFFFFF) >> 20]


def stack(rate: int, count: int, hertz, weights: tuple[int, ...]) -> np.ndarray:
    """Harmonics 1, 2, … with weights in percent."""
    return sum(tone(rate, count, np.asarray(hertz) * k) * w for k, w in enumerate(weights, start=1)) // 100


def beat(rate: int, count: int, milliseconds: int) -> tuple[np.ndarray, np.ndarray]:
    """(number of the note, place within it in 2^15) of every sample, for notes of equal length."""
    length = rate * milliseconds // 1000
    at = np.arange(count, dtype=np.int64)
    return at // length, at % length * _ONE // length


def decay(place: np.ndarray) -> np.ndarray:
    """A plucked envelope: sharp start, cubic fall."""
    left = _ONE - place
    return np.minimum(left * left * left >> 30, place * 64)


def swell(place: np.ndarray) -> np.ndarray:
    """A parabola: silent at both ends of a note."""
    return 4 * place * (_ONE - place) >> 15


def melody(note: np.ndarray, dice: Dice, hertz: int, ratios: tuple[int, ...]) -> np.ndarray:
    """A frequency per sample: `hertz` times a random ratio (in percent) for every note."""
    choice = np.array([hertz * dice.pick(ratios) // 100 for _ in range(int(note[-1]) + 1)], np.int64)
    return choice[note]


def dull(noise: np.ndarray, width: int) -> np.ndarray:
    """Noise smoothed twice by a running mean of `width` samples."""
    for _ in range(2):
        total = np.concatenate([np.zeros(1, np.int64), np.cumsum(noise)])
        noise = (total[width:] - total[:-width]) // width
        noise = np.concatenate([noise, np.zeros(width - 1, np.int64)])
    return noise


def wobble(rate: int, count: int, hertz: int, depth: int) -> np.ndarray:
    """A slow sine of `depth`, at `hertz` (1/256 Hz)."""
    return tone(rate, count, hertz) * depth >> 14


def _pitch(dice: Dice, hertz: int) -> int:
    """`hertz` within ±5 %, in 1/256 Hz."""
    return hertz * 256 * dice.between(950, 1050) // 1000


# timbres, lowest first


def plucks(rate: int, count: int, dice: Dice) -> np.ndarray:
    """Plucked strings, 150 to 700 Hz."""
    note, place = beat(rate, count, dice.between(230, 270))
    hertz = melody(note, dice, _pitch(dice, 165), (100, 119, 133, 150))
    return stack(rate, count, hertz, (100, 60, 30)) * decay(place) >> 15


def barks(rate: int, count: int, dice: Dice) -> np.ndarray:
    """Bursts of noise around 700 Hz."""
    _, place = beat(rate, count, dice.between(280, 340))
    body = dull(dice.noise(count), rate // 250) * tone(rate, count, _pitch(dice, 700)) >> 14
    return body * swell(np.minimum(place * 2, _ONE)) >> 15


def chords(rate: int, count: int, dice: Dice) -> np.ndarray:
    """Struck chords, 1 to 1.7 kHz."""
    note, place = beat(rate, count, dice.between(440, 520))
    hertz = melody(note, dice, _pitch(dice, 1020), (100, 112))
    three = tone(rate, count, hertz) + tone(rate, count, hertz * 5 // 4) + tone(rate, count, hertz * 3 // 2)
    return three * decay(place) >> 15


def meows(rate: int, count: int, dice: Dice) -> np.ndarray:
    """A tone that glides up and down between 1.9 and 2.5 kHz."""
    _, place = beat(rate, count, dice.between(450, 550))
    return tone(rate, count, _pitch(dice, 1900) + (swell(place) * 600 * 256 >> 15)) * swell(place) >> 15


def bowing(rate: int, count: int, dice: Dice) -> np.ndarray:
    """A held tone with vibrato around 3.3 kHz."""
    note, _ = beat(rate, count, 1000)
    hertz = melody(note, dice, _pitch(dice, 3200), (100, 106))
    return tone(rate, count, hertz + wobble(rate, count, 6 * 256, 60 * 256))


def chirps(rate: int, count: int, dice: Dice) -> np.ndarray:
    """Fast upward chirps, 4.6 to 6.2 kHz."""
    _, place = beat(rate, count, dice.between(95, 125))
    return tone(rate, count, _pitch(dice, 4600) + (place * 1400 * 256 >> 15)) * swell(place) >> 15


def siren(rate: int, count: int, dice: Dice) -> np.ndarray:
    """Two odd-harmonic tones in turn: a comb over the whole range."""
    note, _ = beat(rate, count, dice.between(240, 280))
    low = _pitch(dice, 440)
    hertz = np.where(note % 2 == 0, low, low * 4 // 3)
    return stack(rate, count, hertz, (100, 0, 70, 0, 60, 0, 50, 0, 45))


def rotor(rate: int, count: int, dice: Dice) -> np.ndarray:
    """White noise in pulses, 12 a second."""
    _, place = beat(rate, count, dice.between(78, 92))
    return dice.noise(count) * decay(place) >> 16


TIMBRES = {f.__name__: f for f in (plucks, barks, chords, meows, bowing, chirps, siren, rotor)}
