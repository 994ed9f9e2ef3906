"""Predictions of a code base that we know nothing of: checked file by file, stored as ours are, scored as ours are."""

import csv
import logging
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avsbench import cards, digest, provenance
from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.evaluation.external_files import EXTRA, Fault, Files, find
from avsbench.evaluation.external_read import Form, PredictionFiles, Unfit
from avsbench.evaluation.predictions import PredictionInfo, PredictionWriter
from avsbench.evaluation.score import CALLS, resize_nearest, score_predictions, stored_truth
from avsbench.paths import EXTERNAL, Paths, Scored
from avsbench.store.complete import read_complete
from avsbench.store.tables import read_index

log = logging.getLogger(__name__)

MISSING, WRONG_SIZE = "missing", "wrong size"
SHOWN = 20
"""Faults of a kind that a message lists; a file holds all."""
_NAMES = {
    "s4": "<category>/<clip>/<clip>_<n>.png",
    "ms3": "<clip>/<clip>_<n>.png",
    "avss": "<clip>/<clip>_<n>.png",
    "vpo": "<clip>.png",
}


@dataclass(frozen=True)
class ScoredPredictions:
    """What `score_external` made: the folder, what `run.json` there says, and the score row."""

    files: Scored
    record: dict
    scores: dict


def score_external(
    predictions: str | Path,
    *,
    card: DatasetCard,
    paths: Paths,
    out: str | Path | None = None,
    form: Form | None = None,
    fscore_k: Sequence[int] = (),
    code: str = "",
) -> ScoredPredictions:
    """Score a folder of pictures or arrays (or one .npz) under every protocol of its data set, on the test split.

    Args:
        predictions: see `external_files` for names, `external_read` for values.
        out: folder for what is made, laid out as that of a run (default: `<predictions>.scores`).
        form: how to read the files.
        fscore_k: clips per call of protocol B, besides the usual ones.
        code: digest of the stage `score`.

    Raises:
        AvsbenchError: the test split is not built (says how), or files are missing, wrong or unreadable: 20 of each
            kind by name, all in `faults.csv`. Files that belong to no frame are listed in the log alone.
    """
    predictions, form = Path(predictions), form or Form()
    about = require_test_split(paths, card)
    index = read_index(paths.index(card.name, "test"))
    files = Scored(str(out or f"{predictions.resolve()}.scores"))
    _make_room(files, predictions)
    found = find(predictions, index, form.first_frame)
    if not found.frames and not found.clips:
        raise _nothing(predictions, card, paths, index["clip_id"].iloc[0], found)
    hard = card.task == "binary" and not form.probabilities
    info = PredictionInfo(
        card.name, EXTERNAL, predictions.resolve().name, "positive", card.task, card.num_classes, hard
    )
    faults = list(found.faults)
    with ExitStack() as stack:
        stack.callback(_remove_empty, files)
        reader = stack.enter_context(PredictionFiles(card, form))
        writer = stack.enter_context(PredictionWriter(files.predictions, info))
        resized = _store(index.to_dict("records"), found, reader, writer, faults)
        _report(predictions, files.faults, faults, form)
    names = sorted({*CALLS, *fscore_k, *_published_calls(card)})
    (row,) = _score(files, paths, card, names)
    record = {
        "variant": EXTERNAL,
        "dataset": card.name,
        "scale": paths.scale,
        "seed": predictions.resolve().name,
        "image_size": index.attrs["image_size"] or None,
        "code": code,
        "versions": provenance.versions(),
        "parameters": {"total": None, "trainable": None},
        "index": provenance.file_digest(paths.index(card.name, "test")),
        "clips_expected": about["expected"],
        "fscore_calls": names,
        "form": asdict(form) | {"first_frame": found.first_frame},
        "resized_frames": resized,
        "extra_files": sum(fault.kind == EXTRA for fault in faults),
        "finished": _now(),
    }
    provenance.write_run(files.record, record)
    return ScoredPredictions(files, record, row)


def score_again(paths: Paths, dataset: str, name: str, code: str) -> None:
    """Score the stored predictions of a submission: the test split, or the code that scores, has changed."""
    card, files = cards.dataset(dataset), Scored(paths.external(dataset, name))
    record = provenance.read_run(files.record)
    _score(files, paths, card, record["fscore_calls"])
    index = paths.index(dataset, "test")
    changed = {"code": code, "index": provenance.file_digest(index), "versions": provenance.versions()}
    changed["clips_expected"] = require_test_split(paths, card)["expected"]
    provenance.write_run(files.record, record | changed | {"finished": _now()})


