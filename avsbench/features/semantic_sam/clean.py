"""Clean-up of masks: small holes are filled, then small islands removed (as in Segment Anything, ICCV 2023)."""

import numpy as np
from scipy import ndimage

EIGHT = np.ones((3, 3), int)
"""Pixels that touch at a corner belong together, in the mask and in its background."""


def clean_mask(mask: np.ndarray, min_area: int) -> np.ndarray | None:
    """Without pieces below `min_area` pixels: first of the background, also at the border, then of the mask itself.

    Where every piece of the mask is small, the largest stays, the first in row order among equals.

    Args:
        mask: bool [H,W].

    Returns:
        the new mask; None when nothing was small.
    """
    part = _surroundings(mask)
    near = mask[part]
    pieces, small = _small_pieces(~near, min_area)
    if small[_cut(pieces, part, mask.shape)].any():  # may go on beyond the part
        part, near = (slice(None), slice(None)), mask
        pieces, small = _small_pieces(~near, min_area)
    changed = small.any()
    near = near | small[pieces]
    pieces, small = _small_pieces(near, min_area)
    if small.any():
        changed = True
        near = pieces == np.bincount(pieces.flat)[1:].argmax() + 1 if small[1:].all() else near & ~small[pieces]
    if not changed:
        return None
    cleaned = np.zeros_like(mask)
    cleaned[part] = near
    return cleaned


def _surroundings(mask: np.ndarray) -> tuple[slice, slice]:
    """The mask and one pixel around it. Nothing else can be small, unless it is cut there."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return slice(None), slice(None)
    return tuple(slice(max(0, used[0] - 1), used[-1] + 2) for used in (rows, columns))


def _cut(pieces: np.ndarray, part: tuple[slice, slice], size: tuple[int, int]) -> np.ndarray:
    """Numbers of the pieces at those sides of the part that are no sides of the picture."""
    inside = []
    for each, (axis, length) in zip(part, enumerate(size), strict=True):
        first, end, _ = each.indices(length)
        inside += [pieces.take(0, axis)] * (first > 0) + [pieces.take(-1, axis)] * (end < length)
    return np.unique(np.concatenate(inside)) if inside else np.zeros(0, int)


def _small_pieces(mask: np.ndarray, min_area: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of the piece that a pixel belongs to, [H,W], 0 outside; and which numbers are of small pieces."""
    pieces, count = ndimage.label(mask, EIGHT)
    small = np.bincount(pieces.flat, minlength=count + 1) < min_area
    small[0] = False
    return pieces, small
