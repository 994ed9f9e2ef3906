"""What the readers of the AVSBench family share: tables, numbered files, frames and sound of a clip."""

import csv
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench.datasets.clip import COLUMNS, SPLITS, ClipFault
from avsbench.errors import AvsbenchError
from avsbench.media.images import read_image, resize_image, resize_plain
from avsbench.media.sound import Sound, read_wav
from avsbench.media.video import read_video_frames, read_video_sound

RELEASED_SIDE = 224
"""Side of the frames that were cut from the videos for the release, in pixels."""
SHORTEST = 0.975
"""Seconds below which a sound does not even fill one audio example."""


def read_csv(path: Path, required: list[str]) -> pd.DataFrame:
    """A table of strings; errors name the file and the missing columns."""
    if not path.is_file():
        raise AvsbenchError(f"{path}: no such table", hint="is this the top folder of the released data?")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # cells beyond the header would vanish
            table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, index_col=False)
    except pd.errors.ParserWarning:
        raise AvsbenchError(
            f"{path}: rows with more cells than the header names",
            found=f"{_longest(path)} cells in a row",
            expected="as many cells as columns",
            hint="a name with a comma needs quotes; a comma at the end of every row has to go",
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise AvsbenchError(
            f"{path}: the table cannot be read", found=error, expected="comma separated text with a header"
        ) from None
    missing = [name for name in required if name not in table.columns]
    if missing:
        raise AvsbenchError(
            f"{path}: the table lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            found=", ".join(table.columns),
            expected=", ".join(required),
        )
    return table


def _longest(path: Path) -> int:
    with open(path, newline="", encoding="utf-8") as file:
        return max(len(row) for row in csv.reader(file))


def finish_table(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Check splits and names of a table with COLUMNS but `position`, and number the rows of each split in csv order."""
    for line, (clip_id, split) in enumerate(zip(table["clip_id"], table["split"], strict=True), start=2):
        if split not in SPLITS:
            raise AvsbenchError(f"{path}:{line}: unknown split {split!r}", found=clip_id, expected=", ".join(SPLITS))
        if not clip_id or "/" in clip_id:
            raise AvsbenchError(f"{path}:{line}: {clip_id!r} cannot be the name of a clip", expected="a folder name")
    absent = [split for split in SPLITS if split not in set(table["split"])]
    if absent:
        raise AvsbenchError(
            f"{path}: the table has no clip of the split {', '.join(absent)}",
            found=f"{len(table)} rows: {table['split'].value_counts().to_dict()}",
            expected="rows of train, val and test",
        )
    twice = table[table.duplicated(["split", "clip_id"])]
    if len(twice):
        line, name, split = twice.index[0] + 2, twice.iloc[0]["clip_id"], twice.iloc[0]["split"]
        raise AvsbenchError(f"{path}:{line}: the clip {name} stands twice in {split}", hint="remove one of the rows")
    return table.assign(position=table.groupby("split").cumcount())[COLUMNS].reset_index(drop=True)


def numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Number -> file of those in `folder` whose whole name matches `pattern`; hidden and foreign files are left out."""
    if not folder.is_dir():
        return {}
    matches = ((re.fullmatch(pattern, path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in matches if match}


def files_in_order(clip_id: str, folder: Path, pattern: str, numbers: range, what: str) -> list[Path]:
    """The files with `numbers`, in order; a fault lists those that are missing."""
    found = numbered(folder, pattern)
    missing = [n for n in numbers if n not in found]
    if missing:
        raise ClipFault(
            clip_id,
            f"{folder}: {what} missing",
            found=f"numbers {', '.join(map(str, sorted(found)))}" if found else _nothing(folder),
            expected=f"numbers {numbers[0]} to {numbers[-1]}",
            hint="unpack the release again, or remove the clip from the table",
        )
    return [found[n] for n in numbers]


def _nothing(folder: Path) -> str:
    return "an empty folder" if folder.is_dir() else "no such folder"


def same_size(clip_id: str, arrays: list[np.ndarray], files: list[Path], what: str) -> tuple[int, int]:
    """(H, W) of all arrays, or a fault that names the first file that differs."""
    sizes = [array.shape[:2] for array in arrays]
    for size, file in zip(sizes, files, strict=True):
        if size != sizes[0]:
            raise ClipFault(
                clip_id,
                f"{file}: {what} of one clip differ in size",
                found=f"{size[1]} x {size[0]}",
                expected=f"{sizes[0][1]} x {sizes[0][0]}, as in {files[0].name}",
            )
    return sizes[0]


def released_frames(clip_id: str, files: list[Path], image_size: int, rule: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Frames uint8 [T,S,S,3] and the (H, W) of the files."""
    images = [read_image(file) for file in files]
    size = same_size(clip_id, images, files, "frames")
    return np.stack([resize_image(image, image_size, rule) for image in images]), size


def video_frames(video: Path, frames: int, image_size: int) -> np.ndarray:
    """Frames uint8 [T,S,S,3] cut from a raw video as the release cut them: at 15/16 of each second, squashed to 224."""
    pictures = [resize_plain(p, RELEASED_SIDE, RELEASED_SIDE) for p in read_video_frames(video, frames)]
    return np.stack([resize_image(picture, image_size, "squash") for picture in pictures])


def clip_sound(clip_id: str, wav: Path, video: Path | None, seconds: int, category: str) -> tuple[Sound, list[str]]:
    """The sound of a clip, from its wav or else from its video, and notes about oddities.

    Raises ClipFault when there is none, or less than one audio example of it.
    """
    if wav.is_file():
        file, sound = wav, read_wav(wav, category=category)
    elif video is not None and video.is_file():
        file, sound = video, read_video_sound(video)
        sound.category = category
        sound.samples = sound.samples[: seconds * sound.rate]  # a raw video may be longer than its clip
    else:
        beside = "" if video is None else f", and no video {video}"
        raise ClipFault(clip_id, f"{wav}: no such sound file{beside}", hint="unpack the release again")
    if sound.seconds < SHORTEST:
        raise ClipFault(
            clip_id,
            f"{file}: the sound is too short",
            found=f"{sound.seconds:.3f} s",
            expected=f"{seconds} s, at least {SHORTEST} s",
        )
    notes = []
    if sound.silent:
        notes.append(f"{file.name}: the sound is silent, every sample is zero")
    if sound.seconds < seconds - 0.25:
        notes.append(f"{file.name}: {sound.seconds:.2f} s of sound for {seconds} s of pictures")
    return sound, notes