def _make_room(files: Scored, predictions: Path) -> None:
    """Remove what an earlier call left in the folder, which must be one of its own."""
    written = (Path(file).parent.resolve() for file in (files.record, files.predictions, files.scores))
    if any(folder.is_relative_to(predictions.resolve()) for folder in written):
        raise AvsbenchError(f"{files.folder}: lies among the predictions", hint="name another folder with --out")
    if Path(files.record).is_file() and provenance.read_run(files.record)["variant"] != EXTERNAL:
        raise AvsbenchError(f"{files.folder}: the folder of a run of ours", hint="name another folder with --out")
    for file in (files.record, files.scores, files.frames, files.draws, files.predictions, files.faults):
        Path(file).unlink(missing_ok=True)


def _remove_empty(files: Scored) -> None:
    """Remove the folders of predictions and scores where nothing is in them."""
    for folder in {Path(file).parent for file in (files.predictions, files.frames, files.scores)}:
        with suppress(OSError):
            folder.rmdir()


def _score(files: Scored, paths: Paths, card: DatasetCard, fscore_k: Iterable[int]) -> list[dict]:
    return score_predictions(
        files.predictions,
        stored_truth(paths, card),
        files.frames,
        files.scores,
        out_draws=files.draws,
        fscore_k=sorted(fscore_k),
        padded_to=card.frames if card.task == "semantic" else 0,
    )


def _published_calls(card: DatasetCard) -> set[int]:
    """Clips per call of the F that any method here published, so that its column has no gap."""
    return {v.fscore_batch_on(card.name) for v in cards.variants().values() if card.name in v.datasets}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def require_test_split(paths: Paths, card: DatasetCard) -> dict[str, int]:
    """What `check_split` found of the test split; an error that says how to build the store where there is none."""
    about = read_complete(paths, card.name)
    if about is None:
        target, scale = paths.complete(card.name, "test"), paths.scale
        raise AvsbenchError(
            f"the test split of {card.name} at scale {scale} is not built",
            found=f"no {target}",
            hint=f"`snakemake --cores 8 --config scale={scale} -- {shlex.quote(target)}` builds it"
            + ("" if scale == "mini" else f" (name the released data in the configuration: roots.{card.name})")
            + "; for another scale: --scale",
        )
    return about


def score(
    predictions: str | Path,
    dataset: str,
    *,
    scale: str = "full",
    data_root: str = "data",
    out: str | Path | None = None,
    **form,
) -> dict[str, float | None]:
    """Metric -> value of somebody's predictions on the test split of a data set; the Python face of `avsbench score`.

    >>> avsbench.score("my_masks", "s4", probabilities=True)["miou"]                       # doctest: +SKIP

    Args:
        form: how to read the files, see `Form`.
    """
    card, paths = cards.dataset(dataset), Paths(scale, data_root=data_root)
    done = score_external(predictions, card=card, paths=paths, out=out, form=Form(**form), code=digest.stage("score"))
    return done.scores["values"]


# frames


def _store(rows: list[dict], found: Files, reader: PredictionFiles, writer: PredictionWriter, faults) -> int:
    """Read and store clip by clip, adding to `faults`; returns the number of frames that were resized."""
    resized = 0
    for row in tqdm(rows, desc="read", unit="clip", disable=None):
        clip, size = row["clip_id"], (row["height"], row["width"])
        frames: list[np.ndarray | None] = [None] * row["frames"]
        if clip in found.clips:
            entry = found.clips[clip]
            try:
                frames = list(reader.clip(entry, row["frames"]))
                names = [f"{entry}, frame {t}" for t in range(len(frames))]
            except Unfit as error:
                faults.append(Fault(error.kind, str(entry), error.why))
                continue
        else:
            names = [str(found.frames.get((clip, t), f"{clip}, frame {t}")) for t in range(len(frames))]
            for t in range(len(frames)):
                if (clip, t) in found.frames:
                    try:
                        frames[t] = reader.frame(found.frames[clip, t])
                    except Unfit as error:
                        faults.append(Fault(error.kind, names[t], error.why))
                elif row["annotated"][t]:
                    faults.append(Fault(MISSING, names[t], "no file"))
        for t, frame in enumerate(frames):
            if frame is not None and frame.shape != size:
                if reader.form.resize:
                    frames[t] = resize_nearest(frame[None], size)[0]
                    resized += 1
                else:
                    faults.append(Fault(WRONG_SIZE, names[t], f"{_size(frame.shape)}, not {_size(size)}"))
        if not _fatal(faults):
            _add(writer, clip, frames, size)
    return resized


