"""The folders of the clip explorer: what all runs of a data set share, and what a run adds."""

import dataclasses
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from avsbench import cards, provenance
from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.evaluation.predictions import PredictionReader
from avsbench.evaluation.resample import frames_file
from avsbench.evaluation.score import ClipTruth, stored_truth
from avsbench.metrics import metric
from avsbench.paths import Paths, Scored, atomic, atomic_folder
from avsbench.plan import Run
from avsbench.report.board import titled
from avsbench.report.columns import GRID
from avsbench.report.explorer import pictures, sounds
from avsbench.report.explorer.page import write_page
from avsbench.report.explorer.scores import ClipScores, read_scores
from avsbench.report.tables import entry_name
from avsbench.store.clips import ClipDataset
from avsbench.store.tables import read_index

log = logging.getLogger(__name__)

VERSION = 1
"""Of all files; a page refuses those of another one."""
FUNCTION = "avsbenchExplorer"
"""What the scripts with data call; the page defines it."""
SPECK = 0.001
"""Areas of less than this share of a picture are no object of their own."""
SOURCES = {
    "vpo": "sounding sources",
    "semantic": "sounding classes in the ground truth",
    "binary": "separate areas in the ground truth, most in a frame",
}
"""Family or task of a data set -> how its number of sources is counted: only VPO says it."""


def explore(folder: str, paths: Paths) -> str:
    """Write the explorer of a run; returns its page.

    Args:
        folder: of a run, of its ensemble, or of what others predicted.
        paths: where data and results lie; the scale is that of the run.

    Raises:
        AvsbenchError: the folder has no stored predictions or scores, they do not belong together, or the data set is
            gone.
    """
    files = Scored(folder.rstrip("/"))
    if not Path(files.predictions).is_file():
        raise AvsbenchError(
            f"{folder}: no stored predictions to show",
            found=f"no {files.predictions}",
            expected="the folder of a finished run, such as results/mini/ms3/tpavi-r50/0",
            hint=f"`snakemake --cores 8 -- {files.predictions}` predicts again",
        )
    scores = read_scores(frames_file(folder))
    record = provenance.read_run(_record(files))
    card, paths = cards.dataset(record["dataset"]), dataclasses.replace(paths, scale=record["scale"])
    digest = share(card, paths)
    with PredictionReader(files.predictions) as reader, atomic_folder(Path(files.explorer).parent) as new:
        info = reader.info
        about = {
            "version": VERSION,
            "id": _name(files, info.variant, info.seed),
            "name": _title(record, info),
            "metric": scores.metric,
            "metricTitle": metric(scores.metric).title,
            "hard": bool(info.hard),
            "views": ["prediction", "errors", *(["probability"] if info.task == "binary" and not info.hard else [])],
            "finished": record.get("finished", ""),
            "clips": digest,
        }
        _write_clips(new, reader, scores, stored_truth(paths, card), about["views"])
        write_script(new / "scores.js", about | {"scores": [scores.clips[clip] for clip in _clips(card, paths)]})
        (new / "about.json").write_text(json.dumps(about, indent=1) + "\n")
        shared = os.path.relpath(Path(paths.explorer(card.name)).parent, Path(files.explorer).parent)
        write_page(new / "index.html", about["name"], Path(shared).as_posix(), titled(card.title, paths.scale))
    list_runs(card, paths)
    return files.explorer


def _record(files: Scored) -> str:
    """run.json; an ensemble has that of the training that made its members."""
    beside = Scored(str(Path(files.folder).parent)).record
    return files.record if Path(files.record).is_file() or not Path(beside).is_file() else beside


def _name(files: Scored, variant: str, seed: str) -> str:
    """What addresses call the run."""
    return f"{variant}/{seed}" + ("/ensemble" if _record(files) != files.record else "")


def _title(record: dict, info) -> str:
    """What readers call the run: as on the leaderboard, with the seed."""
    seen = tuple(feature["stored"] for feature in record.get("features", {}).values())
    name = entry_name(Run(info.dataset, info.variant, info.seed, info.members, features=seen))
    return f"{name}, seed {info.seed}" if info.seed.isdigit() else name


def _write_clips(
    folder: Path, reader: PredictionReader, scores: ClipScores, truth: Iterator[ClipTruth], views: list[str]
) -> None:
    """A sheet and a script for each clip: clips/<n>.{png,js}."""
    (folder / "clips").mkdir()
    info, bar = reader.info, {"desc": f"explore {reader.info.variant} on {reader.info.dataset}", "unit": "clip"}
    for number, clip in enumerate(tqdm(truth, total=len(reader.clips), disable=None, **bar)):
        if info.task == "binary":
            level, prediction = reader.binary(GRID, clip.clip_id)
            prediction = prediction.astype(np.uint8)
        else:
            level, prediction = None, reader.semantic(GRID, clip.clip_id)
        masks = clip.on_grid(GRID, prediction.shape[1:])
        wrong = pictures.errors(prediction, masks, info.classes)
        wrong[~clip.annotated] = 0
        rows = [pictures.areas(prediction, info.classes), wrong]
        if "probability" in views:
            rows.append(pictures.heat(level))
        (folder / f"clips/{number}.png").write_bytes(pictures.sheet(rows, info.classes))
        of_frames = scores.frames.get(clip.clip_id, {})
        if sorted(of_frames) != np.flatnonzero(clip.annotated).tolist():
            raise AvsbenchError(
                f"{reader.path}: clip {clip.clip_id} was scored on other frames than the data set annotates",
                found=f"frames {sorted(of_frames)}",
                expected=f"frames {np.flatnonzero(clip.annotated).tolist()}",
                hint="the data set has changed since; predict and score again",
            )
        shares = pictures.shares(wrong)
        frames = [of_frames[t] | {"shares": shares[t]} if t in of_frames else None for t in range(len(masks))]
        write_script(folder / f"clips/{number}.js", {"frames": frames})


# what the runs of a data set share


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
    count = card.shards[paths.scale]["test"]
    shards = [os.stat(paths.shard(card.name, "test", shard, count)) for shard in range(count)]
    index = read_index(paths.index(card.name, "test"))
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
                about = json.loads(file.read_text())
                runs.append(about | {"path": Path(os.path.relpath(file.parent, shared)).as_posix()})
        write_script(shared / "runs.js", {"runs": sorted(runs, key=lambda run: run["id"])})


def _clips(card: DatasetCard, paths: Paths) -> list[str]:
    return read_index(paths.index(card.name, "test"))["clip_id"].tolist()


def write_script(file: str | os.PathLike, content: object) -> None:
    """A file that hands `content` over when a page loads it as a script."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    with atomic(file) as temporary:
        temporary.write_text(f"{FUNCTION}({text});\n", encoding="utf-8")


def read_script(file: str | os.PathLike) -> dict | None:
    """What `write_script` wrote; None where it is missing or of another form."""
    try:
        return json.loads(Path(file).read_text(encoding="utf-8").removeprefix(f"{FUNCTION}(").removesuffix(");\n"))
    except (FileNotFoundError, ValueError):
        return None
