"""The ranked table as a picture: each row's mean, its seeds, their spread, and how far other clips would move it."""

import statistics
from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from avsbench.cards import DatasetCard
from avsbench.report.columns import layout
from avsbench.report.confidence import interval_of
from avsbench.report.figures import style
from avsbench.report.figures.rows import Group, dataset_title, label, name_rows
from avsbench.report.figures.style import GREY, INK
from avsbench.report.tables import Entry

ROW = 0.165
"""Inches a row."""


def draw(
    card: DatasetCard,
    groups: list[Group],
    marks: style.Marks,
    scale: str,
    published: Mapping[str, list[float]],
) -> Figure:
    """A line a row, best on top; rows of another setting follow below a heading.

    Args:
        published: name of a row -> published numbers in percent that it may be compared with.
    """
    name = layout(card)["headline"][0]
    lines = sum(len(group.rows) + bool(group.title) for group in groups)
    width = style.width_beside(entry.name for group in groups for _, entry in group.rows)
    figure = style.new_figure(width, 0.85 + ROW * lines)
    axes = figure.add_subplot()
    names, at, kinds = [], 0, set()
    for group in groups:
        if group.title:
            names.append((at, group.title))
            at += 1
        for _, entry in group.rows:
            names.append((at, entry.name))
            kinds |= _row(axes, at, entry, name, marks, published.get(entry.name, []))
            at += 1
    axes.set_ylim(at - 0.4, -0.6)
    axes.margins(x=0.06)
    name_rows(axes, names, groups)
    axes.set_xlabel(label(name))
    axes.set_title(dataset_title(card, scale))
    style.grid_lines(axes, "x")
    style.legend_below(figure, [handle for kind, handle in _LEGEND.items() if kind in kinds])
    return figure


def _row(axes, at: int, entry: Entry, name: str, marks: style.Marks, published: list[float]) -> set[str]:
    """Draw one row; returns what of the legend it shows."""
    look, numbers, mean = marks.of(entry), [100 * value for value in entry.numbers(name)], 100 * entry.mean(name)
    kinds = set()
    if ends := interval_of(entry, name):
        axes.plot([100 * end for end in ends], [at, at], color=look["color"], linewidth=0.8, solid_capstyle="butt")
        kinds.add("interval")
    if len(numbers) > 1:
        spread = statistics.stdev(numbers)
        axes.plot([mean - spread, mean + spread], [at, at], color=look["color"], linewidth=2.4, alpha=0.45,
                  solid_capstyle="butt")  # fmt: skip
        axes.plot(numbers, [at + 0.3] * len(numbers), linestyle="", marker="|", markersize=3.2, markeredgewidth=0.8,
                  color=GREY)  # fmt: skip
        kinds |= {"mean", "spread", "seed"}
    axes.plot(mean, at, linestyle="", **look)
    if published:
        axes.plot(published, [at] * len(published), linestyle="", marker="d", markersize=4.5, markerfacecolor="none",
                  markeredgecolor=INK, markeredgewidth=0.8)  # fmt: skip
        kinds.add("published")
    axes.annotate(entry.percent(name), (1, at), xycoords=("axes fraction", "data"), xytext=(3, 0),
                  textcoords="offset points", va="center", fontsize=6, color=INK, annotation_clip=False)  # fmt: skip
    return kinds


_LEGEND = {
    "mean": Line2D([], [], linestyle="", marker="o", color=GREY, label="mean of seeds"),
    "seed": Line2D([], [], linestyle="", marker="|", color=GREY, markersize=3.2, label="a seed"),
    "spread": Line2D([], [], color=GREY, alpha=0.45, linewidth=2.4, label="± deviation of seeds"),
    "interval": Line2D([], [], color=GREY, linewidth=0.8, label="95 % interval over clips"),
    "published": Line2D(
        [], [], linestyle="", marker="d", markerfacecolor="none", markeredgecolor=INK, label="published"
    ),
}
