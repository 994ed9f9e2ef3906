"""Strips and sheets of a clip: frames as JPEG; what is drawn over them as PNG with few colours, most of it transparent.

Shapes: T frames, h w pixels, K classes (a binary task has background and object).
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image

from avsbench.media.images import voc_palette
from avsbench.report.overlay import BINARY_COLOUR, edge

ERRORS = {
    "hit": ("#56b4e9", "sounds, and was found"),
    "miss": ("#f0e442", "sounds, and was missed"),
    "false alarm": ("#d55e00", "does not sound, and was marked"),
    "wrong class": ("#cc79a7", "sounds, and was taken for another class"),
}
"""Kind of pixel -> (colour, meaning). Colours of Okabe and Ito, which the colour-blind tell apart too."""
VOID_COLOUR = "#8a8a8a"
HEAT = 32
"""Steps of a probability that are told apart: the 256 levels would make the pictures three times as large."""
_VOID, _HEAT = 1 + len(ERRORS), 2 + len(ERRORS)
_CLASSES = _HEAT + HEAT
_QUALITY = 85


@lru_cache(maxsize=4)
def palette(classes: int) -> np.ndarray:
    """RGBA of every index of a sheet, uint8 [N,4]: nothing, the errors, void, probabilities, areas, contours."""
    from matplotlib import colormaps

    errors = [(*_rgb(colour), 190) for colour, _ in ERRORS.values()]
    shades = colormaps["cividis"](np.linspace(0, 1, HEAT))[:, :3]
    heat = [(*np.rint(255 * shade), 90 + 140 * step / (HEAT - 1)) for step, shade in enumerate(shades)]
    colours = class_colours(classes)
    areas, contours = ([(*colour, alpha) for colour in colours] for alpha in (150, 255))
    return np.array([(0, 0, 0, 0), *errors, (*_rgb(VOID_COLOUR), 170), *heat, *areas, *contours], np.uint8)


def class_colours(classes: int) -> list[tuple[int, int, int]]:
    """RGB of each class; of a binary task (K = 1) those of background and object."""
    if classes == 1:
        return [(0, 0, 0), BINARY_COLOUR]
    return [tuple(map(int, colour)) for colour in voc_palette(classes)]


def heat_colours() -> list[str]:
    """The colours of probabilities from 0 to 1."""
    return ["#{:02x}{:02x}{:02x}".format(*colour[:3]) for colour in palette(1)[_HEAT:_CLASSES]]


def areas(labels: np.ndarray, classes: int) -> np.ndarray:
    """Class ids [T,h,w], 255 void -> indices: coloured areas with a contour."""
    kinds = len(class_colours(classes))
    known = np.where(labels < kinds, labels, 0).astype(np.uint8)
    indices = np.where(known > 0, known + _CLASSES, 0).astype(np.uint8)
    width = max(1, round(min(labels.shape[1:]) / 160))
    for index, frame in zip(indices, known, strict=True):
        index[edge(frame, width)] += kinds
    indices[labels >= kinds] = _VOID
    return indices


def errors(prediction: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Class ids [T,h,w] of both -> indices 1 (hit) to 4 (wrong class), and that of void."""
    sounds, marked = truth > 0, prediction > 0
    indices = np.select([sounds & (prediction == truth), sounds & ~marked, ~sounds & marked, sounds], [1, 2, 3, 4], 0)
    indices[truth >= len(class_colours(classes))] = _VOID
    return indices.astype(np.uint8)


def shares(errors: np.ndarray) -> list[list[float]]:
    """Percent of the pixels of each frame that are a hit, a miss … , from the indices of `errors`."""
    return [
        [round(100 * np.count_nonzero(frame == kind) / frame.size, 2) for kind in range(1, _VOID)] for frame in errors
    ]


def heat(level: np.ndarray) -> np.ndarray:
    """Levels of protocol B [T,h,w], 255 for probability 1 -> indices."""
    return (_HEAT + level.astype(np.uint16) * HEAT // 256).astype(np.uint8)


def sheet(rows: list[np.ndarray], classes: int) -> bytes:
    """Indices [T,h,w] of each row -> a PNG of T w × (rows h) pixels."""
    image = Image.fromarray(np.concatenate([_strip(row) for row in rows]), "P")
    colours = palette(classes)
    image.putpalette(colours[:, :3].tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", transparency=colours[:, 3].tobytes(), compress_level=9)
    return out.getvalue()


def photographs(frames: np.ndarray) -> bytes:
    """uint8 [T,h,w,3] -> a JPEG of T w × h pixels."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(_strip(frames))).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def _strip(frames: np.ndarray) -> np.ndarray:
    """[T,h,w,...] -> [h,T w,...]"""
    return np.concatenate(list(frames), axis=1)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))
