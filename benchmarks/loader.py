"""Clips a second: training items from shards against decoding the files of the official layout.

    python -m benchmarks.loader --dataset ms3 --clips 48

Renders clips in the official layout into a folder (S4 and MS3: 224 x 224 PNG; AVSS: JPEG and colour PNG of about 320 x
240, smaller than the released ones), builds their shards and reads all of them several times in one process. What each
row delivers:

    files    frames uint8 [T,3,224,224] and masks int64 [T,224,224], decoded and resized; no sound
    shards   the same and the log-mel [T,1,96,64]
    native   frames and masks of the original size, and the log-mel, from the shards of originals
    cache    the same as shards, kept in memory

Warm: the fastest of several passes. Cold: one pass after the kernel was told to drop the files from its cache (without
effect on a file system that lives in memory). Exit code 1 when warm shards are less than 5 times as fast as files.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from avsbench import cards, datasets
from avsbench.media.images import read_image, resize_image, resize_mask
from avsbench.paths import Paths
from avsbench.store.audio import audio_shard
from avsbench.store.extract import extract_shard
from avsbench.store.index import build_index
from avsbench.store.loader import ClipDataset
from avsbench.store.manifest import write_dataset_manifests
from avsbench.store.native import native_shard
from benchmarks.common import Row

SIZE, BAR = 224, 5
DATASETS = ("ms3", "s4", "avss")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ms3", choices=DATASETS)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--folder", help="where to put the clips (default: the system's temporary folder)")
    arguments = parser.parse_args()
    warm, cold = measure(arguments.dataset, arguments.clips, arguments.passes, arguments.folder)
    table = [
        {
            "source": name,
            "warm clips/s": rate,
            "against files": rate / warm["files"],
            "cold clips/s": cold.get(name),
            "cold against cold files": cold[name] / cold["files"] if name in cold else None,
        }
        for name, rate in warm.items()
    ]
    print(pd.DataFrame(table).to_markdown(index=False, floatfmt=".1f"))
    return 0 if warm["shards"] >= BAR * warm["files"] else 1


def rows(quick: bool = False, clips: int = 48, passes: int = 5) -> Iterator[Row]:
    """Warm and cold rates of every data set."""
    for dataset in DATASETS[:1] if quick else DATASETS:
        warm, cold = measure(dataset, clips // 4 if quick else clips, 1 if quick else passes)
        for name, speed in warm.items():
            note = "" if name == "files" else f"{speed / warm['files']:.1f}× files"
            if name == "shards":
                note += f"; bar {BAR}×"
            if name in cold:
                note += f"{'; ' if note else ''}cold {cold[name]:.0f} clips/s"
            yield Row("loader", f"{dataset}, {name}", speed, "clips/s", note=note)


def measure(dataset: str, clips: int, passes: int, folder: str | None = None) -> tuple[dict, dict]:
    """(source -> warm clips a second, source -> cold clips a second)."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        paths, card = prepare(dataset, {"train": clips, "val": 3, "test": 3}, place, ("train",))
        reader = datasets.reader(card, Path(paths.official(card.name)))
        listed = reader.table().query("split == 'train'").to_dict("records")
        front_ends = ("vggish_mel",)
        with (
            ClipDataset(paths, card, "train", front_ends) as stored,
            ClipDataset(paths, card, "train", front_ends, native=True) as native,
            ClipDataset(paths, card, "train", front_ends, cache=True) as kept,
        ):
            assert all(same(decode(reader, row), stored[number]) for number, row in enumerate(listed))
            sources = {
                "files": lambda number: decode(reader, listed[number]),
                "shards": stored.__getitem__,
                "native": native.__getitem__,
                "cache": kept.__getitem__,
            }
            warm = {name: rate(read, len(listed), passes) for name, read in sources.items()}
            cold = {}
            for name in ("files", "shards", "native"):
                forget(Path(place))
                cold[name] = rate(sources[name], len(listed), 0)
    return warm, cold


def prepare(
    name: str, counts: dict[str, int], folder: str, splits: Sequence[str], variant: cards.Variant | None = None
) -> tuple[Paths, cards.DatasetCard]:
    """Render clips (split -> how many) in the official layout; build one shard of each of `splits`, with originals, the
    front ends of a variant (default: that of VGGish) and the index.
    """
    card = dataclasses.replace(cards.dataset(name), splits={"mini": counts}, shards={"mini": dict.fromkeys(counts, 1)})
    paths = Paths("mini", data_root=folder)
    datasets.acquire(card, scale="mini", root=None, out=paths, workers=1)
    write_dataset_manifests(card, paths)
    reader = datasets.reader(card, Path(paths.official(name)))
    for split in splits:
        place = (name, split, 0, 1)
        shared = {
            "card": card,
            "scale": "mini",
            "reader": reader,
            "manifest_path": paths.manifest(*place),
            "split": split,
            "shard": 0,
            "shards": 1,
        }
        extract_shard(**shared, image_size=SIZE, out=paths.shard(*place), faults_out=paths.faults(*place))
        native_shard(**shared, out=paths.native(*place))
        ends = variant.front_ends_on(name) if variant else ["vggish_mel"]
        outs = {end: paths.audio(name, end, split, 0, 1) for end in ends}
        if outs:
            audio_shard(card=card, shard_path=paths.shard(*place), outs=outs)
        build_index(card=card, scale="mini", split=split, paths=paths)
    return paths, card


def decode(reader: datasets.Reader, row: dict) -> dict:
    """The item of a clip from its files."""
    files, rule = reader.files(row), reader.card.resize[row["split"]]
    images = [resize_image(read_image(file), SIZE, rule) for file in files.frames]
    masks = torch.full((len(images), SIZE, SIZE), 255, dtype=torch.int64)
    for number, file in enumerate(files.masks):
        if file is not None:
            masks[number] = torch.from_numpy(resize_mask(reader.read_mask(file), SIZE, rule).copy())
    return {"frames": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), "masks": masks}


def same(decoded: dict, stored: dict) -> bool:
    return all(torch.equal(decoded[name], stored[name]) for name in decoded)


def rate(read, clips: int, passes: int) -> float:
    """Clips a second over the fastest of `passes` passes, after one to warm up; 0 passes: the first one counts."""
    seconds = []
    for _ in range(passes + 1):
        start = time.perf_counter()
        for number in range(clips):
            read(number)
        seconds.append(time.perf_counter() - start)
    return clips / min(seconds[1:] or seconds)


def forget(folder: Path) -> None:
    """Ask the kernel to drop every file below `folder` from its cache."""
    os.sync()
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
