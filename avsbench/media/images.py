"""Images and masks from files: reading, the official resize rules, mask encodings and colour palettes.

Shapes: H W pixels of the file, S side of the stored frame, K classes.
"""

import io
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from avsbench.errors import AvsbenchError

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow raises on broken files; a broken PNG chunk is a SyntaxError there."""


def _open(path: str | Path) -> Image.Image:
    """A fully decoded Pillow image; a missing, empty, foreign or truncated file is one AvsbenchError that names it."""
    path = Path(path)
    if not path.is_file():
        raise AvsbenchError(
            f"{path}: no such image", hint="unpack the release again, or remove the clip from the table"
        )
    if path.stat().st_size == 0:
        raise AvsbenchError(f"{path}: the image file is empty", found="0 bytes", expected="a PNG or JPEG image")
    try:
        with Image.open(path) as image:
            image.load()
            return image.copy()
    except _UNREADABLE as error:
        raise AvsbenchError(
            f"{path}: the image cannot be read",
            found=f"{path.stat().st_size} bytes; {error}",
            expected="a complete PNG or JPEG image",
            hint="copy or unpack the file again",
        ) from None


def read_image(path: str | Path) -> np.ndarray:
    """An image of any mode as RGB, uint8 [H,W,3]."""
    return np.asarray(_open(path).convert("RGB"))


def decode_image(data: bytes, name: str) -> np.ndarray:
    """An encoded image as RGB, uint8 [H,W,3]; `name` says in an error where the bytes came from."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except _UNREADABLE as error:
        raise AvsbenchError(
            f"{name}: the image cannot be read", found=f"{len(data)} bytes; {error}", expected="a PNG or JPEG image"
        ) from None


def encode_png(image: np.ndarray) -> bytes:
    """uint8 [H,W,3] or [H,W] as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", compress_level=3)
    return out.getvalue()


# sizes


def resize_image(image: np.ndarray, size: int, rule: str) -> np.ndarray:
    """uint8 [H,W,3] -> uint8 [S,S,3] by `rule` ("squash" or "crop"), bilinear with antialias as Pillow does it."""
    return _resize(image, size, rule, Image.Resampling.BILINEAR)


def resize_mask(mask: np.ndarray, size: int, rule: str) -> np.ndarray:
    """uint8 class ids [H,W] -> uint8 [S,S] by `rule`, nearest neighbour, so that no new value appears."""
    return _resize(mask, size, rule, Image.Resampling.NEAREST)


def _resize(array: np.ndarray, size: int, rule: str, filter_: Image.Resampling) -> np.ndarray:
    height, width = array.shape[:2]
    if (height, width) == (size, size):
        return array
    image = Image.fromarray(array)
    if rule == "squash":
        return np.asarray(image.resize((size, size), filter_))
    if rule == "crop":
        wide, high = crop_sides(width, height, size)
        left, top = round((wide - size) / 2), round((high - size) / 2)  # halves go to the even side, as published
        return np.asarray(image.resize((wide, high), filter_).crop((left, top, left + size, top + size)))
    raise AvsbenchError(f"unknown resize rule {rule!r}", expected="squash or crop")


def crop_sides(width: int, height: int, size: int) -> tuple[int, int]:
    """(width, height) after the short side became `size` with the aspect ratio kept; the long side is rounded down."""
    if width > height:
        return int(width * size / height), size
    return size, int(height * size / width)


def resize_plain(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 [H,W,3] -> uint8 [height,width,3], bilinear between pixel centres *without* antialias.

    The released frames were squashed this way when they were cut from the videos, so frames made here match them.
    """
    if image.shape[:2] == (height, width):
        return image
    top, bottom, y = _neighbours(image.shape[0], height)
    left, right, x = _neighbours(image.shape[1], width)
    y, x = y[:, None, None], x[None, :, None]
    rows = image[top] * (1 - y) + image[bottom] * y
    mixed = rows[:, left] * (1 - x) + rows[:, right] * x
    return np.floor(mixed + 0.5).astype(np.uint8)


