"""Does hearing left and right pay on mini VPO-MSMI? CAVP in mono and in stereo, several seeds.

    python -m benchmarks.stereo --seeds 0 1 2

Two thirds of its pictures show several objects of the class that is heard; the stereo position alone tells which one it
is. The bar: stereo beats mono by 5 points of dataset mIoU, and by more than twice the standard deviation over seeds of
the one that varies more. Exits with 1 where it does not.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np

from avsbench.evaluation.score import read_scores
from avsbench.paths import Paths

DATASET, METRIC = "vpo_msmi", "dataset_miou"
MONO, STEREO = "cavp-r50", "cavp-stereo-r50"
POINTS, DEVIATIONS = 5.0, 2.0


def gap(mono: list[float], stereo: list[float]) -> tuple[float, float, bool]:
    """(stereo - mono, the larger standard deviation over seeds, whether the bar is reached), in points."""
    difference = float(np.mean(stereo) - np.mean(mono))
    spread = float(max(np.std(mono, ddof=1), np.std(stereo, ddof=1)))
    return difference, spread, difference >= POINTS and difference > DEVIATIONS * spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    seeds = parser.parse_args().seeds
    if len(seeds) < 2:
        parser.error("a deviation over seeds needs two seeds")
    paths = Paths("mini")
    files = {name: [paths.scores(DATASET, name, seed) for seed in seeds] for name in (MONO, STEREO)}
    settings = [f"runs={json.dumps({DATASET: [MONO, STEREO]})}", f"seeds={json.dumps(list(map(int, seeds)))}"]
    command = [sys.executable, "-m", "snakemake", "--cores", str(os.cpu_count()), "--quiet", "all"]
    subprocess.run([*command, "--config", *settings, "--", *files[MONO], *files[STEREO]], check=True)

    scores = {name: [100 * read_scores(file)["values"][METRIC] for file in found] for name, found in files.items()}
    print(f"{METRIC} (%), mini {DATASET}, seeds {', '.join(seeds)}\n")
    print("| variant | mean | deviation | seeds |\n|---|---|---|---|")
    for name, values in scores.items():
        each = ", ".join(f"{value:.1f}" for value in values)
        print(f"| {name} | {np.mean(values):.1f} | {np.std(values, ddof=1):.1f} | {each} |")
    difference, spread, reached = gap(scores[MONO], scores[STEREO])
    print(f"\ngap {difference:.1f} points, {difference / spread if spread else float('inf'):.1f} deviations")
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
