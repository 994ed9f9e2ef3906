"""Pickles and maskiges of an author's release -> shards of arrays under a name of their own."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.datasets import reader as reader_of
from avsbench.errors import AvsbenchError
from avsbench.features import MASKIGE
from avsbench.paths import Paths
from avsbench.store.exchange import layout
from avsbench.store.legacy import read_legacy_log_mel
from avsbench.store.shards import ArrayReader, ArrayWriter, ShardReader
from avsbench.store.tables import read_index

WHAT = ("log_mel", "msai", MASKIGE)
_LISTED = 20
_LOG = logging.getLogger(__name__)


def import_released(
    *,
    card: DatasetCard,
    paths: Paths,
    root: str | Path,
    what: str,
    splits: tuple[str, ...],
    label: str = "released",
    allow_missing: bool = False,
) -> list[str]:
    """Read released files of every clip of the index and write one shard of arrays beside each shard of clips.

    Args:
        root: top folder of the official layout that holds the files.
        what: log_mel (float32 [T,1,96,64]), msai (three of these) or maskige (uint8 [T,S,S] or [T,S,S,3]).
        label: ends the names of the arrays: `vggish_mel_released`.
        allow_missing: leave clips with missing files out; a run that reads one of them stops and names it.

    Returns:
        The names of what was imported.

    Raises:
        AvsbenchError: files missing or not as published, all of them named; no shard of that split is left.
    """
    if what not in WHAT:
        raise AvsbenchError(f"cannot import {what!r}", expected=", ".join(WHAT))
    if not label or not label.replace("_", "").isalnum():
        raise AvsbenchError(f"{label!r} cannot end a name", expected="letters, digits and _")
    root = Path(root)
    places = reader_of(card, root)
    if what == MASKIGE:
        jobs = {f"{what}_{label}": (paths.features, lambda row: read_maskiges(card, root, places.places(row)))}
    else:
        jobs = {
            f"{end}_{label}": (paths.audio, lambda row, end=end: read_pickle(card, root, places.places(row), end))
            for end in layout.front_ends(card, what)
        }
    for name, (place, read) in jobs.items():
        for split in splits:
            _import_split(card, paths, split, name, place, read, allow_missing)
    return list(jobs)


def _import_split(card, paths: Paths, split: str, name: str, place: Callable, read: Callable, allow: bool) -> None:
    index = read_index(paths.index(card.name, split))
    shards = index.attrs["shards"]
    missing: list[str] = []
    wrong: list[str] = []
    forms: dict[tuple, str] = {}
    with ExitStack() as stack:
        writers = {}
        for shard in range(shards):
            with ShardReader(paths.shard(card.name, split, shard, shards), dataset=card.name, split=split) as clips:
                header = replace(clips.header, content=name)
            temporary = stack.enter_context(atomic(place(card.name, name, split, shard, shards)))
            writers[shard] = stack.enter_context(ArrayWriter(temporary, header))
        for row in tqdm(index.to_dict("records"), desc=f"import {name} {split}", unit="clip", disable=None):
            row["split"] = split
            try:
                array = read(row)
            except FileNotFoundError as error:
                missing.append(f"{row['clip_id']}: {error}")
                continue
            except AvsbenchError as error:
                wrong.append(f"{error.what} ({error.found})" if error.found else error.what)
                continue
            forms.setdefault((str(array.dtype), *array.shape[1:]), row["clip_id"])
            writers[row["shard"]].add(row["clip_id"], array)
        if len(forms) > 1:
            wrong.append("clips of different forms: " + "; ".join(f"{form} as {clip}" for form, clip in forms.items()))
        if not forms:
            wrong.append("not one clip was found")
        _decide(f"{name} of {card.name} {split}", missing, wrong, allow)
    for shard in range(shards):
        with ArrayReader(place(card.name, name, split, shard, shards), content=name) as stored:
            for clip_id in stored.clip_ids():
                stored.array(clip_id)
    _LOG.info("%s: %d of %d clips of %s %s", name, len(index) - len(missing), len(index), card.name, split)


def _decide(what: str, missing: list[str], wrong: list[str], allow: bool) -> None:
    listed = [*(f"missing  {line}" for line in missing), *(f"wrong    {line}" for line in wrong)]
    for line in listed:
        _LOG.warning("%s", line)
    if wrong or (missing and not allow):
        raise AvsbenchError(
            f"{what}: the files are not complete",
            found="; ".join([f"{len(missing)} missing, {len(wrong)} wrong", *listed[:_LISTED]]),
            expected="a file as published for every clip",
            hint="mend these; --allow-missing leaves clips without a file out (a run that needs them will stop)",
        )


def read_pickle(card: DatasetCard, root: Path, files, front_end: str) -> np.ndarray:
    """A released pickle as float32 [T,1,96,64]; the examples of an AVSS file after T must be zeros.

    Raises FileNotFoundError for a missing file, AvsbenchError for one that is not as published.
    """
    path = layout.pickle_file(card, root, files, front_end)
    if not path.is_file():
        raise FileNotFoundError(path)
    array = read_legacy_log_mel(path)
    frames = len(files.frames)
    if len(array) != card.frames:
        raise AvsbenchError(f"{path}: wrong number of examples", found=len(array), expected=card.frames)
    if array[frames:].any():
        _LOG.warning("%s: sound after the %d frames of the clip; it is left out", path, frames)
    return array[:frames]


def read_maskiges(card: DatasetCard, root: Path, files) -> np.ndarray:
    """The maskiges of a clip as stored: indices uint8 [T,H,W] (mode P) or colours uint8 [T,H,W,3] (mode RGB).

    Raises FileNotFoundError for a missing file, AvsbenchError for one that is not as published.
    """
    images = []
    for path in layout.maskige_files(card, root, files):
        if not path.is_file():
            raise FileNotFoundError(path)
        images.append(layout.read_maskige(path))
        if images[-1].shape != images[0].shape:
            raise AvsbenchError(f"{path}: another form than the clip's first", found=images[-1].shape)
    return np.stack(images)
