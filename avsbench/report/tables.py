"""From results to tables of text: what each section of the leaderboard shows, independent of how it is rendered."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from avsbench import cards
from avsbench.cards import DatasetCard
from avsbench.metrics import metric
from avsbench.report import confidence
from avsbench.report.collect import Absent, RunResult, entry_name
from avsbench.report.columns import GRID, Measurement, comparison, layout, rank
from avsbench.report.failures import STATUSES
from avsbench.report.remarks import remarks

NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """Rows of text under headers.

    Attributes:
        title: a heading, or "" for a table that follows its section's heading.
        columns: headers; one that begins with `>` (not shown) holds numbers and is set to the right.
        rows: cells.
        notes: lines beneath: what the columns mean.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """A pipe table with aligned columns, readable as it stands."""
        headers = [column.removeprefix(">") for column in self.columns]
        sides = ["right" if column.startswith(">") else "left" for column in self.columns]
        cells = [[_cell(cell) for cell in row] for row in self.rows]
        frame = pd.DataFrame(cells, columns=headers, dtype=object)
        return frame.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=sides)


def _cell(text: str) -> str:
    """Text that can stand between two pipes."""
    return " ".join(str(text).split()).replace("|", "\\|") or NOTHING


@dataclass(frozen=True)
class Section:
    """A data set: what it is, and its tables; `dataset` is its card's name, empty for a section of another kind."""

    title: str
    about: list[str]
    tables: list[Table]
    dataset: str = ""


class Entry:
    """A row of the leaderboard: the seeds of a variant, or the authors' checkpoint, or a run without training.

    Args:
        results: complete runs, at least one.
        planned: how many the configuration asks for.
    """

    def __init__(self, results: Sequence[RunResult], planned: int):
        self.results = list(results)
        self.planned = planned

    @property
    def first(self) -> RunResult:
        return self.results[0]

    @property
    def name(self) -> str:
        return entry_name(self.first.run)

    @property
    def seeds(self) -> str:
        if self.external:
            return NOTHING
        done = ", ".join(result.run.seed for result in self.results)
        return done if len(self.results) == self.planned else f"{done} ({len(self.results)} of {self.planned})"

    def numbers(self, name: str, grid: str = GRID) -> list[float]:
        return [value for value in (result.value(name, grid) for result in self.results) if value is not None]

    def mean(self, name: str, grid: str = GRID) -> float | None:
        """Mean over seeds; None unless every seed has the number."""
        numbers = self.numbers(name, grid)
        return statistics.fmean(numbers) if len(numbers) == len(self.results) else None

    def percent(self, name: str, grid: str = GRID) -> str:
        """Mean over seeds in percent, with the sample deviation where there are two seeds or more."""
        mean = self.mean(name, grid)
        if mean is None:
            return NOTHING
        numbers = self.numbers(name, grid)
        spread = f" ± {100 * statistics.stdev(numbers):.2f}" if len(numbers) > 1 else ""
        return f"{100 * mean:.2f}{spread}"

    def average(self, values: Iterable[float | None], form: str) -> str:
        """Mean of what is known, in `form`."""
        known = [value for value in values if value is not None]
        return format(statistics.fmean(known), form) if known else NOTHING

    @property
    def external(self) -> bool:
        """Somebody else's predictions: nothing is known of the network."""
        return self.first.source is not None

    @property
    def fewest_clips(self) -> int:
        """Clips scored, of the seed that has the fewest."""
        return min(result.grids[GRID]["clips"] for result in self.results)

    @property
    def incomplete(self) -> bool:
        return self.fewest_clips < self.first.clips_expected

    @property
    def clips(self) -> str:
        return f"{self.fewest_clips} of {self.first.clips_expected}"

    @property
    def hard(self) -> bool:
        """It gives masks without probabilities."""
        return bool(self.first.grids[GRID]["hard"])

    def measurement(self, name: str, grid: str = GRID) -> Measurement:
        return Measurement(name, grid, self.hard)


