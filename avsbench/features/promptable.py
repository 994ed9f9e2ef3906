"""Promptable segmenters: points or boxes in, masks and scores out, from what was kept of a picture.

The costly part of Segment Anything looks at the picture alone. So it is done once, as the feature `image_embedding`,
and methods prompt what it left. Letters in shapes: F frames of one size, P prompts, N masks of a prompt, H W pixels.
"""

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from avsbench.features import Deriver


class Promptable(Deriver, nn.Module):
    """A segmenter in two steps. A prompt is a set of points or a box; prompts do not see each other."""

    @abstractmethod
    def embed(self, frames: np.ndarray) -> np.ndarray:
        """What is kept of F pictures, from uint8 [F,H,W,3]: an array [F,…]."""

    def derive(self, frames: np.ndarray, audio: dict[str, np.ndarray]) -> np.ndarray:
        return self.embed(frames)

    @abstractmethod
    def masks(
        self,
        embedding: Tensor,
        size: tuple[int, int],
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        several: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Masks of one picture under P prompts (at least one), which are either points or boxes.

        Args:
            embedding: what `embed` gave of the picture.
            size: (H, W) of the picture; prompts are in its pixels, masks of its size.
            points, labels: (x, y) [P,n,2] and their labels [P,n], 1: belongs to the object, 0: does not.
            boxes: x0, y0, x1, y1 [P,4].
            several: three masks a prompt, from a part to the whole; else one.

        Returns:
            bool [P,N,H,W] and scores float32 [P,N], higher is better.
        """


SELECTIONS = ("max_score", "max_area")


def select(masks: Tensor, scores: Tensor, by: str) -> Tensor:
    """Of the N masks of each prompt, bool [P,N,H,W], the one with the highest score or the most pixels: [P,H,W].

    The first of equals.
    """
    rank = scores if by == "max_score" else masks.sum(dim=(2, 3))
    return masks[torch.arange(len(masks), device=masks.device), rank.argmax(dim=1)]
