"""Which metrics stand in which table of a data set, and the rule that a column holds one protocol."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from avsbench.cards import DatasetCard
from avsbench.metrics import metric

GRID = "common"
"""The only grid that is ranked."""

PUBLISHED_F = "fscore_b{k}"
"""Stands for one column per number of clips per call that some method's card names."""

# The first metric of a headline ranks.
_BINARY = {
    "headline": ["miou", "f_at_0.5"],
    "A": ["miou_nonempty", "miou_empty", "empty_share"],
    "B": ["fscore_b1", "fscore_b4", PUBLISHED_F, "fscore_valid"],
    "D": ["dataset_miou", "dataset_f", "pixel_accuracy"],
}
_SEMANTIC = {
    "headline": ["miou_avss", "miou_avss_present", "miou_avss_ceiling", "f_avss"],
    "C": ["miou_avss_real", "miou_avss_fg", "f_avss_present", "f_avss_real", "f_avss_fg"],
    "D": ["dataset_miou", "dataset_miou_present", "dataset_f", "pixel_accuracy", "dataset_miou_ms", "dataset_f_ms"],
}
_POOLED = {
    "headline": ["dataset_miou", "dataset_f"],
    "D": ["dataset_miou_present", "dataset_f1", "dataset_fdr", "pixel_accuracy"],
}


def layout(card: DatasetCard) -> dict[str, list[str]]:
    """Table -> metrics: `headline`, then one table per protocol. VPO is scored over pooled pixels, as published."""
    if card.task == "binary":
        return _BINARY
    return _POOLED if card.family == "vpo" else _SEMANTIC


def clip_metric(card: DatasetCard) -> str:
    """What says how well a single clip went: the headline; most classes are absent from one clip."""
    return layout(card)["headline"][0] + ("_present" if card.task == "semantic" else "")


def comparison(card: DatasetCard, calls: Iterable[int]) -> dict[str, list[str]]:
    """Protocol -> metrics of the comparison tables; `calls` are the k of the methods' published F."""
    tables = {}
    for protocol, names in layout(card).items():
        if protocol != "headline":
            wanted = [name.format(k=k) for name in names for k in (sorted(set(calls)) if "{k}" in name else [0])]
            tables[protocol] = sorted(dict.fromkeys(wanted), key=_by_calls)
    return tables


def _by_calls(name: str) -> tuple[int, int]:
    """Numbers of clips per call ascend and come first; the order of everything else stays."""
    found = re.fullmatch(r"fscore_b(\d+)", name)
    return (0, int(found[1])) if found else (1, 0)


@dataclass(frozen=True)
class Measurement:
    """What exactly a number is: two numbers are comparable only if these are equal."""

    metric: str
    grid: str
    hard: bool = False

    @property
    def protocol(self) -> str:
        return metric(self.metric).protocol

    def __str__(self) -> str:
        masks = ", hard masks" if self.hard else ""
        return f"{self.metric} (protocol {self.protocol}, grid {self.grid}{masks})"


def rank(entries: list[tuple[Measurement, float | None]]) -> list[int | None]:
    """Place of each entry of a column, best first from 1, equal numbers sharing a place; None without a number.

    Raises:
        ValueError: the column mixes protocols or metrics (or kinds of mask, where they matter), is not on the common
            grid, or its metric has no better direction.
    """
    if not entries:
        return []
    kinds = {measurement.protocol for measurement, _ in entries}
    if len(kinds) > 1:
        raise ValueError(f"a column holds one protocol, this one {', '.join(sorted(kinds))}: refusing to rank it")
    found = sorted({str(comparable(measurement)) for measurement, _ in entries})
    if len(found) > 1:
        raise ValueError(f"a column holds one measurement, this one {'; '.join(found)}: refusing to rank it")
    measurement = entries[0][0]
    if measurement.grid != GRID:
        raise ValueError(f"only grid {GRID} is ranked, not {measurement}")
    direction = metric(measurement.metric).direction
    if direction not in ("higher", "lower"):
        raise ValueError(f"{measurement.metric} describes the data; it ranks nothing")
    sign = -1 if direction == "higher" else 1
    ordered = sorted(sign * value for _, value in entries if value is not None)
    return [None if value is None else ordered.index(sign * value) + 1 for _, value in entries]


def comparable(measurement: Measurement) -> Measurement:
    """The measurement without what its metric does not see: only protocol B looks at more than the mask."""
    return measurement if measurement.protocol == "B" else Measurement(measurement.metric, measurement.grid)
