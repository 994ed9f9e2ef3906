"""Does the model listen? What is segmented under a sound that does not belong to the picture.

Definition: AVSBench-Robust (arXiv 2502.00358). With silence, noise or the sound of something else under it, a picture
has nothing to segment. J and F (protocols A and B) are taken against the masks of the true sound, so that lower is
better, and the share of pixels that are segmented is taken without any mask. The global values are not in the published
code; these are inferred, and reproduce the one printed number that can be checked: a model with J 0.862 whatever it
hears gets 0.2379.
"""

from collections.abc import Sequence

import numpy as np

from avsbench.metrics.binary import BinaryCounts
from avsbench.metrics.exact import fixed, mean


def active_share(counts: BinaryCounts) -> np.ndarray:
    """Share of a frame's pixels that are segmented, float64 [N]; pixels that are ignored do not count."""
    tp, fp, fn, tn = counts
    return (tp + fp) / np.maximum(tp + fp + fn + tn, 1)


class ActiveShare:
    """`fpr`, the mean of `active_share` over frames that come in any order and grouping: "FPR" of a negative."""

    def __init__(self):
        self.frames = 0
        self.total = 0

    def update(self, counts: BinaryCounts) -> "ActiveShare":
        """Take N frames in."""
        self.frames += len(counts.tp)
        self.total += int(fixed(active_share(counts)).sum())
        return self

    def merge(self, other: "ActiveShare") -> "ActiveShare":
        """Add what another process has seen."""
        self.frames += other.frames
        self.total += other.total
        return self

    def compute(self) -> dict[str, float]:
        """NaN without a frame."""
        return {"fpr": float(mean(self.total, self.frames))}


def global_value(positive: float, negatives: Sequence[float]) -> float:
    """G = 2 P (1 - N) / (P + 1 - N): the harmonic mean of the score P under the true sound and of what the mean N of
    the scores under negatives leaves of 1. 0 where both are 0.

    >>> round(global_value(0.862, [0.862, 0.862, 0.862]), 4)
    0.2379
    """
    kept = 1 - sum(negatives) / len(negatives)
    return 2 * positive * kept / (positive + kept) if positive + kept > 0 else 0.0
