"""Losses of AVSegFormer: Dice (S4, MS3) or cross-entropy (AVSS) of the masks, the same or Dice of the auxiliary ones.

Letters in shapes: F annotated frames, K score channels, H W the size of the network's masks.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.cards import known
from avsbench.contract import IGNORE
from avsbench.errors import AvsbenchError
from avsbench.nn.losses import bce_loss, dice_loss, semantic_loss

CHOICES = {
    "binary": ("dice", "bce", "dice_bce"),
    "empty": ("reference", "bce"),
    "frozen": ("fixed", "reference"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The recipe's keys `loss` (`auxiliary`, `binary`, `empty`) and `method` (`freeze_epochs`, `frozen`).

    Attributes:
        auxiliary: weight of the auxiliary term; of each mask where there are several. 0 switches it off.
        binary: loss of binary masks: `dice`, `bce`, or `dice_bce`, their sum, which is ours: a frame in which nothing
            sounds gives Dice no gradient, and BCE one.
        empty: loss of a frame without an object: `reference`, what `binary` says, or `bce`.
        freeze_epochs: epochs in which the visual encoder does not train.
        frozen: how it runs in these: `fixed`, as in prediction; `reference`, as in training, so that statistics of
            BatchNorm move and whole paths are dropped.
    """

    auxiliary: float = 0.1
    binary: str = "dice"
    empty: str = "reference"
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
        for place, allowed in {"loss": names[:3], "method": names[3:]}.items():
            for key, value in recipe.get(place, {}).items():
                known(key, dict.fromkeys(allowed), f"recipe of avsegformer: {place}", "key")
                if key in CHOICES and value not in CHOICES[key]:
                    raise AvsbenchError(
                        f"recipe of avsegformer: unknown {place}.{key}", found=value, expected=", ".join(CHOICES[key])
                    )
                values[key] = value
        return cls(**values)


def mask_loss(logits: Tensor, masks: Tensor, kind: str, empty: str = "reference") -> Tensor:
    """A scalar: `kind` is dice, bce, dice_bce or cross_entropy; masks int64 [F,H,W] go with logits [F,K,H,W].

    With `empty` of bce, frames without an object have that loss instead.
    """
    if empty == "bce":
        nothing = ~((masks > 0) & (masks != IGNORE)).flatten(1).any(dim=1)
        parts = [(nothing, "bce"), (~nothing, kind)]
        return sum(mask_loss(logits[w], masks[w], k) * w.sum() for w, k in parts) / max(len(masks), 1)
    if kind == "dice_bce":
        return dice_loss(logits, masks) + bce_loss(logits, masks)
    return {"dice": dice_loss, "bce": bce_loss, "cross_entropy": semantic_loss}[kind](logits, masks)


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """The nearest pixel by centres, as Pillow takes it: int64 [F,H,W] -> [F,h,w]."""
    if tuple(masks.shape[-2:]) == tuple(size):
        return masks
    return functional.interpolate(masks[:, None].to(torch.uint8), size=size, mode="nearest-exact")[:, 0].long()


class Agreement(nn.Module):
    """How far sound and picture of a frame agree: the similarity of AVSBench-Robust (arXiv 2502.00358).

    It decides nothing; learning to tell negatives apart by it teaches the network to listen.

    Args:
        width: of the sound.
        channels: of the picture's coarsest map.
    """

    def __init__(self, *, width: int, channels: int):
        super().__init__()
        self.projection = nn.Linear(width, channels)

    def forward(self, sound: Tensor, coarsest: Tensor) -> Tensor:
        """Sound [F,1,width], map [F,channels,h,w] -> cosines [F]."""
        return functional.cosine_similarity(self.projection(sound[:, 0]), coarsest.mean(dim=(2, 3)), dim=-1)

    @staticmethod
    def loss(similarity: Tensor, aligned: Tensor) -> Tensor:
        """Cross-entropy of the sigmoid of the cosines [F], mean over frames; `aligned` bool [F]."""
        return functional.binary_cross_entropy_with_logits(similarity, aligned.to(similarity.dtype))
