"""How the order of rows changes from protocol to protocol, on the same predictions."""

import math

from matplotlib.figure import Figure

from avsbench.cards import DatasetCard
from avsbench.metrics import metric
from avsbench.report import tables
from avsbench.report.columns import rank
from avsbench.report.figures import style
from avsbench.report.figures.rows import Group, dataset_title, name_rows, ranking_metrics
from avsbench.report.tables import Entry

ROW = 0.25
"""Inches a row."""
LETTERS = 10
"""A line above a column has no more, where a name can be broken."""
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}


def draw(card: DatasetCard, groups: list[Group], marks: style.Marks, scale: str) -> Figure:
    """A column a metric, a line a row from place to place, in its method's colour where its place changes."""
    rows = [entry for group in groups for _, entry in group.rows]
    names = [name for name in ranking_metrics(card) if any(entry.mean(name) is not None for entry in rows)]
    gaps = len(groups) - 1
    figure = style.new_figure(style.width_beside(entry.name for entry in rows), 0.55 + ROW * (len(rows) + gaps))
    axes = figure.add_subplot()
    ticks, top = [], 0
    for group in groups:
        if group.title:
            ticks.append((top, group.title))
            top += 1
        entries = [entry for _, entry in group.rows]
        places = {name: order(entries, name) for name in names}
        for entry in entries:
            ticks.append((top + places[names[0]][entry.name][0], entry.name))
            _line(axes, top, entry, names, places, marks)
        top += len(entries)
    axes.set_xlim(-0.3, len(names) - 0.7)
    axes.set_ylim(top - 0.6, -0.75)
    name_rows(axes, ticks, groups)
    axes.set_xticks(range(len(names)), [_column(name) for name in names])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(dataset_title(card, scale))
    return figure


def order(entries: list[Entry], name: str) -> dict[str, tuple[int, int | None]]:
    """Row -> (line from the top, place): a line of its own also for those that share a place, and for those without.

    Hard masks have no place under protocol B, which has no threshold to choose for them.
    """
    ranked = [entry for entry in entries if not (metric(name).protocol == "B" and entry.hard)]
    places = dict(zip(
        [entry.name for entry in ranked],
        rank([(entry.measurement(name), entry.mean(name)) for entry in ranked]),
        strict=True,
    ))  # fmt: skip
    lines = sorted(entries, key=lambda entry: places.get(entry.name) or len(entries) + 1)
    return {entry.name: (line, places.get(entry.name)) for line, entry in enumerate(lines)}


def _line(axes, top: int, entry: Entry, names: list[str], places: dict, marks: style.Marks) -> None:
    """A mark with its number above it in each column where the row has a place, and strokes between them."""
    found = [places[name][entry.name] for name in names]
    moves = len({place for _, place in found if place is not None}) > 1
    look = marks.of(entry)
    heights = [top + line if place is not None else math.nan for line, place in found]
    axes.plot(heights, color=look["color"] if moves else style.LIGHT, linewidth=1.3, zorder=2 if moves else 1)
    for at, (name, height) in enumerate(zip(names, heights, strict=True)):
        if not math.isnan(height):
            axes.plot(at, height, linestyle="", zorder=4, **look)
            axes.annotate(f"{100 * entry.mean(name):.1f}", (at, height), xytext=(0, 3.5), textcoords="offset points",
                          ha="center", va="bottom", fontsize=5.5, zorder=3, bbox=_PAPER)  # fmt: skip


def _column(name: str) -> str:
    """Metric and protocol, in lines short enough for a column."""
    found, protocol = tables.header(name).removeprefix(">").rsplit(" (", 1)
    lines = [""]
    for part in found.replace("_", "_ ").split(" "):
        lines = [*lines[:-1], lines[-1] + part] if len(lines[-1] + part) <= LETTERS else [*lines, part]
    return "\n".join([*filter(None, lines), f"({protocol}"])
