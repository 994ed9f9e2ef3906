"""How figures look: sizes of a paper's columns, marks for grey print and any colour vision, files without a date."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from avsbench import cards
from avsbench.atomic import atomic
from avsbench.report.tables import Entry

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every letter that a PDF gets

ONE_COLUMN, TWO_COLUMNS = 3.3, 6.9
"""Widths in inches: those of the common templates of conferences, or a little less."""
FORMATS = ("svg", "png", "pdf")

INK, GREY, LIGHT = "#222222", "#6b6b6b", "#d9d9d9"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#882255", "#999933")
"""Okabe and Ito's without the yellow, which white paper swallows, and two of Tol's: for any colour vision."""
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "p")
"""One fewer than the colours, so that each of 72 methods has a pair of its own."""
_STYLE = {
    "font.family": "sans-serif",  # DejaVu Sans, which comes with matplotlib: every machine draws the same
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LIGHT,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.2,
    "lines.markersize": 5,
    "lines.markeredgewidth": 0,
    # Text stays text: it can be searched, read aloud and edited. Where the font is missing, the next one that the file
    # names is narrower, so that nothing overlaps; who needs the same letters everywhere takes PDF, which embeds them.
    "svg.fonttype": "none",
    "svg.hashsalt": "avsbench",
    "pdf.fonttype": 42,
}
_UNDATED = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """What is drawn and saved inside looks as all figures do; settings of the caller come back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def width_beside(names: Iterable[str]) -> float:
    """A column for a plot with names beside it; two where the names would leave the plot less than half of one."""
    letter = 0.052  # inches, at the size of ticks
    return ONE_COLUMN if max(map(len, names)) * letter < ONE_COLUMN * 0.4 else TWO_COLUMNS


def new_figure(width: float, height: float) -> Figure:
    """A figure of a size in inches, its contents laid out without overlap; no window, no state of pyplot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.04, hspace=0.04)
    return figure


def save(figure: Figure, files: Iterable[str | Path], title: str) -> None:
    """Write a figure to each file, in the format of its ending; the same figure gives the same bytes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not for each format
    for file in files:
        extension = Path(file).suffix[1:]
        with atomic(file) as temporary:
            figure.savefig(temporary, format=extension, dpi=300, metadata={**_UNDATED[extension], "Title": title})


class Marks:
    """Colour and mark of each method, the same in every figure, whatever else is drawn.

    Args:
        methods: names of all methods that there are; what others predicted is no method and gets a grey star.
    """

    def __init__(self, methods: Iterable[str]):
        self._methods = sorted(set(methods))

    def of(self, entry: Entry) -> dict:
        """Keywords for plotting a row's mark."""
        if entry.external:
            return {"color": GREY, "marker": "*"}
        return self.of_method(entry.first.method)

    def of_method(self, name: str) -> dict:
        number = self._methods.index(name)
        return {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKS[number % len(_MARKS)]}


def method_title(entry: Entry) -> str:
    """What a legend calls the method of a row."""
    return "others" if entry.external else cards.method_cards()[entry.first.method].title.split(":")[0]


def grid_lines(axes: Axes, axis: str) -> None:
    """Light lines from the ticks of an axis; ticks without strokes on the other, which holds names."""
    axes.grid(axis=axis)
    if axis != "both":
        axes.tick_params(axis="y" if axis == "x" else "x", length=0)


def legend_below(figure: Figure, handles: list) -> None:
    """A legend under all axes, where it hides nothing."""
    if handles:
        columns = 2 if figure.get_figwidth() == ONE_COLUMN else 5
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, borderaxespad=0.1)
