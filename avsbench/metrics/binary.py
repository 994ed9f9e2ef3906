"""Protocol A: IoU of binary masks, averaged over frames ("J", the "mIoU" of S4 and MS3).

Definition: AVSBench (Zhou et al., ECCV 2022). A frame scores I / (U + 1e-7) on the sounding object. Where nothing is
annotated, the frame scores the share of pixels that the prediction leaves empty. Background is not a class.
"""

from typing import NamedTuple

import numpy as np

from avsbench.metrics.exact import fixed, mean, safe_divide

BETA2 = 0.3
"""Weight of recall against precision in every F-score of the field (beta squared)."""


class BinaryCounts(NamedTuple):
    """Pixels of N frames, int64 [N] each. Ignored pixels are in none of them."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray


def binary_counts(prediction: np.ndarray, label: np.ndarray) -> BinaryCounts:
    """Count the pixels of N frames.

    Args:
        prediction: bool [N,H,W], the hard mask.
        label: integer [N,H,W]: 1 object, 0 background, 255 or negative ignored.

    Raises:
        ValueError: shapes differ, or a label is none of these values.

    >>> binary_counts(np.array([[[True, False]]]), np.array([[[1, 1]]]))
    BinaryCounts(tp=array([1]), fp=array([0]), fn=array([1]), tn=array([0]))
    """
    prediction, label = np.asarray(prediction, dtype=bool), np.asarray(label)
    if prediction.shape != label.shape or label.ndim != 3:
        raise ValueError(f"prediction {prediction.shape} and label {label.shape} must both be [N,H,W]")
    counts = np.empty((4, len(label)), dtype=np.int64)
    for n, (p, g) in enumerate(zip(prediction, label, strict=True)):  # frame by frame stays within the cache
        positive, negative = g == 1, g == 0
        objects, background = np.count_nonzero(positive), np.count_nonzero(negative)
        if objects + background < g.size and np.any((g > 1) & (g != 255)):
            raise ValueError(f"frame {n}: a binary label is 0, 1 or 255 (ignored), found {np.unique(g).tolist()}")
        tp, fp = np.count_nonzero(p & positive), np.count_nonzero(p & negative)
        counts[:, n] = tp, fp, objects - tp, background - fp
    return BinaryCounts(*counts)


def frame_iou(counts: BinaryCounts) -> np.ndarray:
    """IoU of each frame, float64 [N]; of frames without an object the share of pixels rightly left empty."""
    tp, fp, fn, tn = counts
    empty = tp + fn == 0
    intersection = np.where(empty, tn, tp)
    union = np.where(empty, tn + fp, tp + fp + fn)
    return intersection / (union + 1e-7)


def f_beta(tp: np.ndarray, predicted: np.ndarray, labelled: np.ndarray, beta2: float = BETA2) -> np.ndarray:
    """(1 + b) P R / (b P + R) from pixel counts, float64; 0 where it is undefined.

    Written over the counts, (1 + b) TP / (predicted + b labelled), which equals it wherever it is defined.
    """
    return safe_divide((1 + beta2) * np.asarray(tp, dtype=np.float64), predicted + beta2 * np.asarray(labelled))


class BinaryIoU:
    """Protocol A over frames that come in any order and grouping.

    `compute` gives `miou`, `miou_empty`, `miou_nonempty` (NaN without such frames), `empty_share` and `f_at_0.5`, the
    F of the hard mask averaged over frames with an object (NaN without one).
    """

    def __init__(self):
        self.frames = np.zeros(2, dtype=np.int64)  # with an object, empty
        self.iou = np.zeros(2, dtype=np.int64)
        self.f = 0

    def update(self, counts: BinaryCounts) -> "BinaryIoU":
        """Take N frames in. Raises ValueError for a frame in which every pixel is ignored."""
        if np.any(sum(counts) == 0):
            raise ValueError("a frame without an annotated pixel has no IoU; leave it out")
        empty = (counts.tp + counts.fn == 0).astype(np.int64)
        np.add.at(self.frames, empty, 1)
        np.add.at(self.iou, empty, fixed(frame_iou(counts)))
        f = f_beta(counts.tp, counts.tp + counts.fp, counts.tp + counts.fn)
        self.f += int(fixed(f[empty == 0]).sum())
        return self

    def merge(self, other: "BinaryIoU") -> "BinaryIoU":
        """Add what another process has seen."""
        self.frames = self.frames + other.frames
        self.iou = self.iou + other.iou
        self.f += other.f
        return self

    def compute(self) -> dict[str, float]:
        return {
            "miou": float(mean(self.iou.sum(), self.frames.sum())),
            "miou_empty": float(mean(self.iou[1], self.frames[1])),
            "miou_nonempty": float(mean(self.iou[0], self.frames[0])),
            "empty_share": float(safe_divide(self.frames[1], self.frames.sum())) if self.frames.sum() else float("nan"),
            "f_at_0.5": float(mean(self.f, self.frames[0])),
        }
