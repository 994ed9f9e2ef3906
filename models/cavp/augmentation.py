"""The published training augmentation of CAVP, and what its loaders do to labels on the way."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from avsbench.contract import IGNORE
from avsbench.errors import AvsbenchError
from avsbench.transforms.frames import FrameAugmentation

from .pairing import CLASSES, image_classes
from .settings import Settings

VPO_CLASSES, AIRPLANE, CAR = 22, 1, 5
STEREO = ("cavp_mel_stereo", "cavp_mel_stereo_reference")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """A transform of clips.

    Attributes:
        told: if given, the number of classes K: the classes of each frame before `view` go with the clip, as a feature
            [T,K]. VPO-SS tells them from its table, whatever a crop leaves of the object.
        view: mirrors, scales and crops; None: frames stay as they are.
        rename: what becomes of labels [H,W] after `view`, or None.
    """

    told: int | None = None
    view: FrameAugmentation | None = None
    rename: Callable[[Tensor], Tensor] | None = None

    def __call__(self, clip: dict, generator: torch.Generator) -> dict:
        if self.told is not None:
            classes = image_classes(clip["masks"], self.told, "told")
            clip = {**clip, "features": {**clip["features"], CLASSES: classes}}
        if self.view is not None:
            clip = self.view(clip, generator)
        if self.rename is not None:
            clip = {**clip, "masks": torch.stack([self.rename(mask) for mask in clip["masks"]])}
        return clip


def augmentation(settings: Settings, *, class_rule: str, classes: int) -> Augmentation:
    """The transform of a recipe, for `Method.transforms`.

    Args:
        class_rule: see `image_classes`.
        classes: K.
    """
    if settings.labels == "reference" and classes != VPO_CLASSES:
        raise AvsbenchError(
            "recipe of cavp: method.labels is about VPO", found=f"a data set of {classes} classes", expected="fixed"
        )
    view = FrameAugmentation(
        size=settings.size,
        fit=settings.fit,
        scales=settings.scales,
        mirror=settings.flip,
        jitter=settings.jitter,
        padding=IGNORE if settings.padding == "fixed" else 1,
        stereo=STEREO if settings.swap_channels else (),
    )
    return Augmentation(
        told=classes if class_rule == "told" else None,
        view=view if settings.size else None,
        rename=cars_to_airplanes if settings.labels == "reference" else None,
    )


def cars_to_airplanes(labels: Tensor) -> Tensor:
    """Labels of VPO [H,W] -> what the published loader makes of the same mask file.

    It turns the numbers of the file into indices in place, one after the other. Cars are number 3 and become index 5,
    which is the number of airplanes: where a picture shows both, all of them end as airplanes. No other pair collides.
    """
    return torch.where(labels == CAR, AIRPLANE, labels) if (labels == AIRPLANE).any() else labels
