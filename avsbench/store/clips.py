"""The clips of one split as a torch data set, read from shards."""

import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError
from avsbench.features import MASKIGE, PROPOSALS
from avsbench.features.maskige import coloured
from avsbench.media.sound import Sound
from avsbench.paths import Paths
from avsbench.store.files import FileReader
from avsbench.store.masks import MaskReader
from avsbench.store.originals import NativeReader
from avsbench.store.shards import REBUILD, ArrayReader, ShardReader
from avsbench.store.tables import read_index

Transform = Callable[[dict, torch.Generator], dict]


class ClipDataset(Dataset):
    """The clips of one split in csv order, from shards.

    An item is a dict: clip_id; position (csv row in the split); frames uint8 [T,3,H,W]; real bool [T], all True; audio
    {front end: float32 [T,...]}; features {name: [T,...]} of the type and shape that `avsbench.features.FEATURES` says,
    a maskige in colours; and with `masks` also masks int64 [T,H,W] (255 = ignore or not annotated) and annotated bool
    [T]. T is the clip's own number of frames. Each call gives fresh tensors.

    Files are opened when they are first needed, by each process for itself.

    Args:
        paths: where data of this scale lie.
        card: the data-set card.
        split: train, val or test.
        front_ends: names of audio front ends to read.
        features: names of derived arrays to read, or name -> name in the store.
        transform: augmentation, (clip, generator) -> clip; may change its argument.
        masks: read masks; without them a batch has None for masks and annotated.
        cache: keep what was read in memory (frames and masks as bytes); for data sets that fit.
        arrays: front end -> name of the imported arrays that are read in its place.
        native: pictures of the original size, decoded from the shards of originals.
        image_size: if given, the side that stored frames must have (of no effect where clips keep their own size).

    Raises:
        AvsbenchError: no index or a damaged one, another data set, split or image size; when reading, a damaged shard.
    """

    def __init__(
        self,
        paths: Paths,
        card: DatasetCard,
        split: str,
        front_ends: Sequence[str] = (),
        features: Sequence[str] | Mapping[str, str] = (),
        transform: Transform | None = None,
        masks: bool = True,
        *,
        cache: bool = False,
        image_size: int | None = None,
        native: bool = False,
        arrays: Mapping[str, str] | None = None,
    ):
        self.paths, self.card, self.split = paths, card, split
        self.front_ends = tuple(front_ends)
        self.features = dict(features) if isinstance(features, Mapping) else {name: name for name in features}
        self.transform, self.masks, self.cache = transform, masks, cache
        self.arrays = dict(arrays or {})
        self.native = native and not card.native  # where clips keep their size, shards hold the originals
        path = paths.index(card.name, split)
        self.index = read_index(path)
        about = self.index.attrs
        expected = {"dataset": card.name, "split": split, "image_size": about["image_size"]}
        if image_size is not None:
            expected["image_size"] = card.stored_size(image_size)
        for name, value in expected.items():
            if about[name] != value:
                raise AvsbenchError(
                    f"{path}: the index is of another {name.replace('_', ' ')}",
                    found=about[name],
                    expected=value,
                    hint=REBUILD,
                )
        self.image_size: int = about["image_size"]
        self._shards: int = about["shards"]
        self._rows = self.index.assign(annotated=self.index["annotated"].map(_flags)).to_dict("records")
        self._kept: dict[int, dict] = {}
        self._open: dict[str, FileReader] = {}
        self._process = os.getpid()

    @property
    def clip_ids(self) -> list[str]:
        return [row["clip_id"] for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> dict:
        """Item `number`, with the augmentation of seed 0, epoch 0. `make_loader` passes its own."""
        return self.item(number, seed=0, epoch=0)

    def item(self, number: int, seed: int, epoch: int, change: Callable[[dict], dict] | None = None) -> dict:
        """Item `number`, with the augmentation that belongs to this seed and epoch; `change` comes before it."""
        clip = self._item(self._load(number))
        if change is not None:
            clip = change(clip)
        if self.transform is None:
            return clip
        return self.transform(clip, seeded_generator("clip", seed, epoch, clip["position"]))

    def preload(self) -> None:
        """Read every clip into the cache; worker processes that start afterwards share the memory."""
        self.cache = True
        for number in range(len(self)):
            self._load(number)

    def close(self) -> None:
        """Close the files of this process; they open again when needed."""
        for reader in self._open.values():
            reader.close()
        self._open.clear()

    def __enter__(self) -> "ClipDataset":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __getstate__(self) -> dict:
        # Open HDF5 files do not travel to another process.
        return {**self.__dict__, "_open": {}}

    def _load(self, number: int) -> dict:
        """What the store holds of a clip, as compact tensors."""
        if number in self._kept:
            return self._kept[number]
        row = self._rows[number]
        clip_id, shard = row["clip_id"], row["shard"]
        source = self._originals(shard) if self.native else self._shard(shard)
        frames, masks = source.pictures(clip_id, row["annotated"] if self.masks else None)
        clip = {
            "clip_id": clip_id,
            "position": row["position"],
            "frames": torch.from_numpy(frames),
            "masks": torch.from_numpy(masks) if self.masks else None,
            "annotated": torch.from_numpy(row["annotated"].copy()) if self.masks else None,
            "audio": {name: self._array("audio", self.arrays.get(name, name), shard, row) for name in self.front_ends},
            "features": {name: self._feature(name, shard, row, frames.shape[2:]) for name in self.features},
        }
        if self.cache:
            self._kept[number] = clip
        return clip

    def _item(self, stored: dict) -> dict:
        """An item that shares no memory with the cache."""
        own = torch.clone if self.cache else lambda fresh: fresh
        clip = {"clip_id": stored["clip_id"], "position": stored["position"], "frames": own(stored["frames"])}
        clip["real"] = torch.ones(len(clip["frames"]), dtype=torch.bool)
        if self.masks:
            clip["masks"] = stored["masks"].long()
            clip["annotated"] = own(stored["annotated"])
        for kind in ("audio", "features"):
            clip[kind] = {name: own(array) for name, array in stored[kind].items()}
        if MASKIGE in clip["features"]:  # kept as indices: a third of the memory
            clip["features"][MASKIGE] = torch.from_numpy(coloured(clip["features"][MASKIGE].numpy()))
        return clip

    def sounds(self, clip_id: str) -> list[Sound]:
        """The sources of a clip, as their files stored them."""
        return self._shard(self._rows[self._places[clip_id]]["shard"]).sounds(clip_id)

    def stored_frames(self, clip_id: str) -> np.ndarray:
        """The frames of a clip as features are derived of them, uint8 [T,H,W,3]."""
        pictures, _ = self._shard(self._rows[self._places[clip_id]]["shard"]).pictures(clip_id, None)
        return pictures.transpose(0, 2, 3, 1)

    def original_size(self, clip_id: str) -> tuple[int, int]:
        """(H, W) of the original pictures of a clip."""
        row = self._rows[self._places[clip_id]]
        if self.card.native:
            return row["height"], row["width"]
        return self._originals(row["shard"]).size(clip_id)

    def original_masks(self, number: int) -> np.ndarray:
        """Masks of item `number` at the original size, uint8 [T,H,W]."""
        row = self._rows[number]
        source = self._shard(row["shard"]) if self.card.native else self._originals(row["shard"])
        return source.masks(row["clip_id"], row["annotated"])

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {row["clip_id"]: number for number, row in enumerate(self._rows)}

    def _originals(self, number: int) -> NativeReader:
        path = self.paths.native(self.card.name, self.split, number, self._shards)
        return self._reader(NativeReader, path, {}, number)

    def _shard(self, number: int) -> ShardReader:
        path = self.paths.shard(self.card.name, self.split, number, self._shards)
        return self._reader(ShardReader, path, {"image_size": self.image_size}, number)

    def _array(self, kind: str, name: str, number: int, row: dict, packed: bool = False) -> torch.Tensor:
        path = getattr(self.paths, kind)(self.card.name, name, self.split, number, self._shards)
        reader = self._reader(MaskReader if packed else ArrayReader, path, {"content": name}, number)
        array = reader.stacked(row["clip_id"]) if packed else reader.array(row["clip_id"])
        if len(array) != row["frames"]:
            raise AvsbenchError(
                f"{path}: clip {row['clip_id']} has another number of frames than in the shard of pictures",
                found=len(array),
                expected=row["frames"],
                hint=REBUILD,
            )
        return torch.from_numpy(array)

    def _feature(self, name: str, number: int, row: dict, size: tuple[int, int]) -> torch.Tensor:
        packed = name == PROPOSALS
        array = self._array("features", self.features[name], number, row, packed)
        found = array.shape[2:] if packed else array.shape[1:3]
        if name in (MASKIGE, PROPOSALS) and found != size:
            raise AvsbenchError(
                f"{self.features[name]}: the {name}s of clip {row['clip_id']} are of another size than its frames",
                found=f"{list(found)}",
                expected=f"{list(size)}",
                hint=f"a method that sees original pictures (native: true) cannot see {name}s; else: " + REBUILD,
            )
        return array

    def _reader(self, kind: type, path: str, expect: dict, number: int):
        """The open file, opened now if this process has not yet."""
        if self._process != os.getpid():
            # A forked worker must neither read through its parent's files nor close them.
            self._open, self._process = {}, os.getpid()
        if path not in self._open:
            self._open[path] = kind(
                path, dataset=self.card.name, split=self.split, shard=number, shards=self._shards, **expect
            )
        return self._open[path]


def _flags(annotated) -> np.ndarray:
    return np.asarray(annotated, bool)


def seeded_generator(*names: object) -> torch.Generator:
    """A generator whose stream is decided by `names` and unrelated to that of any other names."""
    digest = hashlib.blake2b("\0".join(map(str, names)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