def _neighbours(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower index, upper index and weight of the upper one for every target pixel along an axis."""
    position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
    lower = np.floor(position).astype(np.intp)
    return lower, np.minimum(lower + 1, source - 1), position - lower


# binary masks


def read_binary_mask(path: str | Path) -> np.ndarray:
    """A foreground mask in any of the encodings in use, as uint8 [H,W] of 0 and 1.

    Accepted: grey 0/255 or 0/1 (8 or 16 bits), 1-bit, black and white RGB, and palette images whose index 1 is the
    foreground or whose two colours are dark and bright. A third value is an error: binarising it would hide a fault.
    """
    image = _open(path)
    if image.mode == "P" and _indexed_from_black(image):
        return (np.asarray(image) > 0).astype(np.uint8)
    values = _grey(image)
    levels = np.unique(values)
    if len(levels) > 2:
        raise AvsbenchError(
            f"{path}: the mask holds more than two values",
            found=f"{len(levels)} values: {_some(levels)}",
            expected="0 and 255, or 0 and 1",
            hint="a mask that was resized or saved as JPEG holds mixed values; take the released file",
        )
    if levels[-1] <= 1:
        return (values > 0).astype(np.uint8)
    dark, bright = levels[0], levels[-1]
    if bright <= 127 or (len(levels) == 2 and dark > 127):
        raise AvsbenchError(
            f"{path}: foreground and background of the mask cannot be told apart",
            found=f"values {_some(levels)}",
            expected="0 and 255, or 0 and 1",
        )
    return (values > 127).astype(np.uint8)


def _indexed_from_black(image: Image.Image) -> bool:
    """True for a palette image of the indices 0 and 1 whose colour 0 is black."""
    return int(np.asarray(image).max(initial=0)) <= 1 and tuple((image.getpalette() or [1, 1, 1])[:3]) == (0, 0, 0)


def _grey(image: Image.Image) -> np.ndarray:
    """Any mode as one channel of values 0..255, without mixing values that differ."""
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * 255
    if image.mode == "L":
        return np.asarray(image)
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        return deep if deep.max(initial=0) <= 1 else deep // 257
    rgb = np.asarray(image.convert("RGB")).astype(np.int64)
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all():
        return rgb[..., 0]
    # Colours of equal brightness stay apart because the sum of weighted channels is compared, not the rounded grey.
    return (299 * rgb[..., 0] + 587 * rgb[..., 1] + 114 * rgb[..., 2]) / 1000


def _some(values: np.ndarray, limit: int = 6) -> str:
    shown = ", ".join(f"{v:g}" for v in values[:limit])
    return shown + (", …" if len(values) > limit else "")


# masks of numbers


def read_index_mask(path: str | Path) -> np.ndarray:
    """The numbers that a grey or palette image stores, uint8 [H,W]; colours of a palette do not matter."""
    image = _open(path)
    if image.mode not in ("L", "P"):
        raise AvsbenchError(
            f"{path}: not a mask of numbers",
            found=f"an image of mode {image.mode}",
            expected="8 bits a pixel, grey or with a palette",
            hint="take the released file",
        )
    return np.asarray(image)


# colour masks


@lru_cache(maxsize=4)
def voc_palette(classes: int) -> np.ndarray:
    """The first K colours of the Pascal VOC colour map, uint8 [K,3].

    Bits of the class number are taken three at a time from the lowest: bit 0 of group i sets bit 7-i of red, bit 1
    of green, bit 2 of blue.
    """
    palette = np.zeros((classes, 3), np.uint8)
    for number in range(classes):
        for group in range(8):
            for channel in range(3):
                bit = (number >> (3 * group + channel)) & 1
                palette[number, channel] |= bit << (7 - group)
    palette.setflags(write=False)
    return palette


@lru_cache(maxsize=4)
def _colour_table(classes: int) -> np.ndarray:
    """Packed 24-bit colour -> class; 255 where the palette has no such colour. 16 MiB, built once a process."""
    table = np.full(1 << 24, 255, np.uint8)
    table[_packed(voc_palette(classes))] = np.arange(classes, dtype=np.uint8)
    return table


def _packed(colours: np.ndarray) -> np.ndarray:
    wide = colours.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def labels_of_colours(image: np.ndarray, classes: int, where: object = "colour mask") -> np.ndarray:
    """RGB uint8 [H,W,3] -> class ids uint8 [H,W] of the first K colours of the VOC map.

    The published code turns a colour outside the palette into background; here it is an error that names `where`.
    """
    packed = _packed(image)
    labels = _colour_table(classes)[packed]
    stray = labels == 255
    if stray.any():
        row, column = np.argwhere(stray)[0]
        raise AvsbenchError(
            f"{where}: a colour is not in the palette",
            found=f"RGB {tuple(int(c) for c in image[row, column])} at row {row}, column {column}; "
            f"{int(stray.sum())} such pixels, {len(np.unique(packed[stray]))} such colours",
            expected=f"the first {classes} colours of the Pascal VOC colour map",
            hint="a mask that was resized with smoothing or saved as JPEG mixes colours; take the released file",
        )
    return labels


def read_colour_mask(path: str | Path, classes: int) -> np.ndarray:
    """A colour mask file as class ids, uint8 [H,W]."""
    return labels_of_colours(read_image(path), classes, path)


def write_labels(path: str | Path, mask: np.ndarray, classes: int) -> None:
    """A mask uint8 [H,W] as a PNG: class ids with the first K colours of the VOC map, or 0 and 255 where K is 0."""
    image = Image.fromarray(mask if classes else (mask > 0).astype(np.uint8) * 255)
    if classes:
        image.putpalette(voc_palette(classes).tobytes())
    image.save(path, "PNG")


def read_labels(path: str | Path) -> np.ndarray:
    """What `write_labels` wrote: uint8 [H,W] of class ids, or of 0 and 1."""
    image = _open(path)
    return np.asarray(image) if image.mode == "P" else (np.asarray(image) > 0).astype(np.uint8)
