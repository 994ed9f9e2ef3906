"""The rule `features`: the frames of one shard -> maskiges, as index images uint8 [T,H,W] a clip.

Indices are stored and not colours, so that colouring costs nothing on disk and can be done again; where masks overlap,
the masks themselves are kept beside. A report says what made the shard and what was found.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avsbench.cards import DatasetCard
from avsbench.digest import file_digest
from avsbench.errors import AvsbenchError
from avsbench.features import Generator, Proposals, build, maskige
from avsbench.features.sanity import check_generator
from avsbench.features.settings import Setting
from avsbench.paths import atomic
from avsbench.store.maskige_files import read_clips
from avsbench.store.masks import MaskWriter
from avsbench.store.originals import NativeReader
from avsbench.store.shards import ArrayReader, ArrayWriter, ShardReader

_LOG = logging.getLogger(__name__)
MANY = 0.2
"""Share of frames without a mask from which on the report is a warning."""


def feature_shard(
    *,
    card: DatasetCard,
    setting: Setting,
    shard_path: str | Path,
    out: str | Path,
    report_out: str | Path,
    masks_out: str | Path,
    native_path: str | Path | None = None,
    device: str = "cpu",
) -> dict:
    """Maskiges of every clip of a shard, of the size of its frames; returns the report.

    Args:
        setting: the generator, its options and weights.
        shard_path: the shard of clips.
        out, report_out: the shard of arrays and what is said about it. Written beside their places, opened and checked,
            and then renamed.
        masks_out: where overlapping masks are kept; not written where index images hold everything.
        native_path: the shard of original pictures, for `pictures: native`.
        device: of the network.

    Raises:
        AvsbenchError: weights, a package or files are missing (named), a damaged shard, or a generator that finds
            nothing in a test picture and in the first clip.
    """
    with ExitStack() as files:
        shard = files.enter_context(ShardReader(shard_path, dataset=card.name))
        header = replace(shard.header, content=setting.stored)
        frames = {clip_id: shard.row(clip_id)["frames"] for clip_id in shard.clip_ids()}
        side = shard.header.image_size or None
        measured: list[np.ndarray] = []
        temporary, report_temporary = files.enter_context(atomic(out)), files.enter_context(atomic(report_out))
        with ExitStack() as open_files:
            writer = open_files.enter_context(ArrayWriter(temporary, header))
            if setting.card.module is None:
                clips = read_clips(card, shard, Path(setting.options["root"] or "").expanduser(), side)
            else:
                generator = build(setting.card, setting.options, setting.weights, device)
                native = files.enter_context(NativeReader(native_path, dataset=card.name)) if native_path else None
                if setting.card.finds:
                    first = [_pictures(native or shard, clip_id) for clip_id in shard.clip_ids()[:1]]
                    check_generator(setting.generator, generator, side or 224, *first)
                clips = _proposed(card, shard, generator, side, native)
            kept = None
            if setting.card.overlaps:
                kept = open_files.enter_context(MaskWriter(files.enter_context(atomic(masks_out)), header))
            text = f"{setting.stored} of {card.name} {header.split} {header.shard}"
            for clip_id, indices, proposals in tqdm(clips, desc=text, total=len(frames), unit="clip", disable=None):
                writer.add(clip_id, indices)
                measured.append(measures(indices))
                if kept is not None:
                    kept.add(clip_id, [found.masks for found in proposals])
        _read_back(temporary, setting.stored, shard, frames)
        report = {**_about(setting, device), "clips": len(frames), **summary(np.concatenate(measured or [_NONE]))}
        report_temporary.write_text(json.dumps(report, indent=2) + "\n")
    _tell(setting, str(out), report)
    return report


def _proposed(
    card: DatasetCard, shard: ShardReader, generator: Generator, side: int | None, native: NativeReader | None
) -> Iterator[tuple[str, np.ndarray, list[Proposals]]]:
    """(clip id, indices, proposals) of every clip, from the frames of the store or from the original pictures."""
    for clip_id in shard.clip_ids():
        frames = _pictures(native or shard, clip_id)
        yield clip_id, *maskige.of_frames(generator, frames, side, card.resize[shard.header.split])


def _pictures(reader: ShardReader | NativeReader, clip_id: str) -> np.ndarray:
    """All frames of a clip, uint8 [T,H,W,3]."""
    return reader.pictures(clip_id, None)[0].transpose(0, 2, 3, 1)


_NONE = np.zeros((0, 3))


def measures(indices: np.ndarray) -> np.ndarray:
    """Of each index image uint8 [T,H,W]: number of visible masks, covered share, share of the largest. [T,3]."""
    rows = []
    for image in indices:
        counts = np.bincount(image.ravel(), minlength=256)[1:] / image.size
        rows.append((np.count_nonzero(counts), counts.sum(), counts.max()))
    return np.array(rows, float)


def summary(measured: np.ndarray) -> dict:
    """Frames, those without a mask, and mean, least, median and most of each column of `measures`."""
    about = {"frames": len(measured), "frames_without_mask": int((measured[:, 0] == 0).sum())}
    for name, column in zip(("masks", "covered", "largest"), measured.T, strict=True):
        numbers = (column.mean(), column.min(), np.median(column), column.max()) if len(column) else (0.0,) * 4
        values = (round(float(number), 4) for number in numbers)
        about[name] = dict(zip(("mean", "least", "median", "most"), values, strict=True))
    return about


def _about(setting: Setting, device: str) -> dict:
    weights = {"file": Path(setting.weights).name, "sha256": file_digest(setting.weights)} if setting.weights else None
    packages = {package: version(package) for package in ("avsbench", "numpy", "torch", "scikit-image")}
    return {"name": setting.stored, **setting.record, "weights": weights, "device": device, "versions": packages}


def _tell(setting: Setting, out: str, report: dict) -> None:
    masks, covered = report["masks"], report["covered"]
    _LOG.info(
        "%s: %d frames, masks a frame %g (%g to %g), covered share %g, largest mask %g",
        out, report["frames"], masks["median"], masks["least"], masks["most"], covered["median"],
        report["largest"]["median"],
    )  # fmt: skip
    without = report["frames_without_mask"]
    if setting.card.finds and without > MANY * report["frames"]:
        _LOG.warning("%s: %d of %d frames have no mask; look at them before you train", out, without, report["frames"])


def _read_back(path: Path, content: str, shard: ShardReader, frames: dict[str, int]) -> None:
    with ArrayReader(path, content=content) as arrays:
        if arrays.clip_ids() != sorted(frames):
            raise AvsbenchError(
                f"{path}: not the clips of {shard.path}", found=f"{len(arrays)} clips", expected=f"{len(frames)} clips"
            )
        for clip_id, count in frames.items():
            row, array = shard.row(clip_id), arrays.array(clip_id)
            if array.dtype != np.uint8 or array.shape != (count, row["height"], row["width"]):
                raise AvsbenchError(
                    f"{path}: clip {clip_id} is not what was written",
                    found=f"{array.dtype} {list(array.shape)}",
                    expected=f"uint8 {[count, row['height'], row['width']]}",
                )
