"""Where the time of the embedded leaderboard goes: jobs, CPU and wall seconds, and peak memory of every stage.

    python -m benchmarks.mini [--cores 2]

Runs the default configuration in a copy of the project, from nothing to results/leaderboard.md, with every `avsbench`
verb measured from outside: start of the interpreter and imports count, as they do for a user. (Snakemake's own
`benchmark:` files sample a job every few seconds and say little about short ones.)
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.common import MEASURE, Row, copy_project, markdown, measured

STAGES = ("acquire", "manifests", "extract", "native", "index", "check-split", "audio", "pretrain-mini", "train")
STAGES += ("describe", "predict", "score", "leaderboard")
"""Verbs in the order of the workflow; others follow."""


def measure(cores: int, targets: list[str] | None = None, seconds: float = 900) -> Iterator[Row]:
    """The workflow up to `targets` (default: the leaderboard), stage by stage, then the whole."""
    with tempfile.TemporaryDirectory() as folder:
        project, record = Path(folder) / "project", Path(folder) / "verbs.jsonl"
        environment = copy_project(project)
        environment["PATH"] = f"{_measured_verbs(Path(folder), record)}{os.pathsep}{environment['PATH']}"
        command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--quiet", "all", "--", *(targets or [])]
        whole = measured(command, project, environment, seconds)
        jobs = pd.read_json(record, lines=True)
    order = {verb: place for place, verb in enumerate(STAGES)}
    for verb, stage in sorted(jobs.groupby("verb"), key=lambda pair: order.get(pair[0], len(order))):
        count = f"{len(stage)} job{'' if len(stage) == 1 else 's'}"
        note = f"{count}, {stage['wall'].sum():.0f} s wall"
        yield Row("mini", verb, stage["cpu"].sum(), "s CPU", stage["mb"].max(), note)
    planning = max(0.0, whole.cpu - jobs["cpu"].sum())
    yield Row("mini", "Snakemake itself", planning, "s CPU")
    note = f"{len(jobs)} jobs, {whole.wall:.0f} s wall on {cores} core{'' if cores == 1 else 's'}"
    yield Row("mini", "all of it", whole.cpu, "s CPU", None, note)


def _measured_verbs(folder: Path, record: Path) -> Path:
    """A folder whose `avsbench` runs the real one and notes what it took."""
    real = shutil.which("avsbench", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if real is None:
        raise RuntimeError("no avsbench beside this Python: install the project (pip install -e .)")
    place = folder / "bin"
    place.mkdir()
    (folder / "measure.py").write_text(MEASURE)
    wrapper = place / "avsbench"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/measure.py" "{record}" "{real}" "$@"\n')
    wrapper.chmod(0o755)
    return place


def rows(quick: bool = False, cores: int | None = None) -> Iterator[Row]:
    """The default configuration; `quick` ends with the index of MS3's test split."""
    targets = ["data/mini/ms3/index/test.parquet"] if quick else None
    yield from measure(cores or min(2, os.cpu_count() or 1), targets)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int)
    print(markdown(rows(cores=parser.parse_args().cores)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