def _add(writer: PredictionWriter, clip: str, frames: list[np.ndarray | None], size: tuple[int, int]) -> None:
    """Store a clip; a frame without a file has no ground truth either, and counts nowhere."""
    kind = next((frame.dtype for frame in frames if frame is not None), bool)
    array = np.stack([np.zeros(size, kind) if frame is None else frame for frame in frames])
    if writer.info.task == "semantic":
        writer.add_semantic("common", clip, array)
    elif writer.info.hard:
        writer.add_hard("common", clip, array)
    else:
        writer.add_binary("common", clip, probability=array, mask=array > np.float32(0.5))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} × {shape[0]}"


# faults


def _fatal(faults: list[Fault]) -> bool:
    return any(fault.kind != EXTRA for fault in faults)


def _report(predictions: Path, file: str, faults: list[Fault], form: Form) -> None:
    """List faults by kind; raises AvsbenchError unless all are files too many."""
    if not faults:
        return
    faults = [_within(predictions, fault) for fault in faults]
    with atomic(file) as temporary, open(temporary, "w", newline="", encoding="utf-8") as out:
        csv.writer(out, lineterminator="\n").writerows([("kind", "file", "why"), *map(_line, faults)])
    counts = Counter(fault.kind for fault in faults)
    lines = []
    for kind, count in sorted(counts.items(), key=lambda pair: (pair[0] == EXTRA, pair[0] != MISSING, pair[0])):
        lines.append(f"{kind}: {count}")
        shown = [fault for fault in faults if fault.kind == kind][:SHOWN]
        lines += [f"  {fault.name} ({fault.why})" for fault in shown]
        lines += [f"  … and {count - SHOWN} more"] if count > SHOWN else []
    text = "\n    ".join(["", *lines])
    if not _fatal(faults):
        log.warning("%s: files that belong to no frame of the test split; all in %s%s", predictions, file, text)
        return
    raise AvsbenchError(
        f"{predictions}: {sum(counts.values()) - counts[EXTRA]} predictions are missing or cannot be used",
        found=text,
        expected="one prediction of each annotated frame of the test split",
        hint="; ".join([f"all are listed in {file}", *_advice(counts, form)]),
    )


def _within(predictions: Path, fault: Fault) -> Fault:
    """The same with files named from the folder of predictions on."""
    return Fault(fault.kind, *(text.replace(f"{predictions}{os.sep}", "") for text in (fault.name, fault.why)))


def _line(fault: Fault) -> tuple[str, str, str]:
    return fault.kind, fault.name, fault.why


def _advice(counts: Counter, form: Form) -> list[str]:
    advice = {
        WRONG_SIZE: "--resize brings other sizes to that of the ground truth (nearest pixel) and marks the row",
        "not binary": "--probabilities reads grey pictures and arrays of 0..1 as probabilities",
        "not classes": "--class-ids released reads the numbers of released masks (VPO)",
    }
    found = [text for kind, text in advice.items() if counts[kind]]
    if counts[MISSING] and counts[EXTRA]:
        found.append("missing and extra files together speak of other names, or of another --first-frame")
    return found


def _nothing(predictions: Path, card: DatasetCard, paths: Paths, clip: str, found: Files) -> AvsbenchError:
    names = "\n    ".join(["", *(f"{fault.name} ({fault.why})" for fault in found.faults[:3])])
    pattern = _NAMES[card.family if card.family in _NAMES else card.name]
    return AvsbenchError(
        f"{predictions}: no file is named after a clip of the test split of {card.name} at scale {paths.scale}",
        found=names if found.faults else "no file",
        expected=f"{pattern}, the first clip being {clip}",
        hint="is it the right data set and --scale? `avsbench score --help` and docs/protocols.md name the layouts",
    )
