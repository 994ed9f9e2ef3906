"""Published numbers of a data set, one table per protocol, and ours beside those that are comparable."""

from collections.abc import Sequence

from avsbench.cards import DatasetCard
from avsbench.report.columns import GRID
from avsbench.report.published import UNKNOWN, Published, of_dataset
from avsbench.report.tables import Entry, Table
from avsbench.report.verify import compare_with_published, comparison_table, masks_as_published

TITLES = {
    "per_image": "Published, scored per image",
    "per_dataset": "Published, scored over pooled pixels",
    "unknown": "Published, protocol not stated",
}
SHOWN = {"mIoU": "mIoU", "Fscore": "F", "J_and_F": "J&F", "G-mIoU": "G-mIoU"}
"""Published metric -> header."""


def published_tables(card: DatasetCard, numbers: Sequence[Published] | None = None) -> list[Table]:
    """One table per published protocol; numbers are printed as their source has them.

    Args:
        numbers: those to show; by default all on the data set.
    """
    tables = []
    for protocol, title in TITLES.items():
        rows = [row for row in (of_dataset(card) if numbers is None else numbers) if row.protocol == protocol]
        if rows:
            tables.append(_table(card, title, rows, ranked=protocol != "unknown"))
    return tables


def _table(card: DatasetCard, title: str, rows: list[Published], ranked: bool) -> Table:
    """A line per method, backbone, pretraining and source; numbers of one line stand side by side."""
    lines: dict[tuple, dict[str, str]] = {}
    for row in rows:
        note = row.note if row.setting == "supervised" else f"{row.setting}; {row.note}".strip("; ")
        words = (row.method, row.venue, row.year, row.visual_backbone, row.visual_pretrain, row.image_size)
        key = (*words, f"{row.source}; {note}" if note else row.source)
        numbers = lines.setdefault(key, {})
        # A source that prints two numbers under the same words gets two lines.
        while row.metric in numbers:
            key = (*key, "")
            numbers = lines.setdefault(key, {})
        numbers[row.metric] = row.value
    metrics = [name for name in SHOWN if any(row.metric == name for row in rows)]
    ordered = sorted(lines.items(), key=_by_score if ranked else _by_year)
    sources = list(dict.fromkeys(key[6] for key, _ in ordered))
    body = [
        [*key[:6], *(numbers.get(name, "") for name in metrics), str(sources.index(key[6]) + 1)]
        for key, numbers in ordered
    ]
    headers = [f">{SHOWN[name]} ({_protocol(rows, name, card)})" for name in metrics]
    columns = ["method", "venue", "year", "backbone", "pretrained on", ">size", *headers, ">source"]
    listed = [f"Source {number}: {source}." for number, source in enumerate(sources, 1)]
    return Table(title, columns, body, [*_notes(rows[0], card), *listed])


def _protocol(rows: list[Published], name: str, card: DatasetCard) -> str:
    return next(row.measure(card)[0] for row in rows if row.metric == name)


def _by_score(line) -> tuple:
    return (-float(line[1].get("mIoU", "-inf")), line[0])


def _by_year(line) -> tuple:
    return (line[0][2], line[0])  # nothing is ranked where the protocol is unknown


def _notes(row: Published, card: DatasetCard) -> list[str]:
    protocol = row.measure(card)[0]
    if protocol == UNKNOWN:
        return ["Percent. The sources do not say how they score, so nothing here is ranked or compared."]
    notes = ["Percent, higher is better, as the source prints it; J&F is the mean of mIoU and F."]
    if row.protocol == "per_image" and card.task == "binary":
        notes.append(
            "F depends on how many clips share a threshold (k of `fscore_b<k>`), which most sources do not print."
        )
    return notes


def comparable(entry: Entry) -> bool:
    """Whether a row may stand beside published numbers of its method, see `measured_beside_published`."""
    run = entry.first.run
    whole = entry.first.scale == "full" and not entry.incomplete
    return whole and not run.ensemble and not run.external and masks_as_published(run)


def measured_beside_published(card: DatasetCard, entries: list[Entry]) -> list[Table]:
    """Our rows on the whole test split at full scale, ensembles apart, beside published numbers of the same method,
    backbone and protocol.

    A row with other masks than the published ones is another method.
    """
    rows = []
    for entry in entries:
        if not comparable(entry):
            continue
        values = entry.first.grids[GRID]["values"]
        means = {name: entry.mean(name) for name in values}
        found = compare_with_published(card.name, entry.first.run.variant, means, image_size=entry.first.image_size)
        rows += [(entry.name, entry.seeds, row) for row in found if row.published is not None]
    return [comparison_table("Measured beside published", rows, status=False)] if rows else []
