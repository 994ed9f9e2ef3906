"""From a heatmap to what a segmenter is asked: points and boxes, as Sam4AVS makes them.

Heatmaps are float32 [224,224] in 0..1. Points are (x, y) in pixels of that picture; label 1 is "belongs to the object",
0 "does not". Boxes are x0, y0, x1, y1, all inclusive.
"""

import numpy as np
from scipy import ndimage

from avsbench.features.boxes import SIDE

Points = tuple[np.ndarray, np.ndarray]
"""Coordinates float64 [N,2] and labels int64 [N]."""
DENSE = 32
"""Cells of a side of the grid of dense points."""
MOST = DENSE * DENSE // 2


def top(heatmap: np.ndarray) -> Points:
    """The first maximum and the first minimum, at the centre of their pixels."""
    return _labelled(*(_xy([np.unravel_index(f(heatmap), heatmap.shape)]) + 0.5 for f in (np.argmax, np.argmin)))


def peaks(heatmap: np.ndarray, threshold: float, coordinates: str = "fixed") -> Points:
    """Pixels above their four neighbours and `threshold`, and those below their neighbours and 1 - `threshold`.

    Outside the picture lie zeros. Without such a pixel all that equal the maximum (minimum) of the picture and of one
    ring of those zeros are taken, of which those in the picture count: there may be none below.

    Args:
        coordinates: `reference`: as published, both coordinates of a point are its column, since a swap in place reads
            what it has just written. `fixed`: column and row.
    """
    padded = np.pad(heatmap, 2)
    window = padded[1:-1, 1:-1]
    around = np.stack([padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]])
    high = (window > around.max(axis=0)) & (window > threshold)
    low = (window < around.min(axis=0)) & (window < 1 - threshold)
    high = high if high.any() else window == window.max()
    low = low if low.any() else window == window.min()
    found = [_xy(np.argwhere(each[1:-1, 1:-1])) for each in (high, low)]
    if coordinates == "reference":
        found = [points[:, [0, 0]] for points in found]
    return _labelled(*found)


def dense(heatmap: np.ndarray, threshold: float) -> Points:
    """The n hottest and the n coldest cells of a 32 x 32 grid, n of which reach `threshold` (1 to 512 of them).

    Cells are the middle pixels of 7 x 7: what bilinear reduction without antialias gives. Equal ones keep their order.
    """
    step = SIDE // DENSE
    cells = heatmap[step // 2 :: step, step // 2 :: step].ravel()
    number = int(np.clip(np.count_nonzero(cells >= threshold), 1, MOST))
    order = np.argsort(cells, kind="stable")
    rows, columns = np.divmod(order, DENSE)
    points = (np.stack([columns, rows], axis=1) + 0.5) * step
    return _labelled(points[-number:], points[:number])


def boxes(heatmap: np.ndarray, strategy: str, threshold: float) -> np.ndarray:
    """Boxes around what reaches `threshold`, int64 [M,4]; none where nothing does.

    Args:
        strategy: `single_maxarea`: of the largest connected region (with diagonals; the first of equals);
            `single_maxscore`: of the region with the first maximum; `multi`: one of each region; `total`: one of all.
    """
    hot = heatmap >= threshold
    regions, count = ndimage.label(hot, np.ones((3, 3)))
    if not count:
        return np.zeros((0, 4), np.int64)
    if strategy == "total":
        regions = hot.astype(int)
    found = [[x.start, y.start, x.stop - 1, y.stop - 1] for y, x in ndimage.find_objects(regions)]
    if strategy == "single_maxarea":
        found = [found[np.bincount(regions.ravel())[1:].argmax()]]
    elif strategy == "single_maxscore":
        found = [found[regions.flat[heatmap.argmax()] - 1]]
    return np.array(found, np.int64)


POINTS = ("peak", "top", "dense")
BOXES = ("single_maxarea", "single_maxscore", "multi", "total")


def of_heatmap(heatmap: np.ndarray, strategy: str, threshold: float, quirks: str = "fixed") -> dict[str, np.ndarray]:
    """What a segmenter is asked: one prompt of n `points` [1,n,2] with `labels` [1,n], or M prompts, `boxes` [M,4].

    A heatmap without any contrast (0 / 0 as published) says nothing: no prompts.

    Args:
        strategy: one of POINTS or BOXES.
        threshold: the least heat of what is asked for; `top` has none.
        quirks: `reference` or `fixed`: the coordinates of peaks.
    """
    if strategy in BOXES:
        return {"boxes": boxes(heatmap, strategy, threshold)}
    if heatmap.max() == heatmap.min():
        return {"points": np.zeros((0, 0, 2)), "labels": np.zeros((0, 0), np.int64)}
    if strategy == "peak":
        points, labels = peaks(heatmap, threshold, quirks)
    else:
        points, labels = top(heatmap) if strategy == "top" else dense(heatmap, threshold)
    return {"points": points[None], "labels": labels[None]}


def _xy(places: np.ndarray) -> np.ndarray:
    """Places (row, column) -> points (x, y), float64 [N,2]."""
    return np.array(places, np.float64).reshape(-1, 2)[:, ::-1]


def _labelled(positive: np.ndarray, negative: np.ndarray) -> Points:
    return np.concatenate([positive, negative]), np.repeat([1, 0], [len(positive), len(negative)])
