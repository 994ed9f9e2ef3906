"""Shards, front ends and maskiges -> the files that published code bases read.

A file is written beside its place and renamed; one that already holds the same bytes is left alone, so an interrupted
export continues. `EXPORT.json` says where the files come from, `README.txt` what is exact and what is not.
"""

import io
import json
import logging
import pickle
from collections import Counter
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.datasets import reader as reader_of
from avsbench.datasets import space
from avsbench.datasets.avsbench_files import RELEASED_SIDE
from avsbench.datasets.vpo_build.tables import tables
from avsbench.errors import AvsbenchError
from avsbench.features import MASKIGE, maskige
from avsbench.media.images import encode_png, voc_palette
from avsbench.media.sound import Sound
from avsbench.paths import Paths
from avsbench.store.exchange import layout
from avsbench.store.exchange.csv_tables import write_tables
from avsbench.store.originals import NativeReader
from avsbench.store.shards import ArrayReader, ShardReader
from avsbench.store.tables import read_index

WHAT = ("frames", "masks", "wav", "log_mel", "processed", "msai", MASKIGE)
MANIFEST, README = "EXPORT.json", "README.txt"
JPEG_QUALITY = {"processed": 75, "frames": 95}
"""75 is Pillow's default, as in the published script; 95 stands in for the JPEG of VPO, which shards do not keep."""
_LOG = logging.getLogger(__name__)


def export(
    *,
    card: DatasetCard,
    scale: str,
    paths: Paths,
    out: str | Path,
    splits: tuple[str, ...],
    what: tuple[str, ...] = ("frames", "masks", "wav", "processed"),
    label: str = "",
) -> dict:
    """Write the clips of the index of each split in the official layout.

    Args:
        out: a folder that is empty, or that an earlier export of the same data set and scale wrote.
        what: kinds of files, of WHAT. `processed` exists for AVSS only and is otherwise left out.
        label: ends the names of the front ends and maskiges to take: "released" for imported ones,
            "<generator>-<digest>" for maskiges of this suite.

    Returns:
        The content of EXPORT.json.

    Raises:
        AvsbenchError: unknown kind, a foreign folder, too little room, or shards that do not exist (named).
    """
    strange = [kind for kind in what if kind not in WHAT]
    if strange:
        raise AvsbenchError(f"cannot export {', '.join(strange)}", expected=", ".join(WHAT))
    out = Path(out)
    source = {"dataset": card.name, "scale": scale, "layout": "official"}
    _check_folder(out, source)
    indices = {split: read_index(paths.index(card.name, split)) for split in splits}
    counts, remarks = Counter(), Counter()
    names = _array_names(card, what, label)
    space.require(out, _estimate(indices, what, len(names)), f"the export of {card.name}")
    record = source | {
        "data": paths.dataset(card.name),
        "what": list(what),
        "arrays": list(names.values()),
        "clips": {split: len(index) for split, index in indices.items()},
        "versions": {package: version(package) for package in ("avsbench", "numpy", "torch", "pillow", "soundfile")},
    }
    _put(out / MANIFEST, _json(record | {"complete": False}))
    write_tables(card, out, indices, Path(paths.official(card.name)))
    places = reader_of(card, out)
    if card.family == "vpo":
        places.table()  # names of pictures and sounds stand there alone
    for split, index in indices.items():
        for shard, rows in index.groupby("shard"):
            with _Sources(card, paths, split, shard, index.attrs["shards"], names) as stored:
                text = f"export {card.name} {split} {shard}"
                for row in tqdm(rows.to_dict("records"), desc=text, unit="clip", disable=None):
                    row["split"] = split
                    for kind, file, data in _files_of(card, out, places.places(row), row, stored, what, remarks):
                        _put(file, data)
                        counts[kind] += 1
    _put(out / README, _readme(card, counts, remarks).encode())
    record |= {"files": dict(counts), "remarks": dict(remarks), "complete": True}
    _put(out / MANIFEST, _json(record))
    for remark, number in remarks.items():
        _LOG.warning("%s (%d clips)", remark, number)
    _LOG.info("%s: %d files", out, sum(counts.values()))
    return record


