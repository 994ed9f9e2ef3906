"""From stored predictions to per-frame integers, and from these to every protocol.

`score_predictions` writes the per-frame table; `scores_from_frames` computes all values from its rows alone, so any
number can be computed again from the file beside it. So can the intervals: they are of draws of the clips.
"""

import json
import logging
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from avsbench import cards
from avsbench.atomic import atomic
from avsbench.errors import AvsbenchError
from avsbench.evaluation import frames
from avsbench.evaluation.draws import write_draws
from avsbench.evaluation.predictions import PredictionReader
from avsbench.evaluation.resample import clip_sums
from avsbench.metrics.binary import BinaryCounts, BinaryIoU
from avsbench.metrics.dataset_level import DatasetScores, class_iou
from avsbench.metrics.fscore import ThresholdF
from avsbench.metrics.pairs import class_areas
from avsbench.metrics.robust import ActiveShare
from avsbench.metrics.semantic import ClassScores
from avsbench.paths import Paths
from avsbench.store.clips import ClipDataset

log = logging.getLogger(__name__)

FORMAT, VERSION = "avsbench-scores", 1
CALLS = (1, 4)
"""Videos per call of protocol B that are always computed; a card adds that of its publication."""


@dataclass(frozen=True)
class ClipTruth:
    """Ground truth of one clip.

    Attributes:
        clip_id: name.
        position: its row in the csv of the split; the order of protocol B's calls.
        masks: integer [T,h,w] at the stored size; 255 void, negative ignored.
        annotated: bool [T], frames that have ground truth.
        native: integer [T,H,W] at the original size, where the store keeps it.
    """

    clip_id: str
    position: int
    masks: np.ndarray
    annotated: np.ndarray
    native: np.ndarray | None = None

    def on_grid(self, grid: str, size: tuple[int, int]) -> np.ndarray:
        """Masks at the size that a grid was predicted at. Raises AvsbenchError where there are none."""
        if grid == "native" and self.native is None:
            raise AvsbenchError(
                f"clip {self.clip_id}: no masks of the original size in the store",
                hint="set inputs.native: true in the method's card and extract again",
            )
        masks = self.native if grid == "native" else self.masks
        if masks.shape[1:] != size and grid == "512":
            return resize_nearest(masks, size)
        if masks.shape[1:] != size:
            raise AvsbenchError(
                f"clip {self.clip_id}, grid {grid}: prediction and ground truth differ in size",
                found=f"prediction {size}",
                expected=f"{masks.shape[1:]}",
                hint="the image size has changed since; predict again",
            )
        return masks