def entries(
    card: DatasetCard, results: Iterable[RunResult], absent: Iterable[Absent]
) -> list[tuple[int | None, Entry]]:
    """(place, row) of one data set, best first; rows without the ranking metric come last and have no place."""
    grouped: dict[str, list[RunResult]] = {}
    for result in results:
        grouped.setdefault(entry_name(result.run), []).append(result)
    lost = [entry_name(run.run) for run in absent]
    rows = [Entry(found, len(found) + lost.count(name)) for name, found in grouped.items()]
    ranking = layout(card)["headline"][0]
    places = rank([(entry.measurement(ranking), entry.mean(ranking)) for entry in rows])
    return sorted(zip(places, rows, strict=True), key=lambda pair: (pair[0] is None, pair[0] or 0))


SETTINGS = {"supervised": "", "zero-shot": "Zero-shot"}
"""Setting of a method's card -> title of the ranked table."""


def setting(each: RunResult | Absent) -> str:
    """In which ranked table a run stands."""
    if each.run.external:
        return each.source.setting if isinstance(each, RunResult) else "supervised"
    return cards.variant(each.run.variant).method.setting


def headline(
    card: DatasetCard, ranked: list[tuple[int | None, Entry]], absent: list[Absent], scale: str, title: str = ""
) -> Table:
    """A ranked table, then what has no score, with its status in place of one."""
    names = layout(card)["headline"]
    drawn = [confidence.interval_of(entry, names[0]) for _, entry in ranked]
    bounds = [confidence.HEADER] if any(drawn) else []
    body = [
        [
            str(place or NOTHING),
            entry.name,
            entry.first.scale,
            entry.percent(names[0]),
            *[confidence.words(ends) for _ in bounds],
            *(entry.percent(name) for name in names[1:]),
            entry.seeds,
            entry.first.init,
            entry.first.selection,
            entry.clips,
        ]
        for (place, entry), ends in zip(ranked, drawn, strict=True)
    ]
    shown = {entry.name for _, entry in ranked}
    for lost in absent:
        name = entry_name(lost.run)
        if name not in shown:
            shown.add(name)
            body.append([NOTHING, name, scale, lost.status, *[NOTHING] * (len(names) + len(bounds) + 3)])
    first, *others = map(header, names)
    scores = [first, *bounds, *others]
    columns = [">rank", "variant", "scale", *scores, "seeds", "starts from", "epoch chosen on", ">clips"]
    notes = [
        *(["Pretrained networks put together, none of which was trained for this task."] if title else []),
        f"Ranked by `{names[0]}` alone. Mean over seeds ± sample standard deviation; one seed has no spread.",
        *[confidence.ABOUT.format(names[0]) for _ in bounds],
        *legend(names),
        *remarks(card, [entry for _, entry in ranked]),
    ]
    return Table(title, columns, body, notes)


def comparisons(card: DatasetCard, rows: list[Entry]) -> list[Table]:
    """A table per protocol, so that no two protocols share one."""
    runs = [entry.first.run for entry in rows if not entry.external]
    calls = {run.variant: cards.variant(run.variant).fscore_batch_on(card.name) for run in runs}
    tables = []
    for protocol, names in comparison(card, calls.values()).items():
        shown = [name for name in names if any(entry.numbers(name) for entry in rows)]
        if not shown:
            continue
        body = [[entry.name, entry.first.scale, *(entry.percent(name) for name in shown)] for entry in rows]
        notes = legend(shown)
        if protocol == "B" and calls:
            published = ", ".join(f"{variant} {k}" for variant, k in calls.items())
            notes.append(f"Clips per call of each variant's published F: {published}.")
        columns = ["variant", "scale", *map(header, shown)]
        if protocol == "B" and any(entry.hard for entry in rows):
            # A mask of no probabilities is the same at every threshold but the first, where all is object.
            columns += ["masks", header("f_at_0.5")]
            for cells, entry in zip(body, rows, strict=True):
                cells += ["hard" if entry.hard else "soft", entry.percent("f_at_0.5")]
            notes.append(
                "Hard masks leave B no threshold to choose: it gives the larger of the mask's F and that of a mask of "
                "all pixels. The mask's own F (A) stands beside it."
            )
        tables.append(Table(f"Protocol {protocol}, for comparison", columns, body, notes))
    return tables