class _Sources:
    """The open shards of one part of a split."""

    def __init__(self, card, paths: Paths, split: str, shard: int, shards: int, names: dict[str, str]):
        self._stack = ExitStack()
        place, expect = (split, shard, shards), {"dataset": card.name, "split": split}
        try:
            self.clips = self._stack.enter_context(ShardReader(paths.shard(card.name, *place), **expect))
            native = paths.native(card.name, *place)
            exists = Path(native).is_file() and not card.native
            self.native = self._stack.enter_context(NativeReader(native, **expect)) if exists else None
            self.arrays = {}
            for kind, name in names.items():
                folder = paths.features if kind == MASKIGE else paths.audio
                file = folder(card.name, name, *place)
                if not Path(file).is_file():
                    raise AvsbenchError(
                        f"{file}: no such shard", expected=f"{name} of every shard", hint=_command(kind)
                    )
                self.arrays[kind] = self._stack.enter_context(ArrayReader(file, content=name, **expect))
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> "_Sources":
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()


def _array_names(card: DatasetCard, what: tuple[str, ...], label: str) -> dict[str, str]:
    """Front end, or "maskige", as the layout knows it -> the name of the stored arrays."""
    kinds = [end for kind in ("log_mel", "msai") if kind in what for end in layout.front_ends(card, kind)]
    kinds += [MASKIGE] if MASKIGE in what else []
    mark = "-" if "-" in label else "_"  # ours are called maskige-<generator>-<digest>
    return {kind: f"{kind}{mark}{label}" if label else kind for kind in kinds}


def _command(kind: str) -> str:
    if kind == MASKIGE:
        return "export with --name <generator>-<digest> (see `features/`), or `avsbench import` an author's maskiges"
    return f"`avsbench audio --front-end {kind}` computes it for one shard; imported ones need --name"


def _files_of(card, out: Path, files, row: dict, stored: _Sources, what, remarks: Counter):
    """Triples (kind, file, bytes) of one clip."""
    clip_id = row["clip_id"]
    annotated = np.asarray(row["annotated"], bool)
    clip = stored.clips.clip(clip_id) if {"frames", "masks", "processed"} & set(what) else None
    masked = np.flatnonzero(annotated)
    if "frames" in what:
        for file, data in zip(files.frames, _frames(card, clip, clip_id, stored, remarks), strict=False):
            yield "frames", file, data
    if "masks" in what:
        yield from _masks(card, files, clip, clip_id, masked, annotated, stored)
    if "processed" in what and card.name == "avss":
        for file, frame in zip(layout.processed_files(files.frames, "processed_frames"), clip.frames, strict=True):
            yield "processed", file, _jpeg(frame, JPEG_QUALITY["processed"])
        for n in masked:
            (file,) = layout.processed_files([files.masks[n]], "processed_labels_semantic")
            yield "processed", file, encode_png(clip.masks[n])
    if "wav" in what:
        for file, sound in zip(files.sounds, stored.clips.sounds(clip_id), strict=True):
            yield "wav", file, _wav(sound, remarks)
    for kind, reader in stored.arrays.items():
        array = reader.array(clip_id)
        if kind == MASKIGE:
            for file, image in zip(layout.maskige_files(card, out, files), array, strict=True):
                yield kind, file, _maskige(image)
        else:
            yield kind, layout.pickle_file(card, out, files, kind), pickled(array, card.frames)


def _frames(card, clip, clip_id: str, stored: _Sources, remarks: Counter) -> list[bytes]:
    if stored.native is not None:
        return stored.native.files(clip_id)
    if card.name == "avss":
        remarks["frames/ and labels_*/ of AVSS are absent: no shards of originals (`avsbench native` writes them)"] += 1
        return []
    if card.native:
        remarks[f"pictures are encoded anew as JPEG of quality {JPEG_QUALITY['frames']}: pixels differ a little"] += 1
        return [_jpeg(frame, JPEG_QUALITY["frames"]) for frame in clip.frames]
    side = clip.frames.shape[1]
    if side != RELEASED_SIDE:
        remarks[f"frames and masks are {side} x {side}, not {RELEASED_SIDE}: the shards were made so"] += 1
    return [encode_png(frame) for frame in clip.frames]


