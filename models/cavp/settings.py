"""What a recipe says to CAVP, and where to say it."""

from dataclasses import dataclass, fields

from avsbench.cards import known
from avsbench.errors import AvsbenchError

from .pairing import BANKS

LOSS = ("contrast", "temperature", "views")
CHOICES = {
    "bank": BANKS,
    "fit": ("crop", "squash"),
    "padding": ("fixed", "reference"),
    "labels": ("fixed", "reference"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The recipe's keys `loss` (the first three) and `method`.

    Attributes:
        contrast: weight of the contrastive loss; the object setting has 0.1. With 0 no pairs are made.
        temperature: of the contrastive loss.
        views: pixels of a class that it sees at most; a class with fewer is left out.
        bank: see `Pairing`.
        overwrite: share of mismatches that may be overwritten.
        head_rate: learning rate of the segmentation head over the recipe's.
        backbone_rate: that of the visual backbone; the object setting has 0.5.
        audio_lr: learning rate of the audio network, constant; None: the recipe's. The object setting has 1e-4.
        size: side of training pictures; None: they stay as they are, and none of what follows is done to them.
        fit: how pictures come to that size: a random `crop`, padded where too small, or `squash`, which gives up the
            aspect ratio.
        scales: factors that a picture is resized by, one at random.
        flip: how often a picture is mirrored.
        jitter: strengths of brightness, contrast, saturation and hue; None: colours stay.
        swap_channels: whether a mirrored picture changes left and right of its sound. The published loader of VPO-SS
            forgets to.
        padding: what a crop is padded with: `fixed`, pixels that do not count; `reference`, foreground, as the
            published loader of S4 makes of them.
        labels: of VPO: `fixed`; `reference`, cars turn into airplanes where a picture shows both, as published.
    """

    contrast: float = 1.0
    temperature: float = 0.1
    views: int = 512
    bank: str = "fixed"
    overwrite: float = 0.5
    head_rate: float = 10.0
    backbone_rate: float = 1.0
    audio_lr: float | None = None
    size: int | None = None
    fit: str = "crop"
    scales: tuple[float, ...] = (1.0,)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] | None = None
    swap_channels: bool = True
    padding: str = "fixed"
    labels: str = "fixed"

    @classmethod
    def of(cls, recipe: dict) -> "Settings":
        """The settings of a recipe.

        Raises:
            AvsbenchError: a key or value that does not exist.
        """
        names = [field.name for field in fields(cls)]
        places = {"loss": LOSS, "method": [name for name in names if name not in LOSS]}
        values = {}
        for place, allowed in places.items():
            for key, value in recipe.get(place, {}).items():
                known(key, dict.fromkeys(allowed), f"recipe of cavp: {place}", "key")
                if key in CHOICES and value not in CHOICES[key]:
                    raise AvsbenchError(
                        f"recipe of cavp: unknown {place}.{key}", found=value, expected=", ".join(CHOICES[key])
                    )
                values[key] = tuple(value) if isinstance(value, list) else value
        return cls(**values)
