"""Third step: the folders of a built set, in the layout of the released one."""

import functools
import json
import logging
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench.atomic import atomic_folder
from avsbench.datasets.space import require
from avsbench.datasets.vpo_build.audio_pool import read_sound
from avsbench.datasets.vpo_build.candidates import image_folder
from avsbench.datasets.vpo_build.check import check_set
from avsbench.datasets.vpo_build.choose import Chooser
from avsbench.datasets.vpo_build.layout import AUDIOS, Kind, place_of_image, place_of_mask, read_rows
from avsbench.datasets.vpo_build.segments import segment_mask
from avsbench.datasets.vpo_build.sources import Sources
from avsbench.datasets.vpo_build.tables import tables
from avsbench.datasets.workers import run
from avsbench.errors import AvsbenchError
from avsbench.media.resample import windowed_sinc
from avsbench.media.sound import mono_float

RATE = 16000
"""Of the stored clips: what every published loader resamples to."""
NOTE = "Built by rules from COCO and VGGSound. Not the released VPO: never compare its numbers with published ones."
PICTURE_BYTES, SOUND_BYTES = 200_000, 10 * 2 * RATE
"""Estimates for the disk: a picture that must be copied and its mask; a clip of 10 s."""
_LOG = logging.getLogger(__name__)


def build(
    kind: Kind,
    dataset: str,
    out: Path,
    *,
    sources: Sources,
    candidates: pd.DataFrame,
    pool: pd.DataFrame,
    ms_root: Path | None = None,
    workers: int = 1,
) -> dict:
    """Build one set at `out`, which appears whole and checked, or not at all; what stood there is replaced.

    Pictures are hard links where the disk allows, else copies; masks are palette PNG files of VPO's numbers; sounds are
    mono wav at 16 kHz. `manifest.json` counts what was built and says what was left out.

    Args:
        kind: which of the three sets.
        dataset: name of the built set, kept in its manifest.
        out: becomes the top folder.
        sources: folders and settings.
        candidates, pool: of `find_candidates` and `find_sounds`.
        ms_root: top folder of the built VPO-MS, which VPO-MSMI extends.
        workers: processes.

    Returns:
        The manifest.

    Raises:
        AvsbenchError: a picture is missing or of another size, nothing could be chosen, or a check failed.
    """
    chooser = Chooser(candidates, pool, sources.seed)
    with atomic_folder(out) as folder:
        kept = _adopt(ms_root, folder) if kind is Kind.MSMI else None
        rows = _choose(chooser, kind, sources, kept)
        room = len(rows) * PICTURE_BYTES + rows["vgg_file"].nunique() * SOUND_BYTES
        require(out, room, f"building {dataset}")
        rows, hidden = _write_pictures(rows, kind, folder, sources, workers)
        if rows.empty:
            raise AvsbenchError(
                f"{dataset}: nothing could be built",
                found=f"{len(candidates)} candidates, {len(pool)} clips",
                expected="images whose classes have clips",
                hint="read the list of dropped clips beside the pool, and the log of the candidates",
            )
        _write_sounds(rows, pool, folder, sources, workers)
        table = _csv_rows(rows, kind, kept)
        table.to_csv(folder / kind.csv, index=False, lineterminator="\n")
        check_set(folder, kind, workers)
        manifest = _manifest(table, kind, dataset, sources, chooser, hidden)
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    _LOG.info("%s: %s images, %d left out", dataset, manifest["images"], len(hidden))
    return manifest


def _choose(chooser: Chooser, kind: Kind, sources: Sources, kept: pd.DataFrame | None) -> pd.DataFrame:
    if kind is Kind.SS:
        return chooser.single(sources.caps("single"))
    if kind is Kind.MS:
        return chooser.several(sources.caps("several"))
    return chooser.instances(sources.caps("instances"), without=set(kept["img_Id"]))


def _adopt(ms_root: Path | None, folder: Path) -> pd.DataFrame:
    """Link the built VPO-MS into `folder`; returns its rows."""
    if ms_root is None or not (ms_root / Kind.MS.csv).is_file():
        raise AvsbenchError(
            f"{ms_root}: no VPO-MS, which VPO-MSMI extends", expected=Kind.MS.csv, hint="build it first"
        )
    for part in (Kind.MS.folder, AUDIOS):
        shutil.copytree(ms_root / part, folder / part, copy_function=_link)
    return read_rows(ms_root, Kind.MS)


# pictures


def _write_pictures(
    rows: pd.DataFrame, kind: Kind, folder: Path, sources: Sources, workers: int
) -> tuple[pd.DataFrame, list[str]]:
    """Pictures and masks; returns the rows that remain and why others do not."""
    by = ["split", "img_Id", "ann_Id"] if kind is Kind.SS else ["split", "img_Id"]
    groups = [group.to_dict("records") for _, group in rows.groupby(by, sort=True)]
    images = {split: image_folder(sources.coco, split) for split in rows["split"].unique()}
    work = functools.partial(_write_picture, kind=kind, folder=folder, images=images, coco=sources.coco)
    reasons = run(work, groups, workers, f"build {kind.value}", "image")
    kept = [row for group, reason in zip(groups, reasons, strict=True) if not reason for row in group]
    return pd.DataFrame(kept, columns=rows.columns), [reason for reason in reasons if reason]


