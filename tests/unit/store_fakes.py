"""A reader without files, and a store built from it."""

import dataclasses
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench import cards
from avsbench.datasets.clip import Clip, ClipFault
from avsbench.media.sound import Sound
from avsbench.paths import Paths
from avsbench.store.build import audio_shard, build_index, extract_shard
from avsbench.store.manifest import write_manifests

SIZE = 16
SPLITS = {"train": 7, "val": 3, "test": 4}
SHARDS = {"train": 2, "val": 1, "test": 2}


def card(name: str = "avss", splits: dict | None = None, shards: dict | None = None) -> cards.DatasetCard:
    """A real card with a few clips."""
    return dataclasses.replace(
        cards.dataset(name), splits={"mini": splits or SPLITS}, shards={"mini": shards or SHARDS}
    )


def table(of: cards.DatasetCard) -> pd.DataFrame:
    """Clips with awkward names; every second one has 5 frames and one mask, the others 10 and ten."""
    rows = []
    for split, count in of.splits["mini"].items():
        for number in range(count):
            short = number % 2 == 0
            rows.append(
                {
                    "clip_id": f"-a.{split}_{number}",
                    "split": split,
                    "position": number,
                    "category": "dog" if short else "",
                    "part": "v1s" if short else "v2",
                    "frames": 5 if short else 10,
                }
            )
    return pd.DataFrame(rows)


class FakeReader:
    """Gives clips that depend on their id alone.

    `faulty`: ids with a fault; `breaks`: id -> exception; `notes`: id -> sentences; `change`: clip -> clip.
    """

    def __init__(self, of: cards.DatasetCard, faulty=(), breaks=None, notes=None, change=None):
        self.card, self.faulty, self.breaks, self.notes = of, set(faulty), breaks or {}, notes or {}
        self.change = change or (lambda clip: clip)

    def table(self) -> pd.DataFrame:
        return table(self.card)

    def read(self, row, image_size: int) -> Clip:
        clip_id, frames = row["clip_id"], row["frames"]
        if clip_id in self.breaks:
            raise self.breaks[clip_id]
        if clip_id in self.faulty:
            raise ClipFault(
                clip_id, "official/a folder/1.png: the image cannot be read", found="3 bytes", expected="a PNG"
            )
        dice = np.random.default_rng(zlib.crc32(clip_id.encode()))
        annotated = np.arange(frames) < (1 if frames == 5 else frames)
        masks = dice.integers(0, max(2, self.card.num_classes), (frames, image_size, image_size), np.uint8)
        masks[~annotated] = 255
        return self.change(
            Clip(
                frames=dice.integers(0, 256, (frames, image_size, image_size, 3), np.uint8),
                masks=masks,
                annotated=annotated,
                sounds=[Sound(dice.integers(-9999, 9999, (16000 * frames, 1), np.int16), 16000, category="dog")],
                notes=self.notes.get(clip_id, []),
            )
        )


def extract(of: cards.DatasetCard, paths: Paths, reader: FakeReader, split: str, shard: int, size: int = SIZE) -> str:
    """Extract one shard; its path."""
    place = (of.name, split, shard, of.shards["mini"][split])
    extract_shard(
        card=of,
        scale="mini",
        image_size=size,
        reader=reader,
        manifest_path=paths.manifest(*place),
        out=paths.shard(*place),
        faults_out=paths.faults(*place),
        split=split,
        shard=shard,
        shards=place[-1],
    )
    return paths.shard(*place)


def build(
    root: Path, of: cards.DatasetCard | None = None, reader: FakeReader | None = None, front_ends=("vggish_mel",)
) -> tuple[Paths, cards.DatasetCard]:
    """A whole store under `root`: manifests, shards, front ends and indices of all splits."""
    of = of or card()
    reader = reader or FakeReader(of)
    paths = Paths("mini", data_root=str(root))
    write_manifests(of, "mini", reader.table(), paths)
    for split, shards in of.shards["mini"].items():
        for shard in range(shards):
            path = extract(of, paths, reader, split, shard)
            outs = {name: paths.audio(of.name, name, split, shard, shards) for name in front_ends}
            audio_shard(card=of, shard_path=path, outs=outs)
        build_index(card=of, scale="mini", split=split, paths=paths)
    return paths, of


def leftovers(root: Path) -> list[Path]:
    """Temporary files that something left behind."""
    return [path for path in root.rglob("*.tmp")]
