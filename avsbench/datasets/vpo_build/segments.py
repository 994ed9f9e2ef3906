"""COCO segmentations as masks: polygons, run lengths (plain or compressed) and segments of panoptic PNG files.

A segmentation is a list of polygons `[x0, y0, x1, y1, …]`, or `{"size": [H, W], "counts": …}`, or
`{"png": file, "id": number}`. Pixel (row, column) has its centre at (column + 0.5, row + 0.5).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from avsbench.errors import AvsbenchError


def segment_mask(segmentation: list | dict, height: int, width: int, panoptic: Path | None = None) -> np.ndarray:
    """The pixels of an annotation, bool [H,W].

    Args:
        segmentation: polygons, run lengths or a panoptic segment.
        height, width: of the image.
        panoptic: folder of the panoptic PNG files.

    Raises:
        AvsbenchError: a segmentation of an unknown or broken form, or of another size.
    """
    if isinstance(segmentation, list):
        mask = np.zeros((height, width), bool)
        for polygon in segmentation:
            mask |= polygon_mask(polygon, height, width)
        return mask
    if isinstance(segmentation, dict) and {"size", "counts"} <= set(segmentation):
        if list(segmentation["size"]) != [height, width]:
            raise AvsbenchError("run lengths of another size", found=segmentation["size"], expected=[height, width])
        return runs_mask(segmentation["counts"], height, width)
    if isinstance(segmentation, dict) and {"png", "id"} <= set(segmentation) and panoptic is not None:
        return panoptic_mask(panoptic / segmentation["png"], segmentation["id"], height, width)
    raise AvsbenchError(
        "a segmentation of an unknown form",
        found=str(segmentation)[:80],
        expected="a list of polygons, or a mapping with size and counts",
    )


def polygon_mask(polygon: Iterable[float], height: int, width: int) -> np.ndarray:
    """Pixels whose centre lies inside a polygon by the even-odd rule, bool [H,W].

    Every edge that crosses the centre line of a row toggles all pixels to the right of the crossing, so a rectangle of
    whole numbers covers its area exactly.
    """
    points = np.asarray(polygon, np.float64)
    if points.ndim != 1 or len(points) % 2 or len(points) < 6 or not np.isfinite(points).all():
        raise AvsbenchError("a broken polygon", found=str(polygon)[:80], expected="x0, y0, x1, y1, x2, y2, …")
    start = points.reshape(-1, 2)
    toggles = np.zeros((height, width + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(start, np.roll(start, -1, axis=0), strict=True):
        # The rows whose centre y satisfies min <= y < max: a corner belongs to one of its two edges.
        first, last = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in sorted((y0, y1)))
        rows = np.arange(first, last)
        if len(rows):
            crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            toggles[rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.intp)] += 1
    return np.cumsum(toggles[:, :width], axis=1) % 2 == 1


def runs_mask(counts: list[int] | str, height: int, width: int) -> np.ndarray:
    """Run lengths, column after column and beginning with background, as bool [H,W]."""
    lengths = np.array(_uncompressed(counts) if isinstance(counts, str) else counts, np.int64)
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise AvsbenchError(
            "run lengths that do not fill the image", found=f"{lengths.sum()} pixels", expected=f"{height} x {width}"
        )
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T


def _uncompressed(text: str) -> list[int]:
    """Run lengths from COCO's text form.

    A number is a chain of characters, lowest five bits first, each `bits + 48`; 32 says that more follow, and bit 16 of
    the last one is the sign. From the fourth run on, what is written is the difference to the run before the last.
    """
    lengths: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise AvsbenchError("compressed run lengths with a foreign character", found=repr(character))
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise AvsbenchError("compressed run lengths end within a number", found=repr(text[-8:]))
    return lengths


def panoptic_mask(path: Path, segment: int, height: int, width: int) -> np.ndarray:
    """The pixels of one segment of a panoptic PNG, where colour R + 256 G + 65536 B is the number; bool [H,W]."""
    from avsbench.media.images import read_image

    picture = read_image(path).astype(np.int64)
    if picture.shape[:2] != (height, width):
        raise AvsbenchError(f"{path}: a mask of another size", found=picture.shape[:2], expected=(height, width))
    return picture @ np.array([1, 256, 65536]) == segment
