"""Accuracy against what it costs, and which rows nothing beats at less."""

import itertools
import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from avsbench.cards import DatasetCard
from avsbench.report.columns import layout
from avsbench.report.figures import style
from avsbench.report.figures.labels import place_labels
from avsbench.report.figures.rows import Group, dataset_title, label
from avsbench.report.figures.style import GREY
from avsbench.report.tables import Entry

COSTS: dict[str, Callable[[Entry], float | None]] = {
    "parameters, M": lambda entry: None if entry.first.parameters is None else entry.first.parameters / 1e6,
    "GFLOPs a frame": lambda entry: entry.first.gflops_per_frame,
}
"""Axis -> the number of a row; None where it was not counted."""
FEW = 8
"""Rows that each get a label; of more, those of the front do, and others where there is room."""
Point = tuple[float, float, Entry]
"""Cost, score in percent, row."""


def draw(card: DatasetCard, groups: list[Group], marks: style.Marks, scale: str) -> Figure | None:
    """A panel a kind of cost that some row has; None if only others predicted."""
    name = layout(card)["headline"][0]
    rows = [entry for group in groups for _, entry in group.rows if not entry.external]
    shown = {
        axis: [(number, 100 * entry.mean(name), entry) for entry in rows if (number := cost(entry)) is not None]
        for axis, cost in COSTS.items()
        if rows
    }
    shown = {axis: points for axis, points in shown.items() if points}
    if not shown:
        return None
    figure = style.new_figure(style.ONE_COLUMN if len(shown) == 1 else style.TWO_COLUMNS, 2.5)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, (axis, points) in zip(panels, shown.items(), strict=True):
        axes.set_xlabel(axis)
        _panel(axes, points, marks)
    panels[0].set_ylabel(label(name))
    panels[0].set_title(dataset_title(card, scale))
    fronts = any(_steps(pareto_front(points)) for points in shown.values())
    kinds = [Line2D([], [], color=GREY, linewidth=0.9, label="Pareto front")] if fronts else []
    if len(rows) > FEW:
        methods = {style.method_title(entry): entry for entry in rows}
        kinds += [Line2D([], [], linestyle="", label=title, **marks.of(entry)) for title, entry in methods.items()]
    style.legend_below(figure, kinds)
    figure.draw_without_rendering()  # labels find their places among marks that have theirs
    for axes, points in zip(panels, shown.values(), strict=True):
        _label(axes, points, everybody=len(rows) <= FEW)
    return figure


def _panel(axes: Axes, points: list[Point], marks: style.Marks) -> None:
    """Marks over a logarithmic axis, filled on the front; a row that costs nothing is a line across."""
    front, costs = pareto_front(points), [cost for cost, _, _ in points if cost]
    if costs:
        axes.set_xscale("log")
        middle, reach = math.sqrt(min(costs) * max(costs)), max(1.4 * math.sqrt(max(costs) / min(costs)), 3)
        axes.set_xlim(middle / reach, middle * reach)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xticks([])
    for x0, y0, x1, y1 in _steps(front):
        axes.plot([x0, x1], [y0, y1], color=GREY, linewidth=0.9, zorder=1)
    for point in points:
        cost, score, entry = point
        look = marks.of(entry)
        if cost:
            fill = look["color"] if point in front else "white"
            axes.plot(cost, score, linestyle="", **look, markerfacecolor=fill, markeredgewidth=0.9)
        else:
            axes.axhline(score, color=look["color"], linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    axes.margins(y=0.12)
    style.grid_lines(axes, "both")


def _label(axes: Axes, points: list[Point], everybody: bool) -> None:
    """Name rows, those of the front first."""
    front = pareto_front(points)
    ordered = [*front, *(point for point in points if point not in front)]
    left, right = axes.get_xlim()
    place_labels(
        axes,
        [(cost or left, score, entry.name if cost else f"{entry.name}: 0") for cost, score, entry in ordered],
        needed=len(ordered) if everybody else len(front),
        strokes=[*_steps(front), *((left, score, right, score) for cost, score, _ in points if not cost)],
    )


def _steps(front: list[Point]) -> list[tuple[float, float, float, float]]:
    """(x0, y0, x1, y1) of the lines between the points of a front: across at the score that is reached, then up."""
    paid = [(cost, score) for cost, score, _ in front if cost]
    return [
        stroke for (x0, y0), (x1, y1) in itertools.pairwise(paid) for stroke in ((x0, y0, x1, y0), (x1, y0, x1, y1))
    ]


def pareto_front(points: list[Point]) -> list[Point]:
    """Of (cost, score, row) those that no other beats or equals at less cost, cheapest first."""
    front, best = [], float("-inf")
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if point[1] > best:
            front.append(point)
            best = point[1]
    return front
