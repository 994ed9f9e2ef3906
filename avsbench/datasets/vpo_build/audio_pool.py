"""Second step: which clips of VGGSound may stand for which class."""

import csv
import difflib
import functools
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench.datasets.vpo_build.tables import tables
from avsbench.datasets.workers import run
from avsbench.errors import AvsbenchError
from avsbench.media.sound import Sound, mono, read_wav
from avsbench.media.video import read_video_sound

SECONDS = 3.0
"""What a model hears of a clip: its central 3 s."""
SILENT = 1e-3
"""Peak, of full scale, below which these are silent."""
SOUND_FILES = (".wav", ".flac", ".ogg", ".mp3")
VIDEO_FILES = (".mp4", ".mkv", ".webm", ".m4a")
SPLITS = {"train": "train", "test": "val"}
"""Split of VGGSound -> split of the built set (the reader makes `val` its test split)."""
COLUMNS = ["split", "cateName", "vgg_file", "vgg_label", "path", "seconds", "rate", "channels", "peak"]
_LOG = logging.getLogger(__name__)


def find_sounds(vggsound: Path, workers: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The usable clips of every class, and those that are not usable.

    Args:
        vggsound: folder with `vggsound.csv` and, at any depth, files named `<video id>_<start second, six digits>` as
            sound (wav, flac, ogg, mp3) or video (mp4, mkv, webm, m4a).
        workers: processes that decode.

    Returns:
        The pool, sorted by split, class and clip: split (train, val), cateName, vgg_file (name without extension),
        vgg_label, path (within `vggsound`), seconds, rate, channels and peak (of the central 3 s, 0..1); and the
        dropped clips: vgg_file, vgg_label, cateName, split, reason.

    Raises:
        AvsbenchError: vggsound.csv is missing or not VGGSound's, or has not all labels that the table of classes names.
    """
    clips = read_clips(Path(vggsound) / "vggsound.csv")
    files = _files(Path(vggsound))
    probe = functools.partial(_probe, Path(vggsound))
    found = run(probe, [files.get(name) for name in clips["vgg_file"]], workers, "listen to VGGSound")
    clips = clips.join(pd.DataFrame(found, columns=["path", "seconds", "rate", "channels", "peak", "reason"]))
    both = clips.groupby("vgg_file")["split"].transform("nunique") > 1
    clips.loc[both, "reason"] = "in both splits"
    good = clips["reason"] == ""
    dropped = clips.loc[~good, ["vgg_file", "vgg_label", "cateName", "split", "reason"]]
    _LOG.info("VGGSound: %d clips usable, %d dropped", good.sum(), len(dropped))
    pool = clips.loc[good, COLUMNS].sort_values(COLUMNS[:3], ignore_index=True)
    if pool.empty:
        raise AvsbenchError(
            f"{vggsound}: no clip is usable",
            found=f"{len(files)} sound or video files, {len(clips)} clips of the classes in vggsound.csv",
            expected="files named <video id>_<start second, six digits>.wav, for example aB3_dE-fG7h_000030.wav",
        )
    return pool, dropped.sort_values(["split", "cateName", "vgg_file"], ignore_index=True)


def read_clips(path: Path) -> pd.DataFrame:
    """The clips of VPO's classes in vggsound.csv (no header: video id, start second, label, train or test)."""
    if not path.is_file():
        raise AvsbenchError(
            f"{path}: no such file",
            hint="download it from the page of VGGSound, or name its folder in the configuration: vpo_sources.vggsound",
        )
    class_of = {label: name for name, labels in tables().sounds.items() for label in labels}
    rows, labels = [], set()
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if len(row) != 4 or not row[1].isdecimal() or row[3] not in SPLITS or not row[0] or "/" in row[0]:
                raise AvsbenchError(
                    f"{path}:{number}: not a row of vggsound.csv",
                    found=",".join(row)[:80],
                    expected="video id, start second, label, train or test",
                )
            labels.add(row[2])
            if row[2] in class_of:
                rows.append((SPLITS[row[3]], class_of[row[2]], f"{row[0]}_{int(row[1]):06d}", row[2]))
    _check_labels(class_of, labels, path)
    return pd.DataFrame(rows, columns=COLUMNS[:4]).drop_duplicates(ignore_index=True)


def _check_labels(asked: dict[str, str], known: set[str], path: Path) -> None:
    unknown = sorted(set(asked) - known)
    if unknown:
        near = {label: difflib.get_close_matches(label, known, n=1, cutoff=0) for label in unknown}
        raise AvsbenchError(
            f"{path}: {len(unknown)} labels of the table of classes are not in it",
            found="; ".join(
                f"{label!r}, nearest {near[label][0]!r}" if near[label] else repr(label) for label in unknown
            ),
            expected="every label under `sounds` in avsbench/datasets/vpo_build/tables.yaml",
            hint="take the whole vggsound.csv, or mend the table",
        )


def read_sound(path: Path) -> Sound:
    """The sound of a clip, from a sound or a video file."""
    return read_video_sound(path) if path.suffix.lower() in VIDEO_FILES else read_wav(path)


def _files(folder: Path) -> dict[str, str]:
    """Clip -> path within `folder`, the same whatever order the disk lists; a sound file wins over a video."""
    rank = {suffix: number for number, suffix in enumerate(SOUND_FILES + VIDEO_FILES)}
    found: dict[str, tuple] = {}
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in rank:
                path = os.path.relpath(os.path.join(place, name), folder)
                key = (rank[suffix.lower()], path)
                found[stem] = min(found.get(stem, key), key)
    return {stem: path for stem, (_, path) in found.items()}


def _probe(folder: Path, path: str | None) -> tuple[str, float, int, int, float, str]:
    """path, seconds, rate, channels, peak of the middle, and why the clip is not usable ("" if it is)."""
    if path is None:
        return "", 0.0, 0, 0, 0.0, "missing"
    try:
        sound = read_sound(folder / path)
    except AvsbenchError as error:
        reason = str(error.what).replace(f"{folder / path}: ", "")
        return path, 0.0, 0, 0, 0.0, f"undecodable: {reason}"
    middle, half = len(sound.samples) // 2, int(SECONDS * sound.rate / 2)
    peak = float(np.abs(mono(sound.samples[max(0, middle - half) : middle + half])).max())
    reason = ""
    if sound.seconds < SECONDS:
        reason = f"shorter than {SECONDS:g} s: {sound.seconds:.2f} s"
    elif peak < SILENT:
        reason = f"silent in its central {SECONDS:g} s: peak {peak:.1e}"
    return path, sound.seconds, sound.rate, sound.samples.shape[1], peak, reason
