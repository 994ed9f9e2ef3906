"""Losses of networks that answer with masks and their classes: COMBO's and NTAVS's, after Mask2Former.

Letters in shapes: see `avsbench.nn.matcher`.

These losses belong to a whole batch: masks are divided by the number of targets in it, classes by the sum of their
weights. Parts of a batch would not add up: a method that uses them says `accumulate: false` in its recipe. On several
devices each divides by what it sees itself; COMBO was published on one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from avsbench.errors import AvsbenchError
from avsbench.nn.mask_decoder import Prediction
from avsbench.nn.matcher import Draw, Matcher, Pairs, RandomPoints, Targets, sample

NAMES = ("class", "mask", "dice")


@dataclass(frozen=True, kw_only=True)
class MaskCriterion:
    """Loss of class, mask and Dice for each prediction of a decoder, all weighing alike (deep supervision).

    Attributes:
        matcher: who answers for what.
        class_weight, mask_weight, dice_weight: of the terms.
        no_object: weight of "no object" among the classes.
        points: P, of each matched pair.
        oversample: candidates are so many times P.
        importance: share of the points that are the most uncertain candidates; the others are drawn afresh.
    """

    matcher: Matcher = field(default_factory=Matcher)
    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    no_object: float = 0.1
    points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75

    def __call__(
        self, predictions: Sequence[Prediction], labels: Tensor, draw: Draw | None = None
    ) -> dict[str, Tensor]:
        """Weighted terms `class`, `mask`, `dice` of the last prediction; `auxiliary_class` … are sums over the others.

        Args:
            predictions: logits [F,Q,C+1] and masks [F,Q,h,w], from the initial to the final one.
            labels: int64 [F,H,W] class ids, 255 = does not count.
            draw: random points; None: `RandomPoints`.
        """
        weights = self.class_weight, self.mask_weight, self.dice_weight
        *auxiliary, final = self.losses(predictions, labels, draw)
        terms = {name: weight * final[name] for name, weight in zip(NAMES, weights, strict=True)}
        if auxiliary:
            for name, weight in zip(NAMES, weights, strict=True):
                terms[f"auxiliary_{name}"] = weight * sum(each[name] for each in auxiliary)
        return terms

    def losses(
        self, predictions: Sequence[Prediction], labels: Tensor, draw: Draw | None = None
    ) -> list[dict[str, Tensor]]:
        """`class`, `mask` and `dice` of each prediction, without their weights; arguments as in a call."""
        draw = draw or RandomPoints(labels.device)
        targets = Targets.of(labels)
        matched = self.matcher(predictions, targets, draw)
        divisor = max(len(targets), 1)
        found = []
        for layer, ((logits, masks), pairs) in enumerate(zip(predictions, matched, strict=True)):
            named = class_loss(logits.float(), pairs, targets.classes, self.no_object)
            mask, dice = mask_and_dice(*self.at_points(masks, pairs, targets, layer, draw))
            found.append({"class": named, "mask": mask.sum() / divisor, "dice": dice.sum() / divisor})
        return found

    def at_points(self, masks: Tensor, pairs: Pairs, targets: Targets, layer: int, draw: Draw) -> tuple[Tensor, Tensor]:
        """Logits and truth of each pair at its points, [M,P] each."""
        chosen = masks[pairs.frames, pairs.queries][:, None].float()
        points = uncertain_points(
            chosen, self.points, layer, draw, oversample=self.oversample, importance=self.importance
        )
        truth = sample(targets.masks(pairs.targets)[:, None], points)
        return sample(chosen, points)[:, 0], truth[:, 0]


@torch.no_grad()
def uncertain_points(
    logits: Tensor, number: int, layer: int, draw: Draw, *, oversample: float = 3.0, importance: float = 0.75
) -> Tensor:
    """Points where a mask is least decided, the least first, then some anywhere.

    The choice of PointRend (Kirillov et al., CVPR 2020).

    Args:
        logits: [M,1,h,w].
        number: P.
        oversample, importance: see `MaskCriterion`.

    Returns:
        [M,P,2].
    """
    candidates = draw("candidate", layer, len(logits), int(oversample * number))
    undecided = -sample(logits, candidates)[:, 0].abs()
    best = undecided.topk(int(importance * number), dim=1).indices
    chosen = candidates.gather(1, best[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, draw("fresh", layer, len(logits), number - best.shape[1])], dim=1)


def mask_and_dice(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Mean binary cross-entropy, and 1 - (2 sum(s y) + 1) / (sum(s) + sum(y) + 1), of each pair: [M,P] -> [M] each."""
    bce = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1)
    s = logits.sigmoid()
    return bce, 1 - (2 * (s * truth).sum(dim=1) + 1) / (s.sum(dim=1) + truth.sum(dim=1) + 1)


def class_loss(logits: Tensor, pairs: Pairs, classes: Tensor, no_object: float) -> Tensor:
    """Mean cross-entropy of all queries; those without a match are "no object" and weigh `no_object`, the others 1.

    Args:
        logits: [F,Q,C+1].
        classes: [N] of the targets.
    """
    *shape, channels = logits.shape
    wanted = logits.new_full(shape, channels - 1, dtype=torch.long)
    wanted[pairs.frames, pairs.queries] = classes[pairs.targets]
    weights = logits.new_ones(channels)
    weights[-1] = no_object
    each = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    counted = weights[wanted.flatten()]
    return (counted * each).sum() / counted.sum().clamp_min(no_object)


def consistency_loss(maps: Tensor, group: int = 5) -> Tensor:
    """COMBO's adaptive inter-frame consistency (Yang et al., CVPR 2024): mean of c exp(-c) over neighbours in a group.

    c is 1 - the cosine of their maps. Where it is large the scene has changed, and the two are pulled less.

    Args:
        maps: [F,...], frames of all clips one after the other.
        group: frames of a group.

    Raises:
        AvsbenchError: F is no multiple of `group`.
    """
    if len(maps) % group:
        raise AvsbenchError(
            f"the consistency loss compares frames in groups of {group}",
            found=f"{len(maps)} frames",
            expected=f"a multiple of {group}",
            hint="train with whole clips, or set the weight of this loss to 0",
        )
    vectors = maps.float().reshape(-1, group, maps[0].numel())
    before, after = vectors[:, :-1].flatten(0, 1), vectors[:, 1:].flatten(0, 1)
    c = functional.cosine_embedding_loss(before, after, before.new_ones(len(before)), reduction="none")
    return (c * torch.exp(-c)).mean()
