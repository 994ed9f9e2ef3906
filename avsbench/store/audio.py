"""The rule `audio`: the sound of one shard -> one front end, an array a clip."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avsbench.cards import DatasetCard, known
from avsbench.errors import AvsbenchError
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.paths import atomic
from avsbench.store.shards import ArrayReader, ArrayWriter, ShardReader

_LOG = logging.getLogger(__name__)


def audio_shard(*, card: DatasetCard, front_end: str, shard_path: str | Path, out: str | Path) -> None:
    """Compute one front end for every clip of a shard: float32 [T,...] each, T as stored.

    Args:
        card: its `mel_fill` says what stands for missing examples.
        front_end: a name of `avsbench.media.front_ends`.
        shard_path: the shard of clips.
        out: the shard of arrays. Written beside its place, opened and checked, then renamed.

    Raises:
        AvsbenchError: unknown front end, a damaged shard, or a clip whose sound the front end cannot take (named).
    """
    end = known(front_end, FRONT_ENDS, "front end", "front end")
    with ShardReader(shard_path, dataset=card.name) as shard, atomic(out) as temporary:
        header = replace(shard.header, content=front_end)
        lengths = {clip_id: shard.row(clip_id)["frames"] for clip_id in shard.clip_ids()}
        with ArrayWriter(temporary, header) as writer:
            for clip_id, frames in tqdm(
                lengths.items(),
                desc=f"{front_end} {card.name} {header.split} {header.shard}",
                unit="clip",
                disable=None,
            ):
                try:
                    array = end.compute(shard.sounds(clip_id), frames, card.mel_fill)
                except AvsbenchError as error:
                    raise AvsbenchError(
                        f"clip {clip_id} of {shard_path}: {error.what}",
                        found=error.found,
                        expected=error.expected,
                        hint=error.hint,
                    ) from None
                writer.add(clip_id, array)
        check_arrays(temporary, front_end, {clip_id: (frames, *end.shape) for clip_id, frames in lengths.items()})
    _LOG.info("%s: %d clips", out, len(lengths))


def check_arrays(path: str | Path, content: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """Read a shard of arrays back: the clips of `shapes` and no others, each finite float32 of its shape."""
    with ArrayReader(path, content=content) as arrays:
        if arrays.clip_ids() != sorted(shapes):
            raise AvsbenchError(
                f"{path}: not the clips that were written",
                found=f"{len(arrays)} clips",
                expected=f"{len(shapes)} clips",
            )
        for clip_id, shape in shapes.items():
            array = arrays.array(clip_id)
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise AvsbenchError(
                    f"{path}: clip {clip_id} is not what was written",
                    found=f"{array.dtype} {list(array.shape)}, finite: {bool(np.isfinite(array).all())}",
                    expected=f"finite float32 {list(shape)}",
                )
