"""What the explorers of all runs on a data set share: the media of each clip, the list of clips, and that of runs."""

import contextlib
import json
import os
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from avsbench import provenance
from avsbench.atomic import atomic_folder
from avsbench.cards import DatasetCard
from avsbench.paths import Paths
from avsbench.report.explorer import pictures, sounds
from avsbench.report.explorer.scripts import VERSION, read_script, write_script
from avsbench.report.titles import titled
from avsbench.store.clips import ClipDataset
from avsbench.store.tables import read_index

SPECK = 0.001
"""Areas of less than this share of a picture are no object of their own."""
SOURCES = {
    "vpo": "sounding sources",
    "semantic": "sounding classes in the ground truth",
    "binary": "separate areas in the ground truth, most in a frame",
}
"""Family or task of a data set -> how its number of sources is counted: only VPO says it."""


def share(card: DatasetCard, paths: Paths) -> str:
    """Write what the explorers of a data set share, unless it is there; returns a digest of its clips.

    Frames, ground truth, sound and spectrogram of each clip of the test split, then `clips.js`.
    """
    target = Path(paths.explorer(card.name))
    target.parent.mkdir(parents=True, exist_ok=True)
    stamp = _stamp(card, paths)
    with FileLock(paths.explorer(card.name, ".lock")):
        known = read_script(target)
        if known and known["stamp"] == stamp:
            return known["digest"]
        target.unlink(missing_ok=True)
        with ClipDataset(paths, card, "test") as clips, atomic_folder(paths.explorer(card.name, "media")) as folder:
            bar = {"desc": f"pictures and sounds of {card.name}", "unit": "clip", "disable": None}
            rows = [_media(clips, number, folder / str(number)) for number in tqdm(range(len(clips)), **bar)]
        colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in pictures.class_colours(card.num_classes)]
        digest = provenance.digest_of(rows)[:16]
        about = {
            "version": VERSION,
            "stamp": stamp,
            "digest": digest,
            "dataset": card.name,
            "title": titled(card.title, paths.scale),
            "task": card.task,
            "classes": card.classes,
            "colours": colours,
            "errors": pictures.ERRORS,
            "void": pictures.VOID_COLOUR,
            "heat": pictures.heat_colours(),
            "sources": SOURCES["vpo" if card.family == "vpo" else card.task],
            "still": card.frames == 1,
        }
        write_script(target, about | {"clips": rows})
    return digest


def _stamp(card: DatasetCard, paths: Paths) -> str:
    """Digest of what the shared files are made of: the index, and size and date of each shard."""
    index = read_index(paths.index(card.name, "test"))
    count = index.attrs["shards"]
    shards = [os.stat(paths.shard(card.name, "test", shard, count)) for shard in range(count)]
    facts = [(file.st_size, file.st_mtime_ns) for file in shards]
    return provenance.digest_of([VERSION, index["clip_id"].tolist(), index.attrs, facts])


def _media(clips: ClipDataset, number: int, folder: Path) -> dict:
    """Write the files of a clip; returns its row of `clips.js`."""
    card, clip = clips.card, clips[number]
    name, frames = clip["clip_id"], clip["frames"].permute(0, 2, 3, 1).numpy()
    masks, annotated = clip["masks"].numpy().astype(np.uint8), clip["annotated"].numpy()
    masks[~annotated] = 0  # void all over: nothing to draw
    sources = clips.sounds(name)
    wave = sounds.heard(card, sources, len(frames))
    folder.mkdir()
    files = {
        "frames.jpg": pictures.photographs(frames),
        "truth.png": pictures.sheet([pictures.areas(masks, card.num_classes)], card.num_classes),
        "spectrogram.png": sounds.spectrogram(wave),
        "sound.flac": sounds.encode(wave),
    }
    for file, content in files.items():
        (folder / file).write_bytes(content)
    ids = [int(i) for i in np.unique(masks) if 0 < i < max(2, card.num_classes)]
    known = masks[annotated]
    return {
        "id": name,
        "category": clips.index["category"].iloc[number],
        "frames": len(frames),
        "size": list(frames.shape[1:3]),
        "annotated": int(annotated.sum()),
        "empty": int((~((known > 0) & (known < 255)).any(axis=(1, 2))).sum()),
        "present": ids if card.task == "semantic" else [],
        "sources": _count(card, masks, ids, len(sources)),
        "heard": [{"category": s.category, "position": round(s.position, 2)} for s in sources if s.category],
        "seconds": round(len(wave) / sounds.RATE, 2),
        "channels": wave.shape[1],
        "silent": not wave.any(),
    }


def _count(card: DatasetCard, masks: np.ndarray, classes: list[int], sounds_given: int) -> int:
    """How many sources sound, see SOURCES."""
    if card.family == "vpo":
        return sounds_given
    if card.task == "semantic":
        return len(classes)
    from scipy.ndimage import label

    def areas(frame: np.ndarray) -> int:
        sizes = np.bincount(label(frame == 1, np.ones((3, 3)))[0].ravel())[1:]
        return int((sizes >= SPECK * frame.size).sum())

    return max(map(areas, masks))


def list_runs(card: DatasetCard, paths: Paths) -> None:
    """Write `runs.js`: every run whose explorer lies beside others of the data set."""
    shared = Path(paths.explorer(card.name)).parent
    with FileLock(paths.explorer(card.name, ".lock")):
        runs = []
        for ensemble in (False, True):
            pattern = Path(paths.explorer_page("*", "*", "*", ensemble)).relative_to(Path(paths.dataset_results("*")))
            for file in shared.parent.glob(pattern.with_name("about.json").as_posix()):
                with contextlib.suppress(FileNotFoundError):  # another job replaces it now, and lists it afterwards
                    about = json.loads(file.read_text())
                    runs.append(about | {"path": Path(os.path.relpath(file.parent, shared)).as_posix()})
        write_script(shared / "runs.js", {"runs": sorted(runs, key=lambda run: run["id"])})