def _write_picture(group: list[dict], kind: Kind, folder: Path, images: dict[str, Path], coco: Path) -> str:
    """One picture and its mask; returns why it was left out, "" if it was not."""
    from PIL import Image

    from avsbench.media.images import voc_palette

    first = group[0]
    source, size = images[first["split"]] / first["file_name"], (first["width"], first["height"])
    _check_picture(source, size)
    mask, unseen = draw_mask(group, size, coco / "annotations")
    if unseen:
        names = ", ".join(f"{row['cateName']} (annotation {row['ann_Id']})" for row in unseen)
        return f"image {first['img_Id']}: no pixel of {names} remains visible"
    picture, file = folder / place_of_image(kind, first), folder / place_of_mask(kind, first)
    for place in (picture, file):
        place.parent.mkdir(parents=True, exist_ok=True)
    _link(source, picture)
    image = Image.fromarray(mask, mode="L")
    image.putpalette(voc_palette(256).tobytes())
    image.save(file)
    return ""


def draw_mask(rows: list[dict], size: tuple[int, int], annotations: Path) -> tuple[np.ndarray, list[dict]]:
    """The mask of the sounding annotations, and those of which no pixel is left.

    Args:
        rows: with cateId, ann_Id, area, split and segmentation.
        size: (width, height).
        annotations: COCO's folder of annotations, for panoptic files.

    Returns:
        uint8 [H,W] of VPO's numbers, 0 elsewhere, the largest annotation drawn first; and the rows fully covered.
    """
    width, height = size
    owner = np.zeros((height, width), np.uint8)
    ordered = sorted(rows, key=lambda row: (-row["area"], row["ann_Id"]))
    for number, row in enumerate(ordered, start=1):
        panoptic = annotations / f"panoptic_{row['split']}2017"
        try:
            inside = segment_mask(json.loads(row["segmentation"]), height, width, panoptic)
        except AvsbenchError as error:
            raise AvsbenchError(
                f"image {row['img_Id']}, annotation {row['ann_Id']}: {error.what}",
                found=error.found,
                expected=error.expected,
                hint=error.hint,
            ) from None
        owner[inside] = number
    visible = set(np.unique(owner).tolist())
    numbers = np.array([0, *(row["cateId"] for row in ordered)], np.uint8)
    return numbers[owner], [row for number, row in enumerate(ordered, start=1) if number not in visible]


def _check_picture(path: Path, size: tuple[int, int]) -> None:
    from PIL import Image

    try:
        with Image.open(path) as image:
            found = image.size
    except OSError as error:
        raise AvsbenchError(
            f"{path}: the picture is missing or cannot be read", found=error, hint="unpack COCO's pictures again"
        ) from None
    if found != tuple(size):
        raise AvsbenchError(
            f"{path}: a picture of another size than its annotations", found=found, expected=tuple(size)
        )


def _link(source: str | Path, target: str | Path) -> None:
    """A hard link to the file itself, or a copy where the disk allows no link."""
    source = os.path.realpath(source)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


# sounds


def _write_sounds(rows: pd.DataFrame, pool: pd.DataFrame, folder: Path, sources: Sources, workers: int) -> None:
    """The clips that are used and not there yet."""
    (folder / AUDIOS).mkdir(parents=True, exist_ok=True)
    path_of = dict(zip(pool["vgg_file"], pool["path"], strict=True))
    clips = [clip for clip in sorted(set(rows["vgg_file"])) if not (folder / AUDIOS / f"{clip}.wav").exists()]
    jobs = [(sources.vggsound / path_of[clip], folder / AUDIOS / f"{clip}.wav") for clip in clips]
    run(_write_sound, jobs, workers, "resample", "clip")


def _write_sound(job: tuple[Path, Path]) -> None:
    import soundfile

    source, target = job
    sound = read_sound(source)
    wave = windowed_sinc(mono_float(sound.samples), sound.rate, RATE)
    soundfile.write(target, wave, RATE, subtype="PCM_16", format="WAV")


# table and manifest


def _csv_rows(rows: pd.DataFrame, kind: Kind, kept: pd.DataFrame | None) -> pd.DataFrame:
    """The csv of the set: its columns and, for VPO-MSMI, the rows of VPO-MS first."""
    table = rows.rename(columns={"ann_Id": "ann_Ids"})[kind.columns]
    if kept is not None:
        table = pd.concat([kept.assign(multi_instance=0)[kind.columns], table], ignore_index=True)
    return table.sort_values(["split", "img_Id", "ann_Ids"], ignore_index=True)


def _manifest(
    table: pd.DataFrame, kind: Kind, dataset: str, sources: Sources, chooser: Chooser, hidden: list[str]
) -> dict:
    splits = sorted(table["split"].unique())
    silent = {s: sorted({n for n in tables().mask_ids if (s, n) not in chooser.clips}) for s in splits}
    named = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(sources).items()}
    return {
        "dataset": dataset,
        "kind": kind.value,
        "note": NOTE,
        "sources": named,
        "images": {s: int(table[table["split"] == s]["img_Id"].nunique()) for s in splits},
        "rows": {s: int((table["split"] == s).sum()) for s in splits},
        "clips": {s: int(table[table["split"] == s]["vgg_file"].nunique()) for s in splits},
        "classes": {s: table[table["split"] == s]["cateName"].value_counts().sort_index().to_dict() for s in splits},
        "rows_per_image": round(len(table) / table["img_Id"].nunique(), 3),
        "classes_without_sound": silent,
        "left_out": hidden,
    }
