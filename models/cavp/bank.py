"""The sound bank: for each class, the last sounds that were heard alone with it.

Published as a bank of waveforms. This one holds log-mels: the mel is a fixed function of each waveform by itself, so
storing before or after it is the same, and the silence that a published bank starts with is a mel of exactly -1.

Letters in shapes: N items, K classes, S sounds a class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SILENCE = -1.0


@dataclass
class SoundBank:
    """A ring of sounds for each class. Not a module: buffers would be made equal over processes, banks are not.

    Attributes:
        sounds: [K,S,...], on the device of the training.
        stored: int64 [K], how many sounds each class ever got; on the CPU.
    """

    sounds: Tensor
    stored: Tensor

    @classmethod
    def silent(cls, classes: int, size: int, sound: Tensor) -> "SoundBank":
        """A bank for sounds like this one, S = `size` (published: the batch of one process), full of silence."""
        return cls(sound.new_full((classes, size, *sound.shape), SILENCE), torch.zeros(classes, dtype=torch.long))

    def add(self, sound: Tensor, label: int) -> None:
        """Store a sound in place of the oldest of its class."""
        self.sounds[label, self._oldest(label)] = sound.detach()
        self.stored[label] += 1

    def oldest(self, label: int, *, real: bool) -> Tensor | None:
        """The oldest sound of a class.

        As published the silence of the beginning counts as one, until S sounds came. With `real` it does not, and a
        class without a sound gives None.
        """
        if not real or self.stored[label] >= self.sounds.shape[1]:
            return self.sounds[label, self._oldest(label)]
        return self.sounds[label, 0] if self.stored[label] else None

    def _oldest(self, label: int) -> int:
        return int(self.stored[label]) % self.sounds.shape[1]
