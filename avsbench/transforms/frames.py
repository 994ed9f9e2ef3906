"""Augmentation of a clip, each frame by itself: mirror, scale, colours, then one size for all."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from avsbench.contract import IGNORE
from avsbench.transforms import pictures

MEAN_COLOUR = (123, 116, 103)
"""ImageNet's mean times 255, rounded down: what a small picture is padded with."""


@dataclass(frozen=True, kw_only=True)
class FrameAugmentation:
    """Random view of each frame and its mask; frames of one clip are drawn independently.

    Attributes:
        size: side of what comes out.
        fit: `crop`, a random square after padding on the right and below; `squash`, the whole frame, whose aspect ratio
            is lost.
        scales: factors that a frame is resized by before, one of them at random.
        mirror: how often left and right change places.
        jitter: strengths of `colour_jitter`, or None.
        padding: label of what is padded.
        stereo: front ends [T,2,...] whose channels, where a clip has them, change places with left and right of their
            frame. That is exact where sources are panned linearly.
    """

    size: int
    fit: str = "crop"
    scales: tuple[float, ...] = (1.0,)
    mirror: float = 0.5
    jitter: tuple[float, float, float, float] | None = None
    padding: int = IGNORE
    stereo: tuple[str, ...] = ()

    def __call__(self, clip: dict, generator: torch.Generator) -> dict:
        """The clip with new `frames` [T,3,size,size] and `masks`; T, and all else but stereo sounds, as before."""
        frames, masks = [], []
        audio = dict(clip["audio"])
        panned = [name for name in self.stereo if name in audio]
        audio |= {name: audio[name].clone() for name in panned}
        for number, (frame, mask) in enumerate(zip(clip["frames"], clip["masks"], strict=True)):
            picture, labels, mirrored = self._view(_picture(frame), _mask(mask), generator)
            frames.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
            masks.append(torch.from_numpy(np.array(labels)).long())
            for name in panned if mirrored else ():
                audio[name][number] = audio[name][number].flip(0)
        return {**clip, "frames": torch.stack(frames), "masks": torch.stack(masks), "audio": audio}

    def _view(
        self, picture: Image.Image, mask: Image.Image, generator: torch.Generator
    ) -> tuple[Image.Image, Image.Image, bool]:
        """Picture, mask, and whether they were mirrored."""
        mirrored = pictures.uniform(generator) < self.mirror
        if mirrored:
            picture, mask = pictures.mirror(picture, mask)
        picture, mask = pictures.scale(picture, mask, self.scales[pictures.whole(generator, len(self.scales))])
        if self.jitter is not None:
            picture = pictures.colour_jitter(picture, self.jitter, generator)
        if self.fit == "squash":
            return *pictures.resize(picture, mask, self.size, self.size), mirrored
        picture, mask = pictures.pad(picture, mask, self.size, MEAN_COLOUR, self.padding)
        left, top = (pictures.whole(generator, side - self.size + 1) for side in picture.size)
        return *pictures.crop(picture, mask, self.size, left, top), mirrored


def _picture(frame: Tensor) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()))


def _mask(mask: Tensor) -> Image.Image:
    return Image.fromarray(mask.numpy().astype(np.uint8))
