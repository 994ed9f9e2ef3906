"""Which file of a folder holds which frame: predictions as published code bases, and others, name them.

A file belongs to a clip of the test split by its name alone; folders above it do not matter. Known are

    <clip>_<n>.png, <clip>.mp4_<n>.png     any task; what AVSBench, Sam4AVS and most others write
    <clip>/<n>.png, also below that        any task; the layout of AVSS masks
    <clip>.png                             where a clip is one frame (VPO; numbers may be padded with zeros)

and the same with .npy or .npz, where `<clip>.npy` may also hold all frames [T,h,w] of a clip. An .npz with several
arrays is read like a folder: its keys are the names. Frames count from 0 or from 1.
"""

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench.errors import AvsbenchError

ENDINGS = (".png", ".npy", ".npz")
EXTRA, TWICE, UNREADABLE = "extra", "twice", "unreadable"


@dataclass(frozen=True)
class Entry:
    """A picture or an array: a file, and in an .npz a key."""

    file: Path
    key: str | None = None

    @property
    def picture(self) -> bool:
        return self.file.suffix.lower() == ".png"

    def __str__(self) -> str:
        return str(self.file) if self.key is None else f"{self.file}: {self.key}"


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a prediction: `kind` in a word, which file or frame, and why."""

    kind: str
    name: str
    why: str


@dataclass
class Files:
    """What was found.

    Attributes:
        frames: (clip, frame from 0) -> entry of one frame.
        clips: clip -> entry of all frames.
        faults: files that belong to no frame, or to a frame that has one already.
        first_frame: the number of a clip's first frame in names; None where no name holds a number.
    """

    frames: dict[tuple[str, int], Entry] = field(default_factory=dict)
    clips: dict[str, Entry] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    first_frame: int | None = None


def find(predictions: Path, index: pd.DataFrame, first_frame: int | None = None) -> Files:
    """Match the files below a folder (or the keys of one .npz) with the clips of an index.

    Args:
        first_frame: 0 or 1; None: found out from the numbers.

    Raises:
        AvsbenchError: no such folder, or the numbers do not tell whether frames count from 0 or 1.
    """
    if not predictions.exists():
        raise AvsbenchError(f"{predictions}: no such folder of predictions")
    if predictions.is_file() and predictions.suffix.lower() != ".npz":
        raise AvsbenchError(f"{predictions}: not predictions", expected="a folder, or an .npz with a key a clip")
    names, lengths = _Names(index), dict(zip(index["clip_id"], index["frames"], strict=True))
    files, numbered = Files(), []
    for entry, parts in _entries(predictions, names, files.faults):
        clip, number = names.match(parts, whole=not entry.picture)
        if clip is None:
            files.faults.append(Fault(EXTRA, str(entry), "named after no clip of the test split"))
        elif number is not None:
            numbered.append((entry, clip, number))
        elif lengths[clip] == 1 or not entry.picture:
            _put(files.clips, clip, entry, files.faults)
        else:
            files.faults.append(Fault(EXTRA, str(entry), f"no number of a frame; {clip} has {lengths[clip]}"))
    files.first_frame = _first(numbered, lengths) if first_frame is None else first_frame
    for entry, clip, number in numbered:
        frame = number - files.first_frame
        if 0 <= frame < lengths[clip]:
            _put(files.frames, (clip, frame), entry, files.faults)
        else:
            why = f"clip {clip} has {lengths[clip]} frames, counted from {files.first_frame}"
            files.faults.append(Fault(EXTRA, str(entry), why))
    for clip, frame in [key for key in files.frames if key[0] in files.clips]:
        files.faults.append(Fault(TWICE, str(files.frames[clip, frame]), f"{files.clips[clip]} holds it too"))
    return files


def _put(found: dict, key, entry: Entry, faults: list[Fault]) -> None:
    if key in found:
        faults.append(Fault(TWICE, str(entry), f"{found[key]} is of the same frame"))
    else:
        found[key] = entry


def _first(numbered: list[tuple[Entry, str, int]], lengths: dict[str, int]) -> int | None:
    """0 if a name says 0, 1 if a name says as many as its clip has frames."""
    if not numbered:
        return None
    if any(number == lengths[clip] for _, clip, number in numbered) and all(number for *_, number in numbered):
        return 1
    if any(number == 0 or number > lengths[clip] for _, clip, number in numbered):
        return 0
    raise AvsbenchError(
        "the names of the predictions do not tell whether frames count from 0 or from 1",
        found=f"numbers {min(n for *_, n in numbered)} to {max(n for *_, n in numbered)}, e.g. {numbered[0][0]}",
        hint="say so: --first-frame 0 or --first-frame 1",
    )


def _entries(predictions: Path, names: "_Names", faults: list[Fault]) -> Iterable[tuple[Entry, list[str]]]:
    """Every picture or array, with the parts of its name, the ending of the file left out; all else is a fault."""
    alone = predictions.is_file()
    for file in [predictions] if alone else _walk(predictions):
        ending = file.suffix.lower()
        folders = () if alone else file.relative_to(predictions).parts[:-1]
        parts = [*folders, file.name[: len(file.name) - len(ending)]]
        if ending not in ENDINGS:
            faults.append(Fault(EXTRA, str(file), f"not {', '.join(ENDINGS)}"))
        elif ending != ".npz":
            yield Entry(file), parts
        else:
            try:
                with np.load(file, allow_pickle=False) as arrays:
                    keys = list(arrays)
            except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
                faults.append(Fault(UNREADABLE, str(file), f"no .npz: {type(error).__name__}"))
                continue
            named = len(keys) == 1 and names.match(parts, whole=True)[0] is not None
            yield from ((Entry(file, key), parts if named else [*parts, *key.split("/")]) for key in keys)


def _walk(folder: Path) -> Iterable[Path]:
    """Files in a fixed order, but for hidden ones."""
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(top) / name for name in sorted(files) if not name.startswith("."))


class _Names:
    """Every way to write the name of a clip -> the clip."""

    def __init__(self, index: pd.DataFrame):
        self.single = set(index.loc[index["frames"] == 1, "clip_id"])
        self.clips = {clip: clip for clip in index["clip_id"]}
        self.clips |= {f"{clip}.mp4": clip for clip in index["clip_id"]}
        for clip in self.single:  # pictures of COCO are numbers of 12 digits
            numbers = clip.split("_")
            if all(number.isdigit() for number in numbers):
                self.clips["_".join(number.zfill(12) for number in numbers)] = clip

    def match(self, parts: list[str], whole: bool) -> tuple[str | None, int | None]:
        """(clip, number of the frame) of a name; None for what it does not say. `whole`: it may hold a whole clip."""
        *folders, last = parts
        clip = self.clips.get(last)
        if clip in self.single or (whole and clip is not None):
            return clip, None
        head, _, tail = last.rpartition("_")
        if head in self.clips and _is_number(tail):
            return self.clips[head], int(tail)
        if _is_number(last):
            for folder in reversed(folders):
                if folder in self.clips:
                    return self.clips[folder], int(last)
        return clip, None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
