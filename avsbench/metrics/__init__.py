"""Scores: pure functions on counts and order-free accumulators, one module a protocol; and the table of all metrics."""

import re
from dataclasses import dataclass, replace

BINARY, SEMANTIC = ("binary",), ("semantic",)
BOTH = BINARY + SEMANTIC


@dataclass(frozen=True)
class Metric:
    """What a reader must know about a number.

    Attributes:
        protocol: A, B, C, D or robust. Numbers of different protocols never share a column.
        title: what is averaged over what.
        tasks: tasks that it is defined for.
        empty: what an empty mask or an absent class does.
        direction: "higher" or "lower" is better; "none" describes the data.
        range: smallest and largest value.
        unit: of the stored value; a table may print percent.
    """

    protocol: str
    title: str
    tasks: tuple[str, ...]
    empty: str
    direction: str = "higher"
    range: tuple[float, float] = (0.0, 1.0)
    unit: str = "fraction"


_SPECIFICITY = "a frame without an object scores the share of pixels left empty"
_SKIPPED = "frames without an object are left out"
_CALL = f"{_SKIPPED}; a call of only such frames scores 0"
_OCCURS = "a class counts in frames where it is labelled or predicted; one that never occurs scores 0"
_UNDEFINED = "a class neither labelled nor predicted is left out"

METRICS: dict[str, Metric] = {
    # A, avsbench.metrics.binary
    "miou": Metric("A", "IoU of the object, mean over frames", BINARY, _SPECIFICITY),
    "miou_nonempty": Metric("A", "IoU, mean over frames with an object", BINARY, f"{_SKIPPED}; undefined without any"),
    "miou_empty": Metric(
        "A", "share of pixels left empty, mean over frames without an object", BINARY, "undefined without such a frame"
    ),
    "empty_share": Metric("A", "share of frames without an object", BINARY, "this is their share", direction="none"),
    "f_at_0.5": Metric(
        "A",
        "F (beta² 0.3) of the hard mask, mean over frames with an object",
        BINARY,
        f"{_SKIPPED}; undefined without any",
    ),
    # B, avsbench.metrics.fscore
    "fscore_b1": Metric("B", "F at the best of 255 thresholds per call of 1 clip, mean over calls", BINARY, _CALL),
    "fscore_b4": Metric("B", "F at the best of 255 thresholds per call of 4 clips, mean over calls", BINARY, _CALL),
    "fscore_valid": Metric(
        "B",
        "F at the best threshold per clip, mean over clips with an object",
        BINARY,
        f"{_SKIPPED}, and clips of only such",
    ),
    "fscore_all": Metric("B", "F at the one threshold that is best for all clips", BINARY, _CALL),
    # C, avsbench.metrics.semantic
    "miou_avss": Metric("C", "IoU per class over frames, mean over all classes, padded frames too", SEMANTIC, _OCCURS),
    "miou_avss_real": Metric("C", "miou_avss without padded frames", SEMANTIC, _OCCURS),
    "miou_avss_present": Metric("C", "miou_avss over classes that occur", SEMANTIC, _UNDEFINED),
    "miou_avss_fg": Metric("C", "miou_avss without background (class 0)", SEMANTIC, _OCCURS),
    "miou_avss_ceiling": Metric(
        "C", "miou_avss of a perfect prediction: labelled classes / all classes", SEMANTIC, _OCCURS, direction="none"
    ),
    "f_avss": Metric(
        "C", "F (beta² 0.3) per class over frames, mean over all classes, padded frames too", SEMANTIC, _OCCURS
    ),
    "f_avss_real": Metric("C", "f_avss without padded frames", SEMANTIC, _OCCURS),
    "f_avss_present": Metric("C", "f_avss over classes that occur", SEMANTIC, _UNDEFINED),
    "f_avss_fg": Metric("C", "f_avss without background (class 0)", SEMANTIC, _OCCURS),
    # D, avsbench.metrics.dataset_level; binary tasks have two classes, background and object
    "dataset_miou": Metric(
        "D",
        "IoU per class from all pixels, mean over all classes",
        BOTH,
        "a class neither labelled nor predicted scores 0",
    ),
    "dataset_miou_present": Metric("D", "dataset_miou over classes that occur", BOTH, _UNDEFINED),
    "dataset_f": Metric("D", "F (beta² 0.3) per class from all pixels, mean over classes that occur", BOTH, _UNDEFINED),
    "dataset_f_present": Metric("D", "dataset_f over classes that occur: the same number", BOTH, _UNDEFINED),
    "dataset_f1": Metric("D", "F (beta² 1) per class from all pixels, mean over classes that occur", BOTH, _UNDEFINED),
    "dataset_fdr": Metric(
        "D",
        "false pixels among those predicted, per class, mean over predicted classes",
        BOTH,
        "a class never predicted is left out",
        direction="lower",
    ),
    "pixel_accuracy": Metric("D", "share of pixels predicted rightly", BOTH, "empty masks count as background"),
    # robust, avsbench.metrics.robust; of negatives: sounds that do not belong to the picture
    "fpr": Metric(
        "robust",
        "share of pixels that are segmented, mean over frames; a false positive rate where the sound is a negative",
        BINARY,
        "no mask is asked",
        direction="lower",
    ),
    "g_miou": Metric(
        "robust", "2 J (1 - N) / (J + 1 - N), J the miou, N its mean over negatives", BINARY, _SPECIFICITY
    ),
    "g_f": Metric("robust", "as g_miou, of fscore_b1", BINARY, _CALL),
    "g_fpr": Metric("robust", "mean of fpr over negatives", BINARY, "no mask is asked", direction="lower"),
}
METRICS |= {
    f"{name}_ms": replace(metric, title=f"{metric.title}; frames with two or more labelled objects", tasks=SEMANTIC)
    for name, metric in METRICS.items()
    if metric.protocol == "D"
}

_CALLS = re.compile(r"fscore_b([1-9]\d*)")


def metric(name: str) -> Metric:
    """The entry of `METRICS`, or that of `fscore_b<k>` for any k. Raises KeyError for an unknown name."""
    calls = _CALLS.fullmatch(name)
    if name not in METRICS and calls:
        title = METRICS["fscore_b4"].title.replace("4 clips", f"{calls[1]} clips")
        return replace(METRICS["fscore_b4"], title=title)
    return METRICS[name]
