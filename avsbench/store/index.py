"""The rule `index`: the shards of a split -> one Parquet table with a row per clip."""

import logging

import pandas as pd

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths
from avsbench.store.shards import ShardReader
from avsbench.store.tables import FAULT, read_faults, read_index, write_index

_LOG = logging.getLogger(__name__)


def build_index(*, card: DatasetCard, scale: str, split: str, paths: Paths) -> pd.DataFrame:
    """Write `paths.index(card.name, split)` from attributes and shapes of the split's shards; no array is read.

    Faulty clips are left out with a warning; whether a split may be used without them is for `check_split` to say.

    Args:
        card: the data-set card; says how many shards and clips there must be.
        scale: mini or full.
        split: train, val or test.
        paths: where shards and index lie.

    Returns:
        The table, sorted by position (csv order).

    Raises:
        AvsbenchError: no usable clip, a damaged shard, or shards that do not belong together.
    """
    shards = card.shards[scale][split]
    rows: list[dict] = []
    faulty = 0
    sizes: dict[int, str] = {}
    for number in range(shards):
        path = paths.shard(card.name, split, number, shards)
        with ShardReader(path, dataset=card.name, scale=scale, split=split, shard=number, shards=shards) as shard:
            rows += [shard.row(clip_id) for clip_id in shard.clip_ids()]
            sizes.setdefault(shard.header.image_size, path)
        listed = read_faults(paths.faults(card.name, split, number, shards))
        for fault in listed[listed["kind"] == FAULT].itertuples():
            _LOG.warning("%s %s: clip %s is left out: %s", card.name, split, fault.clip_id, fault.text)
            faulty += 1
    if len(sizes) > 1:
        raise AvsbenchError(
            f"{card.name} {split}: shards of different image sizes",
            found="; ".join(f"{size} in {path}" for size, path in sizes.items()),
            hint="delete the shards of the wrong size and run the same command again",
        )
    if not rows:
        raise AvsbenchError(f"{card.name} {split}: no clip is usable", found=f"{faulty} faulty clips")
    rows.sort(key=lambda row: row["position"])
    _check_unique(card, split, rows)
    about = {"dataset": card.name, "scale": scale, "split": split, "shards": shards, "image_size": next(iter(sizes))}
    with atomic(paths.index(card.name, split)) as temporary:
        write_index(temporary, rows, about)
        table = read_index(temporary)
        if len(table) != len(rows):
            raise AvsbenchError(f"{temporary}: the index lost rows", found=len(table), expected=len(rows))
    _LOG.info("%s %s: %d clips", card.name, split, len(rows))
    return table


def _check_unique(card: DatasetCard, split: str, rows: list[dict]) -> None:
    for name in ("clip_id", "position"):
        seen: dict = {}
        for row in rows:
            if row[name] in seen:
                raise AvsbenchError(
                    f"{card.name} {split}: two clips with the same {name.replace('_', ' ')} {row[name]}",
                    found=f"{seen[row[name]]['clip_id']} in shard {seen[row[name]]['shard']}, "
                    f"{row['clip_id']} in shard {row['shard']}",
                    hint="the shards are of different dates: delete both and run the same command again",
                )
            seen[row[name]] = row
