"""Maskiges: the masks of a frame as one picture, a colour each, as COMBO makes them (arXiv 2312.06462).

The smallest mask has index 1 and lies on top, the next 2, …; 0 is "no mask". Index i has the i-th colour of ADE20K's
palette. So a colour says how large a mask is among those of its frame, and the same object changes colour from frame to
frame. Indices are stored; colours are put on when a clip is read.
"""

import json
import logging
from functools import cache
from pathlib import Path

import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.features import Generator, Proposals
from avsbench.media.images import resize_mask

MOST = 255
"""Masks of a frame that an index image of 8 bits can tell apart."""
_LOG = logging.getLogger(__name__)


def index_image(masks: np.ndarray) -> np.ndarray:
    """Masks [N,H,W] (bool, or numbers where 0 is outside) -> indices uint8 [H,W].

    Rank 1 is the smallest whole mask, overlaps counted; equal areas keep the order of the masks (the published sort is
    unstable there). A mask that others hide, or an empty one, leaves its index unused. Of more than 255 the largest
    stay, with a warning: the published script wraps or stops.
    """
    areas = np.count_nonzero(masks, axis=(1, 2))
    order = np.argsort(areas, kind="stable")
    if len(order) > MOST:
        _LOG.warning("%d masks of a frame; the %d largest are kept", len(order), MOST)
        order = order[-MOST:]
    image = np.zeros(masks.shape[1:], np.uint8)
    for rank in range(len(order), 0, -1):  # from the largest, so that smaller ones come to lie above
        image[masks[order[rank - 1]] != 0] = rank
    return image


@cache
def palette() -> np.ndarray:
    """Colours of maskiges, uint8 [256,3]: the 150 of ADE20K, then grey (i,i,i); index 0 is "no mask"."""
    colours = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    listed = json.loads(Path(__file__).with_name("ade20k_palette.json").read_text())
    colours[: len(listed)] = listed
    return colours


def coloured(indices: np.ndarray) -> np.ndarray:
    """Indices uint8 [T,H,W] -> colours uint8 [T,3,H,W]; stored colours [T,H,W,3] keep theirs."""
    if indices.ndim == 4:
        return np.ascontiguousarray(np.moveaxis(indices, -1, 1))
    return np.stack([np.take(channel, indices) for channel in palette().T.copy()], axis=1)


def indices_of(colours: np.ndarray) -> np.ndarray:
    """Colours of the palette uint8 [...,3] -> the first index of each, uint8 [...]; the inverse of `coloured`."""
    codes, first = np.unique(palette() @ _CODE, return_index=True)
    return first[np.searchsorted(codes, colours @ _CODE)].astype(np.uint8)


def stray_colour(colours: np.ndarray) -> tuple[int, int, int] | None:
    """A colour of uint8 [...,3] that is not of the palette; None if there is none."""
    stray = np.setdiff1d(colours @ _CODE, palette() @ _CODE)
    return tuple(int(stray[0]) >> shift & 255 for shift in (16, 8, 0)) if len(stray) else None


_CODE = np.array([1 << 16, 1 << 8, 1])
"""Weights that make one number of a colour."""


def of_frames(
    generator: Generator, frames: np.ndarray, size: int | None = None, rule: str = "squash"
) -> tuple[np.ndarray, list[Proposals]]:
    """The index images of T frames uint8 [T,H,W,3], and the proposals that they were made of.

    Args:
        size: side S of the index images; None keeps the size of the frames.
        rule: how frames of another size become S x S, "squash" or "crop" (`avsbench.media.images`); nearest pixel.

    Returns:
        uint8 [T,S,S] (or [T,H,W]), and T proposals at the size of the frames.

    Raises:
        AvsbenchError: the generator gives something else than masks of the size of the frames.
    """
    proposals = proposed(generator, frames)
    images = [index_image(found.masks) for found in proposals]
    if size is not None:
        images = [resize_mask(image, size, rule) for image in images]
    return np.stack(images), proposals


def proposed(generator: Generator, frames: np.ndarray) -> list[Proposals]:
    """T proposals of T frames uint8 [T,H,W,3], at their size; errors as `of_frames`."""
    found = generator.propose_frames(np.ascontiguousarray(frames))
    for each in found:
        _check(each, frames.shape[1:3])
    if len(found) != len(frames):
        raise AvsbenchError("the generator lost frames", found=len(found), expected=len(frames))
    return found


def _check(found: Proposals, size: tuple[int, int]) -> None:
    masks, scores = found.masks, found.scores
    if masks.dtype != bool or masks.shape[1:] != size or scores.dtype != np.float32 or scores.shape != masks.shape[:1]:
        raise AvsbenchError(
            "the generator gives something else than masks and scores",
            found=f"{masks.dtype} {list(masks.shape)}, {scores.dtype} {list(scores.shape)}",
            expected=f"bool [N,{size[0]},{size[1]}], float32 [N]",
        )
