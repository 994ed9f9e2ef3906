"""The per-frame table: one row of integers per frame and grid, from which every protocol is computed.

Columns of all tasks: clip_id, position (row of the clip in its split's csv), frame, clip_frames (real frames of the
clip), grid, hard, height, width, void (pixels labelled 255) and ignored (pixels with a negative label).
Binary: tp, fp, fn, tn of the hard mask; object_levels and background_levels, histograms of 256 levels.
Semantic: pair_label, pair_prediction, pair_pixels: pixels per (label, prediction) that occurs; label 255 is void, -1
ignored. The schema's metadata hold the run, task, classes and the frames a clip is padded to.
"""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from avsbench.atomic import atomic
from avsbench.errors import AvsbenchError
from avsbench.metrics.binary import binary_counts
from avsbench.metrics.fscore import LEVELS, level_histograms
from avsbench.metrics.pairs import VOID, LabelPairs, label_pairs

METADATA = b"avsbench"

_SHARED = [
    ("clip_id", pa.string()),
    ("position", pa.int32()),
    ("frame", pa.int16()),
    ("clip_frames", pa.int16()),
    ("grid", pa.string()),
    ("hard", pa.bool_()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("void", pa.int32()),
    ("ignored", pa.int32()),
]
_BINARY = [(name, pa.int32()) for name in ("tp", "fp", "fn", "tn")] + [
    (name, pa.list_(pa.uint32())) for name in ("object_levels", "background_levels")
]
_SEMANTIC = [
    ("pair_label", pa.list_(pa.int16())),
    ("pair_prediction", pa.list_(pa.int16())),
    ("pair_pixels", pa.list_(pa.int32())),
]
SCHEMAS = {"binary": pa.schema(_SHARED + _BINARY), "semantic": pa.schema(_SHARED + _SEMANTIC)}


class FrameTable:
    """Collects rows clip by clip; memory grows by a few kilobytes a frame.

    Args:
        task: "binary" or "semantic".
        classes: K of a semantic task.
        metadata: stored with the table; must hold what `scores_from_frames` needs (task, classes, padded_to).
    """

    def __init__(self, task: str, classes: int, metadata: dict):
        self.task, self.classes = task, classes
        self.schema = SCHEMAS[task].with_metadata({METADATA: json.dumps(metadata, sort_keys=True).encode()})
        self.rows: dict[str, list] = {name: [] for name in self.schema.names}

    def add_clip(
        self,
        clip_id: str,
        position: int,
        grid: str,
        label: np.ndarray,
        scored: np.ndarray,
        *,
        mask: np.ndarray | None = None,
        level: np.ndarray | None = None,
        prediction: np.ndarray | None = None,
        hard: bool = False,
    ) -> None:
        """Append the frames of one clip that have ground truth.

        Args:
            label: integer [T,h,w], 255 void, negative ignored.
            scored: bool [T], frames with ground truth; others get no row.
            mask, level: bool and uint8 [T,h,w] of a binary task.
            prediction: integer [T,h,w] of a semantic task.

        Raises:
            AvsbenchError: shapes differ or a value makes no sense; names the clip.
        """
        for t in np.flatnonzero(scored):
            try:
                if self.task == "binary":
                    values = _binary_row(mask[t], level[t], label[t])
                else:
                    values = _semantic_row(prediction[t], label[t], self.classes)
            except (ValueError, IndexError) as error:
                raise AvsbenchError(f"clip {clip_id}, frame {t}, grid {grid}: {error}") from None
            values |= {
                "clip_id": clip_id,
                "position": int(position),
                "frame": int(t),
                "clip_frames": len(label),
                "grid": grid,
                "hard": bool(hard),
                "height": label.shape[1],
                "width": label.shape[2],
                "ignored": int(np.count_nonzero(label[t] < 0)) if label.dtype.kind != "u" else 0,
            }
            for name, column in self.rows.items():
                column.append(values[name])

    def table(self) -> pa.Table:
        return pa.Table.from_pydict(self.rows, schema=self.schema)

    def write(self, path: str | os.PathLike) -> pa.Table:
        """Write the Parquet file (renamed into place) and return the table."""
        table = self.table()
        with atomic(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        return table


def _binary_row(mask: np.ndarray, level: np.ndarray, label: np.ndarray) -> dict:
    counts = binary_counts(mask[None], label[None])
    on_object, on_background = level_histograms(level[None], label[None])
    row = {name: int(value[0]) for name, value in counts._asdict().items()}
    row["void"] = int(np.count_nonzero(label == VOID))
    return row | {"object_levels": on_object[0], "background_levels": on_background[0]}


def _semantic_row(prediction: np.ndarray, label: np.ndarray, classes: int) -> dict:
    pairs = label_pairs(prediction, label, classes)
    return {
        "pair_label": pairs.label,
        "pair_prediction": pairs.prediction,
        "pair_pixels": pairs.pixels,
        "void": int(pairs.pixels[pairs.label == VOID].sum()),
    }


def read_frames(path: str | os.PathLike) -> pa.Table:
    """A per-frame table from disk. Raises AvsbenchError if the file is no such table."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise AvsbenchError(f"{path}: unreadable per-frame table", found=error, hint="score the run again") from None
    metadata(table, path)
    return table


def metadata(table: pa.Table, path: object = "table") -> dict:
    """What the table is about: run, task, classes, padded_to."""
    stored = (table.schema.metadata or {}).get(METADATA)
    if stored is None:
        raise AvsbenchError(
            f"{path}: not a per-frame table of this suite", expected="`avsbench` in the schema's metadata"
        )
    return json.loads(stored)


def column(table: pa.Table, name: str) -> np.ndarray:
    """A plain column as numpy."""
    return table.column(name).to_numpy()


def histograms(table: pa.Table, name: str) -> np.ndarray:
    """A histogram column as int64 [N,256]."""
    flat, lengths = _flatten(table, name)
    if np.any(lengths != LEVELS):
        raise AvsbenchError(f"per-frame table: a row of {name} has no {LEVELS} entries", found=np.unique(lengths))
    return flat.astype(np.int64).reshape(-1, LEVELS)


def pairs(table: pa.Table) -> tuple[np.ndarray, LabelPairs]:
    """(row of each pair, the pairs of all rows one after another)."""
    parts = [_flatten(table, name) for name in ("pair_label", "pair_prediction", "pair_pixels")]
    lengths = parts[0][1]
    return np.repeat(np.arange(len(lengths)), lengths), LabelPairs(*(part[0] for part in parts))


def _flatten(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    lists = table.column(name).combine_chunks()
    if isinstance(lists, pa.ChunkedArray):  # combine_chunks of an empty table
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], type=lists.type)
    # flatten() respects offsets of a sliced array; value_lengths() belongs to the same slice.
    return lists.flatten().to_numpy(), lists.value_lengths().to_numpy()
