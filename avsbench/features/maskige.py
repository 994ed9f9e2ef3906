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
    colours = palette()[indices] if indices.ndim == 3 else indices
    return np.ascontiguousarray(np.moveaxis(colours, -1, 1))
