"""The rule `extract`: the clips of one manifest -> a shard of frames, masks and sound, and a list of faults."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.datasets.clip import IGNORE, Clip, ClipFault, Reader
from avsbench.errors import AvsbenchError
from avsbench.store.manifest import read_manifest
from avsbench.store.shards import REBUILD, Header, ShardReader, ShardWriter
from avsbench.store.tables import FAULT, FAULT_COLUMNS, NOTE

_LOG = logging.getLogger(__name__)


def extract_shard(
    *,
    card: DatasetCard,
    scale: str,
    image_size: int,
    reader: Reader,
    manifest_path: str | Path,
    out: str | Path,
    faults_out: str | Path,
    split: str,
    shard: int,
    shards: int,
) -> None:
    """Read the clips of a manifest and write them to one shard; a faulty clip is listed and does not lose the others.

    Args:
        card: the data-set card.
        scale: mini or full.
        image_size: side S of the stored frames in pixels; of no effect where clips keep their own size.
        reader: gives a `Clip` for a row.
        manifest_path: the clips to read.
        out: the shard. Written beside its place, opened and checked, then renamed.
        faults_out: table clip_id, kind ("fault": the clip is not in the shard; "note": it is), text, file.
        split, shard, shards: what the manifest is for.

    Raises:
        OSError: the machine fails (a full disk …); no output is left.
        AvsbenchError: the file does not hold what was written; no output is left.
    """
    rows = read_manifest(manifest_path).to_dict("records")
    side = card.stored_size(image_size)
    header = Header(dataset=card.name, scale=scale, split=split, shard=shard, shards=shards, image_size=side)
    reports: list[dict] = []
    written: list[str] = []
    with atomic(out) as shard_file, atomic(faults_out) as faults_file:
        with ShardWriter(shard_file, header) as writer:
            for row in tqdm(rows, desc=f"{card.name} {split} {shard}", unit="clip", disable=None):
                try:
                    clip = _read(reader, {**row, "split": split}, image_size, card)
                except AvsbenchError as error:
                    reports.append(_report(row["clip_id"], FAULT, error))
                    continue
                writer.add(
                    row["clip_id"],
                    frames=clip.frames,
                    masks=clip.masks,
                    annotated=clip.annotated,
                    sounds=clip.sounds,
                    position=row["position"],
                    category=row["category"],
                    part=row["part"],
                )
                written.append(row["clip_id"])
                reports += [_line(row["clip_id"], NOTE, note) for note in clip.notes]
        check_shard(
            shard_file, header, {row["clip_id"]: row["frames"] for row in rows if row["clip_id"] in set(written)}
        )
        pd.DataFrame(reports, columns=FAULT_COLUMNS).to_csv(faults_file, index=False, lineterminator="\n")
    faulty = len(rows) - len(written)
    if faulty:
        _LOG.warning(
            "%s %s, shard %d of %d: %d faulty clips, see %s", card.name, split, shard, shards, faulty, faults_out
        )
    _LOG.info("%s: %d clips", out, len(written))


def _read(reader: Reader, row: dict, image_size: int, card: DatasetCard) -> Clip:
    """The clip of a row, checked. What is wrong with the clip is an AvsbenchError; what fails in the machine is not."""
    try:
        clip = reader.read(row, image_size)
    except (AvsbenchError, OSError, MemoryError):
        raise
    except Exception as error:
        # One odd file must not cost the shard; the traceback tells whether the file or the reader is at fault.
        _LOG.exception("clip %s: unexpected %s", row["clip_id"], type(error).__name__)
        raise ClipFault(row["clip_id"], f"unexpected {type(error).__name__}: {error}") from error
    size = clip.frames.shape[1:3] if card.native else (image_size, image_size)
    _check_clip(clip, row, size, max(2, card.num_classes))
    return clip


def _check_clip(clip: Clip, row: dict, size: tuple[int, int], classes: int) -> None:
    """Raise ClipFault unless the arrays of a clip have the types, shapes and values that the store promises."""
    frames = row["frames"]
    for name, array, dtype, shape in (
        ("frames", clip.frames, np.uint8, (frames, *size, 3)),
        ("masks", clip.masks, np.uint8, (frames, *size)),
        ("annotated", clip.annotated, np.bool_, (frames,)),
    ):
        if array.dtype != dtype or array.shape != shape:
            raise ClipFault(
                row["clip_id"],
                f"wrong {name}",
                found=f"{array.dtype} {list(array.shape)}",
                expected=f"{np.dtype(dtype)} {list(shape)}",
            )
    strange = np.setdiff1d(clip.masks, [*range(classes), IGNORE])
    if len(strange):
        raise ClipFault(
            row["clip_id"],
            "a mask holds values that are no class",
            found=", ".join(map(str, strange[:5])),
            expected=f"0 to {classes - 1}, or {IGNORE}",
        )
    if (clip.masks[~clip.annotated] != IGNORE).any():
        raise ClipFault(row["clip_id"], "a frame without annotation has a mask", expected=f"{IGNORE} everywhere")
    if not clip.sounds:
        raise ClipFault(row["clip_id"], "no sound", expected="at least one source")


def check_shard(path: Path, header: Header, expected: dict[str, int]) -> None:
    """Read a shard back: the clips of `expected` (id -> T) and no others, with shapes and finite samples."""
    with ShardReader(path, dataset=header.dataset, split=header.split, image_size=header.image_size) as shard:
        if shard.clip_ids() != sorted(expected):
            raise AvsbenchError(
                f"{path}: the shard does not hold the clips that were written",
                found=f"{len(shard)} clips",
                expected=f"{len(expected)} clips",
                hint="run the same command again",
            )
        for clip_id, frames in expected.items():
            clip = shard.clip(clip_id)
            side = header.image_size
            size = (side, side) if side else clip.frames.shape[1:3]
            shapes = (clip.frames.shape, clip.masks.shape, clip.annotated.shape)
            if shapes != ((frames, *size, 3), (frames, *size), (frames,)):
                raise AvsbenchError(
                    f"{path}: clip {clip_id} has other shapes than were written", found=shapes, hint=REBUILD
                )
            for sound in shard.sounds(clip_id):
                if sound.samples.ndim != 2 or not np.isfinite(sound.samples).all():
                    raise AvsbenchError(
                        f"{path}: the sound of clip {clip_id} is not finite [N,channels]",
                        found=f"{sound.samples.dtype} {list(sound.samples.shape)}",
                        hint="mend the sound file of this clip",
                    )


def _report(clip_id: str, kind: str, error: AvsbenchError) -> dict:
    """One line of the list of faults, from an error."""
    reason = getattr(error, "reason", error.what)
    extra = [
        f"{name} {value}" for name, value in (("found", error.found), ("expected", error.expected)) if value is not None
    ]
    return _line(clip_id, kind, reason, "; ".join(extra))


def _line(clip_id: str, kind: str, text: str, extra: str = "") -> dict:
    head, separator, _ = text.partition(": ")
    # Messages about a file begin with its path.
    file = head if separator and ("/" in head or Path(head).suffix) else ""
    return {"clip_id": clip_id, "kind": kind, "text": f"{text}; {extra}" if extra else text, "file": file}
