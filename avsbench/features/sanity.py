"""Does a generator find anything at all? Asked before hours are spent.

A wrong order of colours, or weights that did not arrive, give no masks or one that covers everything.
"""

import logging

import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.features import Generator
from avsbench.features.maskige import of_frames

_LOG = logging.getLogger(__name__)
ALL = 0.9
"""Share of the picture from which on a mask counts as covering everything."""


def check_generator(name: str, generator: Generator, side: int) -> float:
    """Let a generator see a picture of three plain objects; returns the best overlap (IoU) of a mask with one of them.

    Args:
        name: of the generator, for the error.
        side: of the picture, in pixels.

    Raises:
        AvsbenchError: no mask, or none but empty and all-covering ones.
    """
    picture, objects = three_objects(side)
    _, (found,) = of_frames(generator, picture[None])
    shares = found.masks.mean(axis=(1, 2)) if len(found.masks) else np.zeros(0)
    useful = found.masks[(shares > 0) & (shares < ALL)]
    if not len(useful):
        raise AvsbenchError(
            f"the mask generator {name} sees nothing in a picture of three plain objects",
            found=f"{len(found.masks)} masks; shares of the picture {np.round(shares, 3).tolist()}",
            expected=f"a mask that covers more than nothing and less than {ALL:.0%}",
            hint="its weights are not those that it needs, or its options keep every mask out",
        )
    common = np.einsum("nhw,ohw->no", useful.astype(np.float32), objects.astype(np.float32))
    areas = useful.sum(axis=(1, 2))[:, None] + objects.sum(axis=(1, 2))[None]
    best = float((common / (areas - common)).max())
    _LOG.info("%s: %d masks of the test picture, best overlap with an object %.2f", name, len(found.masks), best)
    return best


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
