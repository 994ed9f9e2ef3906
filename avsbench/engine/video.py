"""Masks for a video of one's own: any length and size, in windows of the data set's clip length, in constant memory."""

import csv
import logging
import math
from collections import deque
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from avsbench import provenance
from avsbench.atomic import atomic, atomic_folder
from avsbench.engine.seeds import seed_everything
from avsbench.errors import AvsbenchError
from avsbench.features.settings import resolve
from avsbench.media.images import write_labels
from avsbench.media.sound import Sound
from avsbench.media.video import SOUND_RATE
from avsbench.media.video_stream import duration, has_sound, pictures, sound_seconds
from avsbench.nn.probability import foreground_probability
from avsbench.paths import Paths, VideoPaths
from avsbench.plan import UNTRAINED
from avsbench.predictor import Predictor, load

log = logging.getLogger(__name__)

COLUMNS = ("time", "file", "classes", "area")
_LOGITS = 1 << 27
"""Numbers that the logits of a window may have; larger pictures get theirs from smaller ones, frame by frame."""


def load_run(
    run: str | Path, *, device: str = "auto", weights_root: str | None = None, features: dict | None = None
) -> Predictor:
    """The model of a run folder (`run.json`, and `weights.safetensors` unless nothing was trained).

    Args:
        features: feature -> what makes it, where it is not what made those that the run saw.

    Raises:
        AvsbenchError: the folder is no run (lists what is missing), or a feature would now be made otherwise.
    """
    record_file, weights = (Path(run) / name for name in ("run.json", "weights.safetensors"))
    record = provenance.read_run(record_file) if record_file.is_file() else {}
    needed = [record_file, *([] if record.get("seed") == UNTRAINED else [weights])]
    missing = [file.name for file in needed if not file.is_file()]
    if missing:
        raise AvsbenchError(
            f"{run}: not the folder of a finished run",
            found=f"no {' and no '.join(missing)}" if Path(run).is_dir() else "no such folder",
            expected="run.json and weights.safetensors, as in <results>/<scale>/<data set>/<variant>/<seed>",
            hint="train the run first, or name another folder",
        )
    if weights not in needed:  # what a training saw, its weights say
        made = record.get("features", {}).items()
        known = {name: {key: about[key] for key in ("generator", "options", "pictures")} for name, about in made}
        for name, about in made:
            now = resolve(name, Paths(record["scale"]), known[name])
            if name not in (features or {}) and now.stored != about["stored"]:
                raise AvsbenchError(
                    f"{record_file}: the feature {name} that this run saw would now be made otherwise",
                    found=f"{now.stored}, weights {now.weights_digest}",
                    expected=f"{about['stored']}, weights {about['weights_digest']}",
                    hint="say what makes it (--features): generator, options and, if it was a file of yours, weights",
                )
        features = {**known, **(features or {})}
    return load(
        record["variant"],
        record["dataset"],
        weights if weights in needed else None,
        scale=record["scale"],
        image_size=record.get("image_size"),
        device=device,
        weights_root=weights_root,
        features=features,
    )


def predict_video(
    model: Predictor, video: str | Path, out: VideoPaths, *, threshold: float | None = None, need_sound: bool = False
) -> int:
    """Write a mask for every second that the video begins, at its own size, and a table of them; returns their number.

    Masks are PNG files: 0 and 255 (binary task), or class ids with the data set's palette.

    Args:
        threshold: probability above which a pixel sounds, in place of the method's own decision (binary task).
        need_sound: a video without a sound track is an error; otherwise it is predicted with silence.

    Raises:
        AvsbenchError: not a video, no pictures, no sound although needed, or scores that are not finite.
    """
    if threshold is not None and model.classes:
        raise AvsbenchError(f"--threshold: {model.dataset.name} names classes", hint="leave --threshold out")
    if threshold is not None and not 0 < threshold < 1:
        raise AvsbenchError("--threshold: not a probability", found=threshold, expected="a number between 0 and 1")
    length = duration(video)
    if not has_sound(video):
        if need_sound:
            raise AvsbenchError(f"{video}: no sound track", hint="without --need-sound it is predicted with silence")
        log.warning("%s: no sound track; predicted with silence", video)
    seed_everything("predict", "video")
    seconds = 0
    bar = tqdm(desc="predict", unit="s", disable=None, total=None if length is None else math.ceil(length))
    with atomic_folder(out.masks) as folder, atomic(out.table) as temporary, open(temporary, "w") as table, bar:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(COLUMNS)
        for frames, sound in windows(model, video):
            for mask in _masks(model, frames, sound, threshold):
                file = out.mask(seconds)
                write_labels(folder / Path(file).name, mask, len(model.classes))
                names = ";".join(_present(mask, model.classes))
                rows.writerow([seconds, f"{Path(out.masks).name}/{Path(file).name}", names, f"{(mask > 0).mean():.6f}"])
                seconds += 1
                bar.update()
    return seconds


def windows(model: Predictor, video: str | Path) -> Iterator[tuple[np.ndarray, Sound]]:
    """Clips of the data set's length, uint8 [T,H,W,3], with what they hear; the last may be shorter."""
    shown, heard = pictures(video), _Heard(sound_seconds(video))
    for start in count(0, model.dataset.frames):
        frames = list(islice(shown, model.dataset.frames))
        if not frames:
            return
        if len({frame.shape for frame in frames}) > 1:
            raise AvsbenchError(f"{video}: the pictures change their size", hint="encode the video again at one size")
        yield np.stack(frames), Sound(heard.between(*model.hears(start, len(frames))), SOUND_RATE)


class _Heard:
    """A stream of seconds of sound that keeps no more than what is still needed."""

    def __init__(self, seconds: Iterator[np.ndarray]):
        self._coming, self._kept, self._first = seconds, deque(), 0

    def between(self, first: int, last: int) -> np.ndarray:
        """int16 [N,2] of the seconds from `first` to before `last`, as far as there are any; never goes back."""
        while self._first + len(self._kept) < last and (piece := next(self._coming, None)) is not None:
            self._kept.append(piece)
        while self._kept and self._first < first:
            self._kept.popleft()
            self._first += 1
        return np.concatenate([np.zeros((0, 2), np.int16), *self._kept])


def _masks(model: Predictor, frames: np.ndarray, sound: Sound, threshold: float | None) -> Iterator[np.ndarray]:
    """uint8 [H,W] of each frame: 0 and 1, or class ids."""
    size = frames.shape[1:3]
    shrink = min(1.0, math.sqrt(_LOGITS / (model.dataset.frames * model.method.channels * math.prod(size))))
    logits = model.logits(frames, sound, tuple(max(1, round(side * shrink)) for side in size))
    if not torch.isfinite(logits).all():
        raise AvsbenchError("the scores are not finite", hint="the weights are damaged; look at the run's log")
    for one in logits.split(1):
        full = functional.interpolate(one, size, mode="bilinear") if shrink < 1 else one
        mask = (
            model.masks(full)[0] if threshold is None else (foreground_probability(full)[0] > threshold).cpu().numpy()
        )
        yield mask.astype(np.uint8)


def _present(mask: np.ndarray, classes: list[str]) -> list[str]:
    """Names of what a mask shows; of a binary task "sounding"."""
    return [classes[label] if classes else "sounding" for label in np.unique(mask) if label]
