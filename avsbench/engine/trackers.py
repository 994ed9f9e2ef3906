"""Copies of the training log for TensorBoard or Weights & Biases, as it is written or afterwards.

log.jsonl is written in any case and is the record; a tracker shows it. Credentials and entity of Weights & Biases come
from the user's own places (`wandb login`, the WANDB_* variables): nothing here reads, keeps or writes them.
"""

import importlib.util
import json
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Protocol

from avsbench.errors import AvsbenchError

log = logging.getLogger(__name__)

VARIABLE = "AVSBENCH_TRACKER"
"""Tells the trainings of a workflow which tracker its configuration names. Settings of a rule would retrain."""
FINISH_SECONDS = 60.0
"""How long the end of a training waits for an upload; what remains lies on the disk, for `wandb sync`."""


class Tracker(Protocol):
    """Takes the lines of a training log in, the first of kind `start`."""

    def write(self, line: dict) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in `folder`; `tensorboard --logdir results` finds those of all runs.

    A new training replaces them. One that continues hides what was written after the point where it does.
    """

    def __init__(self, folder: str | Path):
        from torch.utils.tensorboard import SummaryWriter

        self.folder, self._open, self._writer = Path(folder), SummaryWriter, None

    def write(self, line: dict) -> None:
        moment = datetime.fromisoformat(line["time"]).timestamp()
        if line["kind"] == "start":
            self._start(line)
            self._writer.add_text("start", f"```\n{json.dumps(line, indent=2)}\n```", line["step"], moment)
        else:
            for name, value in scalars(line).items():
                self._writer.add_scalar(name, value, line["step"], moment)
        self._writer.flush()

    def _start(self, line: dict) -> None:
        if self._writer is not None:  # a finished log with several starts
            return
        continued = line["step"] > 0
        for file in [] if continued else self.folder.glob("events.out.tfevents.*"):
            file.unlink()
        self._writer = self._open(str(self.folder), purge_step=line["step"] + 1 if continued else None)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, with its local files in `folder` (which W&B insists on calling `wandb`).

    The id stands in the log, so a training that continues goes on in the same run; of steps that it repeats, W&B keeps
    the first.
    """

    def __init__(self, folder: str | Path):
        import wandb

        self.folder, self._run = Path(folder), None
        # Asked now: later there is a terminal, perhaps, but nobody before it.
        if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False, verify=False):
            raise AvsbenchError(
                "Weights & Biases knows no account",
                expected="a login, or no upload",
                hint="run `wandb login` once, or set WANDB_MODE=offline and upload with `wandb sync` later",
            )

    def write(self, line: dict) -> None:
        if line["kind"] != "start":
            self._run.log(scalars(line), step=line["step"])
        elif self._run is None:
            import wandb

            self.folder.mkdir(parents=True, exist_ok=True)
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "avsbench"),
                name=line["run"],
                id=line["id"],
                resume="allow",
                dir=str(self.folder.parent),
                config=line,
                allow_val_change=True,  # times and versions, where a training continues
                settings=wandb.Settings(console="off", finish_timeout=FINISH_SECONDS),
            )

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


TRACKERS: dict[str, type] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
"""Name -> class. The name is also that of the package and of the extra that installs it."""
NAMES = ("none", *TRACKERS)


class Guarded:
    """A tracker that never stops a training: the first error is said, and from then on nothing is passed on."""

    def __init__(self, name: str, tracker: Tracker):
        self.name, self.tracker = name, tracker

    def write(self, line: dict) -> None:
        self._try("write", line)

    def close(self) -> None:
        self._try("close")

    def _try(self, what: str, *arguments: object) -> None:
        if self.tracker is None:
            return
        try:
            getattr(self.tracker, what)(*arguments)
        except Exception as error:  # whatever another package or a network comes up with
            self.tracker = None
            log.warning(
                "%s failed (%s: %s); the training goes on, and its log is complete. "
                "`avsbench replay-log RUN --tracker %s` passes it on later",
                self.name,
                type(error).__name__,
                error,
                self.name,
            )


def chosen(option: str | None, config: dict) -> str:
    """Name of a tracker: that of the command line, else that of the workflow, else that of the configuration file."""
    return option or os.environ.get(VARIABLE) or config.get("tracker", "none")


def check_tracker(name: str) -> None:
    """Raises AvsbenchError if there is no such tracker, or its package is not installed."""
    if name not in NAMES:
        raise AvsbenchError(f"unknown tracker {name!r}", expected=f"one of {', '.join(NAMES)}")
    found = importlib.util.find_spec(name) if name in TRACKERS else None
    if name in TRACKERS and (found is None or found.origin is None):  # a mere folder of that name has no origin
        raise _unusable(name, "not installed")


def open_tracker(name: str, folder: str | Path) -> Guarded | None:
    """The tracker of a run, None for `none`; only its start may fail.

    Args:
        name: one of `NAMES`.
        folder: for its files.

    Raises:
        AvsbenchError: its package is not installed, or Weights & Biases knows no account.
    """
    check_tracker(name)
    try:
        return Guarded(name, TRACKERS[name](folder)) if name in TRACKERS else None
    except ImportError as error:
        raise _unusable(name, error) from None


def _unusable(name: str, why: object) -> AvsbenchError:
    return AvsbenchError(
        f"tracker: the package {name} cannot be used",
        found=why,
        hint=f'pip install "avsbench[{name}]", or set tracker: none in the configuration',
    )


def scalars(line: dict) -> dict[str, float]:
    """The numbers of a line by path: {"train/loss": …, "train/lr/0": …, "validation/A/miou": …}."""
    found: dict[str, float] = {}

    def visit(name: str, value: object) -> None:
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                visit(f"{name}/{key}", item)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value

    kind = line["kind"]
    for key, value in line.items():
        if key not in ("kind", "time", "step"):
            visit(kind if key == "scores" else f"{kind}/{key}", value)
    return found
