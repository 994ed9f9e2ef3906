"""Time of reading and rendering a thousand runs, and size of the page of 40 variants on 6 data sets with 3 seeds each.

    python -m benchmarks.report [--runs 1000] [--variants 40]

The runs are made up (`benchmarks.invented`): record, scores of all protocols, draws of the clips, a training log of 600
lines, and on S4 and MS3 scores under three other sounds. Measured is all that the last rule of the workflow does, in a
process that has imported what it needs: read all files, and write the tables, the Markdown and the page. Then headless
Chromium opens the page, a few times, and the page says when all was drawn. Exits with 1 when a bar is missed: 10 s,
3 MB and 1 s.
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from avsbench.report.leaderboard import write_leaderboard
from benchmarks.common import Alone, Row, markdown, peak_mb
from benchmarks.invented import SETS, large_board
from tests.browser.conftest import installed

TOPIC, SECONDS, MEGABYTES, READY = "report", 10.0, 3.0, 1.0
SEEDS = 3
OPENED = 5
"""How often the page is opened."""


class Rendering:
    """A leaderboard of runs that are made up in a folder of its own."""

    def __init__(self, variants: int, datasets: tuple[str, ...], seeds: int):
        self.folder = tempfile.TemporaryDirectory()
        self._board = large_board(Path(self.folder.name), variants=variants, datasets=datasets, seeds=seeds)
        self.options = self._board.__enter__()

    def run(self) -> dict[str, float | None]:
        """CPU and wall seconds, MB of the page, seconds until it is drawn, peak memory in MB; the runs are removed."""
        wall, used = time.perf_counter(), time.process_time()
        write_leaderboard(**self.options)
        found = {"cpu": time.process_time() - used, "wall": time.perf_counter() - wall}
        page = Path(self.options["paths"].leaderboard("html"))
        found |= {"page": page.stat().st_size / 1e6, "ready": ready(page)}
        self._board.__exit__(None, None, None)
        self.folder.cleanup()
        return found | {"mb": peak_mb()}


def ready(page: Path) -> float | None:
    """Seconds from opening a page until it is drawn, the median of some; None without a browser or playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    program = installed()
    if program is None:
        return None
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(OPENED):
            view = browser.new_page()
            view.goto(page.resolve().as_uri())
            view.wait_for_selector("html[data-ready]")
            found.append(float(view.locator("html").get_attribute("data-ready")) / 1000)
            view.close()
        browser.close()
    return statistics.median(found)


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
        note = "no browser" if found["ready"] is None else f"median of {OPENED}; bar {READY:.0f} s for 720 runs"
        yield Row(TOPIC, f"open the page of {case}", found["ready"], "s", note=note)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--variants", type=int, default=40)
    arguments = parser.parse_args()
    found = list(rows(runs=arguments.runs, variants=arguments.variants))
    print(markdown(found))
    return int(found[0].value > SECONDS or found[-2].value > MEGABYTES or (found[-1].value or 0) > READY)


if __name__ == "__main__":
    sys.exit(main())
