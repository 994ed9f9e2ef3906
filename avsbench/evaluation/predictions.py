"""The prediction store: one HDF5 file per run and audio condition, from which every score is computed.

Layout (version 1):

    /                         attributes: format, version, dataset, variant, seed, condition, task, classes, hard,
                              members, and where they were measured frames_per_second and gflops_per_frame
    /clips                    clip ids in the order of prediction; written last, so its absence betrays a partial file
    /<grid>/<clip>/level      binary: uint8 [T,h,w], thresholds of protocol B that the probability reaches
    /<grid>/<clip>/mask       binary: uint8 [T,h,w], the method's own hard mask, 0/1
    /<grid>/<clip>/label      semantic: uint8 [T,h,w], class ids

`<grid>` is `common` (the stored frame size), `512` or `native`. Only real frames are stored; no padding.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from avsbench.atomic import atomic
from avsbench.errors import AvsbenchError
from avsbench.metrics.fscore import levels
from avsbench.store.disk import SafeFile
from avsbench.store.shards import check_clip_id

FORMAT, VERSION = "avsbench-predictions", 1
GRIDS = ("common", "512", "native")
COSTS = ("frames_per_second", "gflops_per_frame")
"""What predicting cost; None where it was not measured."""

_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises on damaged files, depending on where the damage lies."""


@dataclass(frozen=True)
class PredictionInfo:
    """What a prediction file is about.

    Attributes:
        dataset, variant, seed, condition: the run and the audio it heard.
        task: "binary" or "semantic".
        classes: K of a semantic task; 1 for a binary one.
        hard: True where only masks exist, so that protocol B has no probability to choose a threshold on.
        members: networks whose probabilities were averaged; 1 for a single one.
    """

    dataset: str
    variant: str
    seed: str
    condition: str
    task: str
    classes: int
    hard: bool = False
    members: int = 1


class PredictionWriter:
    """Writes a prediction file; it appears under its name when the `with` block ends without an error.

    `frames_per_second` and `gflops_per_frame`, if set before the end, are stored with the predictions.

    >>> with PredictionWriter(path, info) as writer:                                # doctest: +SKIP
    ...     writer.add_binary("common", clip_id, probability=p, mask=m)
    """

    def __init__(self, path: str | os.PathLike, info: PredictionInfo):
        if info.task not in ("binary", "semantic"):
            raise AvsbenchError(f"{path}: unknown task", found=info.task, expected="binary or semantic")
        self.path, self.info = Path(path), info
        self._atomic = atomic(path)
        self._clips: dict[str, None] = {}  # an ordered set
        self.frames_per_second: float | None = None
        self.gflops_per_frame: float | None = None

    def __enter__(self) -> "PredictionWriter":
        temporary = self._atomic.__enter__()
        try:
            self._sink = SafeFile(temporary)
            self._file = h5py.File(self._sink, "w", libver="earliest")
            self._file.attrs.update({"format": FORMAT, "version": VERSION, **asdict(self.info)})
        except BaseException as error:
            self._atomic.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind, value, trace) -> None:
        try:
            if kind is None:
                for name in COSTS:
                    if getattr(self, name) is not None:
                        self._file.attrs[name] = getattr(self, name)
                self._file["clips"] = list(self._clips) or np.zeros(0, dtype=h5py.string_dtype())
            self._file.close()
            self._sink.close()
            if kind is None:
                self._sink.check()
        except BaseException as error:
            self._atomic.__exit__(type(error), error, None)
            raise
        self._atomic.__exit__(kind, value, trace)

    def add_binary(self, grid: str, clip_id: str, *, probability, mask) -> None:
        """Store T frames of a binary task.

        Args:
            grid: "common", "512" or "native".
            clip_id: name of the clip.
            probability: float [T,h,w] in 0..1, array or tensor; compared with the thresholds in float32.
            mask: bool [T,h,w], the method's own decision.
        """
        self._require("binary", clip_id)
        if self.info.hard:
            raise AvsbenchError(f"{self.path}: a file of hard masks takes no probabilities", hint="use add_hard")
        try:
            level = levels(probability)
        except ValueError as error:
            raise AvsbenchError(f"clip {clip_id}: {error}", hint="look at the method's scores of this clip") from None
        self._put(grid, clip_id, level=level, mask=_array(mask).astype(bool).view(np.uint8))

    def add_hard(self, grid: str, clip_id: str, mask) -> None:
        """Store T frames of a binary task of which only the mask is known: bool [T,h,w]."""
        self._require("binary", clip_id)
        mask = _array(mask).astype(bool)
        # Probability 1 reaches all 255 thresholds, probability 0 the first one.
        self._put(grid, clip_id, level=np.where(mask, 255, 1).astype(np.uint8), mask=mask.view(np.uint8))

    def add_semantic(self, grid: str, clip_id: str, label) -> None:
        """Store T frames of a semantic task: class ids, integer [T,h,w]."""
        self._require("semantic", clip_id)
        label = _array(label)
        if label.size and not 0 <= label.min() <= label.max() < self.info.classes:
            raise AvsbenchError(
                f"clip {clip_id}: a predicted class does not exist",
                found=f"classes {label.min()} to {label.max()}",
                expected=f"0 to {self.info.classes - 1}",
            )
        self._put(grid, clip_id, label=label.astype(np.uint8))

    def _require(self, task: str, clip_id: str) -> None:
        if self.info.task != task:
            raise AvsbenchError(f"clip {clip_id}: wrong kind of prediction", found=task, expected=self.info.task)

    def _put(self, grid: str, clip_id: str, **arrays: np.ndarray) -> None:
        shapes = {array.shape for array in arrays.values()}
        if len(shapes) > 1 or len(next(iter(shapes))) != 3:
            raise AvsbenchError(f"clip {clip_id}: predictions of wrong shape", found=sorted(shapes), expected="[T,h,w]")
        if grid not in GRIDS:
            raise AvsbenchError(f"clip {clip_id}: unknown grid {grid!r}", expected=f"one of {', '.join(GRIDS)}")
        check_clip_id(clip_id)
        if f"{grid}/{clip_id}" in self._file:
            raise AvsbenchError(f"clip {clip_id} was predicted twice on grid {grid}")
        group = self._file.create_group(f"{grid}/{clip_id}")
        for name, array in arrays.items():
            # Of the fast filters, gzip gives the same bytes every time (lzf depends on uninitialised memory).
            chunks = (1, *array.shape[1:]) if array.size else None
            filters = {"compression": "gzip", "compression_opts": 1} if array.size else {}
            group.create_dataset(name, data=array, chunks=chunks, **filters)
        self._sink.check()
        self._clips[clip_id] = None


