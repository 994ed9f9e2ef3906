"""A large leaderboard made up: cards of variants that do not exist, and all that their finished runs leave behind.

What measures or tests pages with hundreds of rows takes it from here; the files are those that the stages write, so
that reading them costs what reading real ones does.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from avsbench import cards
from avsbench.conditions import CONDITIONS
from avsbench.evaluation import draws
from avsbench.evaluation.resample import DRAWS
from avsbench.paths import Paths
from avsbench.plan import Run
from avsbench.report.columns import layout
from avsbench.report.failures import Failure
from tests.unit.report_runs import make_run, paths_in, write

METHOD = "invented"
SETS = ("s4", "ms3", "avss", "vpo_ss", "vpo_ms", "vpo_msmi")
HEARD = ("s4", "ms3")
"""Data sets whose runs are heard under other sounds."""
EPOCHS, LINES, LOGS = 60, 10, 12
"""Of a training; lines of the log an epoch, as the engine writes them; logs that differ."""


@contextmanager
def large_board(
    folder: Path, *, variants: int = 40, datasets: tuple[str, ...] = SETS, seeds: int = 3, failed: int = 2
) -> Iterator[dict]:
    """Write everything into `folder`; yields the arguments of `write_leaderboard`, valid inside the context.

    Args:
        failed: runs without a score.
    """
    before = os.environ.get("AVSBENCH_MODELS")
    os.environ["AVSBENCH_MODELS"] = str(_card(folder, variants, datasets).parent)
    try:
        yield _finished(folder, variants, datasets, seeds, failed)
    finally:
        del os.environ["AVSBENCH_MODELS"]
        if before is not None:
            os.environ["AVSBENCH_MODELS"] = before


def _names(variants: int) -> list[str]:
    return [f"{METHOD}-{number:02d}" for number in range(variants)]


def _card(folder: Path, variants: int, datasets: tuple[str, ...]) -> Path:
    """The folder of a method with so many variants, after TPAVI's card."""
    like = yaml.safe_load((cards.PROJECT / "models/tpavi/method.yaml").read_text())
    options = like["variants"]["tpavi-r50"]
    card = {**like, "name": METHOD, "datasets": list(datasets), "variants": dict.fromkeys(_names(variants), options)}
    method = folder / "models" / METHOD
    write(str(method / "method.yaml"), yaml.safe_dump(card))
    return method


def _finished(folder: Path, variants: int, datasets: tuple[str, ...], seeds: int, failed: int) -> dict:
    random, paths = np.random.default_rng(0), paths_in(folder, "full")
    logs = [_log(folder / f"log{number}.jsonl", random) for number in range(LOGS)]
    runs = [Run(dataset, name, str(seed)) for dataset in datasets for name in _names(variants) for seed in range(seeds)]
    lost = runs[:: max(len(runs) // failed, 1)][:failed] if failed else []
    scatter = {dataset: random.normal(size=(DRAWS, len(_metrics(dataset)))) for dataset in datasets}
    level = {name: random.uniform(0.3, 0.8) for name in _names(variants)}
    for run in runs:
        if run not in lost:
            numbers = np.clip(level[run.variant] + random.normal(0, 0.03, len(_metrics(run.dataset))), 0.01, 0.99)
            _run(paths, run, numbers, scatter[run.dataset], logs[len(run.variant + run.seed) % LOGS], random)
    return {
        "runs": runs,
        "paths": paths,
        "failures": {run: Failure("failed", "train: the loss is not finite", _failed(paths, run)) for run in lost},
        "conditions": _conditions,
    }


def _failed(paths: Paths, run: Run) -> str:
    file = paths.log("train", run.dataset, run.variant, run.seed)
    write(file, "the loss is not finite\n")
    return file


def _conditions(run: Run) -> dict[str, None]:
    return dict.fromkeys(CONDITIONS) if run.dataset in HEARD else {}


def _metrics(dataset: str) -> list[str]:
    """What is scored on a data set."""
    found = [name.format(k=4) for table in layout(cards.dataset(dataset)).values() for name in table]
    return list(dict.fromkeys([*found, "fpr"]))


def _run(
    paths: Paths, run: Run, numbers: np.ndarray, scatter: np.ndarray, log: Path, random: np.random.Generator
) -> None:
    """Record, scores (under other sounds as well), draws and log of one run."""
    values = dict(zip(_metrics(run.dataset), map(float, numbers), strict=True))
    select = layout(cards.dataset(run.dataset))["headline"][0]
    best = values[select] * (1 - np.exp(-np.arange(1, EPOCHS + 1) / 12)) + random.normal(0, 0.01, EPOCHS)
    history = [{**values, "epoch": epoch, select: float(best[epoch - 1])} for epoch in range(2, EPOCHS + 1, 2)]
    size = 10**6 * (1 + int(run.variant.rsplit("-")[1]))
    record = {
        "image_size": 224, "parameters": {"total": 2 * size, "trainable": size, "external": 0},
        "selection": {"split": "val", "metric": select}, "history": history,
        "best_epoch": max(history, key=lambda line: line[select])["epoch"],
    }  # fmt: skip
    make_run(paths, run, values=values, **record)
    names = (run.dataset, run.variant, run.seed)
    if run.dataset in HEARD:
        row = json.loads(Path(paths.scores(*names)).read_text())
        for condition in CONDITIONS:
            row["scores"][0]["values"] = {name: 0.6 * value for name, value in values.items()}
            write(paths.scores(*names, condition), row)
            write(paths.predictions(*names, condition), "")  # that it exists is all a page asks
    drawn = numbers + 0.02 * scatter + 0.01 * random.normal(size=scatter.shape)
    columns = [pa.array(column, pa.float32()) for column in drawn.T]
    about = {"format": draws.FORMAT, "version": draws.VERSION, "clips": run.dataset, "count": 100}
    schema = pa.schema([(name, pa.float32()) for name in values], {draws.METADATA: json.dumps(about).encode()})
    pq.write_table(pa.table(columns, schema=schema), paths.draws(*names), compression="zstd")
    os.link(log, paths.train_log(*names))


def _log(file: Path, random: np.random.Generator) -> Path:
    """A training log; runs link to it."""
    steps = EPOCHS * LINES
    losses = 0.2 + np.exp(-np.arange(steps) / (0.2 * steps)) + random.normal(0, 0.02, steps)
    lines = [
        {"kind": "train", "time": "2026-01-02T03:04:05.678+00:00", "epoch": step // LINES + 1, "step": 80 * (step + 1),
         "at": (step + 1) / LINES, "loss": float(loss), "terms": {"segmentation": float(loss), "matching": 0.0},
         "lr": [1e-4], "gradient_norm": None, "clips_per_s": 8.796, "wait_share": 0.021, "seconds": 0.455,
         "memory_mb": {"rss": 1049.3, "cuda": 9123.4}, "peak_memory_mb": {"rss": 1049.3, "cuda": 12123.4}}
        for step, loss in enumerate(losses)
    ]  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file
