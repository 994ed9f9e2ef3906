"""The sound of one clip as front ends see it: its sources, its frames, and what several front ends share."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np

from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.media.sound import Sound

STILL_SECONDS = 3.0
"""A still picture (VPO) has no second of its own: it hears the middle of each of its sources."""


@dataclass
class ClipSound:
    """What a front end computes from. Keeps what was computed, for the next front end of the same clip.

    Attributes:
        sounds: the sources, as stored; several sound together.
        frames: T of this clip. Frame k shows second k, or the clip is one still picture.
        fill: what follows where the sound ends before the frames do: "repeat" (its end again) or "zeros".
        still: the clip is one picture, and its sound has no beginning in common with it.
        windows: into how many windows the loaders of CAVP cut ten seconds of this split.
        notes: sentences about what was cut, for the log.
    """

    sounds: list[Sound]
    frames: int
    fill: str = "repeat"
    still: bool = False
    windows: int = 10
    notes: list[str] = field(default_factory=list)
    _kept: dict = field(default_factory=dict, repr=False)

    def __post_init__(self):
        if not self.sounds:
            raise AvsbenchError("a clip without sound", found="0 sources", expected="1 or more")
        if self.fill not in ("repeat", "zeros"):
            raise AvsbenchError(f"unknown way to fill missing sound: {self.fill!r}", expected="repeat or zeros")

    @classmethod
    def of(cls, card: DatasetCard, sounds: list[Sound], frames: int, split: str = "test") -> "ClipSound":
        """The sound of a clip of `frames` frames of a data set."""
        # CAVP tests MS3 with five windows of two seconds and trains on it with ten of one.
        windows = 10 if (card.name, split) == ("ms3", "train") else card.frames
        return cls(sounds, frames, fill=card.mel_fill, still=card.frames == 1, windows=windows)

    def once(self, key: Hashable, make: Callable):
        """`make()`, computed for the first front end that asks and kept for the others."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def voices(self, voice: Callable[[Sound], np.ndarray]) -> list[np.ndarray]:
        """`voice` of each source."""
        return self.once(voice, lambda: [voice(sound) for sound in self.sounds])

    def mixture(self, voice: Callable[[Sound], np.ndarray], rate: int) -> np.ndarray:
        """The sum of all sources, [N]; of a still picture the sum of their middle three seconds.

        Args:
            voice: one channel of a source at `rate` samples a second, [N].
        """
        return self.once((voice, rate), lambda: self._mixture(voice, rate))

    def _mixture(self, voice: Callable[[Sound], np.ndarray], rate: int) -> np.ndarray:
        waves = self.voices(voice)
        if self.still:
            waves = [middle(wave, round(STILL_SECONDS * rate)) for wave in waves]
        if len(waves) == 1:
            return waves[0]
        length = max(map(len, waves))
        return sum(np.pad(wave, (0, length - len(wave))) for wave in waves)

    def note(self, text: str) -> None:
        """Keep a sentence, once."""
        if text not in self.notes:
            self.notes.append(text)


def middle(wave: np.ndarray, length: int) -> np.ndarray:
    """The central `length` samples; a shorter wave repeated end to end."""
    start = max(0, len(wave) // 2 - length // 2)
    return np.resize(wave[start : start + length], length)
