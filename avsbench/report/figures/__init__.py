"""Figures of the leaderboard for papers and pages: ranking, cost and orders of each data set, and who listens."""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from matplotlib.figure import Figure

from avsbench import cards
from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.report.board import Leaderboard
from avsbench.report.columns import layout
from avsbench.report.figures import cost, protocols, ranking, robustness, style
from avsbench.report.figures.rows import Group, groups
from avsbench.report.figures.style import FORMATS
from avsbench.report.published import counterparts, metric_name
from avsbench.report.published_tables import comparable

__all__ = ["FORMATS", "write_figures"]

log = logging.getLogger(__name__)


def write_figures(
    board: Leaderboard, target: Callable[[str, str, str], str], formats: Iterable[str] = FORMATS[:2]
) -> list[str]:
    """Draw what the runs of a board give; returns the files.

    Args:
        target: (kind, data set or "", extension) -> file, as `Paths.figure`.
        formats: some of `FORMATS`.

    Raises:
        AvsbenchError: no run is complete.
    """
    files = []
    with style.style():
        for kind, dataset, figure in _figures(board):
            written = [target(kind, dataset, extension) for extension in formats]
            style.save(figure, written, " ".join(filter(None, ["avsbench", dataset, kind])))
            files += written
    if not files:
        raise AvsbenchError(
            "there is nothing to draw",
            found="no complete run",
            hint="run snakemake; `avsbench list` says what is planned",
        )
    log.info("%d figures in %s", len(files), Path(files[0]).parent)
    return files


def _figures(board: Leaderboard) -> Iterator[tuple[str, str, Figure]]:
    """(kind, data set, figure), one after the other; without the rows that it needs there is no figure."""
    scale = board.board.scale
    marks = style.Marks(cards.method_cards())
    for dataset in dict.fromkeys(result.run.dataset for result in board.results):
        card = cards.dataset(dataset)
        found = groups(board, card)
        if not found:
            continue
        yield "ranking", dataset, ranking.draw(card, found, marks, scale, _published(card, found))
        yield "protocols", dataset, protocols.draw(card, found, marks, scale)
        if figure := cost.draw(card, found, marks, scale):
            yield "cost", dataset, figure
    if figure := robustness.draw(board.heard, scale):
        yield "robustness", "", figure


def _published(card: DatasetCard, found: list[Group]) -> dict[str, list[float]]:
    """Row -> published numbers of its method, backbone and protocol, in percent."""
    numbers = {}
    for entry in (entry for group in found for _, entry in group.rows if comparable(entry)):
        variant = cards.variant(entry.first.run.variant)
        numbers[entry.name] = [
            float(line.value)
            for line in counterparts(variant, card, entry.first.image_size)
            if metric_name(line, card, variant.fscore_batch_on(card.name)) == layout(card)["headline"][0]
        ]
    return numbers
