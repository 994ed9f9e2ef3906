"""Augmentation of one picture and its mask, in Pillow, whose filters the published loaders use.

Pictures are RGB, masks of mode L with class ids; sizes are in pixels.
"""

from collections.abc import Sequence

import torch
from PIL import Image, ImageOps
from torchvision.transforms import functional

Pair = tuple[Image.Image, Image.Image]

_ADJUST = (
    functional.adjust_brightness,
    functional.adjust_contrast,
    functional.adjust_saturation,
    functional.adjust_hue,
)


def uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    """A number in [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def whole(generator: torch.Generator, below: int) -> int:
    """A whole number from 0 to `below` - 1."""
    return int(torch.randint(below, (), generator=generator))


def mirror(picture: Image.Image, mask: Image.Image) -> Pair:
    """Left and right change places."""
    return ImageOps.mirror(picture), ImageOps.mirror(mask)


def resize(picture: Image.Image, mask: Image.Image, width: int, height: int) -> Pair:
    """To this size: the picture bicubic with antialias, the mask by the nearest pixel."""
    size = (width, height)
    return picture.resize(size, Image.Resampling.BICUBIC), mask.resize(size, Image.Resampling.NEAREST)


def scale(picture: Image.Image, mask: Image.Image, factor: float) -> Pair:
    """Both sides times `factor`, rounded down."""
    return resize(picture, mask, int(picture.width * factor), int(picture.height * factor))


def pad(picture: Image.Image, mask: Image.Image, size: int, colour: tuple[int, int, int], label: int) -> Pair:
    """To at least `size` in both directions; what is missing is added on the right and below."""
    wide, high = max(picture.width, size), max(picture.height, size)
    if (wide, high) == picture.size:
        return picture, mask
    grounds = Image.new("RGB", (wide, high), colour), Image.new("L", (wide, high), label)
    for ground, image in zip(grounds, (picture, mask), strict=True):
        ground.paste(image, (0, 0))
    return grounds


def crop(picture: Image.Image, mask: Image.Image, size: int, left: int, top: int) -> Pair:
    """The square of side `size` whose upper left corner is (left, top)."""
    box = (left, top, left + size, top + size)
    return picture.crop(box), mask.crop(box)


def adjust_colours(picture: Image.Image, factors: Sequence[float], order: Sequence[int]) -> Image.Image:
    """Brightness, contrast, saturation and hue by `factors`, one after the other in `order` (a permutation of 0 … 3).

    A factor of 1 changes nothing; of hue it is the turn of the colour wheel, -0.5 … 0.5, and 0 changes nothing.
    """
    for number in order:
        picture = _ADJUST[number](picture, factors[number])
    return picture


def colour_jitter(picture: Image.Image, strengths: Sequence[float], generator: torch.Generator) -> Image.Image:
    """Random colours, as torchvision's ColorJitter.

    Args:
        strengths: s of brightness, contrast and saturation, whose factors are uniform in [max(0, 1 - s), 1 + s]; then
            of hue, which turns by up to s either way.
    """
    order = torch.randperm(4, generator=generator).tolist()
    factors = [uniform(generator, max(0.0, 1 - s), 1 + s) for s in strengths[:3]]
    factors.append(uniform(generator, -strengths[3], strengths[3]))
    return adjust_colours(picture, factors, order)
