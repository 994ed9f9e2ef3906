"""What would run again, by run and by data set, and because of what."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from avsbench.plan import Plan, Run
from avsbench.reruns.changes import Change, changes
from avsbench.reruns.dry_run import DryRun, Job
from avsbench.workflow import outdated_manifests, outdated_submissions, read_code

STAGES = (
    "fetch_weights",
    "acquire",
    "manifests",
    "extract",
    "native",
    "index",
    "check_split",
    "audio",
    "features",
    "negatives",
    "pretrain_mini",
    "official",
    "describe",
    "train",
    "predict",
    "predict_conditions",
    "score",
    "score_conditions",
)
"""Stages in the order in which they are told; others come last."""
PAGES = "pages"
ELSE = "what several data sets share"


@dataclass(frozen=True)
class Stage:
    """Attributes:
    name: of the rule, without the variant or data set that it carries.
    jobs: how many, of all places of the group.
    causes: why; none where it only follows from what runs before it.
    """

    name: str
    jobs: int
    causes: tuple[Change, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.jobs})" if self.jobs > 1 else self.name


@dataclass(frozen=True)
class Group:
    """Places where the same would happen for the same reasons.

    Attributes:
        places: runs, or data sets, in words.
        stages: in the order of the data.
        accept: folders of runs whose weights `avsbench accept` may keep.
    """

    places: tuple[str, ...]
    stages: tuple[Stage, ...]
    accept: tuple[str, ...] = ()


def explain_jobs(plan: Plan, planned: DryRun) -> list[Group]:
    """All jobs, grouped; data first, then runs in the order of the configuration, then pages."""
    known, runs = read_code(plan), _folders(plan)
    found: dict[str, dict[str, list[tuple[Change, ...]]]] = {}
    for job in planned.jobs:
        place, stage = _place(plan, runs, job), stage_of(job.rule)
        causes = tuple(c for c in changes(job.reason, planned.made, known) if c.kind != "follows")
        found.setdefault(place, {}).setdefault(stage, []).append(causes)
    for place, words in _unplanned(plan):
        found.setdefault(place, {}).setdefault("extract", []).append((Change("newer", words),))
    alike: dict[tuple, list[str]] = {}
    for place in sorted(found, key=_order(runs)):
        stages = [(name, _distinct(causes)) for name, causes in found[place].items()]
        alike.setdefault((_kind(place, runs), *sorted(stages, key=_stage_order)), []).append(place)
    return [_group(key[1:], places, found, runs) for key, places in alike.items()]


def told(groups: list[Group]) -> str:
    """The groups as text."""
    if not groups:
        return "Nothing would run: everything that is asked for is there, and made by today's code and settings."
    total = sum(stage.jobs for group in groups for stage in group.stages)
    lines = [f"{total} job{'s' if total > 1 else ''} would run; nothing was run or changed."]
    for group in groups:
        lines += ["", *textwrap.wrap("; ".join(group.places), 120, break_on_hyphens=False)]
        for stage in group.stages:
            for cause, lead in zip(stage.causes, [f"{stage}:", *[""] * len(stage.causes)], strict=False):
                lines.append(f"  {lead:{len(str(stage)) + 1}} {cause.words}")
        if following := [str(stage) for stage in group.stages if not stage.causes]:
            lines.append(f"  and so: {', '.join(following)}")
        if group.accept:
            lines += [f"  to keep the weights: avsbench accept {folder}" for folder in group.accept[:1]]
            lines += [f"  … and so on for {len(group.accept) - 1} more" for _ in group.accept[1:2]]
    return "\n".join(lines)


def stage_of(rule: str) -> str:
    """The name of a rule without the variant or data set that generated rules carry."""
    return re.sub(r"^(train|manifests|audio|predict_conditions|score_conditions)_.*", r"\1", rule)


def _folders(plan: Plan) -> dict[str, Run]:
    """Folder, with a slash at its end -> run. Ensembles share that of their training."""
    runs = [*plan.runs, *plan.submissions]
    return {f"{plan.paths.run(run.dataset, run.variant, run.seed)}/": run for run in runs}


def _place(plan: Plan, runs: dict[str, Run], job: Job) -> str:
    for file in job.outputs:
        parts = file.split("/")
        for end in range(len(parts) - 1, 0, -1):
            if run := runs.get("/".join(parts[:end]) + "/"):
                return str(run)
        for dataset in plan.datasets:
            if file.startswith(f"{plan.paths.dataset(dataset)}/"):
                return f"data of {dataset}"
    return ELSE if stage_of(job.rule) in STAGES else PAGES


def _unplanned(plan: Plan) -> Iterator[tuple[str, str]]:
    """What the next Snakemake does before it plans, so that a dry run without any effect does not show it."""
    for dataset in outdated_manifests(plan):
        yield f"data of {dataset}", "the table of its clips changed: shards with other clips than before are made anew"
    for run in outdated_submissions(plan):
        yield str(run), "another version of the code scored it"


def _distinct(causes: list[tuple[Change, ...]]) -> tuple[Change, ...]:
    """Each reason once; of missing and newer files those of the first job stand for all."""
    every = [cause for of_job in causes for cause in of_job]
    files: dict[str, Change] = {}
    for cause in every:
        files.setdefault(cause.kind if cause.kind in ("missing", "newer") else cause.words, cause)
    return tuple(files.values())


def _group(stages: tuple, places: list[str], found: dict, runs: dict[str, Run]) -> Group:
    counted = [Stage(name, sum(len(found[place][name]) for place in places), causes) for name, causes in stages]
    accept = []
    for stage in counted:
        if stage.name == "train" and stage.causes and all(c.kind not in ("missing", "network") for c in stage.causes):
            accept = [folder.rstrip("/") for folder, run in runs.items() if str(run) in places]
    return Group(tuple(places), tuple(counted), tuple(accept))


def _kind(place: str, runs: dict[str, Run]) -> str:
    return "run" if place in map(str, runs.values()) else place


def _order(runs: dict[str, Run]):
    names = [str(run) for run in runs.values()]
    return lambda place: (place == PAGES, names.index(place) + 1 if place in names else 0)


def _stage_order(stage: tuple) -> int:
    return STAGES.index(stage[0]) if stage[0] in STAGES else len(STAGES)
