"""A row of the page: its scores on every grid, what it costs, what it is called, and the runs behind it."""

import json
import math
import statistics
from collections.abc import Iterable
from pathlib import Path

from avsbench import cards
from avsbench.cards import DatasetCard
from avsbench.paths import Paths, Scored
from avsbench.report import tables
from avsbench.report.collect import RunResult, link_to
from avsbench.report.curves import curve
from avsbench.report.tables import Entry

BADGES = {
    "official": "The authors' checkpoint, not trained here.",
    "ensemble": "Several epochs of one training predict together.",
    "external": "Predictions of others, scored here; what is said of them was not checked.",
    "zero-shot": "Pretrained networks put together; none was trained for this task.",
    "hard": "Masks without probabilities: protocol B has no threshold to choose.",
    "imported": "Heard arrays that somebody else computed, in the place of our front ends.",
    "incomplete": "Scored on a part of the test split: does not compare with numbers on all of it.",
    "otherwise": "Trained otherwise than published, where that changes numbers.",
    "stand-in": "Encoders are small stand-ins, trained here in the place of published ones.",
}
"""Badge -> what it says of a row."""


def row(card: DatasetCard, entry: Entry, places: dict[str, int | None], paths: Paths) -> dict:
    """See `payload`."""
    first = entry.first
    return {
        "id": identity(card.name, entry.name),
        "name": entry.name,
        **_origin(first),
        "setting": tables.setting(first),
        "badges": badges(entry),
        "masks": first.run.generator,
        "init": first.init,
        "selection": first.selection,
        "seeds": [] if entry.external else [result.run.seed for result in entry.results],
        "planned": entry.planned,
        "clips": entry.fewest_clips,
        "expected": first.clips_expected,
        "places": places,
        "grids": {
            grid: {name: number for name in scores["values"] if (number := score(entry, name, grid))}
            for grid, scores in first.grids.items()
        },
        "cost": None if entry.external else cost(entry),
        "notes": tables.remarks(card, [entry]),
        "runs": [_run(result, paths) for result in entry.results],
    }


def identity(dataset: str, name: str) -> str:
    """What names a row on the whole page."""
    return f"{dataset}/{name}".replace(" ", "_")


def score(entry: Entry, name: str, grid: str) -> dict | None:
    """A metric over seeds in percent; None unless every seed has it."""
    mean, numbers = entry.mean(name, grid), entry.numbers(name, grid)
    if mean is None or not math.isfinite(mean):
        return None
    return {
        "mean": percent(mean),
        "spread": percent(statistics.stdev(numbers)) if len(numbers) > 1 else None,
        "low": None,
        "high": None,
        "each": [percent(number) for number in numbers],
    }


def percent(fraction: float) -> float:
    """As the tables print it."""
    return round(100 * fraction, 2)


def badges(entry: Entry) -> list[str]:
    """What sets a row apart from a plain one, in the order of `BADGES`."""
    first = entry.first
    holds = {
        "official": first.run.seed == "official",
        "ensemble": first.run.ensemble,
        "external": entry.external,
        "zero-shot": tables.setting(first) == "zero-shot",
        "hard": entry.hard,
        "imported": bool(first.arrays),
        "incomplete": entry.incomplete,
        "otherwise": any(result.deviations for result in entry.results),
        "stand-in": "stand-in" in first.init,
    }
    return [badge for badge in BADGES if holds[badge]]


def cost(entry: Entry) -> dict:
    """Means over seeds of what is known."""
    return {
        "parameters": entry.first.parameters,
        "trainable": entry.first.trainable,
        "gflops_per_frame": None,
        "frames_per_second": _mean(r.frames_per_second for r in entry.results),
        "memory_mb": _mean(r.memory_mb for r in entry.results),
        "train_minutes": _mean(r.train_seconds and r.train_seconds / 60 for r in entry.results),
        "device": ", ".join(dict.fromkeys(r.device for r in entry.results)),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(f"{statistics.fmean(known):.4g}") if known else None


def _origin(result: RunResult) -> dict:
    """Who made a method, and where more is said of it."""
    if result.source is not None:
        declared = result.source
        about = {"method": declared.name, "title": declared.made_by, "paper": declared.paper, "year": None}
        return about | {"url": declared.url or None, "source": None}
    card = cards.variant(result.run.variant).method
    paper = card.paper or {}
    arxiv = paper.get("arxiv")
    return {
        "method": card.name,
        "title": card.title,
        "paper": f"{paper['title']} ({paper['authors']}, {paper['venue']})" if paper else "",
        "year": card.year,
        "url": f"https://arxiv.org/abs/{arxiv}" if arxiv else None,
        "source": card.source,
    }


def _run(result: RunResult, paths: Paths) -> dict:
    """One seed, and the files that it left."""
    run, names = result.run, (result.run.dataset, result.run.variant, result.run.seed)
    frames = Scored(paths.run(*names)).frames if run.external else paths.frame_scores(*names, ensemble=run.ensemble)
    log = paths.train_log(*names)
    trained = run.seed.isdigit() and not run.ensemble  # of an ensemble, the members' training has the curve
    record = json.loads(Path(paths.run_json(*names)).read_text(encoding="utf-8")) if trained else {}
    return {
        "seed": run.seed,
        "code": result.code,
        "finished": result.finished,
        "device": result.device,
        "record": result.link,
        "frames": existing(frames, paths),
        "log": existing(log, paths),
        "curve": curve(record, log),
        "explorer": None,
    }


def existing(file: str, paths: Paths) -> str | None:
    """A file as the page links to it, if it is there."""
    return link_to(file, paths) if Path(file).is_file() else None
