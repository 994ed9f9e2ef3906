"""Protocol D: IoU and F per class from the pixels of the whole data set ("conventional" segmentation scores).

Definition: CAVP (Chen et al., CVPR 2024). Pixels that are void or ignored count nowhere. IoU of a class that is neither
labelled nor predicted is 0 and lowers the mean; F and the false discovery rate leave undefined classes out.
"""

from typing import NamedTuple

import numpy as np

from avsbench.metrics.binary import BETA2, BinaryCounts
from avsbench.metrics.pairs import ClassAreas

MS_PIXELS = 100
"""A label counts towards a multi-source frame if it covers more pixels than this."""


class Totals(NamedTuple):
    """Pixels per class over many frames, int64 [K] each."""

    intersection: np.ndarray
    predicted: np.ndarray
    labelled: np.ndarray

    @classmethod
    def zero(cls, classes: int) -> "Totals":
        return cls(*(np.zeros(classes, dtype=np.int64) for _ in range(3)))

    def plus(self, other: "Totals") -> "Totals":
        return Totals(*(a + b for a, b in zip(self, other, strict=True)))


def totals_of_matrix(matrix: np.ndarray) -> Totals:
    """Totals of a confusion matrix M[label, prediction], [K,K]."""
    return Totals(np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1))


def class_iou(totals: Totals) -> np.ndarray:
    """IoU per class, float64 [K]; 0 for an absent class."""
    union = totals.predicted + totals.labelled - totals.intersection
    return totals.intersection / (2.22e-16 + union)


def dataset_scores(totals: Totals, absent: str = "zero") -> dict[str, float]:
    """`dataset_miou`, `dataset_f`, `dataset_f1`, `dataset_fdr` and `pixel_accuracy` of one set of totals.

    Args:
        totals: pixels per class.
        absent: what a class that is neither labelled nor predicted does to the IoU: "zero" (CAVP) or "skip".

    Without any pixel IoU and accuracy are 0 and the others NaN, as CAVP has it.
    """
    if absent not in ("zero", "skip"):
        raise ValueError(f"absent is 'zero' or 'skip', not {absent!r}")
    tp, predicted, labelled = (part.astype(np.float64) for part in totals)
    occurs = predicted + labelled > 0
    iou = class_iou(totals)
    pixels = labelled.sum()
    return {
        "dataset_miou": _mean(iou if absent == "zero" else iou[occurs]),
        "dataset_f": _f(tp, predicted, labelled, BETA2),
        "dataset_f1": _f(tp, predicted, labelled, 1.0),
        "dataset_fdr": _mean(((predicted - tp)[predicted > 0]) / predicted[predicted > 0]),
        "pixel_accuracy": float(tp.sum() / (2.22e-16 + pixels)),
    }


def _f(tp: np.ndarray, predicted: np.ndarray, labelled: np.ndarray, beta2: float) -> float:
    weight = predicted + beta2 * labelled
    return _mean((1 + beta2) * tp[weight > 0] / weight[weight > 0])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def multi_source(areas: ClassAreas) -> np.ndarray:
    """bool [N]: frames with more than two labels of over 100 pixels each; background and the unlabelled rest count as
    one each."""
    values = (areas.labelled > MS_PIXELS).sum(axis=1) + (areas.void + areas.ignored > MS_PIXELS)
    return values > 2


class DatasetScores:
    """Protocol D over frames that come in any order and grouping.

    Args:
        classes: K; 2 (background, object) for a binary task, which has no multi-source subset.
    """

    def __init__(self, classes: int):
        self.all = Totals.zero(classes)
        self.ms = Totals.zero(classes)
        self.ms_frames = 0

    def update(self, areas: ClassAreas) -> "DatasetScores":
        """Take N frames in."""
        ms = multi_source(areas)
        parts = (areas.intersection, areas.predicted, areas.labelled)
        self.all = self.all.plus(Totals(*(part.sum(axis=0) for part in parts)))
        self.ms = self.ms.plus(Totals(*(part[ms].sum(axis=0) for part in parts)))
        self.ms_frames += int(ms.sum())
        return self

    def update_binary(self, counts: BinaryCounts) -> "DatasetScores":
        """Take N frames of a binary task in."""
        tp, fp, fn, tn = (int(part.sum()) for part in counts)
        pairs = ([tn, tp], [tn + fn, tp + fp], [tn + fp, tp + fn])
        self.all = self.all.plus(Totals(*(np.array(pair, dtype=np.int64) for pair in pairs)))
        return self

    def merge(self, other: "DatasetScores") -> "DatasetScores":
        """Add what another process has seen."""
        self.all = self.all.plus(other.all)
        self.ms = self.ms.plus(other.ms)
        self.ms_frames += other.ms_frames
        return self

    def compute(self, ms: bool = False) -> dict[str, float]:
        """The five scores and the `_present` variants; with `ms` those of the multi-source subset, named `_ms`.

        `ms_frames` says how many frames the subset has.
        """
        totals, suffix = (self.ms, "_ms") if ms else (self.all, "")
        scores = dataset_scores(totals)
        skipped = dataset_scores(totals, absent="skip")
        scores["dataset_miou_present"] = skipped["dataset_miou"]
        scores["dataset_f_present"] = skipped["dataset_f"]
        return {name + suffix: value for name, value in scores.items()}
