"""The published training augmentation of COMBO and NTAVS: one view for a whole clip, colours for each picture.

Frames, masks and maskiges are resized, cropped and mirrored alike. Colours are drawn anew for every frame and for every
maskige, as published: the maskige of a frame changes its colours by itself.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from avsbench.cards import known
from avsbench.contract import IGNORE
from avsbench.errors import AvsbenchError
from avsbench.features import MASKIGE
from avsbench.transforms.choice import Window
from avsbench.transforms.colours import Colours
from avsbench.transforms.pictures import uniform, whole

SCALES = tuple(k / 10 for k in range(5, 21))
"""Shorter sides to choose from, over the stored one."""
GREY = 128
"""What a picture is padded with."""


@dataclass(frozen=True)
class View:
    """What of a clip is seen.

    Attributes:
        side: of the resized picture, the shorter one; None: it stays as it is.
        left, top: corner of what is cut out of it, as large as the stored picture, or all where it is smaller.
        mirrored: left and right change places afterwards.
    """

    side: int | None = None
    left: int = 0
    top: int = 0
    mirrored: bool = False

    def pictures(self, pictures: Tensor, colours: Iterable[Colours]) -> Tensor:
        """uint8 [T,3,H,W], each with its colours, resized bilinearly with antialiasing, padded with grey."""
        seen = np.full(pictures.shape, GREY, np.uint8)
        for picture, change, place in zip(pictures.numpy(), colours, seen, strict=True):
            self._put(change(self._part(picture, Image.Resampling.BILINEAR)), place)
        return torch.from_numpy(seen)

    def masks(self, masks: Tensor) -> Tensor:
        """int64 [T,H,W], resized to the nearest pixel, padded with 255."""
        seen = np.full(masks.shape, IGNORE, np.int64)
        self._put(self._part(masks.numpy().astype(np.uint8), Image.Resampling.NEAREST), seen)
        return torch.from_numpy(seen)

    def _part(self, layers: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
        """What is cut out of layers uint8 [C,H,W]; each by itself, which Pillow does faster than colours together."""
        high, wide = layers.shape[1:]
        rows, columns = slice(self.top, self.top + high), slice(self.left, self.left + wide)
        if self.side is None:
            return layers[:, rows, columns]
        size = resized((wide, high), self.side)
        images = (Image.fromarray(layer).resize(size, resampling) for layer in layers)
        return np.stack([np.asarray(image)[rows, columns] for image in images])

    def _put(self, part: np.ndarray, place: np.ndarray) -> None:
        high, wide = part.shape[-2:]
        place[..., :high, :wide] = part[..., ::-1] if self.mirrored else part


def resized(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Both sides when the shorter becomes `side`, rounded."""
    return tuple(int(length * side / min(size) + 0.5) for length in size)


@dataclass(frozen=True, kw_only=True)
class ClipAugmentation:
    """A transform of clips; what comes out has the size that went in.

    Attributes:
        resize: to half the size and up to twice, then a random part; the stored pictures of AVSS, which were cut to
            their size, keep it.
        colours: change them; see `Colours`.
        mirror: how often left and right change places.
    """

    resize: bool = True
    colours: bool = True
    mirror: float = 0.5

    def __call__(self, clip: dict, generator: torch.Generator) -> dict:
        """The clip with new `frames`, `masks` and `features["maskige"]`, if it has these."""
        view = self.view(tuple(clip["frames"].shape[-2:]), generator)
        count = len(clip["frames"]) * (1 + (MASKIGE in clip["features"]))
        colours = [Colours.draw(generator) if self.colours else Colours() for _ in range(count)]
        return augmented(clip, view, colours)

    def view(self, size: tuple[int, int], generator: torch.Generator) -> View:
        """A random view of pictures of `size` (H, W)."""
        side, top, left = None, 0, 0
        if self.resize:
            side = int(SCALES[whole(generator, len(SCALES))] * min(size))
            top, left = (
                whole(generator, max(0, new - old) + 1) for new, old in zip(resized(size, side), size, strict=True)
            )
        return View(side, left, top, uniform(generator) < self.mirror)


def augmented(clip: dict, view: View, colours: Sequence[Colours]) -> dict:
    """A clip seen so; `colours` are those of frame 0, maskige 0, frame 1, … (or of frames alone).

    Raises:
        AvsbenchError: it has features that show other places than the frames, once these are cut or mirrored.
    """
    if strange := ", ".join(name for name in clip["features"] if name != MASKIGE):
        raise AvsbenchError(
            f"no augmentation that cuts and mirrors frames knows the features {strange}",
            expected=f"no features but {MASKIGE}",
            hint="train without method.augment in the recipe",
        )
    kinds = 1 + (MASKIGE in clip["features"])
    features = dict(clip["features"])
    if MASKIGE in features:
        features[MASKIGE] = view.pictures(features[MASKIGE], colours[1::2])
    frames = view.pictures(clip["frames"], colours[::kinds])
    return {**clip, "frames": frames, "masks": view.masks(clip["masks"]), "features": features}


def transforms(recipe: dict, method: str) -> Callable[[dict, torch.Generator], dict] | None:
    """What `Method.transforms` of COMBO and NTAVS gives out: the recipe's `method: {augment: {…}, window: n}`.

    Keys of `augment` are those of `ClipAugmentation`; without it clips stay as they are. `window`, if there is one,
    comes first, see `Window`: NTAVS trains on AVSS with 5 seconds of each clip.

    Args:
        method: its name, for messages.

    Raises:
        AvsbenchError: an unknown key.
    """
    settings = recipe.get("method", {})
    augment = settings.get("augment")
    if augment is not None:
        for key in augment:
            known(key, {f.name: None for f in fields(ClipAugmentation)}, f"recipe of {method}: method.augment", "key")
        augment = ClipAugmentation(**augment)
    window = settings.get("window")
    return augment if window is None else Window(window, augment)
