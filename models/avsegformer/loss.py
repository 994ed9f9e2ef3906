"""Losses of AVSegFormer: Dice (S4, MS3) or cross-entropy (AVSS) of the masks, the same or Dice of the auxiliary ones.

Letters in shapes: F annotated frames, K score channels, H W the size of the network's masks.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from avsbench.cards import known
from avsbench.contract import IGNORE
from avsbench.errors import AvsbenchError

EPS = 0.001
CHOICES = {"binary": ("dice", "bce", "dice_bce"), "frozen": ("fixed", "reference")}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The recipe's keys `loss` (`auxiliary`, `binary`) and `method` (`freeze_epochs`, `frozen`).

    Attributes:
        auxiliary: weight of the auxiliary term; of each mask where there are several. 0 switches it off.
        binary: loss of binary masks: `dice`, `bce`, or `dice_bce`, their sum, which is ours: a frame in which nothing
            sounds gives Dice no gradient, and BCE one.
        freeze_epochs: epochs in which the visual encoder does not train.
        frozen: how it runs in these: `fixed`, as in prediction; `reference`, as in training, so that statistics of
            BatchNorm move and whole paths are dropped.
    """

    auxiliary: float = 0.1
    binary: str = "dice"
    freeze_epochs: int = 0
    frozen: str = "fixed"

    @classmethod
    def of(cls, recipe: dict) -> "Settings":
        """The settings of a recipe.

        Raises:
            AvsbenchError: a key or value that does not exist.
        """
        names = [field.name for field in fields(cls)]
        values = {}
        for place, allowed in {"loss": names[:2], "method": names[2:]}.items():
            for key, value in recipe.get(place, {}).items():
                known(key, dict.fromkeys(allowed), f"recipe of avsegformer: {place}", "key")
                if key in CHOICES and value not in CHOICES[key]:
                    raise AvsbenchError(
                        f"recipe of avsegformer: unknown {place}.{key}", found=value, expected=", ".join(CHOICES[key])
                    )
                values[key] = value
        return cls(**values)


def mask_loss(logits: Tensor, masks: Tensor, kind: str) -> Tensor:
    """A scalar: `kind` is dice, bce, dice_bce or cross_entropy; masks int64 [F,H,W] go with logits [F,K,H,W]."""
    if kind == "dice_bce":
        return dice_loss(logits, masks) + bce_loss(logits, masks)
    return {"dice": dice_loss, "bce": bce_loss, "cross_entropy": semantic_loss}[kind](logits, masks)


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - 2 sum(p g) / (sum(p^2) + sum(g^2) + 0.002) over a frame's valid pixels, averaged over frames.

    Nothing is added to the numerator: a frame without foreground costs nearly 1, whatever is predicted.

    Args:
        logits: [F,1,H,W].
        masks: int64 [F,H,W]; every class but 0 is foreground, 255 does not count.
    """
    valid = masks != IGNORE
    truth = (valid & (masks > 0)).to(logits.dtype)
    predicted = logits[:, 0].sigmoid() * valid
    both, squares = (predicted * truth).sum(dim=(1, 2)), (predicted**2 + truth).sum(dim=(1, 2))
    return _mean(1 - 2 * both / (squares + 2 * EPS))


def bce_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean binary cross-entropy over all valid pixels; shapes as in `dice_loss`."""
    valid = masks != IGNORE
    truth = (masks > 0).to(logits.dtype)
    pixels = functional.binary_cross_entropy_with_logits(logits[:, 0], truth, reduction="none")
    return (pixels * valid).sum() / valid.sum().clamp_min(1)


def semantic_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy, averaged over a frame's valid pixels, then over frames.

    Args:
        logits: [F,K,H,W].
        masks: int64 [F,H,W] class ids, 255 does not count.
    """
    pixels = functional.cross_entropy(logits, masks, ignore_index=IGNORE, reduction="none")
    return _mean(pixels.sum(dim=(1, 2)) / (masks != IGNORE).sum(dim=(1, 2)).clamp_min(1))


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """The nearest pixel by centres, as Pillow takes it: int64 [F,H,W] -> [F,h,w]."""
    if tuple(masks.shape[-2:]) == tuple(size):
        return masks
    return functional.interpolate(masks[:, None].to(torch.uint8), size=size, mode="nearest-exact")[:, 0].long()


def _mean(frames: Tensor) -> Tensor:
    """0 for no frames, and a gradient all the same."""
    return frames.sum() / max(len(frames), 1)
