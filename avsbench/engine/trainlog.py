"""The training log (JSON lines) and the picture of it.

Lines of kind `train` hold means over the steps since the line before, those of kind `validation` scores of an epoch.
Epochs and steps count from 1.
"""

import json
import logging
import os
from collections import defaultdict
from pathlib import Path

log = logging.getLogger(__name__)


class TrainLog:
    """Append-only JSON lines that can be cut back to the point where a training resumes.

    Args:
        path: the file.
        position: bytes to keep; what lies behind was written after the resume state.
    """

    def __init__(self, path: str | Path, position: int = 0):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab")  # noqa: SIM115 - closed by close()
        # A log that somebody removed in between starts again; the training itself does not depend on it.
        self._file.truncate(min(position, self.path.stat().st_size))
        self._file.seek(0, os.SEEK_END)

    @property
    def position(self) -> int:
        return self._file.tell()

    def write(self, **values: object) -> None:
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


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
        elif select in line["scores"]:
            scores.append((line["epoch"], line["scores"][select]))
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
