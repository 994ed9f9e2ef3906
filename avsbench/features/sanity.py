"""Does a generator find anything at all? Asked before hours are spent.

A wrong order of colours, or weights that did not arrive, give no masks or one that covers everything.
"""

import logging

import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.features import Generator, Proposals
from avsbench.features.maskige import of_frames

_LOG = logging.getLogger(__name__)
ALL = 0.9
"""Share of the picture from which on a mask counts as covering everything."""


def check_generator(name: str, generator: Generator, side: int, frames: np.ndarray | None = None) -> float:
    """Let a generator see a picture of three plain objects; returns the best overlap (IoU) of a mask with one of them.

    A network that learned from photographs may pass over a drawn picture. So where it finds nothing there, masks in
    `frames` will do, with a warning, and 0 is returned.

    Args:
        name: of the generator, for the error.
        side: of the picture, in pixels.
        frames: some of those that it is about to see, uint8 [T,H,W,3].

    Raises:
        AvsbenchError: no mask, or none but empty and all-covering ones, in the picture and in the frames.
    """
    picture, objects = three_objects(side)
    _, (found,) = of_frames(generator, picture[None])
    useful = _useful(found)
    if not len(useful):
        real = [] if frames is None or not len(frames) else of_frames(generator, frames)[1]
        if not any(len(_useful(each)) for each in real):
            raise AvsbenchError(
                f"the mask generator {name} sees nothing: in a picture of three objects, in {len(real)} frames",
                found=f"{len(found.masks)} masks of the picture; shares of it {np.round(_shares(found), 3).tolist()}",
                expected=f"a mask that covers more than nothing and less than {ALL:.0%}",
                hint="its weights are not those that it needs, or its options keep every mask out",
            )
        _LOG.warning("%s finds masks in the first frames, and none in a drawn picture; look at some maskiges", name)
        return 0.0
    common = np.einsum("nhw,ohw->no", useful.astype(np.float32), objects.astype(np.float32))
    areas = useful.sum(axis=(1, 2))[:, None] + objects.sum(axis=(1, 2))[None]
    best = float((common / (areas - common)).max())
    _LOG.info("%s: %d masks of the test picture, best overlap with an object %.2f", name, len(found.masks), best)
    return best


def _useful(found: Proposals) -> np.ndarray:
    """The masks that are neither empty nor of nearly the whole picture, bool [N,H,W]."""
    shares = _shares(found)
    return found.masks[(shares > 0) & (shares < ALL)]


def _shares(found: Proposals) -> np.ndarray:
    """Of the picture, that each mask covers: [N]."""
    return found.masks.mean(axis=(1, 2)) if len(found.masks) else np.zeros(0)


def three_objects(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc, a square and a bar on a plain ground: uint8 [S,S,3], and their masks bool [3,S,S]."""
    y, x = np.mgrid[:side, :side] / side
    objects = np.stack(
        [
            (x - 0.28) ** 2 + (y - 0.3) ** 2 < 0.16**2,
            (abs(x - 0.72) < 0.14) & (abs(y - 0.3) < 0.14),
            (abs(x - 0.5) < 0.35) & (abs(y - 0.75) < 0.1),
        ]
    )
    picture = np.full((side, side, 3), (96, 108, 92), np.uint8)
    for mask, colour in zip(objects, [(214, 48, 40), (40, 70, 200), (240, 214, 60)], strict=True):
        picture[mask] = colour
    return picture, objects
