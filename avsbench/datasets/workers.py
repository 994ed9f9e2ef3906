"""Work shared out to processes, with a progress bar."""

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tqdm import tqdm


def run(work: Callable, items: Iterable, workers: int, description: str, unit: str = "clip") -> list:
    """`work(item)` for every item, in order; 1 worker stays in this process. `work` and items must pickle."""
    items = list(items)
    bar = functools.partial(tqdm, total=len(items), desc=description, unit=unit, disable=None)
    if workers <= 1 or len(items) < 2:
        return [work(item) for item in bar(items)]
    workers = min(workers, len(items))
    chunk = max(1, min(64, len(items) // (8 * workers)))
    # "spawn" is the one start method that is safe beside threads and the same on every system.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(bar(pool.map(work, items, chunksize=chunk)))
