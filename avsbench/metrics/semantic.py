"""Protocol C: IoU and F per class, averaged over the frames that hold the class (AVSBench-semantic).

Definition: AVSBench-semantic (Zhou et al., 2023). A class scores in every frame where it is predicted or labelled; its
score is the mean over these frames, and the result the mean over all K classes, background included, with 0 for a class
that never occurs. Clips shorter than the data set's longest are padded with frames that are all background, rightly
predicted: their share is added in closed form.
"""

import numpy as np

from avsbench.metrics.binary import f_beta
from avsbench.metrics.exact import UNIT, fixed, mean, safe_divide
from avsbench.metrics.pairs import ClassAreas


def class_frame_scores(areas: ClassAreas) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(IoU, F, occurs) of each frame and class: float64, float64 and bool [N,K].

    Predictions on void pixels count as wrong here, those on ignored pixels do not count at all.
    """
    predicted = areas.predicted + areas.predicted_void
    union = predicted + areas.labelled - areas.intersection
    iou = safe_divide(areas.intersection, union)  # the 2.2e-16 of the definition vanishes beside a pixel
    f = f_beta(areas.intersection, predicted, areas.labelled)
    return iou, f, union > 0


class ClassScores:
    """Protocol C over frames that come in any order and grouping.

    Args:
        classes: K; class 0 is background.
    """

    def __init__(self, classes: int):
        self.classes = classes
        self.scores = np.zeros((2, classes), dtype=np.int64)  # IoU, F: sums over frames
        self.count = np.zeros(classes, dtype=np.int64)
        self.labelled = np.zeros(classes, dtype=np.int64)  # frames whose label holds the class
        self.padded = 0

    def update(self, areas: ClassAreas) -> "ClassScores":
        """Take N real frames in."""
        iou, f, occurs = class_frame_scores(areas)
        self.scores += np.stack([fixed(iou).sum(axis=0), fixed(f).sum(axis=0)])
        self.count += occurs.sum(axis=0)
        self.labelled += (areas.labelled > 0).sum(axis=0)
        return self

    def add_padded(self, frames: int) -> "ClassScores":
        """Take in frames that pad a clip: background everywhere, so IoU and F of class 0 are 1."""
        self.padded += int(frames)
        return self

    def merge(self, other: "ClassScores") -> "ClassScores":
        """Add what another process has seen."""
        self.scores = self.scores + other.scores
        self.count = self.count + other.count
        self.labelled = self.labelled + other.labelled
        self.padded += other.padded
        return self

    def per_class(self, padded: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(IoU, F, number of frames with the class), [K] each; IoU and F are NaN for a class that never occurs."""
        scores, count = self.scores.copy(), self.count.copy()
        if padded:
            scores[:, 0] += self.padded * int(UNIT)
            count[0] += self.padded
        iou, f = mean(scores, count)
        return iou, f, count

    def compute(self) -> dict[str, float]:
        """`miou_avss` and `f_avss`, each with `_real` (no padded frames), `_present` (classes that occur) and `_fg`
        (without background), and `miou_avss_ceiling`, what a perfect prediction would get; NaN without any frame.
        """
        values: dict[str, float] = {}
        seen = bool(self.count.any()) or self.padded > 0
        padded, real = self.per_class(), self.per_class(padded=False)
        for name, index in (("miou_avss", 0), ("f_avss", 1)):
            values[name] = _mean(np.nan_to_num(padded[index])) if seen else float("nan")
            values[f"{name}_real"] = _mean(np.nan_to_num(real[index])) if self.count.any() else float("nan")
            values[f"{name}_present"] = _mean(padded[index][padded[2] > 0])
            values[f"{name}_fg"] = _mean(np.nan_to_num(padded[index][1:])) if seen else float("nan")
        labelled = self.labelled > 0
        labelled[0] |= self.padded > 0
        values["miou_avss_ceiling"] = float(labelled.mean()) if seen else float("nan")
        return values


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
