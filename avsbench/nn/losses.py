"""Losses of mask logits that several methods share; pixels of value 255 do not count.

Letters in shapes: F annotated frames, K score channels. No frame at all gives 0, and a gradient all the same.
"""

from torch import Tensor
from torch.nn import functional

from avsbench.contract import IGNORE

DICE_EPS = 0.001


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - 2 sum(p g) / (sum(p^2) + sum(g^2) + 0.002) over a frame's valid pixels, averaged over frames.

    The form of AVSegFormer's release (https://github.com/vvvb-github/AVSegFormer). Nothing is added to the numerator: a
    frame without foreground costs nearly 1, whatever is predicted.

    Args:
        logits: [F,1,H,W].
        masks: int64 [F,H,W]; every class but 0 is foreground.
    """
    valid = masks != IGNORE
    truth = (valid & (masks > 0)).to(logits.dtype)
    predicted = logits[:, 0].sigmoid() * valid
    both, squares = (predicted * truth).sum(dim=(1, 2)), (predicted**2 + truth).sum(dim=(1, 2))
    return _mean(1 - 2 * both / (squares + 2 * DICE_EPS))


def bce_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean binary cross-entropy over all valid pixels; shapes as in `dice_loss`."""
    valid = masks != IGNORE
    truth = (masks > 0).to(logits.dtype)
    pixels = functional.binary_cross_entropy_with_logits(logits[:, 0], truth, reduction="none")
    return (pixels * valid).sum() / valid.sum().clamp_min(1)


def focal_loss(logits: Tensor, masks: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Mean sigmoid focal loss (Lin et al., ICCV 2017) over all valid pixels; shapes as in `dice_loss`."""
    valid = masks != IGNORE
    truth = (masks > 0).to(logits.dtype)
    pixels = functional.binary_cross_entropy_with_logits(logits[:, 0], truth, reduction="none")
    wrong = (logits[:, 0].sigmoid() - truth).abs()  # 1 - p of the true side
    balance = alpha * truth + (1 - alpha) * (1 - truth)
    return (balance * wrong**gamma * pixels * valid).sum() / valid.sum().clamp_min(1)


def semantic_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy, averaged over a frame's valid pixels, then over frames.

    Args:
        logits: [F,K,H,W].
        masks: int64 [F,H,W] class ids.
    """
    pixels = functional.cross_entropy(logits, masks, ignore_index=IGNORE, reduction="none")
    return _mean(pixels.sum(dim=(1, 2)) / (masks != IGNORE).sum(dim=(1, 2)).clamp_min(1))


def _mean(frames: Tensor) -> Tensor:
    return frames.sum() / max(len(frames), 1)
