"""Features of a drawn clip, as a generator that knows the disc would derive them."""

import numpy as np

from avsbench.features import FEATURES, MASKIGE, PROPOSALS, build, maskige
from avsbench.features.settings import resolve
from avsbench.paths import Paths

CELLS = 7
"""Rows and columns of a heatmap."""
SIDE = 224
"""Of the picture in whose pixels boxes are."""
SILENT, SOUNDING = 0.05, 0.3
"""Cosines of a heatmap."""


def draw(name: str, frames: np.ndarray, discs: np.ndarray, sounds: list[bool]) -> np.ndarray:
    """A feature of one clip, [T,...], of the type and shape that `avsbench.features.FEATURES` says.

    Args:
        frames: uint8 [T,H,W,3].
        discs: where the disc is, bool [T,H,W]. Masks show it and the ground, whether or not it sounds.
        sounds: of each second.
    """
    masks = np.stack([discs, ~discs], axis=1)
    heard = discs & np.asarray(sounds)[:, None, None]
    if name == MASKIGE:
        return maskige.coloured(np.stack([maskige.index_image(pair) for pair in masks]))
    if name == PROPOSALS:
        return masks.astype(np.uint8)
    if name == "heatmap":
        return np.stack([SILENT + (SOUNDING - SILENT) * _cells(mask) for mask in heard]).astype(np.float32)
    if name == "boxes":
        return np.stack([_box(mask) for mask in heard])
    setting = resolve(name, Paths("mini"))  # no weights: what it keeps of a picture is what it always keeps
    return build(setting.card, setting.options, scale="mini").derive(frames, {})


def padded(name: str, clips: list[np.ndarray], longest: int) -> np.ndarray:
    """A feature of several clips, [B,T,...], filled up as the loader does."""
    whole = np.full((len(clips), longest, *clips[0].shape[1:]), FEATURES[name].fill, clips[0].dtype)
    for place, clip in zip(whole, clips, strict=True):
        place[: len(clip)] = clip
    return whole


def _cells(mask: np.ndarray) -> np.ndarray:
    """The share of each cell that a mask bool [H,W] covers, [7,7]."""
    rows, columns = ((np.arange(CELLS + 1) * length / CELLS).round().astype(int) for length in mask.shape)
    sums = np.add.reduceat(np.add.reduceat(mask, rows[:-1], axis=0, dtype=float), columns[:-1], axis=1)
    return sums / np.outer(np.diff(rows), np.diff(columns))


def _box(mask: np.ndarray) -> np.ndarray:
    """The box around a mask bool [H,W] and one that is missing, float32 [2,4]; both missing where the mask is empty."""
    boxes = np.full((2, 4), FEATURES["boxes"].fill, np.float32)
    if mask.any():
        (top, bottom), (left, right) = (np.nonzero(mask.any(axis=axis))[0][[0, -1]] for axis in (1, 0))
        height, width = mask.shape
        boxes[0] = np.array([left / width, top / height, (right + 1) / width, (bottom + 1) / height]) * SIDE
    return boxes
