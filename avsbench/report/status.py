"""How far the runs of a plan are: done, running, failed, missing or skipped; and the data that they wait for.

It looks at files, logs and the signs beside these (`avsbench.running`), and agrees with the leaderboard.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from avsbench.engine.trainlog import read_log
from avsbench.plan import Plan, Run
from avsbench.report.failures import (
    Failure,
    Stage,
    condition_stages,
    explain,
    find_failures,
    first_missing,
    outdated,
    own_stages,
    preparation,
)
from avsbench.running import Sign, read_sign

STATES = ("done", "running", "failed", "missing", "skipped")


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        epoch: that it is in, from 1.
        step: the last one done, over the whole training.
        until: when it ends if it goes on as since its start, or since it was continued; None before the first steps.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    device: str
    until: datetime | None


@dataclass(frozen=True)
class RunStatus:
    """One run.

    Attributes:
        state: one of STATES.
        stage: that runs, failed or is missing first; "" for a run that is done or skipped.
        reason: why it is not done.
        sign: where the stage runs, or was killed.
        progress: of a training that runs.
    """

    run: Run
    state: str
    stage: str = ""
    reason: str = ""
    log: str | None = None
    sign: Sign | None = None
    progress: Progress | None = None


@dataclass
class Count:
    """Jobs of a stage that prepares a data set, and what the first one that failed says."""

    total: int = 0
    done: int = 0
    running: int = 0
    failed: int = 0
    reasons: list[str] = field(default_factory=list)


def run_statuses(plan: Plan) -> list[RunStatus]:
    """Every run that the configuration asks for, then those that others submitted, then those that cards rule out."""
    failures = find_failures(plan)
    found = [_status(plan, run, failures.get(run)) for run in plan.rows]
    found += [_submitted(plan, run) for run in plan.submissions]
    return found + [RunStatus(skip.run, "skipped", reason=skip.reason) for skip in plan.skips]


def prepared(plan: Plan) -> dict[str, dict[str, Count]]:
    """Data set -> stage -> how many of its jobs are done, of all that the runs wait for."""
    counts: dict[str, dict[str, Count]] = {dataset: {} for dataset in plan.datasets}
    seen = set()
    for run in {(run.dataset, run.variant, run.seed.isdigit()): run for run in plan.rows}.values():
        for stage, outputs, log in preparation(plan, run):
            if (run.dataset, *outputs) not in seen:
                seen.add((run.dataset, *outputs))
                _add(counts[run.dataset].setdefault(stage, Count()), stage, outputs, log)
    return counts


def _add(count: Count, stage: str, outputs: list[str], log: str) -> None:
    count.total += 1
    missing = [file for file in outputs if not Path(file).is_file()]
    if not missing:
        count.done += 1
        return
    failure = explain(stage, missing[0], log)
    count.running += failure.status == "running"
    if failure.status == "failed":
        count.failed += 1
        count.reasons.append(f"{failure.reason} ({failure.log})")


def _status(plan: Plan, run: Run, failure: Failure | None) -> RunStatus:
    """A run that has its record and its scores needs nothing more, whatever was removed since, but those under other
    sounds; it may also be made again by hand.
    """
    names = (run.dataset, run.variant, run.seed)
    record, scores = plan.paths.run_json(*names), plan.paths.scores(*names, ensemble=run.ensemble)
    own, heard = list(own_stages(plan, run)), list(condition_stages(plan, run))
    found = _running([*own, *heard])
    if found is None and not (os.path.isfile(record) and os.path.isfile(scores)):
        found = failure
    elif found is None and any(first_missing([stage]) for stage in heard if stage[0].startswith("score")):
        found = first_missing(heard)
    if found is not None:
        return _of_failure(plan, run, found)
    if outdated(record, scores):
        return RunStatus(run, "missing", "score", "its scores are older than its weights")
    return RunStatus(run, "done")


def _running(stages: Iterable[Stage]) -> Failure | None:
    """A stage that runs although what it makes is there."""
    found = (explain(stage, outputs[0], log) for stage, outputs, log in stages if read_sign(log))
    return next((failure for failure in found if failure.status == "running"), None)


def _of_failure(plan: Plan, run: Run, failure: Failure) -> RunStatus:
    state = "missing" if failure.status == "not run" else failure.status
    progress = _progress(plan, run, failure.sign) if (state, failure.stage) == ("running", "train") else None
    return RunStatus(run, state, failure.stage, failure.reason, failure.log, failure.sign, progress)


def _submitted(plan: Plan, run: Run) -> RunStatus:
    scores = plan.paths.scores(run.dataset, run.variant, run.seed)
    failure = first_missing([("score", [scores], plan.paths.log("score", run.dataset, run.variant, run.seed))])
    return _of_failure(plan, run, failure) if failure else RunStatus(run, "done")


def _progress(plan: Plan, run: Run, sign: Sign) -> Progress | None:
    """What the log of a training says; None before it has begun to write."""
    file = plan.paths.train_log(run.dataset, run.variant, run.seed)
    if not os.path.isfile(file):
        return None
    lines = read_log(file)
    starts = [number for number, line in enumerate(lines) if line.get("kind") == "start"]
    if not starts:
        return None
    start, steps = lines[starts[-1]], [line for line in lines[starts[-1] :] if line.get("kind") == "train"]
    begun = _time(start)
    if begun < datetime.fromisoformat(sign.since):  # of an earlier training; this one still loads
        return None
    total, last, until = start["epochs"] * start["steps_per_epoch"], steps[-1] if steps else start, None
    if last["step"] > start["step"]:
        pace = (_time(last) - begun) / (last["step"] - start["step"])
        until = (_time(last) + pace * (total - last["step"])).astimezone(UTC)
    return Progress(last["epoch"], start["epochs"], last["step"], total, start.get("device", ""), until)


def _time(line: dict) -> datetime:
    return datetime.fromisoformat(line["time"])
