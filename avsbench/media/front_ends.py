"""The registry of audio front ends: a name, the shape a frame gets, and the one function that computes it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.media.sound import Sound
from avsbench.media.vggish_mel import BANDS, STEPS, fit_examples, vggish_mel


@dataclass(frozen=True)
class FrontEnd:
    """A named audio representation.

    Attributes:
        name: as method cards write it under `inputs.front_ends`.
        shape: of one frame, without T.
        function: (sounds, frames, mel_fill) -> float32 [T, *shape].
    """

    name: str
    shape: tuple[int, ...]
    function: Callable[[list[Sound], int, str], np.ndarray]

    def compute(self, sounds: list[Sound], frames: int, mel_fill: str) -> np.ndarray:
        """The representation of a clip of T = `frames` frames, float32 [T, *shape], checked.

        Args:
            sounds: the clip's sources, as stored.
            frames: T.
            mel_fill: what stands for missing examples: "repeat" or "zeros" (the data-set card says).
        """
        array = self.function(sounds, frames, mel_fill)
        if array.shape != (frames, *self.shape) or array.dtype != np.float32 or not np.isfinite(array).all():
            raise AvsbenchError(
                f"front end {self.name}: wrong result",
                found=f"{array.dtype} {array.shape}, finite: {bool(np.isfinite(array).all())}",
                expected=f"finite float32 {(frames, *self.shape)}",
            )
        return array


def _vggish(sounds: list[Sound], frames: int, mel_fill: str) -> np.ndarray:
    if len(sounds) != 1:
        raise AvsbenchError(
            "front end vggish_mel: takes the one sound track of a clip",
            found=f"{len(sounds)} sounds",
            expected="1 sound",
        )
    return fit_examples(vggish_mel(sounds[0].samples, sounds[0].rate), frames, mel_fill)


FRONT_ENDS: dict[str, FrontEnd] = {
    end.name: end
    for end in [
        FrontEnd("vggish_mel", (1, STEPS, BANDS), _vggish),
    ]
}
