"""Manifests: which clips make up a shard. Each shard depends on its own, so an added clip reruns its shard alone.

Clips are shared out by a hash of their id, never by their place in the csv. `position` is that place: a row appended to
the csv changes one manifest, a row put into or taken from the middle moves those behind it.
"""

import hashlib
import io
import logging
from pathlib import Path

import pandas as pd

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths
from avsbench.store.shards import check_clip_id

COLUMNS = ["clip_id", "position", "category", "part", "frames"]
_LOG = logging.getLogger(__name__)


def shard_of(clip_id: str, shards: int) -> int:
    """The shard, 0 … `shards` - 1, that a clip belongs to; the same on every machine."""
    return _digest(clip_id) % shards


def _digest(clip_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=8).digest())


def write_dataset_manifests(card: DatasetCard, paths: Paths) -> list[str]:
    """Read the table of an acquired data set and write its manifests; returns the files that changed."""
    from avsbench.datasets import reader

    return write_manifests(card, paths.scale, reader(card, Path(paths.official(card.name))).table(), paths)


def write_manifests(card: DatasetCard, scale: str, table: pd.DataFrame, paths: Paths) -> list[str]:
    """Write the manifests of all splits and shards; a file whose content stays the same is not touched.

    Args:
        card: says how many shards a split has.
        scale: mini, smoke or full; smoke takes a few clips of each split.
        table: of the reader: clip_id, split, position, category, part, frames.
        paths: where they go.

    Returns:
        The files that changed.

    Raises:
        AvsbenchError: a clip that stands twice in a split, or whose name cannot be stored.
    """
    changed = []
    for split, shards in card.shards[scale].items():
        rows = table[table["split"] == split]
        for clip_id in rows["clip_id"]:
            check_clip_id(clip_id)
        twice = rows["clip_id"][rows["clip_id"].duplicated()]
        if len(twice):
            raise AvsbenchError(
                f"{card.name}: the clip {twice.iloc[0]} stands twice in {split}", hint="remove one of the two rows"
            )
        if scale == "smoke":
            # The same few clips everywhere, spread over the table.
            rows = rows.loc[rows["clip_id"].map(_digest).nsmallest(card.splits[scale][split]).index]
        rows = rows.sort_values("position")[COLUMNS]
        places = rows["clip_id"].map(lambda clip_id, n=shards: shard_of(clip_id, n))
        for shard in range(shards):
            path = Path(paths.manifest(card.name, split, shard, shards))
            content = rows[places == shard].to_csv(index=False, lineterminator="\n").encode()
            if path.is_file() and path.read_bytes() == content:
                continue
            with atomic(path) as temporary:
                temporary.write_bytes(content)
            changed.append(str(path))
    _LOG.info("%s: %d manifests changed", card.name, len(changed))
    return changed


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Columns clip_id, position, category, part, frames; a row per clip of the shard, in csv order."""
    path = Path(path)
    if not path.is_file():
        raise AvsbenchError(f"{path}: no such manifest", hint="`avsbench manifests` writes it")
    # Ids are text even where they look like numbers or like a missing value ("NA").
    table = pd.read_csv(io.BytesIO(path.read_bytes()), dtype=str, keep_default_na=False)
    if list(table.columns) != COLUMNS:
        raise AvsbenchError(
            f"{path}: not a manifest",
            found=", ".join(table.columns),
            expected=", ".join(COLUMNS),
            hint="delete it and run `avsbench manifests` again",
        )
    return table.astype({"position": int, "frames": int})
