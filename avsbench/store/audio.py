"""The rule `audio`: the sound of one shard -> front ends, each a file with an array a clip, in one pass."""

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard, known
from avsbench.errors import AvsbenchError
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS, FrontEnd
from avsbench.store.shards import ArrayReader, ArrayWriter, ShardReader

_LOG = logging.getLogger(__name__)


def audio_shard(*, card: DatasetCard, shard_path: str | Path, outs: dict[str, str | Path], threads: int = 1) -> None:
    """Compute front ends for every clip of a shard: float32 [T,...] each, T as stored.

    A clip's sound is read, mixed and resampled once for all of them. A sound that a front end cannot take stops the
    job: `extract` has sorted out what cannot be read, so this is a property of the data set and not of one file.

    Args:
        card: its `mel_fill` and `frames` say what stands for missing sound.
        shard_path: the shard of clips.
        outs: name of a front end -> its shard of arrays. All are written beside their places, opened and checked, and
            then renamed.
        threads: clips computed at the same time; numpy lets go of the interpreter in what takes long.

    Raises:
        AvsbenchError: unknown front end, a damaged shard, or a clip whose sound a front end cannot take (named).
    """
    ends = [known(name, FRONT_ENDS, "front end", "front end") for name in outs]
    with ExitStack() as files:
        shard = files.enter_context(ShardReader(shard_path, dataset=card.name))
        rows = [shard.row(clip_id) for clip_id in shard.clip_ids()]
        temporary = {name: files.enter_context(atomic(out)) for name, out in outs.items()}
        with ExitStack() as open_files:
            writers = {
                name: open_files.enter_context(ArrayWriter(path, replace(shard.header, content=name)))
                for name, path in temporary.items()
            }
            for clip_id, arrays in _computed(card, shard, rows, ends, threads):
                for name, array in arrays.items():
                    writers[name].add(clip_id, array)
        for end in ends:
            shape = end.frame_shape(card.frames == 1)
            check_arrays(temporary[end.name], end.name, {row["clip_id"]: (row["frames"], *shape) for row in rows})
    _LOG.info("%s: %d clips of %s", ", ".join(outs), len(rows), shard_path)


def _computed(
    card: DatasetCard, shard: ShardReader, rows: list[dict], ends: list[FrontEnd], threads: int
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """(clip id, front end -> array) of all clips in order; one clip more is under way than there are threads."""
    text = f"front ends of {card.name} {shard.header.split} {shard.header.shard}"
    with ThreadPoolExecutor(threads) as pool, tqdm(desc=text, total=len(rows), unit="clip", disable=None) as progress:
        waiting: deque = deque()
        for number, row in enumerate(rows, 1):
            clip_id = row["clip_id"]
            clip = ClipSound.of(card, shard.sounds(clip_id), row["frames"], shard.header.split)
            waiting.append((clip_id, pool.submit(_compute, clip_id, clip, ends, shard.path)))
            while len(waiting) > (threads if number < len(rows) else 0):
                clip_id, result = waiting.popleft()
                yield clip_id, result.result()
                progress.update()


def _compute(clip_id: str, clip: ClipSound, ends: list[FrontEnd], source: Path) -> dict[str, np.ndarray]:
    """Front end -> array of one clip; errors and notes name the clip and its shard."""
    try:
        arrays = {end.name: end.compute(clip) for end in ends}
    except AvsbenchError as error:
        raise AvsbenchError(
            f"clip {clip_id} of {source}: {error.what}",
            found=error.found,
            expected=error.expected,
            hint=error.hint,
        ) from None
    except Exception as error:
        error.add_note(f"clip {clip_id} of {source}")
        raise
    for note in clip.notes:
        _LOG.warning("clip %s of %s: %s", clip_id, source, note)
    return arrays


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
