"""Keep the weights of a run although Snakemake would train it again.

Snakemake compares what it recorded when a file was made with what it would record now. `--touch` lets it record the
present, for the training alone; dates are put back, so what was made of the weights stays valid. A mark in run.json
says what was accepted, until a training writes a new record.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from avsbench import cards, digest, provenance
from avsbench.digest import file_digest
from avsbench.errors import AvsbenchError
from avsbench.paths import Scored
from avsbench.plan import Plan
from avsbench.reruns.changes import Change, changes, code_change, differences
from avsbench.reruns.dry_run import Call, Job, dry_run
from avsbench.reruns.reasons import stage_of
from avsbench.workflow import read_code

ABSOLUTE = ("the code changed", "the recipe changed")
"""Beginnings of what is told from the record itself: since the training, whatever was accepted in between."""


def accept_run(plan: Plan, folder: str, call: Call, reason: str = "") -> list[str]:
    """Let Snakemake take the weights of a run as they are; returns what changed since they were trained.

    Args:
        folder: of the run.
        call: of the workflow.
        reason: of the user; stands on the leaderboard.

    Raises:
        AvsbenchError: nothing to accept, or weights that no longer fit: other clips, encoders, options or inputs; or
            weights that are missing or not those of the record.
    """
    names, record = _record(plan, folder)
    file = plan.paths.run_json(*names)
    targets = [file, *plan.weights(*names)]
    _check_weights(plan, names, record)
    job, causes = _planned(plan, targets, call)
    _check_fits(plan, names, record, causes)
    text, times = Path(file).read_bytes(), _times(job)
    mark = _mark(plan, names, record, causes, reason)
    kept = {key: value for key, value in record.items() if key != "accepted"}
    provenance.write_run(file, kept | ({"accepted": mark} if mark["changes"] else {}))
    _put_back(times)
    try:
        _touch(job, targets, call)
        # What is newer than the weights keeps them from being valid, whatever was recorded: then the new date stays.
        if not any(cause.kind == "newer" for cause in causes):
            _put_back(times)
        if left := dry_run(call, targets).jobs:
            raise AvsbenchError(f"{folder}: Snakemake would train it all the same", found=left[0].reason)
    except BaseException:  # also of a user who does not wait: no mark may say what was not accepted
        Path(file).write_bytes(text)
        _put_back(times)
        raise
    return mark["changes"] or ["code and recipe are those of its training again"]


def _record(plan: Plan, folder: str) -> tuple[tuple[str, str, str], dict]:
    """(data set, variant, seed) and record of a trained run of this plan's scale and results."""
    record = provenance.read_run(Scored(folder).record)
    names = (record["dataset"], record["variant"], str(record["seed"]))
    expected = plan.paths.run(*names)
    if record["scale"] != plan.scale or os.path.realpath(folder) != os.path.realpath(expected):
        raise AvsbenchError(
            f"{folder}: not a run of this configuration",
            found=f"a run of scale {record['scale']}",
            expected=f"{expected}, scale {plan.scale}",
            hint="say --scale or --results-root, or run from the project's top folder",
        )
    if not names[2].isdigit():
        raise AvsbenchError(f"{folder}: nothing was trained here", hint="Snakemake makes it anew in seconds")
    return names, record


def _check_weights(plan: Plan, names: tuple[str, str, str], record: dict) -> None:
    for file in plan.weights(*names):
        if not Path(file).is_file():
            raise AvsbenchError(f"{file}: no weights to keep", hint="let Snakemake train the run")
        if file_digest(file) != record["weights"]["sha256"]:
            raise AvsbenchError(f"{file}: not the weights that run.json tells of", hint="let Snakemake train the run")


