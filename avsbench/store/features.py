"""The rule `features`: the clips of one shard -> what a generator derives of their frames, and of their sound.

    maskige      index images uint8 [T,H,W]: colouring costs nothing on disk, and can be done again; where masks
                 overlap, these are kept beside
    proposals    the masks alone, packed (`avsbench.store.masks`)
    all others   the array of the generator, [T,...]

A report says what made the shard and what was found.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.features import MASKIGE, PROPOSALS, Deriver, Generator, build, maskige
from avsbench.features.sanity import check_generator
from avsbench.features.settings import Setting
from avsbench.media.images import resize_mask
from avsbench.store.feature_report import measured, measures, origin, summary, tell
from avsbench.store.maskige_files import read_clips
from avsbench.store.masks import MaskReader, MaskWriter
from avsbench.store.originals import NativeReader
from avsbench.store.shards import ArrayReader, ArrayWriter, ShardReader

__all__ = ["derived", "feature_shard", "measures"]


def feature_shard(
    *,
    card: DatasetCard,
    setting: Setting,
    shard_path: str | Path,
    out: str | Path,
    report_out: str | Path,
    masks_out: str | Path,
    native_path: str | Path | None = None,
    audio_paths: dict[str, str | Path] | None = None,
    device: str = "cpu",
) -> dict:
    """A feature of every clip of a shard; returns the report.

    Args:
        setting: the generator, its options and weights.
        shard_path: the shard of clips.
        out, report_out: the shard of arrays and what is said about it. Written beside their places, opened and checked,
            and then renamed.
        masks_out: where the overlapping masks of maskiges are kept; not written where index images hold everything.
        native_path: the shard of original pictures, for `pictures: native`.
        audio_paths: front end -> its shard, of those that the generator hears.
        device: of the network.

    Raises:
        AvsbenchError: weights, a package or files are missing (named), a damaged shard, arrays of another kind than the
            generator's card says, or a generator of masks that finds nothing in a test picture and in the first clip.
    """
    with ExitStack() as files:
        shard = files.enter_context(ShardReader(shard_path, dataset=card.name))
        header = replace(shard.header, content=setting.stored)
        rows = {clip_id: shard.row(clip_id) for clip_id in shard.clip_ids()}
        numbers: list[np.ndarray] = []
        temporary, report_temporary = files.enter_context(atomic(out)), files.enter_context(atomic(report_out))
        with ExitStack() as open_files:
            kind = MaskWriter if setting.feature == PROPOSALS else ArrayWriter
            writer, beside = open_files.enter_context(kind(temporary, header)), None
            if setting.feature == MASKIGE and setting.card.overlaps:
                beside = open_files.enter_context(MaskWriter(files.enter_context(atomic(masks_out)), header))
            if setting.card.module is None:
                root = Path(setting.options["root"] or "").expanduser()
                clips = read_clips(card, shard, root, shard.header.image_size or None)
            else:
                generator = build(setting.card, setting.options, setting.weights, device, header.scale, card.name)
                native = files.enter_context(NativeReader(native_path, dataset=card.name)) if native_path else None
                sound = {
                    name: files.enter_context(ArrayReader(path, content=name))
                    for name, path in (audio_paths or {}).items()
                }
                clips = _clips(card, setting, shard, generator, native, sound)
            text = f"{setting.stored} of {card.name} {header.split} {header.shard}"
            for clip_id, made, masks in tqdm(clips, desc=text, total=len(rows), unit="clip", disable=None):
                writer.add(clip_id, made)
                numbers.append(measured(setting.feature).of(made))
                if beside is not None:
                    beside.add(clip_id, masks)
        _read_back(temporary, setting, shard.path, rows)
        report = {**origin(setting, device), "clips": len(rows), **summary(setting.feature, numbers)}
        report_temporary.write_text(json.dumps(report, indent=2) + "\n")
    tell(setting, str(out), report)
    return report


def _clips(
    card: DatasetCard,
    setting: Setting,
    shard: ShardReader,
    generator: Generator | Deriver,
    native: NativeReader | None,
    sound: dict[str, ArrayReader],
) -> Iterator[tuple[str, np.ndarray | list[np.ndarray], list[np.ndarray]]]:
    """(clip id, what is stored, the masks behind it) of every clip, from frames of the store or original pictures."""
    side, rule = shard.header.image_size or None, card.resize[shard.header.split]
    if setting.card.of_masks and setting.card.finds:
        first = [_pictures(native or shard, clip_id) for clip_id in shard.clip_ids()[:1]]
        check_generator(setting.generator, generator, side or 224, *first)
    for clip_id in shard.clip_ids():
        heard = {name: reader.array(clip_id) for name, reader in sound.items()}
        yield clip_id, *derived(setting, generator, _pictures(native or shard, clip_id), heard, side, rule)


def derived(
    setting: Setting,
    generator: Generator | Deriver,
    frames: np.ndarray,
    audio: dict[str, np.ndarray],
    side: int | None = None,
    rule: str = "squash",
) -> tuple[np.ndarray | list[np.ndarray], list[np.ndarray]]:
    """What is stored of one clip, and the masks behind it.

    Args:
        frames: uint8 [T,H,W,3].
        audio: front end -> [T,...], of those that the generator hears.
        side: of what masks become; None keeps the size of the frames.
        rule: how frames of another size become S x S, "squash" or "crop" (`avsbench.media.images`); nearest pixel.

    Returns:
        maskige: index images uint8 [T,S,S]. proposals: of each frame bool [N,S,S]. All others: an array [T,...].
        The masks, bool [N,H,W] of each frame, or nothing.
    """
    if setting.feature == MASKIGE:
        indices, found = maskige.of_frames(generator, frames, side, rule)
        return indices, [each.masks for each in found]
    if setting.feature == PROPOSALS:
        masks = [each.masks for each in maskige.proposed(generator, frames)]
        return [_resized(each, side, rule) for each in masks], []
    made = generator.derive(frames, audio)
    _check(setting, made, frames.shape[:3], f"{setting.card.module}: derive gives something else than its card says")
    return made, []


def _resized(masks: np.ndarray, side: int | None, rule: str) -> np.ndarray:
    """Masks bool [N,H,W] -> bool [N,S,S]."""
    if side is None or masks.shape[1:] == (side, side):
        return masks
    resized = [resize_mask(mask.astype(np.uint8), side, rule) for mask in masks]
    return np.array(resized, bool).reshape(-1, side, side)


def _pictures(reader: ShardReader | NativeReader, clip_id: str) -> np.ndarray:
    """All frames of a clip, uint8 [T,H,W,3]."""
    return reader.pictures(clip_id, None)[0].transpose(0, 2, 3, 1)


def _check(setting: Setting, array: np.ndarray, frames: tuple[int, int, int], what: str) -> None:
    """Raise AvsbenchError unless an array is what the generator's card says of `frames` (T, H, W), and finite."""
    dtype, shape = setting.frame(frames[1:])
    expected = (frames[0], *shape)
    if setting.kind.ragged and array.ndim > 1:
        expected = (frames[0], array.shape[1], *shape[1:])
    if array.dtype != dtype or array.shape != expected:
        raise AvsbenchError(
            what, found=f"{array.dtype} {list(array.shape)}", expected=f"{dtype} {list(expected)}: {setting.kind.array}"
        )
    numbers = np.isfinite(array)
    if setting.kind.ragged and np.isnan(setting.kind.fill):
        there = numbers.all(axis=-1)
        numbers = there == numbers.any(axis=-1)  # whole entries are missing, and nothing follows them
        numbers[:, 1:] &= there[:, :-1] | ~there[:, 1:]
    if not numbers.all():
        raise AvsbenchError(
            what, found=f"{np.count_nonzero(~numbers)} of {numbers.size} not finite", expected="numbers alone"
        )


def _read_back(path: Path, setting: Setting, source: Path, rows: dict[str, dict]) -> None:
    """Open what was written, and check it against the shard of clips."""
    packed = setting.feature == PROPOSALS
    with (MaskReader if packed else ArrayReader)(path, content=setting.stored) as stored:
        if stored.clip_ids() != sorted(rows):
            raise AvsbenchError(
                f"{path}: not the clips of {source}", found=f"{len(stored)} clips", expected=f"{len(rows)} clips"
            )
        for clip_id, row in rows.items():
            frames, what = (
                (row["frames"], row["height"], row["width"]),
                f"{path}: clip {clip_id} is not what was written",
            )
            if not packed:
                _check(setting, stored.array(clip_id), frames, what)
            elif stored.shape(clip_id) != frames or len(stored.masks(clip_id)) != frames[0]:
                raise AvsbenchError(
                    what, found=f"masks of {list(stored.shape(clip_id))}", expected=f"of {list(frames)}"
                )