def other_grids(card: DatasetCard, rows: list[Entry]) -> list[Table]:
    """The headline metrics on the grids that cards ask for beside `common`; not ranked."""
    names = layout(card)["headline"]
    body = [
        [entry.name, entry.first.scale, grid, *(entry.percent(name, grid) for name in names)]
        for entry in rows
        for grid in entry.first.grids
        if grid != GRID
    ]
    columns = ["variant", "scale", "grid", *map(header, names)]
    note = "Scores at other sizes than the common one; they are never ranked."
    return [Table("Other grids", columns, body, [note])] if body else []


def cost(rows: list[Entry]) -> Table:
    """Parameters, time and memory, mean over seeds."""
    body = [
        [
            entry.name,
            entry.first.scale,
            NOTHING if entry.first.parameters is None else f"{entry.first.parameters / 1e6:.3f}",
            f"{entry.first.trainable / 1e6:.3f}",
            entry.average((r.train_seconds and r.train_seconds / 60 for r in entry.results), ".1f"),
            entry.average((r.frames_per_second for r in entry.results), ".1f"),
            entry.average((r.gflops_per_frame for r in entry.results), ".3f"),
            entry.average((r.memory_mb for r in entry.results), ".0f"),
            ", ".join(dict.fromkeys(r.device for r in entry.results)),
        ]
        for entry in rows
        if not entry.external
    ]
    columns = ["variant", "scale", ">parameters, M", ">trainable, M", ">training, min", ">frames/s", ">GFLOPs/frame",
               ">peak memory, MB", "device"]  # fmt: skip
    notes = [
        "Parameters include frozen encoders. Training includes validation. Frames per second of predicting, network "
        "alone; peak memory of the GPU where one is used, else of the process. Mean over seeds.",
        "GFLOPs of the network for a frame of the first test clip: convolutions, matrix products and attention, a "
        "multiply-add being two. Front ends and features are made before: what makes them is in none of these columns, "
        "and a method that only puts them together has no number.",
    ]
    if any(entry.first.run.ensemble for entry in rows):
        notes.append("An ensemble: parameters of one member, its training, and frames per second of all together.")
    return Table("Parameters and cost", columns, body, notes)


def provenance(rows: list[Entry]) -> Table:
    """One line a run: what made it, and the record."""
    body = [
        [entry.name, r.run.seed, r.scale, f"`{r.code}`", r.finished, f"[run.json]({r.link})"]
        for entry in rows
        for r in entry.results
    ]
    notes = [
        f"The seeds of {entry.name} were made by different versions of the code."
        for entry in rows
        if len({r.code for r in entry.results}) > 1
    ]
    return Table("Runs", ["variant", "seed", "scale", "code", "finished", "record"], body, notes)


def by_status(absent: Iterable[Absent]) -> list[Absent]:
    """What failed comes first."""
    return sorted(absent, key=lambda a: STATUSES.index(a.status))


def without_score(absent: list[Absent]) -> list[Table]:
    """Failed, skipped and missing runs with their reason."""
    body = [
        [entry_name(a.run), a.run.seed, a.status, a.reason, f"`{a.log}`" if a.log else NOTHING]
        for a in by_status(absent)
    ]
    return [Table("Runs without a score", ["variant", "seed", "status", "reason", "log"], body)] if body else []


def header(name: str) -> str:
    """`>miou (A) ↑`: the metric, its protocol and the better direction."""
    arrow = {"higher": " ↑", "lower": " ↓"}.get(metric(name).direction, "")
    return f">{name} ({metric(name).protocol}){arrow}"


def legend(names: Iterable[str]) -> list[str]:
    """A line a metric: unit, direction, definition, and what an empty frame or an absent class does."""
    lines = []
    for name in names:
        found = metric(name)
        better = {"higher": "higher is better", "lower": "lower is better"}.get(found.direction, "no better or worse")
        lines.append(f"`{name}` (protocol {found.protocol}, percent, {better}): {found.title}; {found.empty}.")
    return lines
