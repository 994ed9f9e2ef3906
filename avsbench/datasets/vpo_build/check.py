"""What must hold of a set in VPO's layout, built or released."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench.datasets.vpo_build.layout import AUDIOS, Kind, place_of_image, place_of_mask, read_rows
from avsbench.datasets.vpo_build.tables import tables
from avsbench.datasets.workers import run
from avsbench.errors import AvsbenchError
from avsbench.media.images import read_index_mask

SPLITS = ("train", "val", "test")
SHOWN = 10


@dataclass(frozen=True)
class Summary:
    """What a sound set holds."""

    images: int
    rows: int
    clips: int


def check_set(root: Path, kind: Kind, workers: int = 1) -> Summary:
    """Check a set: numbers of classes, files, masks, positions, and that the splits share neither clip nor image.

    Args:
        root: top folder, with `VPO/` and the sounds.
        kind: which of the three sets.
        workers: processes that open the files.

    Raises:
        AvsbenchError: names the first faults and counts them all.
    """
    root = Path(root)
    table = read_rows(root, kind)
    faults = _faults_of_table(table, kind)
    images = table.groupby(["img_Id", "ann_Ids"] if kind is Kind.SS else ["img_Id"], sort=True)
    groups = [group.to_dict("records") for _, group in images]
    work = functools.partial(_faults_of_image, root=root, kind=kind)
    for found in run(work, groups, workers, f"check {kind.value}", "image"):
        faults += found
    clips = sorted(set(table["vgg_file"]))
    for found in run(functools.partial(_faults_of_clip, root), clips, workers, "check sounds"):
        faults += found
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise AvsbenchError(
            f"{root / kind.csv}: {len(faults)} faults",
            found="; ".join(faults[:SHOWN]) + more,
            expected="a set whose rows, pictures, masks and sounds agree",
            hint="build or unpack it again",
        )
    return Summary(table["img_Id"].nunique(), len(table), len(clips))


def _faults_of_table(table: pd.DataFrame, kind: Kind) -> list[str]:
    """Faults that the csv alone shows."""
    numbers = tables().mask_ids
    faults = ["the table has no rows"] if table.empty else []
    for row in table.to_dict("records"):
        where = f"image {row['img_Id']}, annotation {row['ann_Ids']}"
        if numbers.get(row["cateName"]) != row["cateId"]:
            faults.append(f"{where}: class {row['cateName']!r} with number {row['cateId']}")
        if not 0 <= row["audio_pos"] <= 1:
            faults.append(f"{where}: audio_pos {row['audio_pos']} is outside 0..1")
        if row["split"] not in SPLITS:
            faults.append(f"{where}: unknown split {row['split']!r}")
        if row.get("multi_instance", 0) not in (0, 1):
            faults.append(f"{where}: multi_instance {row['multi_instance']}")
    twice = table[table.duplicated(["img_Id", "ann_Ids"])]
    faults += [f"image {i}, annotation {a}: two rows" for i, a in zip(twice["img_Id"], twice["ann_Ids"], strict=True)]
    # The loaders take val and test for one split.
    half = table["split"].replace("test", "val")
    for column, word in (("vgg_file", "clip"), ("img_Id", "image")):
        shared = half.groupby(table[column]).nunique()
        faults += [f"{word} {name}: in training and test" for name in shared[shared > 1].index]
    if kind is Kind.MSMI:
        mixed = table.groupby("img_Id")["multi_instance"].nunique()
        faults += [f"image {name}: both values of multi_instance" for name in mixed[mixed > 1].index]
    return faults


def _faults_of_image(rows: list[dict], root: Path, kind: Kind) -> list[str]:
    """Faults of one picture, its mask and their rows."""
    from PIL import Image

    picture, file = root / place_of_image(kind, rows[0]), root / place_of_mask(kind, rows[0])
    try:
        with Image.open(picture) as image:
            size = image.size
    except OSError as error:
        return [f"{picture}: missing or unreadable ({type(error).__name__})"]
    try:
        mask = read_index_mask(file)
    except AvsbenchError as error:
        return [error.what]
    faults = []
    if mask.shape[::-1] != size:
        faults.append(f"{file}: {mask.shape[::-1]} pixels, the picture has {size}")
    seen, named = set(np.unique(mask).tolist()) - {0}, {row["cateId"] for row in rows}
    faults += [f"{file}: no pixel of class {number}, which a row names" for number in sorted(named - seen)]
    faults += [f"{file}: number {number}, which no row names" for number in sorted(seen - named)]
    return faults


def _faults_of_clip(root: Path, clip: str) -> list[str]:
    import soundfile

    path = root / AUDIOS / f"{clip}.wav"
    if not path.is_file():
        return [f"{path}: missing"]
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, RuntimeError):
        return [f"{path}: unreadable"]
    faults = [] if info.channels == 1 else [f"{path}: {info.channels} channels, not 1"]
    return faults if info.frames else [*faults, f"{path}: no samples"]
