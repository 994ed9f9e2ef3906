"""The training log, JSON lines: what a training did, readable without any other file; and the picture of it.

Every line has `kind`, `time` (UTC), `epoch` and `step`: the last step that was done, from 1 over the whole training,
and its epoch, from 1. After a resume the file holds each step once. A number that is not finite is null. Kinds:

    start       first (step 0), and again wherever a training was continued
        run, id             of the training; the id is the same in every start line of a file
        versions            of Python, the platform and the packages that numbers depend on
        …                   what the trainer says of itself: device, world_size (processes), batch (clips a step) …
    train       means over the steps since the line before
        at                  epochs done, as a fraction
        loss, terms         the sum, and term by term
        lr                  learning rates of the last step, one per group of the optimiser
        gradient_norm       of the last step, before clipping; null where nothing clips
        seconds             spent in these steps
        clips_per_s         clips of all processes per second
        wait_share          share of the seconds in which the step waited for data, 0 to 1
        memory_mb           {rss, cuda} now: resident set of the first process, and its tensors on the GPU; 10^6 bytes
        peak_memory_mb      {rss, cuda}, the most so far
    validation  after an epoch
        scores              protocol (A to D) -> metric -> value on the validation split, 0 to 1
        seconds             spent in the validation
"""

import json
import logging
import os
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from avsbench.engine.trackers import Tracker, open_tracker
from avsbench.errors import AvsbenchError
from avsbench.metrics import metric
from avsbench.provenance import finite, versions

log = logging.getLogger(__name__)


class TrainLog:
    """Append-only JSON lines that can be cut back to the point where a training resumes.

    Args:
        path: the file.
        position: bytes to keep; what lies behind was written after the resume state.
        tracker: gets every line as well.
    """

    def __init__(self, path: str | Path, position: int = 0, tracker: Tracker | None = None):
        self.path, self.tracker = Path(path), tracker
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "a+b")  # noqa: SIM115 - closed by close()
        self._file.seek(0)
        kept = self._file.read(position)
        # A log that lost its end (removed, or a machine that went down) goes on after its last whole line; the
        # training itself does not depend on it.
        kept = kept[: kept.rfind(b"\n") + 1]
        self._file.truncate(len(kept))
        self._file.seek(0, os.SEEK_END)
        self._id = json.loads(kept.splitlines()[0]).get("id") if kept else None
        self._step = 0

    @property
    def position(self) -> int:
        return self._file.tell()

    def start(self, run: str, *, epoch: int, step: int, **about: object) -> None:
        """The line of kind `start`: that of a new training, or of one that continues after `step`."""
        self._id = self._id or uuid.uuid4().hex[:12]
        self.write(kind="start", epoch=epoch, step=step, run=run, id=self._id, **about, versions=versions())

    def write(self, *, kind: str, epoch: int, step: int | None = None, **values: object) -> None:
        """Add a line.

        Args:
            step: by default that of the line before.
            values: those of the kind; `scores` come as metric -> value.
        """
        self._step = self._step if step is None else step
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        if "scores" in values:
            values["scores"] = by_protocol(values["scores"])
        line = finite({"kind": kind, "time": time, "epoch": epoch, "step": self._step, **values})
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._file.flush()
        if self.tracker is not None:
            self.tracker.write(line)

    def close(self) -> None:
        self._file.close()
        if self.tracker is not None:
            self.tracker.close()


def by_protocol(scores: dict[str, float]) -> dict[str, dict[str, float]]:
    """Metric -> value as protocol -> metric -> value; a metric that the suite does not define has protocol "-"."""
    grouped: dict[str, dict[str, float]] = defaultdict(dict)
    for name, value in scores.items():
        try:
            protocol = metric(name).protocol
        except KeyError:
            protocol = "-"
        grouped[protocol][name] = value
    return dict(grouped)


class Window:
    """Sums since the last line of the log."""

    def __init__(self):
        self.sums: dict[str, float] = defaultdict(float)
        self.steps = self.clips = 0
        self.spent = self.waited = 0.0

    def add(self, terms: dict[str, float], *, clips: int) -> None:
        for name, value in terms.items():
            self.sums[name] += value
        self.steps, self.clips = self.steps + 1, self.clips + clips

    def took(self, *, spent: float, waited: float) -> None:
        self.spent, self.waited = self.spent + spent, self.waited + waited

    def means(self) -> dict[str, float]:
        return {name: value / self.steps for name, value in self.sums.items()}


def read_log(path: str | Path) -> list[dict]:
    """The lines of a log; a broken last line (a kill while writing) is left out."""
    lines = []
    for text in Path(path).read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            log.info("%s: a broken line is left out", path)
    return lines


def replay(path: str | Path, tracker: str, folder: str | Path) -> int:
    """Pass an existing log on to a tracker; returns the number of lines.

    Args:
        path: the log.
        tracker: a name of `trackers.TRACKERS`.
        folder: for the tracker's files.

    Raises:
        AvsbenchError: there is no log, or the tracker cannot be used. What goes wrong in a tracker is raised as it is.
    """
    if not Path(path).is_file():
        raise AvsbenchError(f"{path}: no training log", hint="name the folder of a run that was trained")
    lines = read_log(path)
    if not lines or lines[0]["kind"] != "start":
        raise AvsbenchError(f"{path}: the log lacks its first line", found=f"{len(lines)} lines", hint="train again")
    writer = open_tracker(tracker, folder).tracker  # unguarded: here a failure is the result
    for line in lines:
        writer.write(line)
    writer.close()
    return len(lines)


def draw_curves(log_path: str | Path, target: str | Path, *, title: str, select: str, best_epoch: int | None) -> None:
    """Loss terms over epochs, and the validation score that chooses the epoch, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from avsbench.engine.checkpoint import writing

    lines = read_log(log_path)
    terms: dict[str, list[tuple[float, float]]] = defaultdict(list)
    scores = []
    for line in lines:
        if line["kind"] == "train":
            terms["sum"].append((line["at"], line["loss"]))
            if len(line["terms"]) > 1:
                for name, value in line["terms"].items():
                    terms[name].append((line["at"], value))
        elif line["kind"] == "validation":
            values = {name: value for group in line["scores"].values() for name, value in group.items()}
            if values.get(select) is not None:
                scores.append((line["epoch"], values[select]))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for name, points in terms.items():
        left.plot(*zip(*points, strict=True), label=name, linewidth=1.6 if name == "sum" else 0.9)
    left.set(xlabel="epoch", ylabel="training loss")
    if terms:
        left.legend(fontsize="small", frameon=False)
    if scores:
        right.plot(*zip(*scores, strict=True), marker=".", color="tab:green")
    if best_epoch is not None:
        right.axvline(best_epoch, color="grey", linewidth=0.8, linestyle=":")
        right.annotate(f"kept: {best_epoch}", (best_epoch, right.get_ylim()[0]), fontsize="small", color="grey")
    right.set(xlabel="epoch", ylabel=f"{select} on validation")
    figure.suptitle(title, fontsize="medium")
    with writing(target) as temporary:
        # Without a date in the file the same log gives the same bytes.
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)
