"""What a reader hands out: the table of a data set and its clips, and the fault of one clip.

Letters in shapes: T frames, S side of the stored frame in pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.media.sound import Sound

IGNORE = 255
SPLITS = ("train", "val", "test")
COLUMNS = ["clip_id", "split", "position", "category", "part", "frames"]


@dataclass
class Clip:
    """One clip, ready for the store.

    Attributes:
        frames: uint8 [T,S,S,3], RGB.
        masks: uint8 [T,S,S] class ids (binary: 0/1); 255 everywhere in a frame without annotation.
        annotated: bool [T].
        sounds: the sources, unmixed, as stored.
        notes: oddities that do not stop the clip, a sentence each (a silent sound track …).
    """

    frames: np.ndarray
    masks: np.ndarray
    annotated: np.ndarray
    sounds: list[Sound]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ClipFiles:
    """Where the files of one clip belong in the official layout, whether they exist or not.

    Attributes:
        frames: T files, in order.
        masks: T files, in order; None for a frame without annotation.
        sounds: one file a source.
        video: raw video from which missing frames and sound can be made, where the layout has one.
    """

    frames: list[Path]
    masks: list[Path | None]
    sounds: list[Path]
    video: Path | None = None


@dataclass(frozen=True)
class Originals:
    """The pictures of one clip as released.

    Attributes:
        frames: T encoded images (PNG or JPEG).
        masks: class ids uint8 [H,W] at the size of the file, one for each annotated frame.
    """

    frames: list[bytes]
    masks: list[np.ndarray]


class ClipFault(AvsbenchError):  # noqa: N818 - the suite's word for it
    """Something is wrong with one clip: the message names the clip, the file, what was found and what was expected."""

    def __init__(self, clip_id: str, reason: object, *, found=None, expected=None, hint: str | None = None):
        self.clip_id, self.reason = clip_id, str(reason)
        super().__init__(f"clip {clip_id}: {reason}", found=found, expected=expected, hint=hint)

    @classmethod
    def of(cls, clip_id: str, error: AvsbenchError) -> "ClipFault":
        """The fault that an unreadable file of this clip is."""
        return cls(clip_id, error.what, found=error.found, expected=error.expected, hint=error.hint)

    def __reduce__(self):
        return _rebuild_fault, (self.clip_id, self.reason, self.found, self.expected, self.hint)


def _rebuild_fault(clip_id, reason, found, expected, hint):
    return ClipFault(clip_id, reason, found=found, expected=expected, hint=hint)


class Reader:
    """Base of the readers: a table of clips, and one clip at a time.

    Args:
        card: the data-set card.
        root: folder with the official layout.
    """

    def __init__(self, card: DatasetCard, root: Path):
        self.card, self.root = card, root

    def table(self) -> pd.DataFrame:
        """A row per clip in csv order.

        Columns: clip_id, split, position (row number within the split, from 0), category ("" if none), part
        (v1s, v1m, v2; VPO-MSMI: multi; else ""), frames (expected T).
        """
        return self._table.copy()

    def read(self, row: "pd.Series | Mapping | tuple", image_size: int) -> Clip:
        """The clip of a table row (or of any mapping or named tuple with a `clip_id`) at S = `image_size`.

        Raises:
            ClipFault: a file of this clip is missing, broken or not as the release has it.
        """
        row = self._full_row(row)
        try:
            return self._read(row, image_size)
        except ClipFault:
            raise
        except AvsbenchError as error:
            raise ClipFault.of(row["clip_id"], error) from None

    def files(self, row: "pd.Series | Mapping | tuple") -> ClipFiles:
        """The files of a clip of the table."""
        return self._files(self._full_row(row))

    def places(self, row: dict) -> ClipFiles:
        """The files of a clip with this clip_id, split, category, part and frames, in a table or not (VPO: in it)."""
        return self._files(row)

    def originals(self, row: "pd.Series | Mapping | tuple") -> "Originals":
        """The pictures of a clip as released, neither resized nor encoded anew.

        Raises:
            ClipFault: a file of this clip is missing, broken or not as the release has it.
        """
        row = self._full_row(row)
        try:
            files = self._files(row)
            masks = [self.read_mask(file) for file in files.masks if file is not None]
            return Originals(self._original_frames(row, files), masks)
        except ClipFault:
            raise
        except AvsbenchError as error:
            raise ClipFault.of(row["clip_id"], error) from None

    def _original_frames(self, row: dict, files: ClipFiles) -> list[bytes]:
        for file in files.frames:
            if not file.is_file():
                raise AvsbenchError(f"{file}: no such frame", hint="unpack the release again")
        return [file.read_bytes() for file in files.frames]

    def read_mask(self, file: Path) -> np.ndarray:
        """A mask file as class ids, uint8 [H,W] at its own size."""
        raise TypeError(f"{type(self).__name__} must define read_mask(file)")

    def _files(self, row: dict) -> ClipFiles:
        raise TypeError(f"{type(self).__name__} must define _files(row)")

    def _read(self, row: dict, image_size: int) -> Clip:
        raise TypeError(f"{type(self).__name__} must define _read(row, image_size)")

    def _load_table(self) -> pd.DataFrame:
        raise TypeError(f"{type(self).__name__} must define _load_table()")

    @cached_property
    def _table(self) -> pd.DataFrame:
        return self._load_table()

    @cached_property
    def _rows(self) -> dict[tuple[str, str], dict]:
        return {(row["split"], row["clip_id"]): row for row in self._table.to_dict("records")}

    def _full_row(self, row) -> dict:
        """The table's own row, found by clip id (and split, where the caller knows it)."""
        asked = row._asdict() if hasattr(row, "_asdict") else row
        clip_id, split = str(asked["clip_id"]), asked.get("split")
        for candidate in [split] if split else SPLITS:
            if (candidate, clip_id) in self._rows:
                return self._rows[candidate, clip_id]
        raise ClipFault(clip_id, f"not in the table of {self.card.name}", found=f"split {split}" if split else None)
