"""How far a number would move with other clips: bootstrap intervals of rows, and of the difference of each two rows.

Rows of several seeds: each draw is scored by every seed, and their mean is the draw of the row. So the interval says
what other clips would change, with these seeds; the spread beside a mean says what another seed changes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from avsbench.evaluation.resample import DRAWS, LEVEL, interval

if TYPE_CHECKING:  # tables show intervals
    from avsbench.report.tables import Entry

HEADER = f">{100 * LEVEL:.0f} %"
ABOUT = (
    f"{HEADER[1:]}: ends of the middle {HEADER[1:]} of {DRAWS} draws of the test clips, with replacement, of `{{}}` "
    "averaged over the seeds. So far other clips would move the number; what another training does, the spread says. "
    "Rows share their draws: two whose intervals overlap may differ clearly (`avsbench compare RUN_A RUN_B`)."
)


def words(ends: tuple[float, float] | None) -> str:
    """An interval in percent, as a cell."""
    return f"{100 * ends[0]:.2f} … {100 * ends[1]:.2f}" if ends else ""


def interval_of(entry: "Entry", metric: str) -> tuple[float, float] | None:
    """Ends of the interval of a row's mean over seeds, in the unit of the metric; None where a seed has no draws."""
    drawn = _drawn(entry, metric)
    return drawn and interval(drawn[1])


def pairs(entries: "Sequence[Entry]", metric: str) -> list[tuple[int, int, float, float]]:
    """(i, j, low, high) of each two rows i < j: the paired interval of the metric of row i minus that of row j.

    Rows that have no draws, or draws of other clips than the other row, make no pair.
    """
    drawn = [_drawn(entry, metric) for entry in entries]
    found = []
    for i, first in enumerate(drawn):
        others = [j for j in range(i + 1, len(drawn)) if first and drawn[j] and drawn[j][0] == first[0]]
        if not others:
            continue
        gaps = np.stack([first[1] - drawn[j][1] for j in others])  # of one row: of all, they fill the memory
        low, high = np.quantile(gaps, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=1)
        for row in np.flatnonzero(~np.isfinite(gaps).all(axis=1)):  # some draws have no value
            low[row], high[row] = interval(gaps[row])
        found += [(i, j, float(a), float(b)) for j, a, b in zip(others, low, high, strict=True)]
    return found


def _drawn(entry: "Entry", metric: str) -> tuple[str, np.ndarray] | None:
    """Digest of the clips, and the mean over seeds of each draw, float64 [draws]."""
    of_seeds = [result.draws for result in entry.results]
    if any(draws is None or metric not in draws.values for draws in of_seeds):
        return None
    if len({draws.clips for draws in of_seeds}) > 1:
        return None
    return of_seeds[0].clips, np.mean([draws.values[metric] for draws in of_seeds], axis=0, dtype=np.float64)