def _masks(card, files, clip, clip_id: str, masked, annotated, stored: _Sources):
    """Masks of the annotated frames alone."""
    masks = clip.masks if stored.native is None else stored.native.masks(clip_id, annotated)
    if card.name == "avss":
        if stored.native is not None:
            for n in masked:
                colours = voc_palette(len(card.classes))[masks[n]]
                (semantic,) = layout.processed_files([files.masks[n]], "labels_semantic")
                yield "masks", files.masks[n], encode_png(colours)
                yield "masks", semantic, encode_png(masks[n])
        return
    values = np.zeros(256, np.uint8)
    if card.family == "vpo":
        values[: len(card.classes)] = [tables().mask_ids.get(name, 0) for name in card.classes]
    else:
        values[1] = 255
    for n in masked:
        yield "masks", files.masks[n], encode_png(values[masks[n]])


# encodings


def pickled(array: np.ndarray, length: int) -> bytes:
    """A plain pickle of a float32 tensor [length,1,96,64] with requires_grad; zeros fill up."""
    import torch

    whole = np.zeros((length, *array.shape[1:]), np.float32)
    whole[: len(array)] = array
    return pickle.dumps(torch.from_numpy(whole).requires_grad_())


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _maskige(image: np.ndarray) -> bytes:
    """Colours [H,W,3] as RGB, indices [H,W] with the palette of maskiges."""
    from PIL import Image

    if image.ndim == 3:
        return encode_png(image)
    picture = Image.fromarray(image)
    picture.putpalette(maskige.palette().tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _wav(sound: Sound, remarks: Counter) -> bytes:
    import soundfile

    subtype = sound.subtype
    if not soundfile.check_format("WAV", subtype):
        remarks[f"sound stored as {subtype}, which a wav file cannot hold, is written as 16 or 32 bits"] += 1
        subtype = {"int16": "PCM_16", "int32": "PCM_32"}.get(sound.samples.dtype.name, "FLOAT")
    file = io.BytesIO()
    soundfile.write(file, sound.samples, sound.rate, subtype=subtype, format="WAV")
    return file.getvalue()


# folder


def _put(path: Path, data: bytes) -> None:
    if path.is_file() and path.read_bytes() == data:
        return
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def _json(record: dict) -> bytes:
    return (json.dumps(record, indent=2) + "\n").encode()


def _check_folder(out: Path, source: dict) -> None:
    """Refuse a folder with anything but an earlier export of the same source: a release must not be overwritten."""
    if out.exists() and not out.is_dir():
        raise AvsbenchError(f"{out}: not a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    try:
        found = json.loads((out / MANIFEST).read_text())
        found = {name: found[name] for name in source}
    except (OSError, ValueError, KeyError, TypeError):
        found = f"files without a readable {MANIFEST}"
    if found != source:
        raise AvsbenchError(f"{out}: not an export of this", found=found, expected=source, hint="name an empty folder")


def _estimate(indices: dict, what: tuple[str, ...], arrays: int) -> int:
    """Bytes at most: pictures without any compression, ten seconds of sound, a float32 tensor an array."""
    clips = sum(len(index) for index in indices.values())
    pixels = sum(int((index["frames"] * index["height"] * index["width"]).sum()) for index in indices.values())
    pictures = sum(size for kind, size in (("frames", 3), ("masks", 1), ("processed", 4)) if kind in what)
    return pixels * pictures + clips * (2_000_000 * ("wav" in what) + 250_000 * arrays)


def _readme(card: DatasetCard, counts: Counter, remarks: Counter) -> str:
    lines = [
        f"{card.title}, written by `avsbench export` from shards; {MANIFEST} says which.",
        "",
        *(f"{kind}: {number} files" for kind, number in sorted(counts.items())),
        "",
        "Exact: masks, sound samples, pickles, maskiges, and frames unless said otherwise below. Clips that `extract`",
        "found faulty are not there and not in the table; the table lists clips by split, not in the released order.",
    ]
    if card.name == "avss":
        lines.append("Encoded anew: processed_frames/ (JPEG of quality 75, as the published script writes them).")
    return "\n".join([*lines, *(f"Note: {remark} ({number} clips)." for remark, number in remarks.items()), ""])