def resize_nearest(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[T,h,w] -> [T,*size], the nearest pixel by centres (as Pillow's NEAREST)."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(size, masks.shape[1:], strict=True)
    )
    return masks[:, rows[:, None], columns]


def score_predictions(
    predictions: str | os.PathLike,
    truth: Iterable[ClipTruth],
    out_frames: str | os.PathLike,
    out_scores: str | os.PathLike,
    *,
    out_draws: str | os.PathLike | None = None,
    fscore_k: Sequence[int] = CALLS,
    padded_to: int = 0,
) -> list[dict]:
    """Score a prediction file: write the per-frame Parquet and the scores JSON, return the score rows (one per grid).

    A row is that of `score_table` with `members`, the number of networks that predicted together, and
    `frames_per_second` and `gflops_per_frame`, what predicting cost (None if unknown). With `out_draws` the row of the
    grid `common` has `intervals` too: metric -> its ends, 95 % of the draws of the clips.

    Args:
        predictions: file of `PredictionWriter`.
        truth: ground truth of every clip of the split.
        out_draws: where every metric on each draw of the clips goes; None: clips are not drawn.
        fscore_k: videos per call of protocol B.
        padded_to: frames that protocol C pads each clip to.

    Raises:
        AvsbenchError: a clip is missing on either side, sizes or lengths differ, no frame has ground truth.
    """
    with PredictionReader(predictions) as reader:
        info = asdict(reader.info)
        cost = {"frames_per_second": reader.frames_per_second, "gflops_per_frame": reader.gflops_per_frame}
        about = info | {"padded_to": padded_to, "predictions": Path(predictions).name}
        rows = frames.FrameTable(reader.info.task, reader.info.classes, about)
        known = set()
        for clip in tqdm(truth, desc="score", unit="clip", disable=None, total=len(reader.clips)):
            known.add(clip.clip_id)
            for grid in reader.grids:
                _add_clip(rows, reader, grid, clip)
        strangers = [clip for clip in reader.clips if clip not in known]
        if strangers:
            raise AvsbenchError(
                f"{predictions}: predicted clips that the index lacks",
                found=f"{len(strangers)}, e.g. {strangers[0]}",
                hint="the data set has changed since; predict again",
            )
    if not rows.rows["clip_id"]:
        raise AvsbenchError(f"{predictions}: no frame has ground truth", hint="score a split with annotations")
    table = rows.write(out_frames)
    scores = [row | {"members": info["members"]} | cost for row in score_table(table, fscore_k=fscore_k)]
    if out_draws is not None:
        (row,) = (row for row in scores if row["grid"] == "common")
        row["intervals"] = write_draws(out_draws, clip_sums(table))
    document = {"format": FORMAT, "version": VERSION, **about, "fscore_calls": sorted(set(fscore_k)), "scores": scores}
    with atomic(out_scores) as temporary:
        temporary.write_text(json.dumps(_jsonable(document), indent=1, allow_nan=False) + "\n")
    return scores


def _add_clip(rows: frames.FrameTable, reader: PredictionReader, grid: str, clip: ClipTruth) -> None:
    time, *size = reader.size(grid, clip.clip_id)
    label = clip.on_grid(grid, tuple(size))
    if time != len(label):
        raise AvsbenchError(
            f"clip {clip.clip_id}, grid {grid}: wrong number of predicted frames",
            found=time,
            expected=len(label),
            hint="predict again; padded frames are not stored",
        )
    if rows.task == "binary":
        level, mask = reader.binary(grid, clip.clip_id)
        arrays = {"level": level, "mask": mask}
    else:
        arrays = {"prediction": reader.semantic(grid, clip.clip_id)}
    rows.add_clip(clip.clip_id, clip.position, grid, label, clip.annotated, hard=reader.info.hard, **arrays)


def score_table(table: pa.Table, *, fscore_k: Sequence[int] = CALLS) -> list[dict]:
    """A score row per grid of a per-frame table: grid, hard, size, clips, frames, values (and values per class)."""
    scores = []
    for grid in table.column("grid").unique().to_pylist():
        part = table.filter(pc.equal(table.column("grid"), grid))
        sizes = sorted(set(zip(part["height"].to_pylist(), part["width"].to_pylist(), strict=True)))
        row = {
            "grid": grid,
            "hard": any(part["hard"].to_pylist()),
            "size": list(sizes[0]) if len(sizes) == 1 else None,
            "clips": len(part["clip_id"].unique()),
            "frames": part.num_rows,
        }
        scores.append(row | _evaluate(part, fscore_k))
    return scores


def scores_from_frames(
    table: pa.Table | str | os.PathLike, *, grid: str = "common", fscore_k: Sequence[int] = CALLS
) -> dict:
    """Every protocol value of one grid, from a per-frame table or its file: {metric: value}, NaN where undefined."""
    if not isinstance(table, pa.Table):
        table = frames.read_frames(table)
    for row in score_table(table, fscore_k=fscore_k):
        if row["grid"] == grid:
            return row["values"]
    raise AvsbenchError(f"no row of grid {grid!r}", found=table.column("grid").unique().to_pylist())


def _evaluate(table: pa.Table, fscore_k: Sequence[int]) -> dict:
    about = frames.metadata(table)
    if about["task"] == "binary":
        return _evaluate_binary(table, fscore_k)
    return _evaluate_semantic(table, about["classes"], about["padded_to"])


def _evaluate_binary(table: pa.Table, fscore_k: Sequence[int]) -> dict:
    counts = BinaryCounts(*(frames.column(table, name).astype(np.int64) for name in BinaryCounts._fields))
    curves = ThresholdF().update(
        frames.column(table, "position"),
        frames.histograms(table, "object_levels"),
        frames.histograms(table, "background_levels"),
    )
    values = BinaryIoU().update(counts).compute()
    values |= curves.compute(fscore_k)
    values |= DatasetScores(2).update_binary(counts).compute()
    values |= ActiveShare().update(counts).compute()
    return {"values": values, "fscore_curve": curves.curve().round(6).tolist()}


def _evaluate_semantic(table: pa.Table, classes: int, padded_to: int) -> dict:
    per_class, dataset = ClassScores(classes), DatasetScores(classes)
    for start in range(0, table.num_rows, 4096):  # the areas are dense: bound the memory
        part = table.slice(start, 4096)
        areas = class_areas(*frames.pairs(part), part.num_rows, classes)
        per_class.update(areas)
        dataset.update(areas)
    clip_frames = dict(zip(table["clip_id"].to_pylist(), table["clip_frames"].to_pylist(), strict=True))
    padded = sum(max(padded_to - length, 0) for length in clip_frames.values())
    per_class.add_padded(padded)
    iou, f, count = per_class.per_class()
    return {
        "padded_frames": padded,
        "ms_frames": dataset.ms_frames,
        "values": per_class.compute() | dataset.compute() | dataset.compute(ms=True),
        "per_class": {
            "miou_avss": iou.tolist(),
            "f_avss": f.tolist(),
            "frames": count.tolist(),
            "dataset_miou": class_iou(dataset.all).tolist(),
        },
    }


def _jsonable(value):
    """NaN (undefined) becomes null: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_scores(path: str | os.PathLike, grid: str = "common") -> dict:
    """The score row of one grid of a scores file: grid, hard, size, clips, frames, values (undefined ones are None)."""
    try:
        document = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise AvsbenchError(f"{path}: unreadable scores", found=error, hint="score the run again") from None
    if document.get("format") != FORMAT or document.get("version") != VERSION:
        found = (document.get("format"), document.get("version"))
        raise AvsbenchError(f"{path}: not a scores file", found=found, expected=(FORMAT, VERSION))
    for row in document["scores"]:
        if row["grid"] == grid:
            return row
    raise AvsbenchError(f"{path}: no scores on grid {grid!r}", found=[row["grid"] for row in document["scores"]])


def stored_truth(
    paths: Paths, card: cards.DatasetCard, split: str = "test", native: bool = False
) -> Iterator[ClipTruth]:
    """Ground truth of a split from the store, in csv order; with `native` also masks of the original size."""
    with ClipDataset(paths, card, split, masks=True) as clips:
        for number in range(len(clips)):
            clip = clips[number]
            masks = clip["masks"].numpy().astype(np.uint8)  # as stored: classes and 255
            original = clips.original_masks(number) if native else None
            yield ClipTruth(clip["clip_id"], clip["position"], masks, clip["annotated"].numpy(), original)


def score_run(
    paths: Paths, dataset: str, variant: str, seed: object, *, condition: str = "positive", ensemble: bool = False
) -> list[dict]:
    """Score one run, or its ensemble, on its test split; what the rules `score` and `score_ensemble` call.

    Under another condition than `positive` those clips count that were predicted: not every one has such a sound. They
    are not drawn anew.
    """
    card = cards.dataset(dataset)
    of = cards.variant(variant)
    k, run = of.fscore_batch_on(dataset), (dataset, variant, seed, condition)
    predictions = paths.predictions(*run, ensemble)
    truth = stored_truth(paths, card, native="native" in of.grids_on(card))
    if condition != "positive":
        with PredictionReader(predictions) as reader:
            predicted = set(reader.clips)
        truth = (clip for clip in truth if clip.clip_id in predicted)
    scores = score_predictions(
        predictions,
        truth,
        paths.frame_scores(*run, ensemble),
        paths.scores(*run, ensemble),
        out_draws=paths.draws(*run, ensemble) if condition == "positive" else None,
        fscore_k=sorted({*CALLS, k}),
        padded_to=card.frames if card.task == "semantic" else 0,
    )
    for row in scores:
        headline = {name: round(row["values"][name], 4) for name in HEADLINE.get(card.family, HEADLINE[card.task])}
        who = f"{variant}, ensemble of {row['members']}" if ensemble else variant
        who += "" if condition == "positive" else f" under {condition}"
        log.info("%s on %s, seed %s, grid %s: %s", who, dataset, seed, row["grid"], headline)
    return scores


HEADLINE = {
    "binary": ("miou", "f_at_0.5"),
    "semantic": ("miou_avss", "miou_avss_present", "dataset_miou"),
    "vpo": ("dataset_miou", "dataset_miou_present"),
}
"""Task, or family of data sets where it has its own protocol -> what the log shows of the scores."""
