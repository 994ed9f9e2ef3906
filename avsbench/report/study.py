"""The page of a study: its question, and tables of its rows with differences to the first."""

import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from avsbench import cards
from avsbench.cards import DatasetCard
from avsbench.metrics import metric
from avsbench.paths import Paths
from avsbench.plan import Run, Skip
from avsbench.report import tables
from avsbench.report.board import Contents
from avsbench.report.collect import Absent, RunResult, collect, long_table
from avsbench.report.columns import layout
from avsbench.report.failures import Failure
from avsbench.report.leaderboard import about, progress, render_markdown, write_page, write_table
from avsbench.report.titles import titled
from avsbench.studies import Line, Study

TEMPLATE = "study.md.jinja"


@dataclass(frozen=True)
class Page(Contents):
    """What the page of a study shows: also its own words."""

    name: str
    title: str
    question: str
    source: str


class Row(tables.Entry):
    """The seeds of a row of a study, of their ensembles, or the authors' checkpoint with the row's changes.

    Args:
        label: what the table calls it.
        line: where it stands.
    """

    def __init__(self, label: str, line: Line, results: Sequence[RunResult], planned: int):
        super().__init__(results, planned)
        self.label, self.line = label, line

    @property
    def name(self) -> str:
        return f"{self.line.base}: {self.label}"

    def differences(self, other: "Row", name: str) -> list[float]:
        """This row minus another, seed by seed where both have the seed, else of the means; empty without numbers."""
        mine, theirs = ({r.run.seed: r.value(name) for r in row.results} for row in (self, other))
        pairs = [(mine[seed], theirs[seed]) for seed in mine if seed in theirs] or [(self.mean(name), other.mean(name))]
        return [a - b for a, b in pairs if a is not None and b is not None]

    def difference(self, other: "Row", name: str) -> str:
        """Mean of the differences in points, with their sample deviation where there are two or more."""
        found = self.differences(other, name)
        if not found or other is self:
            return tables.NOTHING
        spread = f" ± {100 * statistics.stdev(found):.2f}" if len(found) > 1 else ""
        return f"{100 * statistics.fmean(found):+.2f}{spread}"


def write_study(*, study: Study, lines: Sequence[Line], paths: Paths, partial: bool = False, **options) -> str:
    """Write <study>.md and <study>.parquet from complete runs; returns the Markdown file. Otherwise as `read_study`."""
    page, results = read_study(study=study, lines=lines, paths=paths, partial=partial, **options)
    if not partial:
        table = study_table(study, lines, results)
        write_table(table, paths.study(study.name, "parquet"), paths.study(study.name, "md", partial=True))
    target = paths.study(study.name, "md", partial=partial)
    return write_page(render_markdown(page, TEMPLATE), target, page.complete, page.planned)


def read_study(
    *,
    study: Study,
    lines: Sequence[Line],
    runs: Iterable[Run],
    paths: Paths,
    skips: Iterable[Skip] = (),
    partial: bool = False,
    failures: Mapping[Run, Failure] | None = None,
) -> tuple[Page, list[RunResult]]:
    """The page of a study, and the complete runs behind it.

    Args:
        lines: rows of the study on its data sets.
        runs, skips, partial, failures: see `write_leaderboard`.

    Raises:
        AvsbenchError: a file of a run exists but is damaged (in a partial study such a run counts as failed).
    """
    runs = list(runs)
    results, absent = collect(runs, skips, paths, partial=partial, failures=failures)
    board, page = (os.path.dirname(path) for path in (paths.leaderboard(), paths.study(study.name)))
    results = [replace(r, link=Path(os.path.relpath(f"{board}/{r.link}", page)).as_posix()) for r in results]
    return build_page(study, lines, runs, results, absent, paths.scale, partial), results


def study_table(study: Study, lines: Iterable[Line], results: list[RunResult]) -> pd.DataFrame:
    """The long table of the leaderboard, led by `study`, `row` and the `base` that the row changes."""
    parts = [
        long_table(r for r in results if (r.run.dataset, r.run.variant) == (line.dataset, line.variant)).assign(
            study=study.name, row=line.row, base=line.base
        )
        for line in lines
    ]
    table = pd.concat(parts, ignore_index=True).astype(dict.fromkeys(("study", "row", "base"), "string"))
    return table[["study", "row", "base", *(column for column in table if column not in ("study", "row", "base"))]]


def build_page(
    study: Study,
    lines: Sequence[Line],
    runs: list[Run],
    results: list[RunResult],
    absent: list[Absent],
    scale: str,
    partial: bool,
) -> Page:
    """All sections, a data set each."""
    return Page(
        name=study.name,
        title=study.title,
        question=study.question,
        source=study.path.name,
        scale=scale,
        **progress(runs, results, absent),
        partial=partial,
        sections=[
            section(
                study,
                [line for line in lines if line.dataset == name],
                [r for r in results if r.run.dataset == name],
                [a for a in absent if a.run.dataset == name],
                scale,
            )
            for name in study.datasets
        ],
    )


