"""Numbers of a run clip by clip, from its per-frame table."""

import math
import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avsbench import cards
from avsbench.evaluation import frames
from avsbench.evaluation.resample import clip_sums
from avsbench.metrics.binary import BinaryCounts, f_beta, frame_iou
from avsbench.metrics.pairs import class_areas
from avsbench.metrics.semantic import class_frame_scores
from avsbench.report.columns import GRID, clip_metric


@dataclass(frozen=True)
class ClipScores:
    """The scores of a run.

    Attributes:
        metric: what the clips are ordered by: the headline of the data set, of a clip alone.
        clips: clip -> that score, None where it is undefined.
        frames: clip -> frame -> `iou` and `f` (None where undefined) and, of a task with classes, `classes`: a list of
            [class, IoU, whether it is in the ground truth] of those that occur in label or prediction.
    """

    metric: str
    clips: dict[str, float | None]
    frames: dict[str, dict[int, dict]]


def read_scores(file: str | os.PathLike) -> ClipScores:
    """The scores on the common grid. Raises AvsbenchError for a file that is no per-frame table."""
    sums = clip_sums(file, GRID)
    metric = clip_metric(cards.dataset(sums.about["dataset"]))
    each = dict(zip(sums.clips, map(_number, sums.each(metric)), strict=True))
    table = frames.read_frames(file)
    table = table.filter(pc.equal(table.column("grid"), GRID))
    of_frames = _binary(table) if sums.about["task"] == "binary" else _semantic(table, sums.about["classes"])
    found: dict[str, dict[int, dict]] = {}
    names, numbers = table.column("clip_id").to_pylist(), table.column("frame").to_pylist()
    for clip, frame, values in zip(names, numbers, of_frames, strict=True):
        found.setdefault(clip, {})[frame] = values
    return ClipScores(metric, each, found)


def _binary(table: pa.Table) -> list[dict]:
    counts = BinaryCounts(*(frames.column(table, name).astype(np.int64) for name in BinaryCounts._fields))
    labelled = counts.tp + counts.fn
    f = np.where(labelled > 0, f_beta(counts.tp, counts.tp + counts.fp, labelled), np.nan)
    return [{"iou": _number(a), "f": _number(b)} for a, b in zip(frame_iou(counts), f, strict=True)]


def _semantic(table: pa.Table, classes: int) -> list[dict]:
    areas = class_areas(*frames.pairs(table), table.num_rows, classes)
    found = []
    for iou, f, occurs, labelled in zip(*class_frame_scores(areas), areas.labelled > 0, strict=True):
        present = np.flatnonzero(occurs)
        each = [[int(c), _number(iou[c]), bool(labelled[c])] for c in present]
        found.append({"iou": _number(iou[present].mean()), "f": _number(f[present].mean()), "classes": each})
    return found


def _number(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None