class PredictionReader:
    """Reads a prediction file. Use as a context manager.

    Raises:
        AvsbenchError: the file is missing, truncated, incomplete, of another format, or lacks a clip.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        if not self.path.is_file():
            raise AvsbenchError(f"{path}: no such prediction file", hint="run `avsbench predict` for this run")
        try:
            self._file = h5py.File(self.path, "r")
            attributes = dict(self._file.attrs)
            self.clips = [clip.decode() for clip in self._file["clips"][()]] if "clips" in self._file else None
        except _BROKEN as error:
            raise _damaged(self.path, error) from None
        found = (attributes.get("format"), attributes.get("version"))
        if found != (FORMAT, VERSION):
            self._file.close()
            raise AvsbenchError(f"{path}: not a prediction file", found=found, expected=(FORMAT, VERSION))
        if self.clips is None:
            self._file.close()
            raise _damaged(self.path, "it lacks the list of clips that is written last")
        self.frames_per_second, self.gflops_per_frame = (_plain(attributes.get(name)) for name in COSTS)
        known = [name for name in PredictionInfo.__dataclass_fields__ if name in attributes]
        self.info = PredictionInfo(**{name: _plain(attributes[name]) for name in known})

    def __enter__(self) -> "PredictionReader":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    @property
    def grids(self) -> list[str]:
        """The scoring grids in the file, `common` first."""
        return [grid for grid in GRIDS if grid in self._file]

    def size(self, grid: str, clip_id: str) -> tuple[int, int, int]:
        """(T, h, w) of a clip."""
        return next(iter(self._group(grid, clip_id).values())).shape

    def binary(self, grid: str, clip_id: str) -> tuple[np.ndarray, np.ndarray]:
        """(level uint8, mask bool) [T,h,w] of a clip."""
        level, mask = self._read(grid, clip_id, "level", "mask")
        return level, mask.view(bool)

    def semantic(self, grid: str, clip_id: str) -> np.ndarray:
        """Class ids uint8 [T,h,w] of a clip."""
        return self._read(grid, clip_id, "label")[0]

    def _group(self, grid: str, clip_id: str) -> h5py.Group:
        try:
            return self._file[f"{grid}/{clip_id}"]
        except KeyError:
            raise AvsbenchError(
                f"{self.path}: no prediction of clip {clip_id} on grid {grid}",
                found=f"{len(self.clips)} clips on {', '.join(self.grids) or 'no grid'}",
                hint="the data set has changed since; predict again",
            ) from None

    def _read(self, grid: str, clip_id: str, *names: str) -> list[np.ndarray]:
        group = self._group(grid, clip_id)
        try:
            return [group[name][()] for name in names]
        except _BROKEN as error:
            raise _damaged(self.path, f"clip {clip_id}, grid {grid}: {error}") from None


def _array(value) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def _damaged(path: Path, why: object) -> AvsbenchError:
    return AvsbenchError(f"{path}: the prediction file is damaged", found=why, hint="delete it and predict again")
