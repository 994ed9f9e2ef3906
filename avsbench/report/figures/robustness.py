"""What rows segment under sounds that do not belong to the pictures, beside what they segment under the clips' own."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from avsbench import cards
from avsbench.report.figures import style
from avsbench.report.figures.rows import dataset_title
from avsbench.report.robustness import ALL, KINDS, POSITIVE, Heard, by_condition
from avsbench.report.tables import Entry

ROW = 0.165
"""Inches a row."""
SOUNDS = {
    POSITIVE: {"label": "the clips' own sound", "marker": "o", "color": "#222222", "markersize": 6.8,
               "markerfacecolor": "white", "markeredgewidth": 0.9},
    "silence": {"label": "silence", "marker": "s", "color": "#0072B2", "markersize": 5},
    "noise": {"label": "noise", "marker": "^", "color": "#E69F00", "markersize": 4.2},
    "offscreen": {"label": "sound from off screen", "marker": "D", "color": "#222222", "markersize": 2.4},
}  # fmt: skip
"""Sound -> its mark. Each is smaller than the one before, so that equal numbers, of who does not listen, all show."""
PANELS = {"fpr": "pixels segmented, %", "miou_nonempty": "miou_nonempty (A), %"}
"""Metric -> label of its axis. Both should be small under other sounds; under a clip's own, `fpr` is the area."""


def draw(heard: Heard, scale: str) -> Figure | None:
    """Two panels a data set (and kind of features): pixels segmented, and IoU; None if nothing was heard."""
    blocks = [block for block in _blocks(heard, scale) if block[1]]
    if not blocks:
        return None
    heights = [0.3 + len(rows) for _, rows in blocks]
    figure = style.new_figure(style.TWO_COLUMNS, 0.75 + 0.3 * len(blocks) + ROW * sum(heights))
    panels = figure.subplots(len(blocks), len(PANELS), sharex="col", sharey="row", squeeze=False, height_ratios=heights)
    for line, (title, rows) in zip(panels, blocks, strict=True):
        for axes, metric in zip(line, PANELS, strict=True):
            _panel(axes, rows, metric)
        line[0].set_title(title)
        line[0].set_yticks(range(len(rows)), rows)
        line[0].set_ylim(len(rows) - 0.4, -0.6)
    for axes, text in zip(panels[-1], PANELS.values(), strict=True):
        axes.set_xlabel(text)
    shown = {sound for _, rows in blocks for by_sound in rows.values() for sound in by_sound}
    handles = [Line2D([], [], linestyle="", **look) for sound, look in SOUNDS.items() if sound in shown]
    style.legend_below(figure, handles)
    return figure


def _blocks(heard: Heard, scale: str) -> list[tuple[str, dict[str, dict[str, Entry]]]]:
    """(title, row -> sound -> entry) of each data set and kind of features; without rows that heard no negative."""
    blocks = []
    for dataset in dict.fromkeys(result.run.dataset for result in heard.results.get(POSITIVE, ())):
        heard_under = by_condition(heard, dataset)
        for end, words in KINDS.items():
            rows = {
                name: {
                    sound: heard_under[condition][name]
                    for sound in SOUNDS
                    for condition in [sound if sound == POSITIVE else f"{sound}{end}"]
                    if name in heard_under.get(condition, {})
                }
                for name in sorted(heard_under[POSITIVE], key=lambda name: _global(heard_under, name, end))
            }
            title = ", ".join(filter(None, [dataset_title(cards.dataset(dataset), scale), words]))
            blocks.append((title, {name: found for name, found in rows.items() if len(found) > 1}))
    return blocks


def _global(heard_under: dict[str, dict[str, Entry]], name: str, end: str) -> float:
    """Sorts by the value that the tables rank by, best first."""
    entry = heard_under.get(f"{ALL}{end}", {}).get(name)
    return -((entry and entry.mean("g_miou")) or 0)


def _panel(axes: Axes, rows: dict[str, dict[str, Entry]], metric: str) -> None:
    """A line from the least to the most of each row, and a mark a sound."""
    for at, by_sound in enumerate(rows.values()):
        numbers = {sound: 100 * mean for sound, entry in by_sound.items() if (mean := entry.mean(metric)) is not None}
        if numbers:
            axes.plot(
                [min(numbers.values()), max(numbers.values())], [at, at], color=style.LIGHT, linewidth=1.6, zorder=1
            )
        for sound, number in numbers.items():
            axes.plot(number, at, linestyle="", **SOUNDS[sound])
    axes.margins(x=0.05)
    style.grid_lines(axes, "x")