def section(
    study: Study, lines: list[Line], results: list[RunResult], absent: list[Absent], scale: str
) -> tables.Section:
    """One data set: a table a variant, cost, records, and what is missing."""
    card = cards.dataset(lines[0].dataset)
    groups = [[line for line in lines if line.table == number] for number in range(lines[-1].table + 1)]
    parts, rows = [], []
    for group in groups:
        shown = [entry for line in group for entry in entries(study, line, results, absent)]
        parts.append(comparison(study, card, shown, scale, titled=len(groups) > 1))
        rows += [entry for entry in shown if isinstance(entry, Row)]
    if rows:
        parts += [tables.cost(rows), tables.provenance(rows)]
    parts += tables.without_score(absent)
    return tables.Section(titled(card.title, scale), about(card, results), parts, card.name)


@dataclass(frozen=True)
class Missing:
    """A row without any score, and why."""

    label: str
    line: Line
    status: str


def entries(study: Study, line: Line, results: list[RunResult], absent: list[Absent]) -> Iterator[Row | Missing]:
    """The rows of the table that a row of the study becomes: one, and more with ensembles or authors' checkpoints."""
    done = [r for r in results if r.run.variant == line.variant]
    lost = [a for a in absent if a.run.variant == line.variant]
    for name in dict.fromkeys(_kind(each.run) for each in (*done, *lost)):
        label = study.label(line.row) + name
        found = [r for r in done if _kind(r.run) == name]
        gone = [a for a in lost if _kind(a.run) == name]
        if found:
            yield Row(label, line, found, len(found) + len(gone))
        else:
            yield Missing(label, line, gone[0].status)


def _kind(run: Run) -> str:
    """What the leaderboard adds to the name of a variant: nothing, ` (official)` or ` (top-3 ensemble)`."""
    return tables.entry_name(replace(run, variant="", features=(), chosen=()))


def comparison(
    study: Study, card: DatasetCard, shown: list[Row | Missing], scale: str, *, titled: bool
) -> tables.Table:
    """The table that answers the question: every metric beside its difference to the first row."""
    names = [name for name in study.columns if card.task in metric(name).tasks] or layout(card)["headline"]
    own = not study.variants  # each row has a variant of its own
    body = []
    for entry in shown:
        head = [entry.label, *([entry.line.base] if own else []), describe(changes(study, entry.line, scale))]
        if isinstance(entry, Missing):
            body.append([*head, entry.status, *[tables.NOTHING] * (2 * len(names) + 2)])
            continue
        first = reference(entry, shown)
        numbers = [
            text
            for name in names
            for text in (entry.percent(name), entry.difference(first, name) if first else tables.NOTHING)
        ]
        body.append([*head, *numbers, entry.seeds, entry.first.init, entry.clips])
    pairs = [text for name in names for text in (tables.header(name), f">Δ {name}")]
    columns = ["row", *(["variant"] if own else []), "changes", *pairs, "seeds", "starts from", ">clips"]
    notes = [
        "Mean over seeds ± sample standard deviation. Δ: points above the first row, seed by seed where both have the "
        "seed, ± the sample standard deviation of these differences; of one seed it has none, and says little.",
        *tables.legend(names),
        *tables.remarks(card, [entry for entry in shown if isinstance(entry, Row)]),
    ]
    return tables.Table(shown[0].line.base if titled else "", columns, body, notes)


def reference(entry: Row, shown: list[Row | Missing]) -> Row | None:
    """The entry of the first row that differences are to: one with a seed in common if there is one."""
    first = [each for each in shown if isinstance(each, Row) and each.line.row == shown[0].line.row]
    seeds = {result.run.seed for result in entry.results}
    paired = [each for each in first if seeds & {result.run.seed for result in each.results}]
    return (paired or first or [None])[0]


def changes(study: Study, line: Line, scale: str) -> dict:
    """What a row changes on this data set at this scale, as `recipe` and other keys."""
    recipe = cards.variant(study.variant(line.row, line.base)).studied_recipe(scale, line.dataset)
    others = {key: value for key, value in study.changes(line.row).items() if key not in ("recipe", "recipes")}
    return ({"recipe": recipe} if recipe else {}) | others


def describe(changes: Mapping, above: str = "") -> str:
    """What a row changes, in words: `optimizer.lr: 0.001, epochs: 5`; the word `recipe` is left out."""
    words = []
    for key, value in changes.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            words.append(describe(value, "" if name == "recipe" else f"{name}."))
        else:
            plain = {None: "none", True: "true", False: "false"} if value is None or isinstance(value, bool) else {}
            words.append(f"{name}: {plain[value] if plain else value}")
    return ", ".join(words) or "nothing"
