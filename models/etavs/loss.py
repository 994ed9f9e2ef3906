"""Which losses ETAVS adds up, and how they weigh.

| data set | published |
|---|---|
| S4 | Dice of the first frame; a focal loss of weight 0 |
| MS3 | Dice of all frames, and binary cross-entropy of weight 1 (PVT) or 0 (ResNet), which the code calls focal |
| AVSS | cross-entropy, averaged over a frame, then over annotated frames |
"""

from torch import Tensor

from avsbench.cards import known
from avsbench.nn.losses import bce_loss, dice_loss, focal_loss, semantic_loss

TERMS = {"dice": dice_loss, "bce": bce_loss, "focal": focal_loss, "cross_entropy": semantic_loss}


def terms_of(*, semantic: bool, first_frame: bool) -> tuple[str, ...]:
    """The terms of a data set; `first_frame` says that the first frame of each clip alone has a mask."""
    if semantic:
        return ("cross_entropy",)
    return ("dice", "focal") if first_frame else ("dice", "bce")


def weights_of(settings: dict) -> dict[str, float]:
    """Term -> weight from a recipe's `loss`; a data set takes those of its own terms.

    Raises:
        AvsbenchError: there is no such term.
    """
    for name in settings:
        known(name, TERMS, "recipe of etavs: loss", "term")
    return dict(settings)


def mask_losses(weights: dict[str, float], logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """The weighed terms whose weight is not 0: logits [F,K,H,W], masks int64 [F,H,W], 255 = ignore."""
    return {name: weight * TERMS[name](logits, masks) for name, weight in weights.items() if weight}
