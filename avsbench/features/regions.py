"""The generator `regions`: regions of like colour at three scales, in the place of Segment Anything without weights.

Felzenszwalb and Huttenlocher's segmentation (IJCV 2004) from fine to coarse; a prompt chooses among its regions. For
tests and demonstrations: such a segmenter knows no objects.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avsbench.features.promptable import Promptable, select

MOST = 256
"""Regions of a picture that 8 bits can tell apart."""


class Regions(Promptable):
    """Three masks a prompt, from the finest to the coarsest scale.

    Points choose the regions with more positive than negative ones in them; the score is the share of points on the
    right side. A box chooses the regions that lie in it for the larger part; the score is the overlap (IoU) of the box
    with the box around them. A single mask is that with the highest score, the finest of equals.

    Args:
        scales: higher gives larger regions; one a level.
        sigma: width of the Gaussian that smooths the picture first, in pixels.
        least: the smallest region as a share of the picture.
    """

    def __init__(
        self, *, scales: tuple[float, float, float] = (200.0, 600.0, 2000.0), sigma: float = 0.5, least: float = 0.02
    ):
        super().__init__()
        self.scales, self.sigma, self.least = scales, sigma, max(least, 1 / MOST)

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """Numbers of regions, uint8 [F,3,H,W]."""
        from skimage.segmentation import felzenszwalb

        smallest = int(np.ceil(self.least * np.prod(frames.shape[1:3])))
        levels = [
            [felzenszwalb(frame, scale, self.sigma, smallest, channel_axis=-1) for scale in self.scales]
            for frame in frames
        ]
        return np.array(levels).astype(np.uint8)

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
        """As the base class says; regions are enlarged to the size by the nearest pixel."""
        levels = F.interpolate(embedding[None].float(), size, mode="nearest-exact")[0].long()
        if boxes is None:
            found = [_of_points(levels, *prompt) for prompt in zip(points, labels > 0, strict=True)]
        else:
            found = [_of_box(levels, box) for box in boxes]
        masks, scores = (torch.stack(each) for each in zip(*found, strict=True))
        if several:
            return masks, scores
        return select(masks, scores, "max_score")[:, None], scores.amax(dim=1, keepdim=True)


def _of_points(levels: Tensor, points: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Masks bool [3,H,W] and scores [3] of the points [n,2], of which some are positive."""
    most = torch.tensor(levels.shape[:0:-1], device=levels.device) - 1
    x, y = points.long().clamp(min=0).minimum(most).T
    votes = 2 * positive.long() - 1
    masks = torch.stack([_regions(level, votes, level[y, x]) > 0 for level in levels])
    return masks, (masks[:, y, x] == positive).float().mean(dim=1)


def _of_box(levels: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Masks bool [3,H,W] and scores [3] of a box [4]."""
    y, x = (torch.arange(side, device=levels.device) for side in levels.shape[1:])
    inside = ((y >= box[1]) & (y <= box[3]))[:, None] & ((x >= box[0]) & (x <= box[2]))
    votes = 2 * inside.long() - 1
    masks = torch.stack([_regions(level, votes.flatten(), level.flatten()) > 0 for level in levels])
    around = torch.stack([_span(mask.any(dim=1))[:, None] & _span(mask.any(dim=0)) for mask in masks])
    union = (around | inside).sum(dim=(1, 2)).clamp(min=1)
    return masks, (around & inside).sum(dim=(1, 2)) / union


def _regions(level: Tensor, votes: Tensor, of: Tensor) -> Tensor:
    """The sum of the votes [n] of each region that `of` [n] names, at the pixels of the region: [H,W]."""
    return level.new_zeros(MOST).index_add_(0, of, votes)[level]


def _span(line: Tensor) -> Tensor:
    """True from the first to the last True, bool [L]."""
    return line.long().cummax(0).values.bool() & line.flip(0).long().cummax(0).values.flip(0).bool()


def build(*, weights: None, device: str, scale: str) -> Regions:
    """Computes on the CPU, whatever the device."""
    return Regions()
