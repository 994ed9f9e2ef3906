"""The rule `index`: the shards of a split -> one Parquet table with a row per clip."""

import logging

import pandas as pd

from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths, atomic
from avsbench.store.shards import ShardReader
from avsbench.store.tables import FAULT, read_faults, read_index, write_index

_LOG = logging.getLogger(__name__)


def build_index(
    *, card: DatasetCard, scale: str, split: str, paths: Paths, allow_incomplete: bool = False
) -> pd.DataFrame:
    """Write `paths.index(card.name, split)` from attributes and shapes of the split's shards; no array is read.

    A faulty clip of val or test is an error, since scores over different clips do not compare; in train a warning.

    Args:
        card: the data-set card; says how many shards and clips there must be.
        scale: mini or full.
        split: train, val or test.
        paths: where shards and index lie.
        allow_incomplete: let faulty or missing clips of val and test pass with a warning.

    Returns:
        The table, sorted by position (csv order).

    Raises:
        AvsbenchError: faulty or missing clips, a damaged shard, or shards that do not belong together.
    """
    shards = card.shards[scale][split]
    rows: list[dict] = []
    faults: list[tuple[str, str, str]] = []
    sizes: dict[int, str] = {}
    for number in range(shards):
        path = paths.shard(card.name, split, number, shards)
        with ShardReader(path, dataset=card.name, scale=scale, split=split, shard=number, shards=shards) as shard:
            rows += [shard.row(clip_id) for clip_id in shard.clip_ids()]
            sizes.setdefault(shard.header.image_size, path)
        list_path = paths.faults(card.name, split, number, shards)
        listed = read_faults(list_path)
        listed = listed[listed["kind"] == FAULT]
        faults += [(clip_id, text, list_path) for clip_id, text in zip(listed["clip_id"], listed["text"], strict=True)]
    if len(sizes) > 1:
        raise AvsbenchError(
            f"{card.name} {split}: shards of different image sizes",
            found="; ".join(f"{size} in {path}" for size, path in sizes.items()),
            hint="delete the shards of the wrong size and run the same command again",
        )
    strict = split != "train" and not allow_incomplete
    _judge_faults(card, split, faults, len(rows), strict)
    _judge_count(card, split, len(rows) + len(faults), card.splits[scale][split], strict and card.counts_known)
    if not rows:
        raise AvsbenchError(f"{card.name} {split}: no clip is usable", found=f"{len(faults)} faulty clips")
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


def _judge_faults(card: DatasetCard, split: str, faults: list, usable: int, strict: bool) -> None:
    if not faults:
        return
    if not strict:
        for clip_id, text, _ in faults:
            _LOG.warning("%s %s: clip %s is left out: %s", card.name, split, clip_id, text)
        return
    lists = sorted({path for _, _, path in faults})
    lines = [f"{clip_id}: {text}" for clip_id, text, _ in faults[:10]]
    if len(faults) > 10:
        lines.append(f"… and {len(faults) - 10} more")
    raise AvsbenchError(
        f"{card.name} {split}: {len(faults)} of {len(faults) + usable} clips are faulty",
        found="\n    ".join(["", *lines]),
        expected="every clip: scores over different clips do not compare",
        hint=(
            f"all are listed in {', '.join(lists)}; mend the files, delete these lists and run the same command again, "
            "or accept scores over the remaining clips with allow_incomplete (--allow-incomplete)"
        ),
    )


def _judge_count(card: DatasetCard, split: str, found: int, expected: int, strict: bool) -> None:
    if found == expected:
        return
    if not strict:
        _LOG.warning("%s %s: the table lists %d clips, the publication %d", card.name, split, found, expected)
        return
    raise AvsbenchError(
        f"{card.name} {split}: wrong number of clips",
        found=found,
        expected=f"{expected}, as the data-set card says",
        hint="take the released csv, or accept scores over these clips with allow_incomplete (--allow-incomplete)",
    )


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
