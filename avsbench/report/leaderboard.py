"""The leaderboard: a section per data set as Markdown, and the same numbers as a long Parquet table."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import jinja2
import pandas as pd

from avsbench import cards
from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.paths import Paths
from avsbench.plan import Run, Skip
from avsbench.report import published, robustness, tables
from avsbench.report.board import SCALE_NOTES, Board, Leaderboard
from avsbench.report.collect import Absent, RunResult, collect, long_table
from avsbench.report.columns import GRID
from avsbench.report.external import read_external
from avsbench.report.failures import STATUSES, Failure
from avsbench.report.published_tables import measured_beside_published, published_tables
from avsbench.report.titles import titled
from avsbench.report.web.page import write_html

log = logging.getLogger(__name__)

TEMPLATE = "leaderboard.md.jinja"


def write_leaderboard(*, paths: Paths, partial: bool = False, **options) -> str:
    """Write leaderboard.md, leaderboard.html and leaderboard.parquet from complete runs; returns the Markdown file.

    Args and errors as `read_leaderboard`; with `partial` leaderboard.partial.md and leaderboard.partial.html alone, and
    the others stay as they are.
    """
    read = read_leaderboard(paths=paths, partial=partial, **options)
    target = paths.leaderboard("md", partial=partial)
    if not partial:
        leftovers = [paths.leaderboard(extension, partial=True) for extension in ("md", "html")]
        write_table(long_table(read.results), paths.leaderboard("parquet"), *leftovers)
        if read.heard.results:
            write_table(robustness.robustness_table(read.heard), paths.robustness())
        else:  # of an earlier configuration
            Path(paths.robustness()).unlink(missing_ok=True)
    write_page(render_markdown(read.board), target, read.board.complete, read.board.planned)
    write_html(read, paths)
    return target


def read_leaderboard(
    *,
    runs: Iterable[Run],
    paths: Paths,
    skips: Iterable[Skip] = (),
    submissions: Iterable[Run] = (),
    partial: bool = False,
    failures: Mapping[Run, Failure] | None = None,
    conditions: Callable[[Run], Mapping[str, str | None]] = lambda run: {},
) -> Leaderboard:
    """Everything that the leaderboard shows.

    Args:
        runs: what the configuration asks for, in its order.
        skips: what the cards rule out.
        submissions: what others predicted; rows beside ours, not counted among the planned ones.
        partial: of what exists so far; a damaged run counts as failed.
        failures: why runs have no score, where that is known.
        conditions: under which negatives each run is heard, see `robustness.hear`.

    Raises:
        AvsbenchError: a file of a run exists but is damaged, and `partial` is not said.
    """
    runs = list(runs)
    found, absent = collect(runs, skips, paths, partial=partial, failures=failures)
    others, broken = read_external(submissions, paths, partial=partial)
    results, absent = [*found, *others], [*absent, *broken]
    board = build_board(runs, results, absent, scale=paths.scale, partial=partial)
    heard = robustness.hear(results, conditions, paths, partial)
    board.sections.extend(robustness.sections(heard, paths.scale))
    return Leaderboard(board, results, absent, heard)


def write_page(text: str, file: str, complete: int, planned: int) -> str:
    """A page whose runs are so far complete; returns the file."""
    with atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    log.info("%s: %d of %d runs", file, complete, planned)
    return file


def write_table(table: pd.DataFrame, file: str, *leftovers: str) -> None:
    """The numbers of a complete page; removes the partial pages that a failed workflow left behind."""
    with atomic(file) as temporary:
        table.to_parquet(temporary, index=False)
    for leftover in leftovers:
        Path(leftover).unlink(missing_ok=True)


def build_board(runs: list[Run], results: list[RunResult], absent: list[Absent], *, scale: str, partial: bool) -> Board:
    """All sections, in the order in which the data sets are first named."""
    names = dict.fromkeys([run.dataset for run in runs] + [each.run.dataset for each in [*absent, *results]])
    sections = [
        section(
            cards.dataset(name),
            [r for r in results if r.run.dataset == name],
            [a for a in absent if a.run.dataset == name],
            scale,
        )
        for name in names
    ]
    strangers = [row.dataset for row in published.load() if published.card_name(row) not in cards.dataset_cards()]
    return Board(
        scale=scale,
        **progress(runs, *([each for each in found if not each.run.external] for found in (results, absent))),
        partial=partial,
        sections=sections,
        other_sets={name: strangers.count(name) for name in dict.fromkeys(strangers)},
    )


def progress(runs: list[Run], results: list[RunResult], absent: list[Absent]) -> dict:
    """How far the runs of a page are: `planned`, `complete`, `problems` and `first_failure` of a `Board`."""
    counts = {status: sum(a.status == status for a in absent) for status in STATUSES}
    failed = [f"{a.run}: {a.reason}" for a in absent if a.status == "failed"]
    return {
        "planned": len(runs),
        "complete": len(results),
        "problems": ", ".join(f"{count} {status}" for status, count in counts.items() if count),
        "first_failure": failed[0] if failed else "",
    }


def section(card: DatasetCard, results: list[RunResult], absent: list[Absent], scale: str) -> tables.Section:
    """One data set: ranked table, other protocols, cost, records, what is missing, what others published."""
    parts, rows = [], []
    for setting, title in tables.SETTINGS.items():
        of_setting = [[each for each in found if tables.setting(each) == setting] for found in (results, absent)]
        ranked = tables.entries(card, *of_setting)
        if any(of_setting):
            parts.append(tables.headline(card, ranked, of_setting[1], scale, title))
        rows += [entry for _, entry in ranked]
    if rows:
        parts += [*tables.comparisons(card, rows), *tables.other_grids(card, rows)]
        parts += [tables.cost(rows)] if not all(entry.external for entry in rows) else []
        parts += [tables.provenance(rows)]
    parts += tables.without_score(absent)
    parts += [*measured_beside_published(card, rows), *published_tables(card)]
    return tables.Section(titled(card.title, scale), about(card, results), parts, card.name)


def about(card: DatasetCard, results: list[RunResult]) -> list[str]:
    """What must be known beside every number of a section."""
    sizes = {tuple(r.grids[GRID]["size"]) for r in results if r.grids[GRID]["size"]}
    sizes_text = ", ".join(f"{height} × {width}" for height, width in sorted(sizes)) or "each clip's own size"
    lines = [f"Test split, scored on grid `{GRID}`" + (f" ({sizes_text} pixels)." if results else ".")]
    if card.supervision:
        lines.append(f"Supervision: {card.supervision}.")
    return lines


def render_markdown(board: object, template: str = TEMPLATE) -> str:
    """The page as Markdown; the same board gives the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
    )
    environment.globals["scale_notes"] = SCALE_NOTES
    return environment.get_template(template).render(board=board)
