"""Reader of AVSBench-semantic (AVSS): 71 classes as colour masks, clips of 5 s (parts v1s, v1m) and 10 s (v2).

Frames and masks count from 0. Training frames are cropped, those of val and test squashed (the card's `resize`).
"""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench.datasets.avsbench_files import (
    clip_sound,
    files_in_order,
    finish_table,
    read_csv,
    released_frames,
    same_size,
)
from avsbench.datasets.clip import IGNORE, Clip, ClipFault, ClipFiles, Reader
from avsbench.errors import AvsbenchError
from avsbench.media.images import read_colour_mask, resize_mask

PARTS = {"v1s": 5, "v1m": 5, "v2": 10}
"""Part of the release -> frames of its clips."""
_LOG = logging.getLogger(__name__)


def class_indices(path: Path, classes: list[str]) -> dict[str, int]:
    """Class name -> index 0..70 as used in masks, from `label2idx.json`, whose own values count from 1.

    Raises AvsbenchError unless the file holds 71 names with the values 1..71. Names that stand elsewhere than in the
    card are logged only: masks are read through their colours, so a name does not decide anything.
    """
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise AvsbenchError(f"{path}: no such file", expected=f"a JSON object of {len(classes)} class names") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AvsbenchError(f"{path}: not valid JSON", found=error) from None
    if not isinstance(values, dict) or len(values) != len(classes):
        raise AvsbenchError(
            f"{path}: wrong number of classes",
            found=f"{len(values)} entries" if isinstance(values, dict) else type(values).__name__,
            expected=f"{len(classes)} entries, background included",
        )
    if sorted(values.values(), key=str) != sorted(range(1, len(classes) + 1), key=str):
        raise AvsbenchError(
            f"{path}: wrong class numbers",
            found=_range(list(values.values())),
            expected=f"each of 1 … {len(classes)} once (the index of a class is this value minus 1)",
        )
    indices = {name: value - 1 for name, value in values.items()}
    moved = [f"{name} ({index})" for name, index in indices.items() if classes[index] != name]
    if moved:
        _LOG.warning("%s: %d classes stand elsewhere than in the card: %s", path, len(moved), ", ".join(moved[:5]))
    return indices


def _range(values: list) -> str:
    if all(isinstance(value, int) for value in values):
        return f"{min(values)} … {max(values)}"
    return "values that are not whole numbers"


class SemanticReader(Reader):
    """AVSS. A v1s training clip has one mask, that of its first frame."""

    def _load_table(self) -> pd.DataFrame:
        path = self.root / "metadata.csv"
        raw = read_csv(path, ["vid", "uid", "s_min", "s_sec", "a_obj", "split", "label"])
        class_indices(self.root / "label2idx.json", self.card.classes)
        for line, part in enumerate(raw["label"], start=2):
            if part not in PARTS:
                raise AvsbenchError(f"{path}:{line}: unknown label {part!r}", expected=", ".join(PARTS))
        table = pd.DataFrame(
            {
                "clip_id": raw["uid"],
                "split": raw["split"],
                "category": raw["a_obj"],
                "part": raw["label"],
                "frames": raw["label"].map(PARTS),
            }
        )
        return finish_table(path, table)

    def _annotated(self, row: dict) -> int:
        """How many frames, from the first, have a mask."""
        return 1 if row["part"] == "v1s" and row["split"] == "train" else row["frames"]

    def _files(self, row: dict) -> ClipFiles:
        folder, masked = self.root / row["part"] / row["clip_id"], self._annotated(row)
        return ClipFiles(
            frames=[folder / "frames" / f"{n}.jpg" for n in range(row["frames"])],
            masks=[folder / "labels_rgb" / f"{n}.png" if n < masked else None for n in range(row["frames"])],
            sounds=[folder / "audio.wav"],
        )

    def read_mask(self, file: Path) -> np.ndarray:
        return read_colour_mask(file, len(self.card.classes))

    def _read(self, row: dict, image_size: int) -> Clip:
        clip_id, count, part = row["clip_id"], row["frames"], row["part"]
        folder, rule = self.root / part / clip_id, self.card.resize[row["split"]]
        if not folder.is_dir():
            raise ClipFault(
                clip_id,
                f"{folder}: no such folder",
                expected=f"a folder with frames, audio.wav and labels_rgb of this {part} clip",
                hint="unpack the release again, or remove the row from the table",
            )
        files = files_in_order(clip_id, folder / "frames", r"(\d+)\.jpg", range(count), "frames")
        frames, size = released_frames(clip_id, files, image_size, rule)
        masked = self._annotated(row)
        files = files_in_order(clip_id, folder / "labels_rgb", r"(\d+)\.png", range(masked), "masks")
        labels = [self.read_mask(file) for file in files]
        mask_size = same_size(clip_id, labels, files, "masks")
        notes = []
        if mask_size != size:
            notes.append(f"masks are {mask_size[1]} x {mask_size[0]}, frames {size[1]} x {size[0]}")
        masks = np.full((count, image_size, image_size), IGNORE, np.uint8)
        for index, label in enumerate(labels):
            masks[index] = resize_mask(label, image_size, rule)
        sound, sound_notes = clip_sound(clip_id, folder / "audio.wav", None, count, row["category"])
        return Clip(frames, masks, np.arange(count) < masked, [sound], notes + sound_notes)
