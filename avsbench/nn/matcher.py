"""Which query answers for which object: one-to-one matching of predicted and true masks at random points.

The matching of Mask2Former (Cheng et al., CVPR 2022), with which COMBO and NTAVS train.

Letters in shapes: F frames that have a truth, Q queries, C classes without "no object", N targets of all frames, K of
the frame that has most, M matched pairs, P points, H W size of labels, h w of predicted masks.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from avsbench.contract import IGNORE
from avsbench.nn.mask_decoder import Prediction
from avsbench.nn.precision import float32


class Draw(Protocol):
    """Where random points come from, so that tests can say them."""

    def __call__(self, use: str, layer: int, count: int, points: int) -> Tensor:
        """[count,points,2], each (x, y) in [0, 1].

        Args:
            use: `match` (a set of points for each frame), `candidate` or `fresh` (for each matched pair).
            layer: number of the prediction.
        """


@dataclass(frozen=True)
class RandomPoints:
    """Uniform points.

    Attributes:
        device: where they are drawn.
        generator: whose they are; None: torch's own, which the engine seeds and stores.
    """

    device: torch.device
    generator: torch.Generator | None = None

    def __call__(self, use: str, layer: int, count: int, points: int) -> Tensor:
        return torch.rand(count, points, 2, device=self.device, generator=self.generator)


@dataclass(frozen=True)
class Targets:
    """The objects of F frames: one for each distinct label, 255 excepted; by frame, then by label.

    Background is an object like others.

    Attributes:
        labels: int64 [F,H,W].
        frames: int64 [N], on the labels' device.
        classes: int64 [N].
    """

    labels: Tensor
    frames: Tensor
    classes: Tensor

    @classmethod
    def of(cls, labels: Tensor) -> "Targets":
        """The objects of label maps, int64 [F,H,W] with values 0 to 255."""
        present = labels.new_zeros(len(labels), IGNORE + 1, dtype=torch.bool)
        present.scatter_(1, labels.flatten(1), True)
        present[:, IGNORE] = False
        return cls(labels, *present.nonzero(as_tuple=True))

    def __len__(self) -> int:
        return len(self.classes)

    def masks(self, numbers: Tensor) -> Tensor:
        """float32 [M,H,W], 1 where targets [M] are."""
        return (self.labels[self.frames[numbers]] == self.classes[numbers][:, None, None]).float()

    @cached_property
    def counts(self) -> list[int]:
        """Targets of each frame, F numbers."""
        return torch.bincount(self.frames, minlength=len(self.labels)).tolist()

    @cached_property
    def by_frame(self) -> tuple[Tensor, Tensor]:
        """classes [F,K] and masks float32 [F,K,H,W]; 0 in places that a frame does not fill. K is 1 at least."""
        counts = torch.tensor(self.counts)
        places = torch.cat([torch.arange(count) for count in self.counts] or [counts]).to(self.frames.device)
        slots = max([1, *self.counts])
        classes = self.classes.new_zeros(len(counts), slots)
        masks = torch.zeros(len(counts), slots, *self.labels.shape[1:], device=self.labels.device)
        classes[self.frames, places] = self.classes
        masks[self.frames, places] = self.masks(torch.arange(len(self), device=self.labels.device))
        return classes, masks


class Pairs(NamedTuple):
    """M matches, by frame, then by query: int64 [M] each."""

    frames: Tensor
    queries: Tensor
    targets: Tensor
    """Numbers in `Targets`."""


@dataclass(frozen=True, kw_only=True)
class Matcher:
    """The cheapest assignment of queries to targets, frame by frame.

    Attributes:
        class_weight, mask_weight, dice_weight: of the three costs.
        points: P, at which masks are compared.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    points: int = 12544

    @torch.no_grad()
    def __call__(self, predictions: Sequence[Prediction], targets: Targets, draw: Draw) -> list[Pairs]:
        """The pairs of each prediction. Costs cross from the device once for all of them."""
        if not len(targets):
            return [Pairs(*targets.frames.new_zeros(3, 0)) for _ in predictions]
        frames = len(targets.labels)
        each = [
            self.cost(prediction, targets, draw("match", layer, frames, self.points))
            for layer, prediction in enumerate(predictions)
        ]
        # A number that is not finite matches anything: the loss then is not finite either, and the engine says where.
        crossed = np.nan_to_num(torch.stack(each).cpu().numpy())
        found = np.stack([assign(cost, targets.counts) for cost in crossed])
        return [Pairs(*rows) for rows in torch.from_numpy(found).to(targets.frames.device)]

    def cost(self, prediction: Prediction, targets: Targets, points: Tensor) -> Tensor:
        """Weighted sum of `costs`, [F,Q,K]; without TF32, whatever a training allows."""
        weights = self.class_weight, self.mask_weight, self.dice_weight
        # A GPU wants all frames at once; a processor is twice as fast with what stays in its cache.
        frames = len(points) if points.is_cuda else 1
        parts = zip(*(x.split(frames) for x in (*prediction, *targets.by_frame, points)), strict=True)
        with float32():
            return torch.cat([sum(w * cost for w, cost in zip(weights, costs(*part), strict=True)) for part in parts])


def costs(
    logits: Tensor, predicted: Tensor, classes: Tensor, masks: Tensor, points: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Cost of class, mask and Dice for each query and target of a frame, float32 [F,Q,K] each.

    Minus the probability of the class; mean binary cross-entropy over the points; 1 - (2 sum(s y) + 1) /
    (sum(s) + sum(y) + 1), where s are probabilities and y the target's values, both sampled bilinearly.

    Args:
        logits: [F,Q,C+1].
        predicted: mask logits [F,Q,h,w].
        classes: of the targets, [F,K].
        masks: of the targets, float32 [F,K,H,W].
        points: [F,P,2], shared by queries and targets of a frame.
    """
    x, y = sample(predicted.float(), points), sample(masks, points).mT  # [F,Q,P], [F,P,K]
    chances = logits.float().softmax(dim=2)
    class_cost = -chances.gather(2, classes[:, None].expand(-1, chances.shape[1], -1))
    # y bce(x, 1) + (1 - y) bce(x, 0) = softplus(x) - x y
    mask_cost = (functional.softplus(x).sum(dim=2, keepdim=True) - x @ y) / points.shape[1]
    s = x.sigmoid()
    dice_cost = 1 - (2 * (s @ y) + 1) / (s.sum(dim=2, keepdim=True) + y.sum(dim=1, keepdim=True) + 1)
    return class_cost, mask_cost, dice_cost


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps [N,C,h,w] at points [N,P,2] in [0, 1], zero outside: [N,C,P]."""
    return functional.grid_sample(maps, 2 * points[:, None] - 1, align_corners=False)[:, :, 0]


def assign(costs: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The cheapest one-to-one matches of each frame: int64 [3,M], rows as `Pairs`.

    Args:
        costs: [F,Q,K].
        counts: targets of each frame; further columns do not count.
    """
    found = []
    starts = itertools.accumulate(counts, initial=0)
    for frame, (cost, count, start) in enumerate(zip(costs, counts, starts, strict=False)):
        queries, targets = linear_sum_assignment(cost[:, :count])
        found.append(np.stack([np.full_like(queries, frame), queries, targets + start]))
    return np.concatenate(found, axis=1)
