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
from avsbench.report.columns import GRID, layout
from avsbench.report.confidence import interval_of
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
    "accepted": "Its weights are older than what would make them today, and were kept by the user.",
    "stand-in": "Encoders are small stand-ins, trained here in the place of published ones.",
}
"""Badge -> what it says of a row."""


def row(card: DatasetCard, entry: Entry, names: list[str], places: dict[str, int | None], paths: Paths) -> dict:
    """See `payload`; `names` are the metrics of the ranked grid, the others have those of the headline."""
    first, headline = entry.first, layout(card)["headline"]
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
            grid: scores(entry, names if grid == GRID else headline, grid, intervals=grid == GRID)
            for grid in first.grids
        },
        "cost": None if entry.external else cost(entry),
        "notes": tables.remarks(card, [entry]),
        "runs": [_run(result, paths) for result in entry.results],
    }


def identity(dataset: str, name: str) -> str:
    """What names a row on the whole page."""
    return f"{dataset}/{name}".replace(" ", "_")


def scores(entry: Entry, names: Iterable[str], grid: str = GRID, *, intervals: bool = False) -> dict[str, dict]:
    """Metric -> what the seeds say of it, in percent, of metrics that every seed has. `intervals`: with their ends."""
    found = {}
    for name in names:
        mean, numbers = percent(entry.mean(name, grid)), entry.numbers(name, grid)
        if mean is not None:
            spread = percent(statistics.stdev(numbers)) if len(numbers) > 1 else None
            found[name] = {"mean": mean, "spread": spread, "each": [percent(number) for number in numbers]}
            if intervals:
                low, high = interval_of(entry, name) or (None, None)
                found[name] |= {"low": percent(low), "high": percent(high)}
    return found


def percent(fraction: float | None) -> float | None:
    """As the tables print it; None for what is no number."""
    return None if fraction is None or not math.isfinite(fraction) else round(100 * fraction, 2)


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
        "accepted": any(result.accepted for result in entry.results),
        "stand-in": "stand-in" in first.init,
    }
    return [badge for badge in BADGES if holds[badge]]


def cost(entry: Entry) -> dict:
    """Means over seeds of what is known."""
    return {
        "parameters": entry.first.parameters,
        "trainable": entry.first.trainable,
        "gflops_per_frame": _mean(r.gflops_per_frame for r in entry.results),
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
        "explorer": existing(paths.explorer_page(*names, ensemble=run.ensemble), paths),
    }


def existing(file: str, paths: Paths) -> str | None:
    """A file as the page links to it, if it is there."""
    return link_to(file, paths) if Path(file).is_file() else None
