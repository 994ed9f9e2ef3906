"""The rows that figures show: those of the leaderboard's tables, in their order."""

import re
from dataclasses import dataclass

from avsbench.cards import DatasetCard
from avsbench.metrics import metric
from avsbench.report import tables
from avsbench.report.board import Leaderboard
from avsbench.report.columns import layout
from avsbench.report.figures.style import GREY
from avsbench.report.tables import Entry
from avsbench.report.titles import titled


@dataclass(frozen=True)
class Group:
    """A ranked table: its title ("" of the first), and (place, row), best first."""

    title: str
    rows: list[tuple[int | None, Entry]]


def groups(board: Leaderboard, card: DatasetCard) -> list[Group]:
    """The ranked tables of a data set that have rows with the metric that ranks."""
    found = []
    for setting, title in tables.SETTINGS.items():
        chosen = [
            [each for each in some if each.run.dataset == card.name and tables.setting(each) == setting]
            for some in (board.results, board.absent)
        ]
        rows = [(place, entry) for place, entry in tables.entries(card, *chosen) if place is not None]
        found += [Group(title, rows)] if rows else []
    return found


def label(name: str) -> str:
    """What an axis calls a metric: `miou (A) ↑, %`."""
    return f"{tables.header(name).removeprefix('>')}, %"


def ranking_metrics(card: DatasetCard) -> list[str]:
    """The metrics whose orders are compared: those of the headline, and the first of every other protocol."""
    headline = [name for name in layout(card)["headline"] if metric(name).direction != "none"]
    seen = {metric(name).protocol for name in headline}
    return [*headline, *(names[0] for protocol, names in layout(card).items() if protocol not in {*seen, "headline"})]


def dataset_title(card: DatasetCard, scale: str) -> str:
    """The short name that a data set's title ends with, such as MS3; a small scale is always named."""
    short = re.search(r"\(([^()]+)\)$", card.title)
    return titled(short[1] if short else card.title, scale)


def name_rows(axes, names: list[tuple[float, str]], groups: list[Group]) -> None:
    """Names on the vertical axis, at their heights; headings of groups in grey."""
    axes.set_yticks([at for at, _ in names], [text for _, text in names])
    for tick in axes.get_yticklabels():
        if tick.get_text() in {group.title for group in groups if group.title}:
            tick.set(style="italic", color=GREY)
