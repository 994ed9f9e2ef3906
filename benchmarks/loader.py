"""Clips a second: training items from shards against decoding the PNG files of the same clips.

    python benchmarks/loader.py --dataset ms3 --clips 48

Renders clips in the official layout into a temporary folder (frames and masks are 224 x 224 PNG files), builds their
shards and reads all of them several times in one process with a warm file cache. What each row delivers:

    png      frames uint8 [T,3,224,224] and masks int64 [T,224,224]; no sound
    shards   the same and the log-mel [T,1,96,64]
    cache    the same as shards, kept in memory
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from avsbench import cards, datasets
from avsbench.media.images import read_binary_mask, read_image
from avsbench.paths import Paths
from avsbench.store.build import audio_shard, build_index, extract_shard
from avsbench.store.loader import ClipDataset
from avsbench.store.manifest import write_dataset_manifests

SIZE = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ms3", choices=("s4", "ms3"))
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--passes", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths, card = prepare(arguments.dataset, arguments.clips, folder)
        groups = png_groups(paths, card)
        with (
            ClipDataset(paths, card, "train", ("vggish_mel",)) as stored,
            ClipDataset(paths, card, "train", ("vggish_mel",), cache=True) as kept,
        ):
            assert all(same(decode(group), stored[number]) for number, group in enumerate(groups))
            rates = {
                "png": measure(lambda number: decode(groups[number]), len(groups), arguments.passes),
                "shards": measure(stored.__getitem__, len(stored), arguments.passes),
                "cache": measure(kept.__getitem__, len(kept), arguments.passes),
            }
    rows = [
        {"source": name, "clips/s": rate, "ms/clip": 1000 / rate, "against png": rate / rates["png"]}
        for name, rate in rates.items()
    ]
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".1f"))


def prepare(name: str, clips: int, folder: str) -> tuple[Paths, cards.DatasetCard]:
    """Render `clips` training clips and build their shard, front end and index."""
    counts = {"train": clips, "val": 1, "test": 1}
    card = dataclasses.replace(cards.dataset(name), splits={"mini": counts}, shards={"mini": dict.fromkeys(counts, 1)})
    paths = Paths("mini", data_root=folder)
    datasets.acquire(card, scale="mini", root=None, out=paths, workers=1)
    write_dataset_manifests(card, paths)
    place = (name, "train", 0, 1)
    extract_shard(
        card=card,
        scale="mini",
        image_size=SIZE,
        reader=datasets.reader(card, Path(paths.official(name))),
        manifest_path=paths.manifest(*place),
        out=paths.shard(*place),
        faults_out=paths.faults(*place),
        split="train",
        shard=0,
        shards=1,
    )
    out = paths.audio(name, "vggish_mel", "train", 0, 1)
    audio_shard(card=card, front_end="vggish_mel", shard_path=paths.shard(*place), out=out)
    build_index(card=card, scale="mini", split="train", paths=paths)
    return paths, card


def png_groups(paths: Paths, card: cards.DatasetCard) -> list[tuple[list[Path], list[Path]]]:
    """Frame and mask files of every training clip, in csv order."""
    official = Path(paths.official(card.name))
    rows = datasets.reader(card, official).table().query("split == 'train'")
    files = sorted(official.rglob("*.png"))
    groups = []
    for clip_id in rows["clip_id"]:
        own = [file for file in files if file.parent.name == clip_id]
        groups.append(([f for f in own if "visual_frames" in f.parts], [f for f in own if "gt_masks" in f.parts]))
    return groups


def decode(group: tuple[list[Path], list[Path]]) -> dict:
    """The item of a clip from its PNG files."""
    frames = torch.from_numpy(np.stack([read_image(file) for file in group[0]])).permute(0, 3, 1, 2).contiguous()
    masks = torch.full((len(frames), SIZE, SIZE), 255, dtype=torch.int64)
    masks[: len(group[1])] = torch.from_numpy(np.stack([read_binary_mask(file) for file in group[1]]))
    return {"frames": frames, "masks": masks}


def same(decoded: dict, stored: dict) -> bool:
    return all(torch.equal(decoded[name], stored[name]) for name in decoded)


def measure(read, clips: int, passes: int) -> float:
    """Clips a second over the fastest of `passes` passes, after one to warm up."""
    seconds = []
    for _ in range(passes + 1):
        start = time.perf_counter()
        for number in range(clips):
            read(number)
        seconds.append(time.perf_counter() - start)
    return clips / min(seconds[1:])


if __name__ == "__main__":
    main()
