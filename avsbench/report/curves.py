"""The curves of a training, from its log and its record, thinned so that a page can hold hundreds of them."""

import math
import re
import statistics
from pathlib import Path

POINTS = 60
"""A curve has no more."""
_TRAIN = re.compile(
    rb'\{"kind": "train", "time": "[^"]*", "epoch": (\d+), "step": (\d+), "at": [^,]*, '
    rb'"loss": (-?[\d.]+(?:e[+-]?\d+)?),'
)
"""A line of a log as `avsbench.engine.trainlog` writes it, up to a loss that is finite. A page reads hundreds of logs
of hundreds of lines; parsing each line in whole takes ten times as long."""


def curve(record: dict, log: str | Path) -> dict | None:
    """Loss and validation score of a training over its epochs.

    Args:
        record: run.json of the run.
        log: its log.jsonl (see `avsbench.engine.trainlog`). It is no declared output and may be missing: then the
            record's own validations are all there is.

    Returns:
        `epochs` (from 1), and for each of them `loss` (mean over its steps) and `score` (on validation, percent), null
        where there is none; the `metric` that chose the epoch, and the `best` epoch. Where epochs are more than
        `POINTS`, neighbours share a point, named by the last of them: its loss is their mean, its score the best of
        theirs. None where nothing was trained.
    """
    name = record.get("selection", {}).get("metric")
    if name is None:
        return None
    losses = _losses(log)
    scores = {line["epoch"]: line[name] for line in record.get("history", []) if _known(line.get(name))}
    epochs = sorted({*losses, *scores})
    if not epochs:
        return None
    width = math.ceil(len(epochs) / POINTS)
    points = [epochs[start : start + width] for start in range(0, len(epochs), width)]
    loss = [_mean([losses[epoch] for epoch in point if epoch in losses]) for point in points]
    score = [max((scores[epoch] for epoch in point if epoch in scores), default=None) for point in points]
    return {
        "epochs": [point[-1] for point in points],
        "loss": [value and float(f"{value:.4g}") for value in loss],
        "score": [None if value is None else round(100 * value, 2) for value in score],
        "metric": name,
        "best": record.get("best_epoch"),
    }


def _losses(log: str | Path) -> dict[int, float]:
    """Epoch -> mean loss over its steps; empty without a log. A line that a kill broke off is left out."""
    sums: dict[bytes, list[float]] = {}
    last = 0
    try:
        content = Path(log).read_bytes()
    except FileNotFoundError:
        return {}
    for epoch, end, loss in _TRAIN.findall(content):
        step = int(end)
        steps, last = max(step - last, 1), step  # a line is the mean over the steps since the one before
        total = sums.setdefault(epoch, [0.0, 0])
        total[0] += steps * float(loss)
        total[1] += steps
    return {int(epoch): total / steps for epoch, (total, steps) in sums.items()}


def _mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _known(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
