"""Random colours of SSD (Liu et al., ECCV 2016) in the arithmetic of detectron2's PointRend, which uses OpenCV.

Pictures are uint8 [3,H,W], RGB. After each change numbers are clipped and cut to whole ones. Hue and saturation go
through OpenCV's 8-bit HSV, reproduced here number by number: hue in 0 … 179, saturation and value in 0 … 255.
"""

from dataclasses import dataclass

import numpy as np
import torch

HUES = 180


@dataclass(frozen=True)
class Colours:
    """What is done to a picture, in this order; None leaves a step out.

    Attributes:
        brightness: added to all numbers.
        contrast: factor of all numbers.
        saturation: factor.
        hue: added; a whole number.
        contrast_last: contrast comes after hue.
    """

    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: int | None = None
    contrast_last: bool = False

    @classmethod
    def draw(cls, generator: torch.Generator) -> "Colours":
        """Each step with probability 1/2: brightness by ±32, factors of 0.5 to 1.5, hue by ±18; either order."""
        *chances, a, b, c, d = torch.rand(9, generator=generator, dtype=torch.float64).tolist()
        values = 64 * a - 32, 0.5 + b, 0.5 + c, int(37 * d) - 18
        *taken, order = (chance < 0.5 for chance in chances)
        steps = (value if take else None for value, take in zip(values, taken, strict=True))
        return cls(*steps, contrast_last=order)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The changed picture, or the same one where nothing changes."""
        if self.brightness is not None:
            picture = _put(picture, _NUMBERS + np.float32(self.brightness))
        if self.contrast is not None and not self.contrast_last:
            picture = _put(picture, _NUMBERS * np.float32(self.contrast))
        if self.saturation is not None:
            hue, saturation, value = to_hsv(picture)
            picture = to_rgb(hue, _put(saturation, _NUMBERS * np.float32(self.saturation)), value)
        if self.hue is not None:
            hue, saturation, value = to_hsv(picture)
            picture = to_rgb((hue + self.hue) % HUES, saturation, value)
        if self.contrast is not None and self.contrast_last:
            picture = _put(picture, _NUMBERS * np.float32(self.contrast))
        return picture


def to_hsv(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[3,H,W] -> hue int32, saturation and value uint8, [H,W] each, in fixed-point arithmetic."""
    red, green, blue = wide = picture.astype(np.int32)
    value = wide.max(axis=0)
    spread = value - wide.min(axis=0)
    # Which colour is strongest decides the third of the wheel, and the two others where in it.
    sixths = np.where(value == green, blue - red + 2 * spread, red - green + 4 * spread)
    sixths = np.where(value == red, green - blue, sixths)
    hue = (sixths * _HUE_SHARE[spread] + _HALF) >> _BITS
    saturation = (spread * _SHARE[value] + _HALF) >> _BITS
    return hue + HUES * (hue < 0), saturation.astype(np.uint8), value.astype(np.uint8)


def to_rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The way back, in single precision, cut to whole numbers: uint8 [3,H,W].

    OpenCV takes pixels of a row 32 at a time (with AVX2). Those that are left at the end are rounded.
    """
    bright = value.astype(np.float32) * np.float32(1 / 255)
    place = hue * 256 + saturation
    colours = np.stack([bright * left[place] * 255 for left in _LEFT])
    rest = colours[..., colours.shape[-1] // 32 * 32 :]
    np.rint(rest, out=rest)
    return colours.astype(np.uint8)


def _put(picture: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Each number of a picture replaced by that of 256, clipped and cut."""
    table = numbers.clip(0, 255).astype(np.uint8)
    replaced = picture.tobytes().translate(table.tobytes())  # five times as fast as picking by an array
    return np.frombuffer(replaced, np.uint8).reshape(picture.shape)


def _quotients(numerator: float) -> np.ndarray:
    """`numerator` / n for n = 0 … 255 (0: 0), with 12 bits behind the point."""
    return np.rint(np.concatenate([[0], numerator * 2**_BITS / np.arange(1, 256)])).astype(np.int32)


def _left() -> np.ndarray:
    """Share of the value that each of red, green and blue has, by hue and saturation: float32 [3,180*256].

    A colour keeps everything in the third of the wheel around its own hue, and loses most in the third opposite.
    """
    place = np.arange(HUES, dtype=np.float32) * np.float32(6 / HUES)
    sector = place.astype(int)
    falling = (place - sector).astype(np.float32)
    rising = 1 - falling
    none, all_ = np.zeros_like(place), np.ones_like(place)
    red = np.choose(sector, [none, falling, all_, all_, rising, none])
    green = np.choose(sector, [rising, none, none, falling, all_, all_])
    blue = np.choose(sector, [all_, all_, rising, none, none, falling])
    lost = np.stack([red, green, blue])[..., None] * _saturations()
    return (1 - lost).astype(np.float32).reshape(3, -1)


def _saturations() -> np.ndarray:
    """Single precision, held in double: 1 minus a product is rounded once, as OpenCV's compilers make of it."""
    return (_NUMBERS * np.float32(1 / 255)).astype(np.float64)


_BITS = 12
_HALF = 1 << (_BITS - 1)
_NUMBERS = np.arange(256, dtype=np.float32)
_SHARE, _HUE_SHARE = _quotients(255), _quotients(HUES / 6)
_LEFT = _left()
