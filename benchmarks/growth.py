"""What grows with the number of clips and is no array: bytes a clip of index and manifests, bytes a frame of scoring.

    python -m benchmarks.growth [--clips 50000] [--frames 3000]

Memory is the growth of the peak of a process between a small and a large case, divided by what was added. These are
the figures that docs/scale.md extrapolates.
"""

import argparse
import dataclasses
import hashlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench import cards
from avsbench.evaluation.frames import FrameTable
from avsbench.evaluation.score import score_table
from avsbench.paths import Paths
from avsbench.store.clips import ClipDataset
from avsbench.store.manifest import write_manifests
from avsbench.store.tables import write_index
from benchmarks.common import Alone, Row, markdown, peak_mb

TOPIC, SIZE = "growth", 224


def write_files(folder: str, clips: int) -> tuple[int, int]:
    """An index and a manifest of AVSS with so many training clips; bytes of the two files."""
    card = dataclasses.replace(cards.dataset("avss"), splits={"full": {"train": clips}}, shards={"full": {"train": 1}})
    # As long as the names of the release, and as hard to compress.
    digests = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(clips))
    names = [f"{digest[:11]}_5000_10000" for digest in digests]
    rows = [
        {"clip_id": name, "position": number, "shard": number % 48, "frames": 10, "height": SIZE, "width": SIZE}
        | {"category": "guitar", "part": "v2", "annotated": [True] * 10}
        for number, name in enumerate(names)
    ]
    about = {"dataset": "avss", "scale": "full", "split": "train", "shards": 48, "image_size": SIZE}
    paths = Paths("full", data_root=folder)
    index, manifest = Path(paths.index("avss", "train")), Path(paths.manifest("avss", "train", 0, 1))
    index.parent.mkdir(parents=True, exist_ok=True)
    write_index(index, rows, about)
    write_manifests(card, "full", pd.DataFrame(rows).assign(split="train"), paths)
    return index.stat().st_size, manifest.stat().st_size


class Index:
    """The training split of AVSS, ready to read."""

    def __init__(self, folder: str):
        self.clips = ClipDataset(Paths("full", data_root=folder), cards.dataset("avss"), "train")

    def bytes(self) -> float:
        return 1e6 * peak_mb()


class Scores:
    """The per-frame rows of a task, filled and evaluated."""

    def __init__(self, task: str, frames: int):
        random, classes = np.random.default_rng(0), 71 if task == "semantic" else 1
        table = FrameTable(task, classes, {"task": task, "classes": classes, "padded_to": 0})
        label = np.zeros((1, SIZE, SIZE), np.uint8)
        label[:, 40:180, 60:160] = 3 if task == "semantic" else 1
        for number in range(frames):
            if task == "semantic":
                arrays = {"prediction": np.roll(label, (number % 9, 5), axis=(1, 2))}
            else:
                level = random.integers(0, 256, (1, SIZE, SIZE), np.uint8)
                arrays = {"level": level, "mask": level > 127}
            table.add_clip(f"clip{number}", number, "common", label, np.ones(1, bool), **arrays)
        score_table(table.table())
        self.peak = peak_mb()

    def bytes(self) -> float:
        return 1e6 * self.peak


def rows(quick: bool = False, clips: int = 50000, frames: int = 3000) -> Iterator[Row]:
    """Bytes that one more clip, or one more frame, costs."""
    clips, frames = (clips // 5, frames // 3) if quick else (clips, frames)
    with tempfile.TemporaryDirectory() as folder:
        write_files(folder, few := clips // 10)
        with Alone(Index, folder) as index:
            small = index.call("bytes")
        on_disk, manifest = write_files(folder, clips)
        with Alone(Index, folder) as index:
            in_memory = (index.call("bytes") - small) / (clips - few)
    yield Row(TOPIC, "index on disk", on_disk / clips, "B a clip")
    yield Row(TOPIC, "index in a training", in_memory, "B a clip", note="in each process that reads")
    yield Row(TOPIC, "manifest", manifest / clips, "B a clip")
    few = frames // 10
    for task in ("binary", "semantic"):
        with Alone(Scores, task, few) as small, Alone(Scores, task, frames) as large:
            each = (large.call("bytes") - small.call("bytes")) / (frames - few)
        yield Row(TOPIC, f"memory of scoring, {task}", each / 1000, "kB a frame")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=50000)
    parser.add_argument("--frames", type=int, default=3000)
    arguments = parser.parse_args()
    print(markdown(rows(clips=arguments.clips, frames=arguments.frames)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
