"""Counts behind protocols C and D: how many pixels of a frame carry label a and prediction b.

A frame holds few classes, so the counts are kept as a list of the pairs that occur. Two kinds of label fall outside the
classes, and the protocols treat them apart: *void* (>= K, stored as 255) and *ignored* (negative, stored as -1).
"""

from typing import NamedTuple

import numpy as np

VOID, IGNORED = 255, -1
"""Codes of the two kinds of label outside the classes."""


class LabelPairs(NamedTuple):
    """Pairs that occur in one frame: label (class, 255 void or -1 ignored), prediction (class), pixels (> 0)."""

    label: np.ndarray
    prediction: np.ndarray
    pixels: np.ndarray


class ClassAreas(NamedTuple):
    """Pixels per frame and class, int64 [N,K] each; the last two int64 [N].

    `predicted` counts predictions on labelled pixels, `predicted_void` those on void pixels.
    """

    intersection: np.ndarray
    predicted: np.ndarray
    predicted_void: np.ndarray
    labelled: np.ndarray
    void: np.ndarray
    ignored: np.ndarray


def label_pairs(prediction: np.ndarray, label: np.ndarray, classes: int) -> LabelPairs:
    """Count the pairs of one frame in a single pass.

    Args:
        prediction: integer [H,W], classes 0..K-1.
        label: integer [H,W]; >= K is void, negative is ignored.
        classes: K, at most 254.

    Raises:
        ValueError: shapes differ, or a prediction is no class.

    >>> label_pairs(np.array([[0, 1]]), np.array([[1, 1]]), 2)
    LabelPairs(label=array([1, 1], dtype=int16), prediction=array([0, 1], dtype=int16), pixels=array([1, 1]))
    """
    prediction, label = np.asarray(prediction), np.asarray(label)
    if prediction.shape != label.shape:
        raise ValueError(f"prediction {prediction.shape} and label {label.shape} differ in shape")
    if not 0 < classes < VOID:
        raise ValueError(f"1 to 254 classes, not {classes}")
    if prediction.size and (prediction.max() >= classes or prediction.min() < 0):
        raise ValueError(f"predictions lie in 0..{classes - 1}, found {prediction.min()} to {prediction.max()}")
    row = np.minimum(label, classes)  # row K: void
    if label.dtype.kind != "u":
        row = np.where(label < 0, classes + 1, row)  # row K+1: ignored
    key = row.astype(np.uint16)
    key *= classes
    key += prediction.astype(np.uint16)
    count = np.bincount(key.ravel(), minlength=1)
    found = np.flatnonzero(count)
    code = np.append(np.arange(classes), [VOID, IGNORED]).astype(np.int16)
    return LabelPairs(code[found // classes], (found % classes).astype(np.int16), count[found])


def class_areas(frame: np.ndarray, pairs: LabelPairs, frames: int, classes: int) -> ClassAreas:
    """Areas per frame and class from the pairs of many frames.

    Args:
        frame: integer [P], which of the `frames` each pair belongs to.
        pairs: the pairs of all frames, one after another, [P] each.
    """
    frame = np.asarray(frame, dtype=np.int64)
    label, prediction = (np.asarray(part, dtype=np.int64) for part in pairs[:2])
    pixels = np.asarray(pairs.pixels, dtype=np.int64)
    inside = (label >= 0) & (label < classes)
    void, ignored = label >= classes, label < 0

    def table(rows, column):
        # Pixel counts stay far below 2^53, so float64 sums are exact.
        flat = np.bincount(frame[rows] * classes + column[rows], weights=pixels[rows], minlength=frames * classes)
        return flat.astype(np.int64).reshape(frames, classes)

    def per_frame(rows):
        return np.bincount(frame[rows], weights=pixels[rows], minlength=frames).astype(np.int64)

    return ClassAreas(
        intersection=table(inside & (label == prediction), label),
        predicted=table(inside, prediction),
        predicted_void=table(void, prediction),
        labelled=table(inside, label),
        void=per_frame(void),
        ignored=per_frame(ignored),
    )


def frame_areas(prediction: np.ndarray, label: np.ndarray, classes: int) -> ClassAreas:
    """Areas of N frames from label maps [N,H,W]."""
    per_frame = [label_pairs(p, g, classes) for p, g in zip(prediction, label, strict=True)]
    frame = np.repeat(np.arange(len(per_frame)), [len(pairs.pixels) for pairs in per_frame])
    return class_areas(frame, join(per_frame), len(per_frame), classes)


def join(per_frame: list[LabelPairs]) -> LabelPairs:
    """The pairs of several frames one after another."""
    if not per_frame:
        return LabelPairs(*(np.zeros(0, dtype=np.int64) for _ in range(3)))
    return LabelPairs(*(np.concatenate(parts) for parts in zip(*per_frame, strict=True)))


def confusion_matrix(prediction: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """M[a,b] = pixels of label a predicted b, int64 [K,K]; void and ignored pixels are left out."""
    pairs = label_pairs(prediction, label, classes)
    inside = (pairs.label >= 0) & (pairs.label < classes)
    matrix = np.zeros((classes, classes), dtype=np.int64)
    matrix[pairs.label[inside], pairs.prediction[inside]] = pairs.pixels[inside]
    return matrix
