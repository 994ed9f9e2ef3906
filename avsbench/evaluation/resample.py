"""Scores of a split as sums over its clips, so that clips can be drawn again: the bootstrap, by clip.

Frames of a clip resemble each other, so the clip is what is drawn. Two runs are compared on the same draws: what is
hard in a draw is hard for both, and the interval is one of their difference (the paired bootstrap; percentile intervals
of Efron and Tibshirani, "An Introduction to the Bootstrap", 1993).
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avsbench.errors import AvsbenchError
from avsbench.evaluation import frames
from avsbench.metrics.binary import BinaryCounts, BinaryIoU
from avsbench.metrics.dataset_level import DatasetScores, Totals
from avsbench.metrics.fscore import ThresholdF
from avsbench.metrics.pairs import class_areas
from avsbench.metrics.semantic import ClassScores

DRAWS = 2000
LEVEL = 0.95
"""Share of the draws that an interval holds."""
_STATES = {
    BinaryIoU: ("frames", "iou", "f"),
    ClassScores: ("scores", "count", "labelled", "padded"),
    DatasetScores: ("all", "ms", "ms_frames"),
}
"""Accumulator -> what of it adds up."""


@dataclass(frozen=True)
class ClipSums:
    """One grid of a per-frame table, clip by clip.

    Attributes:
        clips: names, in csv order.
        about: the table's own description (run, task, classes, …).
        parts: empty accumulators of the task -> what each clip adds to them, float64 [clips,n].
        best_f: F at the best threshold of each clip (protocol B with calls of one clip), [clips]; None where there are
            classes.
    """

    clips: list[str]
    about: dict
    parts: dict[object, np.ndarray]
    best_f: np.ndarray | None

    def values(self, weights: np.ndarray | None = None) -> list[dict[str, float]]:
        """Metric -> value of each draw; without `weights` of the split as it is.

        Args:
            weights: integer [draws,clips], how often each clip is drawn.
        """
        weights = np.ones((1, len(self.clips))) if weights is None else np.asarray(weights, np.float64)
        found: list[dict[str, float]] = [{} for _ in weights]
        for empty, states in self.parts.items():
            for values, total in zip(found, weights @ states, strict=True):
                values |= _scores(_filled(empty, np.rint(total).astype(np.int64)))
        if self.best_f is not None:
            for values, f in zip(found, weights @ self.best_f / weights.sum(axis=1), strict=True):
                values["fscore_b1"] = float(f)
        return found

    def each(self, metric: str) -> np.ndarray:
        """A metric of every clip alone, [clips]."""
        return np.array([values[metric] for values in self.values(np.eye(len(self.clips)))])


def clip_sums(file: str | os.PathLike | pa.Table, grid: str = "common") -> ClipSums:
    """Of a per-frame table or its file. Raises AvsbenchError for a file that is none, or that lacks the grid."""
    table, file = (file, "table") if isinstance(file, pa.Table) else (frames.read_frames(file), file)
    about = frames.metadata(table, file)
    table = table.filter(pc.equal(table.column("grid"), grid)).sort_by(
        [("position", "ascending"), ("frame", "ascending")]
    )
    if not table.num_rows:
        raise AvsbenchError(f"{file}: nothing is scored on the grid {grid}", expected="a grid that the card asks for")
    names = table.column("clip_id").to_pylist()
    starts = [row for row, name in enumerate(names) if not row or name != names[row - 1]]
    of_clips = [table.slice(start, end - start) for start, end in zip(starts, [*starts[1:], len(names)], strict=True)]
    binary = about["task"] == "binary"
    empties = (
        (BinaryIoU(), DatasetScores(2)) if binary else (ClassScores(about["classes"]), DatasetScores(about["classes"]))
    )
    rows = [[_state(accumulator) for accumulator in _of_clip(clip, about, binary)] for clip in of_clips]
    parts = {empty: np.array([row[i] for row in rows], np.float64) for i, empty in enumerate(empties)}
    return ClipSums([names[start] for start in starts], about, parts, _best_f(table) if binary else None)


def draws(clips: int, count: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Weights of `count` draws of so many clips, with replacement, int [count,clips]; the same each time."""
    return np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), size=count)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Ends of the middle `LEVEL` of the draws that have a value; NaN where none has."""
    known = values[np.isfinite(values)]
    ends = np.quantile(known, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)) if len(known) else (np.nan, np.nan)
    return tuple(map(float, ends))


@dataclass(frozen=True)
class Difference:
    """One metric of two runs on the same clips; `low` and `high` bound B - A."""

    metric: str
    a: float
    b: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """The interval leaves out zero."""
        return self.low > 0 or self.high < 0


def compare(a: ClipSums, b: ClipSums, metrics: list[str], count: int = DRAWS) -> list[Difference]:
    """The paired difference of two runs for each metric that both have.

    Raises:
        AvsbenchError: the runs were scored on other clips, or by other protocols.
    """
    if a.clips != b.clips:
        only = [sorted(set(one.clips) - set(other.clips)) for one, other in ((a, b), (b, a))]
        raise AvsbenchError(
            "the two runs were scored on other clips",
            found="; ".join(f"only in {name}: {len(x)}, e.g. {x[0]}" for name, x in zip("AB", only, strict=True) if x),
            expected="the same clips in the same order",
            hint="score both on the same test split",
        )
    whole = [sums.values()[0] for sums in (a, b)]
    weights = draws(len(a.clips), count)
    drawn = [sums.values(weights) for sums in (a, b)]
    found = []
    for metric in metrics:
        if all(metric in values for values in whole):
            gaps = np.array([second[metric] - first[metric] for first, second in zip(*drawn, strict=True)])
            found.append(Difference(metric, whole[0][metric], whole[1][metric], *interval(gaps)))
    return found


def frames_file(run: str | os.PathLike, condition: str = "positive") -> Path:
    """The per-frame table of a run's folder; a table itself is taken as it is.

    Raises:
        AvsbenchError: there is none.
    """
    path = Path(run)
    file = path if path.suffix == ".parquet" else path / "scores" / f"{condition}.frames.parquet"
    if not file.is_file():
        raise AvsbenchError(
            f"{file}: no such per-frame scores",
            expected="the folder of a scored run, such as results/mini/ms3/tpavi-r50/0, or its .frames.parquet",
            hint="score the run first" if path.exists() else "`avsbench status` lists the runs",
        )
    return file


def _of_clip(rows: pa.Table, about: dict, binary: bool) -> tuple:
    """The accumulators of one clip."""
    if binary:
        counts = BinaryCounts(*(frames.column(rows, name).astype(np.int64) for name in BinaryCounts._fields))
        return BinaryIoU().update(counts), DatasetScores(2).update_binary(counts)
    areas = class_areas(*frames.pairs(rows), rows.num_rows, about["classes"])
    padded = max(about["padded_to"] - rows.column("clip_frames")[0].as_py(), 0)
    classes = about["classes"]
    return ClassScores(classes).update(areas).add_padded(padded), DatasetScores(classes).update(areas)


def _best_f(table: pa.Table) -> np.ndarray:
    position = frames.column(table, "position")
    levels = (frames.histograms(table, name) for name in ("object_levels", "background_levels"))
    clips = ThresholdF().update(position, *levels).clips
    single = []
    for key in sorted(clips):
        of_clip = ThresholdF()
        of_clip.clips = {key: clips[key]}
        single.append(of_clip.compute([1])["fscore_b1"])
    return np.array(single)


def _state(accumulator: object) -> np.ndarray:
    """All that adds up in an accumulator, as one row."""
    return np.concatenate([np.ravel(getattr(accumulator, name)) for name in _STATES[type(accumulator)]])


def _filled(empty: object, row: np.ndarray) -> object:
    """The accumulator whose `_state` is `row`."""
    filled = type(empty).__new__(type(empty))
    vars(filled).update(vars(empty))
    for name in _STATES[type(empty)]:
        like = getattr(empty, name)
        part, row = row[: np.size(like)].reshape(np.shape(like)), row[np.size(like) :]
        setattr(filled, name, Totals(*part) if isinstance(like, Totals) else part if np.ndim(like) else int(part))
    return filled


def _scores(accumulator: object) -> dict[str, float]:
    found = accumulator.compute()
    return (
        found | accumulator.compute(ms=True)
        if isinstance(accumulator, DatasetScores) and accumulator.ms_frames
        else found
    )
