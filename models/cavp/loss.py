"""Losses of CAVP: cross-entropy, and the contrast between pixels of matching and of foreign pairs.

Letters in shapes: N items, C channels of the fused map, h w its pixels, M anchors.
"""

import torch
from torch import Tensor
from torch.nn import functional

from avsbench.contract import IGNORE

from .pairing import Permutation

EPS = 1e-12


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean cross-entropy over the valid pixels of all items; 0 where there are none.

    Args:
        logits: [N,K,H,W].
        masks: int64 [N,H,W], 255 = ignore.
    """
    total = functional.cross_entropy(logits, masks, ignore_index=IGNORE, reduction="sum")
    return total / (masks != IGNORE).sum().clamp_min(1)


def contrastive_loss(
    own: Tensor,
    labels: Tensor,
    foreign: Tensor,
    foreign_labels: Tensor,
    *,
    temperature: float = 0.1,
    views: int = 512,
    permutation: Permutation = torch.randperm,
) -> Tensor:
    """Pixels of one class attract each other and repel all others (Chen et al. 2024, section 3.3), a scalar.

    Args:
        own: pictures fused with their own sound, [N,C,h,w].
        labels: int64 [N,H,W], 255 = ignore.
        foreign: the same pictures fused with a foreign sound, [N,C,h,w].
        foreign_labels: int64 [N,H,W], what is to be seen with that sound.
        views: pixels of a class, and of background and of foreign pairs, at most. A class with fewer in the whole
            batch is left out; if that leaves none, the loss is 0.
        permutation: decides which. Drawn for each class in ascending order, then background, then foreign pairs.
    """
    anchors, kinds = sample_anchors(own, labels, foreign, foreign_labels, views=views, permutation=permutation)
    return anchor_losses(anchors, kinds, temperature).sum() / max(len(kinds), 1)


def sample_anchors(
    own: Tensor, labels: Tensor, foreign: Tensor, foreign_labels: Tensor, *, views: int, permutation: Permutation
) -> tuple[Tensor, Tensor]:
    """Unit vectors [M,C] of the chosen pixels, and their labels int64 [M]; the rest as in `contrastive_loss`."""
    size = tuple(own.shape[-2:])
    labels, foreign_labels = (_resize(x, size) for x in (labels, foreign_labels))
    here = ((labels > 0) & (labels != IGNORE)).nonzero()  # [pixels,3], ordered by item, row, column
    background = (labels == 0).nonzero()

    def draw(pixels: Tensor, count: int) -> Tensor:
        return pixels[permutation(len(pixels), device=pixels.device)[:count]]

    def at(x: Tensor, pixels: Tensor) -> Tensor:
        return x[pixels[:, 0], ..., pixels[:, 1], pixels[:, 2]]

    classes = at(labels, here)
    counts = torch.bincount(classes, minlength=1).tolist()
    chosen = [draw(here[classes == label], views) for label, count in enumerate(counts) if count >= views]
    if not chosen:
        return at(own, here[:0]) + at(foreign, here[:0]), classes[:0]
    count = min(views, len(background))  # of foreground there are `views` or more, or no class were chosen
    attached = torch.cat([*chosen, draw(background, count)])
    apart = draw(here, count)
    anchors = torch.cat([at(own, attached), at(foreign, apart)])
    return functional.normalize(anchors, dim=1), torch.cat([at(labels, attached), at(foreign_labels, apart)])


def anchor_losses(anchors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised InfoNCE of each anchor against all others, [M]; 0 for one that is alone with its label.

    Args:
        anchors: unit vectors [M,C]; the gradient flows through both sides of each product.
        labels: int64 [M].
    """
    if not len(anchors):
        return anchors.sum(dim=1)
    similarity = anchors @ anchors.T / temperature
    similarity = similarity - similarity.detach().amax(dim=1, keepdim=True)
    same = labels[:, None] == labels
    exponent = similarity.exp()
    repelled = (exponent * ~same).sum(dim=1, keepdim=True)
    attracted = same.fill_diagonal_(False)  # `same` is done with
    terms = (similarity - (exponent + repelled).log()) * attracted
    return -terms.sum(dim=1) / (attracted.sum(dim=1) + EPS)


def _resize(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """[N,H,W] -> [N,h,w], the nearest pixel above and to the left, as published."""
    return functional.interpolate(masks[:, None].float(), size, mode="nearest")[:, 0].long()
