"""What others predicted: the table that scoring prints, and rows of the leaderboard, marked and with their source."""

import math
from collections.abc import Iterable

from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.evaluation.submissions import read_submission
from avsbench.metrics import metric
from avsbench.paths import EXTERNAL, Paths, Scored
from avsbench.plan import Run
from avsbench.report.collect import Absent, RunResult, another_form, link_to, read_grids
from avsbench.report.columns import GRID, layout
from avsbench.report.tables import NOTHING, Table, header


def score_table(card: DatasetCard, values: dict, *, hard: bool) -> Table:
    """Every metric of one set of predictions; the headline of the data set first, then protocol by protocol."""
    first = layout(card)["headline"]
    main = metric(first[0]).protocol
    body = []
    for name in sorted(values, key=lambda name: _place(name, first, main)):
        of = metric(name)
        mark = ", hard masks" if hard and of.protocol == "B" else ""
        known = values[name] is not None and math.isfinite(values[name])
        value = f"{100 * values[name]:.2f}" if known else NOTHING
        better = header(name)[-1] if of.direction != "none" else ""
        body.append([of.protocol + mark, f"`{name}`", value, better, of.title])
    notes = ["Percent. Numbers of two protocols do not compare."]
    if hard:
        notes.append("Hard masks leave protocol B no threshold to choose; `f_at_0.5` (A) is the F of the masks.")
    return Table("", ["protocol", "metric", ">score", "better", "what is averaged"], body, notes)


def _place(name: str, first: list[str], main: str) -> tuple:
    """Equal places keep their order."""
    protocol = metric(name).protocol
    return (name not in first, first.index(name) if name in first else (protocol != main, protocol))


def read_external(runs: Iterable[Run], paths: Paths, *, partial: bool = False) -> tuple[list[RunResult], list[Absent]]:
    """Rows of submissions; of a partial page, those that cannot be read as failed ones.

    Raises:
        AvsbenchError: a file is damaged; names the file.
    """
    results, absent = [], []
    for run in runs:
        try:
            row = _row(run, paths)
            _ = partial and row.draws  # read later, damaged ones would stop the page
            results.append(row)
        except AvsbenchError as error:
            if not partial:
                raise
            absent.append(Absent(run, "failed", error.what))
    return results, absent


def _row(run: Run, paths: Paths) -> RunResult:
    record, source = read_submission(paths, run.dataset, run.seed)
    files = Scored(paths.external(run.dataset, run.seed))
    try:
        return RunResult(
            run=run,
            scale=paths.scale,
            method=EXTERNAL,
            init=EXTERNAL,
            selection=source.selected_on,
            members=1,
            arrays=(),
            features=(),
            deviations=(),
            image_size=record["image_size"],
            grids=read_grids(files.scores, [GRID]),
            clips_expected=record["clips_expected"],
            parameters=None,
            trainable=None,
            train_seconds=None,
            frames_per_second=None,
            memory_mb=None,
            code=record["code"],
            device=NOTHING,
            finished=record["finished"],
            link=link_to(files.record, paths),
            source=source,
            draws_file=files.draws,
        )
    except (KeyError, TypeError) as error:
        raise another_form(files.record, error) from None
