"""The explorer of a run: a picture and a script a clip, the scores, and the page."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avsbench import cards, provenance
from avsbench.atomic import atomic_folder
from avsbench.conditions import CONDITIONS
from avsbench.errors import AvsbenchError
from avsbench.evaluation.predictions import PredictionInfo, PredictionReader
from avsbench.evaluation.resample import frames_file
from avsbench.evaluation.score import ClipTruth, stored_truth
from avsbench.metrics import metric
from avsbench.paths import Paths, Scored
from avsbench.plan import Run
from avsbench.report.columns import GRID
from avsbench.report.explorer import pictures
from avsbench.report.explorer.page import write_page
from avsbench.report.explorer.scores import ClipScores, read_scores
from avsbench.report.explorer.scripts import VERSION, write_script
from avsbench.report.explorer.shared import list_runs, share
from avsbench.report.tables import entry_name
from avsbench.report.titles import titled


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
            hint=f"`snakemake --cores 8 -- {files.predictions}` predicts again"
            if Path(_record(files)).is_file()
            else "`avsbench status` lists the runs",
        )
    scores = read_scores(frames_file(folder))
    record = provenance.read_run(_record(files))
    card, paths = cards.dataset(record["dataset"]), dataclasses.replace(paths, scale=record["scale"])
    digest = share(card, paths)
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(PredictionReader(files.predictions))
        negatives = {name: stack.enter_context(PredictionReader(file)) for name, file in _negatives(files).items()}
        new = stack.enter_context(atomic_folder(Path(files.explorer).parent))
        info = reader.info
        soft = info.task == "binary" and not info.hard
        about = {
            "version": VERSION,
            "id": _name(files, info),
            "name": _title(record, info),
            "metricTitle": metric(scores.metric).title,
            "views": ["prediction", "errors", *(["probability"] if soft else []), *negatives],
            "clips": digest,
        }
        clips = _write_clips(new, reader, negatives, scores, stored_truth(paths, card))
        write_script(new / "scores.js", about | {"scores": [scores.clips[clip] for clip in clips]})
        (new / "about.json").write_text(json.dumps(about, indent=1) + "\n")
        links = {"shared": Path(paths.explorer(card.name)).parent, "board": Path(paths.leaderboard("html"))}
        here = Path(files.explorer).parent
        links = {name: Path(os.path.relpath(path, here)).as_posix() for name, path in links.items() if path.exists()}
        write_page(new / "index.html", about["name"], links, titled(card.title, paths.scale))
    list_runs(card, paths)
    return files.explorer


def _record(files: Scored) -> str:
    """run.json; an ensemble has that of the training that made its members."""
    beside = Scored(str(Path(files.folder).parent)).record
    return files.record if Path(files.record).is_file() or not Path(beside).is_file() else beside


def _negatives(files: Scored) -> dict[str, str]:
    """Condition -> predictions under it, of those that were stored."""
    found = {name: files.predictions_under(name) for name in CONDITIONS}
    return {name: file for name, file in found.items() if Path(file).is_file()}


def _name(files: Scored, info: PredictionInfo) -> str:
    """What addresses call the run."""
    return f"{info.variant}/{info.seed}" + ("/ensemble" if _record(files) != files.record else "")


def _title(record: dict, info: PredictionInfo) -> str:
    """What readers call the run: as on the leaderboard, with the seed."""
    seen = tuple(feature["stored"] for feature in record.get("features", {}).values())
    name = entry_name(Run(info.dataset, info.variant, info.seed, info.members, features=seen))
    return f"{name}, seed {info.seed}" if info.seed.isdigit() else name


def _write_clips(
    folder: Path,
    reader: PredictionReader,
    negatives: dict[str, PredictionReader],
    scores: ClipScores,
    truth: Iterator[ClipTruth],
) -> list[str]:
    """A sheet and a script for each clip: clips/<n>.{png,js}; returns their names in order.

    Rows of a sheet are the views of `about`: prediction, errors, probability if there is one, then each negative.
    """
    (folder / "clips").mkdir()
    info, names = reader.info, []
    bar = {"desc": f"explore {info.variant} on {info.dataset}", "unit": "clip", "disable": None}
    for number, clip in enumerate(tqdm(truth, total=len(reader.clips), **bar)):
        names.append(clip.clip_id)
        level, prediction = _predicted(reader, clip.clip_id)
        masks = clip.on_grid(GRID, prediction.shape[1:])
        wrong = pictures.errors(prediction, masks, info.classes)
        wrong[~clip.annotated] = 0
        rows = [pictures.areas(prediction, info.classes), wrong]
        if level is not None and not info.hard:
            rows.append(pictures.heat(level))
        marked = {}
        for name, under in negatives.items():  # not every clip has a sound from outside its picture
            known = clip.clip_id in under.clips
            heard = _predicted(under, clip.clip_id)[1] if known else np.zeros_like(prediction)
            rows.append(pictures.areas(heard, info.classes))
            marked[name] = [_percent_marked(frame) if known else None for frame in heard]
        (folder / f"clips/{number}.png").write_bytes(pictures.sheet(rows, info.classes))
        of_frames = _checked(scores, clip, reader.path)
        shares = pictures.shares(wrong)
        frames = [
            of_frames[t] | {"shares": shares[t], "negatives": {name: each[t] for name, each in marked.items()}}
            if t in of_frames
            else None
            for t in range(len(masks))
        ]
        write_script(folder / f"clips/{number}.js", {"frames": frames})
    return names


def _percent_marked(frame: np.ndarray) -> float:
    return round(100 * np.count_nonzero(frame) / frame.size, 2)


def _predicted(reader: PredictionReader, clip: str) -> tuple[np.ndarray | None, np.ndarray]:
    """(levels of a binary task, class ids) of a clip, uint8 [T,h,w]."""
    if reader.info.task == "semantic":
        return None, reader.semantic(GRID, clip)
    level, mask = reader.binary(GRID, clip)
    return level, mask.astype(np.uint8)


def _checked(scores: ClipScores, clip: ClipTruth, file: Path) -> dict[int, dict]:
    """The scores of the frames of a clip. Raises AvsbenchError unless these are the annotated ones."""
    found, annotated = scores.frames.get(clip.clip_id, {}), np.flatnonzero(clip.annotated).tolist()
    if sorted(found) != annotated:
        raise AvsbenchError(
            f"{file}: clip {clip.clip_id} was scored on other frames than the data set annotates",
            found=f"frames {sorted(found)}",
            expected=f"frames {annotated}",
            hint="the data set has changed since; predict and score again",
        )
    return found
