"""The section "Does it listen?": what runs segment under sounds that do not belong to the pictures."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from avsbench import cards
from avsbench.conditions import CONDITIONS, REFERENCE
from avsbench.errors import AvsbenchError
from avsbench.evaluation.score import read_scores
from avsbench.metrics.robust import global_value
from avsbench.paths import Paths
from avsbench.plan import Run
from avsbench.report import tables
from avsbench.report.collect import RunResult, long_table
from avsbench.report.columns import GRID
from avsbench.report.failures import explain
from avsbench.report.published import of_dataset
from avsbench.report.published_tables import published_tables

TITLE = "Does it listen?"
POSITIVE, ALL = "positive", "all"
GLOBAL = {"g_miou": "miou", "g_f": "fscore_b1"}
"""Global value -> the score that it is made of."""
KINDS = {"": "", REFERENCE: "with the authors' features for negatives"}
"""End of a condition -> how its tables are called."""
COMPONENTS = ("fpr", "miou", "miou_nonempty", "fscore_b1")
"""What is shown of each sound."""


@dataclass
class Heard:
    """Complete runs under every condition that was asked for.

    Attributes:
        results: condition -> runs, with the scores under it in the place of their own; `positive` the sound of the
            clips, `all` and `all_reference` the global values over the three negatives.
        missing: run, condition and reason of what was not heard.
    """

    results: dict[str, list[RunResult]] = field(default_factory=dict)
    missing: list[tuple[Run, str, str]] = field(default_factory=list)

    def add(self, condition: str, result: RunResult, row: dict) -> None:
        """A run under a condition, by its score row."""
        self.results.setdefault(condition, []).append(replace(result, grids={GRID: row}, draws_file=""))


def hear(
    results: Iterable[RunResult], conditions: Callable[[Run], Mapping[str, str | None]], paths: Paths, partial: bool
) -> Heard:
    """Read the scores of complete runs under the conditions that a plan has for them.

    Args:
        conditions: run -> condition -> why it is not heard under it, or None; empty where nothing is asked.
        partial: a damaged file is a reason, and no error; a missing one always is.

    Raises:
        AvsbenchError: a file is damaged.
    """
    heard = Heard()
    for result in results:
        rows: dict[str, dict] = {}
        asked = conditions(result.run)
        for condition, reason in asked.items():
            reason = reason or _why_missing(result.run, condition, paths)
            if reason is None:
                try:
                    rows[condition] = read_scores(_files(result.run, condition, paths)["score"])
                except AvsbenchError as error:
                    if not partial:
                        raise
                    reason = error.what
            if reason is not None:
                heard.missing.append((result.run, condition, reason))
        if not rows:
            continue
        own = result.grids[GRID]
        heard.add(POSITIVE, result, own)
        for condition, row in rows.items():
            heard.add(condition, result, row)
        for end in KINDS:
            negatives = [rows.get(f"{name}{end}") for name in CONDITIONS]
            if all(negatives):
                heard.add(f"{ALL}{end}", result, {**own, "values": global_values(own, negatives)})
    return heard


def global_values(own: dict, negatives: list[dict]) -> dict[str, float | None]:
    """`g_miou`, `g_f` and `g_fpr` of the score rows under the true sound and under negatives; None if undefined."""
    values: dict[str, float | None] = {}
    for name, part in GLOBAL.items():
        numbers = [row["values"].get(part) for row in (own, *negatives)]
        values[name] = None if None in numbers else global_value(numbers[0], numbers[1:])
    shares = [row["values"].get("fpr") for row in negatives]
    values["g_fpr"] = None if None in shares else sum(shares) / len(shares)
    return values


def _why_missing(run: Run, condition: str, paths: Paths) -> str | None:
    """What the logs say where a run has no scores under a condition."""
    rule = f"{run.seed}.{run.dataset}{REFERENCE if condition.endswith(REFERENCE) else ''}"
    for stage, file in _files(run, condition, paths).items():
        if not Path(file).is_file():
            return explain(stage, file, paths.log(stage, run.dataset, run.variant, rule)).reason
    return None


def _files(run: Run, condition: str, paths: Paths) -> dict[str, str]:
    """What a run leaves under a condition: stage -> file."""
    names = (run.dataset, run.variant, run.seed, condition, run.ensemble)
    return {"predict": paths.predictions(*names), "score": paths.scores(*names)}


def sections(heard: Heard, scale: str) -> list[tables.Section]:
    """The section, if anything was asked for."""
    if not heard.results and not heard.missing:
        return []
    runs = [result.run for result in heard.results.get(POSITIVE, ())]
    parts = []
    for name in dict.fromkeys(run.dataset for run in runs):
        title = cards.dataset(name).title
        found = by_condition(heard, name)
        for end, words in KINDS.items():
            called = ", ".join(filter(None, [title, words]))
            parts += _summary(called, found, end) + _components(called, found, end)
        printed = published_tables(cards.dataset(name), of_dataset(cards.dataset(name), robust=True))
        parts += [replace(table, title=f"{title}: {table.title.lower()}") for table in printed]
    title = TITLE if scale == "full" else f"{TITLE} · {scale}"
    return [tables.Section(title, _about(scale), parts + _missing(heard))]


def by_condition(heard: Heard, dataset: str) -> dict[str, dict[str, tables.Entry]]:
    """Condition -> name -> row of one data set."""
    return {
        condition: _entries(result for result in found if result.run.dataset == dataset)
        for condition, found in heard.results.items()
    }


def _entries(results: Iterable[RunResult]) -> dict[str, tables.Entry]:
    """Row by name: the seeds of a variant together."""
    grouped: dict[str, list[RunResult]] = {}
    for result in results:
        grouped.setdefault(tables.entry_name(result.run), []).append(result)
    return {name: tables.Entry(found, len(found)) for name, found in grouped.items()}


def _about(scale: str) -> list[str]:
    lines = [
        "Every clip keeps its pictures and gets a sound that does not belong to them: silence, noise, or the sound of "
        "a clip of another kind (AVSBench-Robust, arXiv 2502.00358). Who listens segments nothing. Weights are those "
        "of the tables above; every front end, and every feature made from sound, is computed from the changed sound "
        "as from any other.",
    ]
    if scale == "mini":
        lines.append(
            "The embedded scenes show silent objects beside the one that sounds: a sound from outside may be that of "
            "such an object, which is then rightly segmented and counted as false."
        )
    return lines


def _summary(title: str, by_condition: dict[str, dict[str, tables.Entry]], end: str) -> list[tables.Table]:
    names, own = [*GLOBAL, "g_fpr"], by_condition[POSITIVE]
    ranked = sorted(by_condition.get(f"{ALL}{end}", {}).items(), key=lambda item: -(item[1].mean("g_miou") or 0))
    body = [
        [name, entry.first.scale, *map(entry.percent, names), own[name].percent("miou"), own[name].percent("fpr"),
         entry.seeds]
        for name, entry in ranked
    ]  # fmt: skip
    columns = ["variant", "scale", *map(tables.header, [*names, "miou"]), ">area under own sound", "seeds"]
    notes = [
        *tables.legend(names),
        "`g_miou` and `g_f` are inferred: the authors print them without a formula. Area: share of pixels that are "
        "segmented under the clips' own sound.",
    ]
    return [tables.Table(title, columns, body, notes)] if body else []


def _components(title: str, by_condition: dict[str, dict[str, tables.Entry]], end: str) -> list[tables.Table]:
    names = COMPONENTS
    negatives = [f"{name}{end}" for name in CONDITIONS if f"{name}{end}" in by_condition]
    body = [
        [name, entry.first.scale, condition.removesuffix(REFERENCE), *map(entry.percent, names), entry.clips]
        for name in by_condition[POSITIVE]
        if any(name in by_condition[condition] for condition in negatives)
        for condition in [POSITIVE, *negatives]
        if (entry := by_condition[condition].get(name)) is not None
    ]
    columns = ["variant", "scale", "sound", *map(tables.header, names), ">clips"]
    notes = [
        *tables.legend(names),
        "Scores under a negative are taken against the masks of the true sound: there lower is better. Where a frame "
        "has no object, `miou` rewards silence under any sound; `miou_nonempty` leaves such frames out.",
    ]
    return [tables.Table(f"{title}: components", columns, body, notes)] if body else []


def not_heard(heard: Heard) -> list[tuple[str, str, list[str], str]]:
    """Row, data set, conditions and why it was not heard under them; seeds and conditions of one reason are one."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for run, condition, reason in heard.missing:
        rows.setdefault((tables.entry_name(run), run.dataset, reason), []).append(condition)
    return [(name, dataset, list(dict.fromkeys(c)), reason) for (name, dataset, reason), c in rows.items()]


def _missing(heard: Heard) -> list[tables.Table]:
    body = [[name, dataset, ", ".join(conditions), reason] for name, dataset, conditions, reason in not_heard(heard)]
    columns = ["variant", "data set", "sound", "reason"]
    return [tables.Table("Not heard", columns, body)] if body else []


def robustness_table(heard: Heard) -> pd.DataFrame:
    """One row per run, condition and metric; the columns of the leaderboard's table, led by `condition`.

    The condition `all` holds the global values over silence, noise and offscreen.
    """
    parts = [long_table(results).assign(condition=condition) for condition, results in heard.results.items()]
    table = pd.concat(parts or [long_table([]).assign(condition="")], ignore_index=True).astype({"condition": "string"})
    return table[["condition", *(column for column in table if column != "condition")]]
