"""Why a run has no score: found in the logs that a stopped workflow left behind."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from avsbench import cards
from avsbench.plan import SPLITS, UNTRAINED, Plan, Run
from avsbench.running import Sign, read_sign

Stage = tuple[str, list[str], str]
"""Name of a stage, its outputs, its log."""

TAIL = 65536
"""Bytes at the end of a log that are searched."""

LONGEST = 240

STATUSES = ("failed", "running", "not run", "skipped")
"""What a run without a score may be, in the order of the tables."""


@dataclass(frozen=True)
class Failure:
    """Why a run has no score.

    Attributes:
        status: "failed" where a stage left a log but not its output, "not run" where none was started, "running".
        reason: one sentence.
        log: the log that says more, if there is one.
        stage: the first one, in the order of the data, that is missing.
        sign: of the stage, where it runs or was killed.
    """

    status: str
    reason: str
    log: str | None = None
    stage: str = ""
    sign: Sign | None = None


def find_failures(plan: Plan) -> dict[Run, Failure]:
    """The first stage, in the order of the data, whose outputs are missing, for each planned run that has one."""
    failures = {}
    for run in plan.rows:
        failure = first_missing(stages(plan, run))
        if failure is not None:
            failures[run] = failure
    return failures


def first_missing(of_run: Iterable[Stage]) -> Failure | None:
    """Why the first stage without all of its outputs has none; None where nothing is missing."""
    for stage, outputs, log in of_run:
        missing = [file for file in outputs if not Path(file).is_file()]
        if missing:
            return explain(stage, missing[0], log)
    return None


def explain(stage: str, missing: str, log: str) -> Failure:
    """What a missing output, the log of its stage and the sign beside it say together."""
    sign = read_sign(log)
    if sign is not None and sign.alive:
        return Failure("running", f"{stage}: since {sign.since} on {sign.place}", log, stage, sign)
    try:
        quote = last_message(log) or "stopped without a message"
    except FileNotFoundError:  # never begun; or begun right now, and then Snakemake removes the log of before
        return Failure("not run", f"{stage}: {missing} does not exist", stage=stage)
    killed = f"killed (on {sign.place}), after: " if sign else ""
    return Failure("failed", f"{stage}: {killed}{quote}", log, stage, sign)


def last_message(log: str | Path) -> str:
    """The last line of a log that begins at the margin.

    Details of an error and lines of a traceback are indented, so this is the sentence that says what went wrong.
    """
    with open(log, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - TAIL))
        lines = file.read().decode(errors="replace").splitlines()
    messages = [line.strip() for line in lines if line.strip() and not line[0].isspace()]
    if not messages:
        return ""
    return messages[-1] if len(messages[-1]) <= LONGEST else messages[-1][: LONGEST - 1] + "…"


def stages(plan: Plan, run: Run) -> Iterator[Stage]:
    """Everything a run stands on, in the order of the data, and its own stages."""
    yield from preparation(plan, run)
    yield from own_stages(plan, run)


def outdated(record: str, scores: str) -> bool:
    """True if scores belong to weights that are gone."""
    try:
        return os.stat(scores).st_mtime_ns < os.stat(record).st_mtime_ns
    except FileNotFoundError:  # a workflow that makes them again has just removed them
        return True


def preparation(plan: Plan, run: Run) -> Iterator[Stage]:
    """What must be there before a run begins."""
    variant = cards.variant(run.variant)
    splits = SPLITS if run.seed.isdigit() else ("test",)
    yield from _data_stages(plan, run.dataset, splits, variant)
    yield from _feature_stages(plan, run.dataset, splits, variant)
    for encoder in dict.fromkeys(variant.loaded_on(run.dataset, plan.scale).values()):
        yield _weights(plan, plan.encoder_file(encoder), encoder)


def own_stages(plan: Plan, run: Run) -> Iterator[Stage]:
    """The stages of a run itself, under the sound of its clips."""
    paths, variant = plan.paths, cards.variant(run.variant)
    names = (run.dataset, run.variant, run.seed)
    if run.seed.isdigit():
        for file in plan.initial_run(run.dataset, run.variant):
            log = paths.log("train", variant.init.removeprefix("run:"), run.variant, run.seed)
            yield f"start from {variant.init}", [file.format(seed=run.seed)], log
    stage = {UNTRAINED: "describe", "official": "official"}.get(run.seed, "train")
    yield stage, [*plan.weights(*names), paths.run_json(*names)], paths.log("train", *names)
    found = (*names, "positive", run.ensemble)
    file = f"{run.seed}.positive{'.ensemble' if run.ensemble else ''}"
    yield "predict", [paths.predictions(*found)], paths.log("predict", run.dataset, run.variant, file)
    yield "score", [paths.scores(*found)], paths.log("score", run.dataset, run.variant, file)


def condition_stages(plan: Plan, run: Run) -> Iterator[Stage]:
    """What a run does under sounds that do not belong to the pictures."""
    wanted = [condition for condition, reason in plan.conditions(run).items() if reason is None]
    names = (run.dataset, run.variant, run.seed)
    rules = {rule.name: rule.conditions for rule in plan.condition_rules if rule.dataset == run.dataset}
    for name, conditions in rules.items():  # with and without an ensemble logs have one name
        heard = [condition for condition in conditions if condition in wanted]
        if not heard:
            continue
        for verb, file in (("predict", plan.paths.predictions), ("score", plan.paths.scores)):
            log = plan.paths.log(verb, run.dataset, run.variant, f"{run.seed}.{name}")
            outputs = [file(*names, condition, run.ensemble) for condition in heard]
            yield f"{verb} under other sounds", outputs, log


def _data_stages(plan: Plan, dataset: str, splits: tuple[str, ...], variant: cards.Variant) -> Iterator[Stage]:
    paths = plan.paths
    yield "acquire", [paths.acquired(dataset)], paths.log("acquire", dataset)
    yield "manifests", plan.manifests(dataset), paths.log("manifests", dataset)
    for split in splits:
        count = plan.shard_count(dataset, split)
        names = [paths.shard_name(split, shard, count) for shard in range(count)]
        for file, name in zip(plan.shards(dataset, split), names, strict=True):
            yield "extract", [file], paths.log("extract", dataset, name)
        yield "index", [paths.index(dataset, split)], paths.log("index", dataset, split)
        if split != "train":
            yield "check split", [paths.complete(dataset, split)], paths.log("check_split", dataset, split)
        made = plan.features(variant.name).values()
        scored = split == "test" and "native" in variant.grids_on(cards.dataset(dataset))
        if variant.native or scored or any(setting.pictures == "native" for setting in made):
            for file, name in zip(plan.originals(dataset, split), names, strict=False):
                yield "native", [file], paths.log("native", dataset, name)
        imported = plan.arrays(dataset, variant.name)
        heard = [name for name in variant.front_ends_on(dataset) if name not in imported]
        heard += [name for setting in made for name in setting.card.front_ends]
        for front_end in dict.fromkeys(heard):
            group = plan.front_end_group(dataset, front_end)
            for shard, name in enumerate(names):
                file = paths.audio(dataset, front_end, split, shard, count)
                yield "audio", [file], paths.log("audio", dataset, group, name)


def _feature_stages(plan: Plan, dataset: str, splits: tuple[str, ...], variant: cards.Variant) -> Iterator[Stage]:
    """Weights, and then reports: these stay where arrays are temporary."""
    for setting in plan.features(variant.name).values():
        for file, encoder in setting.files.items():
            yield _weights(plan, file, encoder.name)
        for split in splits:
            count = plan.shard_count(dataset, split)
            for shard in range(count):
                log = plan.paths.log("features", dataset, setting.stored, plan.paths.shard_name(split, shard, count))
                yield "features", [plan.paths.feature_report(dataset, setting.stored, split, shard, count)], log


def _weights(plan: Plan, file: str, encoder: str) -> Stage:
    """The stage that a file of pretrained weights comes from."""
    stand_in = file == plan.paths.stand_in(encoder)
    log = plan.paths.log("pretrain", encoder) if stand_in else plan.paths.log("weights", cards.encoder(encoder).file)
    return "pretrained encoder", [file], log
