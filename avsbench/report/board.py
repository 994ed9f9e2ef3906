"""What a leaderboard is made of, whatever it is rendered as."""

from dataclasses import dataclass

from avsbench.report import robustness, tables
from avsbench.report.collect import Absent, RunResult

SCALE_NOTES = {
    "full": "",
    "mini": "Scale `mini` is a diagnostic on rendered scenes with small networks, not AVSBench: its numbers show that "
    "the machinery works, and cannot be compared with published ones.",
    "smoke": "Scale `smoke` trains networks of full size for two steps on a few clips: it shows what will run, not "
    "what is good. Set `scale: full` for numbers.",
}
"""Scale -> what must be known of its numbers, on every page."""


@dataclass(frozen=True)
class Contents:
    """What every page shows, before it becomes Markdown (or another format).

    Attributes:
        scale: mini or full.
        planned, complete: numbers of runs.
        problems: words for what is missing, e.g. "1 failed, 2 not run"; "" when nothing is.
        first_failure: run and reason of the first failed run, or "".
        partial: the workflow stopped with an error.
        sections: one per data set.
    """

    scale: str
    planned: int
    complete: int
    problems: str
    first_failure: str
    partial: bool
    sections: list[tables.Section]


@dataclass(frozen=True)
class Board(Contents):
    """What the page of the leaderboard shows.

    Attributes:
        other_sets: data sets with published numbers that have no card here, with their count.
    """

    other_sets: dict[str, int]


@dataclass(frozen=True)
class Leaderboard:
    """A board with the numbers that it was made of.

    Attributes:
        results: every complete run, submissions too.
        absent: every run without a score.
        heard: the runs under negatives.
    """

    board: Board
    results: list[RunResult]
    absent: list[Absent]
    heard: robustness.Heard
