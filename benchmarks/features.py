"""The stage `features` without weights: CPU seconds and bytes a frame, and what colours cost when a clip is read.

    python -m benchmarks.features [--clips 8] [--side 224]

Clips of the embedded S4 are rendered and extracted at the size of the publications, then derived by each generator that
needs no weights. `none` is what reading, storing and reading back cost. Best of three passes.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from avsbench import cards, datasets
from avsbench.datasets.mini import render
from avsbench.features import generators
from avsbench.features.maskige import coloured
from avsbench.features.settings import resolve
from avsbench.paths import Paths
from avsbench.store.extract import extract_shard
from avsbench.store.features import feature_shard
from avsbench.store.manifest import write_manifests
from avsbench.store.shards import ArrayReader

PASSES = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--side", type=int, default=224, help="of the stored frames, in pixels")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), arguments.clips, arguments.side)
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".4g"))
    return 0


def measure(folder: Path, clips: int, side: int) -> list[dict]:
    """A row a generator."""
    card, paths, place = extracted(folder, clips, side)
    rows = []
    for name in (name for name, generator in generators().items() if generator.module and not generator.needs_weights):
        setting = resolve("maskige", dataclasses.replace(paths, scale="full"), {"generator": name})
        out = Path(paths.features(card.name, setting.stored, *place))
        job = {"card": card, "setting": setting, "shard_path": paths.shard(card.name, *place), "out": out}
        job |= {"report_out": out.with_suffix(".json"), "masks_out": out.with_suffix(".masks.h5")}
        seconds, report = fastest(lambda job=job: feature_shard(**job))
        with ArrayReader(out) as arrays:
            stored = [arrays.array(clip_id) for clip_id in arrays.clip_ids()]
        colours, _ = fastest(lambda stored=stored: [coloured(indices) for indices in stored])
        rows.append(
            {
                "generator": name,
                "masks a frame": report["masks"]["median"],
                "CPU ms a frame": 1e3 * seconds / report["frames"],
                "bytes a frame": out.stat().st_size / report["frames"],
                "colours, CPU ms a frame": 1e3 * colours / report["frames"],
            }
        )
    return rows


def extracted(folder: Path, clips: int, side: int) -> tuple[cards.DatasetCard, Paths, tuple]:
    """A data set of one test shard."""
    splits = {"train": 1, "val": 1, "test": clips}
    card = dataclasses.replace(cards.dataset("s4"), splits={"mini": splits}, shards={"mini": dict.fromkeys(splits, 1)})
    paths, place = Paths("mini", data_root=str(folder)), ("test", 0, 1)
    render(card, folder / "official", 0, 1)
    reader = datasets.reader(card, folder / "official")
    write_manifests(card, "mini", reader.table(), paths)
    extract_shard(
        card=card,
        scale="mini",
        image_size=side,
        reader=reader,
        manifest_path=paths.manifest(card.name, *place),
        out=paths.shard(card.name, *place),
        faults_out=paths.faults(card.name, *place),
        split="test",
        shard=0,
        shards=1,
    )
    return card, paths, place


def fastest(work: Callable) -> tuple[float, object]:
    """CPU seconds of the fastest pass, and what it returned."""
    best, found = float("inf"), None
    for _ in range(PASSES):
        start = time.process_time()
        found = work()
        best = min(best, time.process_time() - start)
    return best, found


if __name__ == "__main__":
    sys.exit(main())
