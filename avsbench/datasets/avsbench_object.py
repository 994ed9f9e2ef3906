"""Readers of AVSBench-object: S4 (one sounding object, `Single-source`) and MS3 (several, `Multi-sources`).

Frames and masks count from 1, one a second. Released frames are 224 x 224; where a clip has none, they are made from
its raw video by the official rule.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench.datasets.avsbench_files import (
    RELEASED_SIDE,
    clip_sound,
    files_in_order,
    finish_table,
    read_csv,
    released_frames,
    same_size,
    video_frames,
)
from avsbench.datasets.clip import IGNORE, Clip, ClipFault, ClipFiles, Reader
from avsbench.media.images import encode_png, read_binary_mask, resize_mask


class _ObjectReader(Reader):
    """What S4 and MS3 share. Subclasses say where the files of a clip lie and how their names end."""

    def _places(self, row: dict) -> dict[str, Path]:
        """Folders `frames` and `masks`, files `wav` and `video` of a clip."""
        raise TypeError(f"{type(self).__name__} must define _places(row)")

    def _frame_name(self, clip_id: str) -> str:
        """What stands before `_<number>.png` in the name of a frame."""
        return clip_id

    def _annotated(self, row: dict) -> int:
        """How many frames, from the first, have a mask."""
        return row["frames"]

    def _files(self, row: dict) -> ClipFiles:
        clip_id, places = row["clip_id"], self._places(row)
        stem, masked = self._frame_name(clip_id), self._annotated(row)
        numbers = range(1, row["frames"] + 1)
        return ClipFiles(
            frames=[places["frames"] / f"{stem}_{n}.png" for n in numbers],
            masks=[places["masks"] / f"{clip_id}_{n}.png" if n <= masked else None for n in numbers],
            sounds=[places["wav"]],
            video=places["video"],
        )

    def read_mask(self, file: Path) -> np.ndarray:
        return read_binary_mask(file)

    def _original_frames(self, row: dict, files: ClipFiles) -> list[bytes]:
        if files.frames[0].parent.is_dir() or not files.video.is_file():
            return super()._original_frames(row, files)
        return [encode_png(frame) for frame in video_frames(files.video, row["frames"], RELEASED_SIDE)]

    def _read(self, row: dict, image_size: int) -> Clip:
        clip_id, count, places = row["clip_id"], row["frames"], self._places(row)
        rule = self.card.resize[row["split"]]
        notes = []
        pattern = _pattern(self._frame_name(clip_id))
        if places["frames"].is_dir():
            files = files_in_order(clip_id, places["frames"], pattern, range(1, count + 1), "frames")
            frames, size = released_frames(clip_id, files, image_size, rule)
        elif places["video"].is_file():
            frames, size = video_frames(places["video"], count, image_size), None
            notes.append("frames made from the raw video")
        else:
            raise ClipFault(
                clip_id,
                f"{places['frames']}: no folder of frames",
                found=f"no video {places['video']} either",
                expected=f"{count} frames, or the raw video",
                hint="unpack the release again, or remove the row from the table",
            )
        masks = np.full((count, image_size, image_size), IGNORE, np.uint8)
        annotated = np.arange(count) < self._annotated(row)
        files = files_in_order(clip_id, places["masks"], _pattern(clip_id), range(1, self._annotated(row) + 1), "masks")
        originals = [self.read_mask(file) for file in files]
        mask_size = same_size(clip_id, originals, files, "masks")
        if size is not None and mask_size != size:
            notes.append(f"masks are {mask_size[1]} x {mask_size[0]}, frames {size[1]} x {size[0]}")
        for index, mask in enumerate(originals):
            masks[index] = resize_mask(mask, image_size, rule)
        sound, sound_notes = clip_sound(clip_id, places["wav"], places["video"], count, row["category"])
        return Clip(frames, masks, annotated, [sound], notes + sound_notes)


def _pattern(stem: str) -> str:
    return re.escape(stem) + r"_(\d+)\.png"


class SingleSourceReader(_ObjectReader):
    """S4. A training clip has one mask, that of its first frame.

    The published script takes only 10 - start frames of a clip that starts after second 5, because it was cut from 10 s
    of VGGSound; no loader could read the result. Raw videos are trimmed clips, so all five frames are made here.
    """

    def _load_table(self) -> pd.DataFrame:
        path = self.root / "s4_meta_data.csv"
        raw = read_csv(path, ["category", "split"])
        table = raw[["category", "split"]].assign(clip_id=raw.iloc[:, 0], part="", frames=self.card.frames)
        return finish_table(path, table)

    def _places(self, row: dict) -> dict[str, Path]:
        data, clip_id = self.root / "s4_data", row["clip_id"]
        middle = Path(row["split"]) / row["category"]
        return {
            "frames": data / "visual_frames" / middle / clip_id,
            "masks": data / "gt_masks" / middle / clip_id,
            "wav": data / "audio_wav" / middle / f"{clip_id}.wav",
            "video": data / "raw_videos" / middle / f"{clip_id}.mp4",
        }

    def _annotated(self, row: dict) -> int:
        return 1 if row["split"] == "train" else row["frames"]


class MultiSourceReader(_ObjectReader):
    """MS3. Frames and videos lie without a split folder, and only the names of frames hold `.mp4`."""

    def _load_table(self) -> pd.DataFrame:
        path = self.root / "ms3_meta_data.csv"
        raw = read_csv(path, ["split"])
        table = raw[["split"]].assign(clip_id=raw.iloc[:, 0], category="", part="", frames=self.card.frames)
        return finish_table(path, table)

    def _places(self, row: dict) -> dict[str, Path]:
        data, clip_id = self.root / "ms3_data", row["clip_id"]
        return {
            "frames": data / "visual_frames" / clip_id,
            "masks": data / "gt_masks" / row["split"] / clip_id,
            "wav": data / "audio_wav" / row["split"] / f"{clip_id}.wav",
            "video": data / "raw_videos" / f"{clip_id}.mp4",
        }

    def _frame_name(self, clip_id: str) -> str:
        return f"{clip_id}.mp4"