def _planned(plan: Plan, targets: list[str], call: Call) -> tuple[Job, list[Change]]:
    """The training that Snakemake wants to repeat, and why."""
    planned = dry_run(call, targets)
    jobs = [job for job in planned.jobs if targets[0] in job.outputs]
    if not jobs:
        raise AvsbenchError(f"{targets[0]}: nothing to accept", hint="Snakemake takes these weights as they are")
    others = sorted({stage_of(job.rule) for job in planned.jobs if job is not jobs[0]})
    if others:
        raise AvsbenchError(
            f"{targets[0]}: what it is trained with would be made again first",
            found=", ".join(others),
            hint=f"snakemake --cores 8 --omit-from {jobs[0].rule}, then accept what is left (`avsbench status --why`)",
        )
    causes = changes(jobs[0].reason, planned.made, read_code(plan))
    missing = [cause.words for cause in causes if cause.kind == "missing"]
    if missing:
        raise AvsbenchError(f"{targets[0]}: the run is not whole", found=missing[0], hint="let Snakemake train the run")
    return jobs[0], causes


def _check_fits(plan: Plan, names: tuple[str, str, str], record: dict, causes: list[Change]) -> None:
    """Weights of another network, of other clips or of other encoders would give wrong numbers."""
    wrong = [cause.words for cause in causes if cause.kind == "network"]
    wrong += _otherwise(plan, names, record)
    if wrong:
        raise AvsbenchError(
            f"{plan.paths.run(*names)}: its weights do not fit what the configuration asks for",
            found="; ".join(wrong),
            hint="let Snakemake train the run; to keep the old one, copy its folder",
        )


def _otherwise(plan: Plan, names: tuple[str, str, str], record: dict) -> Iterator[str]:
    dataset, name, _ = names
    variant = cards.variant(name)
    settings = {
        "image_size": plan.image_size,
        "options": variant.options,
        "init": variant.init,
        "features": [setting.stored for setting in plan.features(name).values()],
    }
    then = {key: record.get(key) for key in settings}
    then["features"] = [made["stored"] for made in record.get("features", {}).values()]
    yield from differences(then, settings)
    for split, known in record["data"].items():
        if file_digest(plan.paths.index(dataset, split)) != known:
            yield f"other clips in {split}, as {plan.paths.index(dataset, split)} says"
    for role, encoder in variant.loaded_on(dataset, plan.scale).items():
        file = plan.encoder_file(encoder)
        if record["encoders"].get(role, {}).get("sha256") != file_digest(file):
            yield f"another encoder ({role}), {file}"


def _mark(plan: Plan, names: tuple[str, str, str], record: dict, causes: list[Change], reason: str) -> dict:
    """What run.json says: everything that changed since the training, also what was accepted before."""
    now = plan.train_code(*names[:2])
    since = []
    if record["code"] != now:
        known = {**read_code(plan), **digest.made()}
        since.append(code_change(record["code"], now, known, record.get("git")).words)
    recipe = list(differences(record["recipe"], plan.recipe(*names[:2])))
    since += [f"the recipe changed: {', '.join(recipe)}"] if recipe else []
    others = [*record.get("accepted", {}).get("changes", ()), *(cause.words for cause in causes)]
    since += [words for words in dict.fromkeys(others) if not words.startswith(ABSOLUTE)]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "weights": record["code"],
        "code": now,
        "changes": since,
        "reason": reason or record.get("accepted", {}).get("reason", ""),
    }


def _touch(job: Job, targets: list[str], call: Call) -> None:
    """Let Snakemake record the present for the training and for nothing else."""
    options = ["--touch", "--quiet", "all", "--no-hooks", "--allowed-rules", job.rule]
    command = [sys.executable, "-m", "snakemake", *call.arguments(options, targets)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AvsbenchError(
            f"{targets[0]}: Snakemake could not record it",
            found=done.stderr.strip()[-2000:],
            hint="if another Snakemake runs here, accept when it has ended",
        )


def _times(job: Job) -> dict[Path, tuple[int, int]]:
    """Files that the training made, and those in its folders -> access and change, in nanoseconds."""
    files = [Path(output) for output in job.outputs]
    files += [inner for file in files if file.is_dir() for inner in file.rglob("*")]
    return {file: (file.stat().st_atime_ns, file.stat().st_mtime_ns) for file in files if file.exists()}


def _put_back(times: dict[Path, tuple[int, int]]) -> None:
    for file, ns in times.items():
        os.utime(file, ns=ns)
