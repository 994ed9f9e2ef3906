"""Time of reading and rendering a thousand runs, and size of the page of 40 variants on 6 data sets with 3 seeds each.

    python -m benchmarks.report [--runs 1000] [--variants 40]

The runs are made up (`benchmarks.invented`): record, scores of all protocols, draws of the clips, a training log of 600
lines, and on S4 and MS3 scores under three other sounds. Measured is all that the last rule of the workflow does, in a
process that has imported what it needs: read all files, and write the tables, the Markdown and the page. Exits with 1
when a bar is missed: 10 s, 3 MB.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from avsbench.report.leaderboard import write_leaderboard
from benchmarks.common import Alone, Row, markdown, peak_mb
from benchmarks.invented import SETS, large_board

TOPIC, SECONDS, MEGABYTES = "report", 10.0, 3.0
SEEDS = 3


class Rendering:
    """A leaderboard of runs that are made up in a folder of its own."""

    def __init__(self, variants: int, datasets: tuple[str, ...], seeds: int):
        self.folder = tempfile.TemporaryDirectory()
        self._board = large_board(Path(self.folder.name), variants=variants, datasets=datasets, seeds=seeds)
        self.options = self._board.__enter__()

    def run(self) -> dict[str, float]:
        """CPU and wall seconds, MB of the page, and peak memory in MB; the runs are removed."""
        wall, used = time.perf_counter(), time.process_time()
        write_leaderboard(**self.options)
        found = {"cpu": time.process_time() - used, "wall": time.perf_counter() - wall}
        found["page"] = Path(self.options["paths"].leaderboard("html")).stat().st_size / 1e6
        self._board.__exit__(None, None, None)
        self.folder.cleanup()
        return found | {"mb": peak_mb()}


def rows(quick: bool = False, runs: int = 1000, variants: int = 40, datasets: tuple[str, ...] = SETS) -> Iterator[Row]:
    """Two boards: one of about so many runs, one of so many variants on all data sets."""
    runs = runs // 5 if quick else runs
    for count in dict.fromkeys((math.ceil(runs / (len(datasets) * SEEDS)), variants)):
        with Alone(Rendering, count, datasets, SEEDS) as rendering:
            found = rendering.call("run")
        case = f"{count} variants × {len(datasets)} data sets × {SEEDS} seeds"
        total = count * len(datasets) * SEEDS
        note = f"{total:,} runs; {found['wall']:.1f} s wall; bar {SECONDS:.0f} s for 1,000 runs"
        yield Row(TOPIC, f"read and render {case}", found["cpu"], "s CPU", found["mb"], note)
        yield Row(TOPIC, f"page of {case}", found["page"], "MB", note=f"bar {MEGABYTES:.0f} MB for 720 runs")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--variants", type=int, default=40)
    arguments = parser.parse_args()
    found = list(rows(runs=arguments.runs, variants=arguments.variants))
    print(markdown(found))
    return int(found[0].value > SECONDS or found[-1].value > MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
