"""HDF5 shards of clips, and shards of one array a clip (front ends, features).

A shard of clips, one group a clip:

    /                       attrs format, version, content "clips", dataset, scale, split, shard, shards, image_size
    /<clip id>              attrs position, category, part, annotated (bool [T])
    /<clip id>/frames       uint8 [T,3,H,W]
    /<clip id>/masks        uint8 [A,H,W] of the A annotated frames; class ids, 255 = ignore
    /<clip id>/sound/<i>    [N,channels] in the type of its file; attrs rate, subtype, category, position

Pictures are plain and in the order that a network wants, so that reading a clip is one read of the disk and no work.
H = W = `image_size`, the S of the house, except where that is 0: there every clip keeps its own size (VPO).

A shard of arrays has the same attributes, with the name of the front end or feature as content, and one data set
/<clip id> [T,...] a clip. The same input gives the same bytes: nothing holds a date.
"""

import contextlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import h5py
import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.media.sound import Sound
from avsbench.store.disk import SafeFile

FORMAT = "avsbench-shard"
VERSION = 2
CLIPS = "clips"
UNANNOTATED = 255
"""Mask value all over a frame without annotation."""
REBUILD = "delete this file and run the same command again; it is built anew"

_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises on damaged files, depending on where the damage lies."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a shard says about itself.

    Attributes:
        dataset, scale, split: what its clips belong to.
        shard, shards: its number, from 0, and how many there are.
        image_size: side S of the stored frames in pixels; 0 where each clip keeps its own size.
        content: "clips", or the name of a front end or feature.
    """

    dataset: str
    scale: str
    split: str
    shard: int
    shards: int
    image_size: int
    content: str = CLIPS


@dataclass
class StoredClip:
    """The pictures of one clip.

    Attributes:
        frames: uint8 [T,H,W,3].
        masks: uint8 [T,H,W], 255 in frames without annotation; None when they were not asked for.
        annotated: bool [T].
        position: row number of the clip in its split, in csv order.
        category, part: as in the index.
    """

    frames: np.ndarray
    masks: np.ndarray | None
    annotated: np.ndarray
    position: int
    category: str
    part: str


def check_clip_id(clip_id: str) -> str:
    """`clip_id`, if it can name a group: not empty, not ".", without "/" and NUL."""
    if not clip_id or clip_id == "." or "/" in clip_id or "\0" in clip_id:
        raise AvsbenchError(f"{clip_id!r} cannot name a clip", expected="a name without '/', not empty and not '.'")
    return clip_id


# writing


class _Writer:
    """Context manager around an HDF5 file; a full disk is one OSError, raised by `add` or at the end."""

    def __init__(self, path: str | Path, header: Header):
        self.path, self.header = Path(path), header
        self._sink = SafeFile(path)
        # A fixed version, so that the bytes do not change with the library's default. The structure of this one carries
        # checksums; in older ones a flipped bit can send HDF5 into an endless loop.
        self._file = h5py.File(self._sink, "w", libver=("v110", "v110"))
        for name, value in {"format": FORMAT, "version": VERSION, **asdict(header)}.items():
            _set(self._file, name, value)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            self._file.close()
        finally:
            self._sink.close()
        if kind is None:
            self._sink.check()
        return False


class ShardWriter(_Writer):
    """Writes clips. Use inside `paths.atomic`: the file is complete only after the context ended without an error."""

    def add(
        self,
        clip_id: str,
        *,
        frames: np.ndarray,
        masks: np.ndarray,
        annotated: np.ndarray,
        sounds: list[Sound],
        position: int,
        category: str = "",
        part: str = "",
    ) -> None:
        """Add one clip. Raises OSError when the disk is full, AvsbenchError for a name that HDF5 cannot hold."""
        group = self._file.create_group(check_clip_id(clip_id))
        _set(group, "position", int(position))
        _set(group, "category", category)
        _set(group, "part", part)
        _set(group, "annotated", np.asarray(annotated, bool))
        group.create_dataset("frames", data=np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
        group.create_dataset("masks", data=masks[np.asarray(annotated, bool)])
        track = group.create_group("sound")
        for index, sound in enumerate(sounds):
            stored = track.create_dataset(str(index), data=sound.samples)
            _set(stored, "rate", int(sound.rate))
            _set(stored, "subtype", sound.subtype)
            _set(stored, "category", sound.category)
            _set(stored, "position", float(sound.position))
        self._sink.check()


class ArrayWriter(_Writer):
    """Writes one array a clip."""

    def add(self, clip_id: str, array: np.ndarray) -> None:
        """Add the array [T,...] of one clip."""
        self._file.create_dataset(check_clip_id(clip_id), data=array)
        self._sink.check()


def _set(place, name: str, value: object) -> None:
    """An attribute; text in place and not, as is usual, in a heap without checksum."""
    place.attrs[name] = np.array(value.encode(), "S") if isinstance(value, str) else value


def _get(place, name: str):
    value = place.attrs[name]
    return value.decode() if isinstance(value, bytes) else value


# reading


class _Reader:
    """An open shard. Not shared between processes: open one in each.

    Args:
        path: the file.
        expect: values of `Header` that the file must have, e.g. dataset="s4", image_size=224.

    Raises:
        AvsbenchError: missing, truncated or damaged file, another version, or not the shard that was asked for.
    """

    def __init__(self, path: str | Path, **expect):
        self.path = Path(path)
        if not self.path.is_file():
            raise AvsbenchError(f"{path}: no such shard", hint="`avsbench extract` or `avsbench audio` writes it")
        try:
            self._file = h5py.File(self.path, "r", locking="best-effort")
        except _BROKEN as error:
            raise AvsbenchError(
                f"{path}: the shard is truncated or damaged",
                found=f"{self.path.stat().st_size} bytes; {_first_line(error)}",
                expected="a complete HDF5 file",
                hint=REBUILD,
            ) from None
        try:
            self.header = self._read_header()
            self._check(expect)
        except BaseException:
            self._file.close()
            raise

    def _read_header(self) -> Header:
        with self._readable("its header"):
            attributes = {name: _get(self._file, name) for name in self._file.attrs}
        found = (attributes.get("format"), attributes.get("version"))
        if found != (FORMAT, VERSION):
            raise AvsbenchError(
                f"{self.path}: a file of another format or version",
                found=f"format {found[0]}, version {found[1]}",
                expected=f"format {FORMAT}, version {VERSION}",
                hint=REBUILD,
            )
        with self._readable("its header"):
            return Header(**{f.name: f.type(attributes[f.name]) for f in fields(Header)})

    def _check(self, expect: dict) -> None:
        for name, value in expect.items():
            found = getattr(self.header, name)
            if found != value:
                raise AvsbenchError(
                    f"{self.path}: the shard was written for another {name.replace('_', ' ')}",
                    found=f"{name} {found}",
                    expected=f"{name} {value}",
                    hint=REBUILD,
                )

    def clip_ids(self) -> list[str]:
        """Names of the clips, sorted."""
        with self._readable("the list of clips"):
            return sorted(self._file)

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._file

    def __len__(self) -> int:
        return len(self._file)

    def close(self) -> None:
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @contextlib.contextmanager
    def _readable(self, what: str):
        """Turns what h5py raises on damaged files into an error that names the file and what to do."""
        try:
            yield
        except _BROKEN as error:
            raise AvsbenchError(
                f"{self.path}: the shard is damaged, {what} cannot be read", found=_first_line(error), hint=REBUILD
            ) from None

    def _entry(self, clip_id: str):
        if clip_id not in self._file:
            raise AvsbenchError(
                f"{self.path}: the shard has no clip {clip_id}",
                found=f"{len(self)} clips",
                hint="the index and the shard are of different dates: " + REBUILD,
            )
        return self._file[clip_id]

    def _whole(self, clip_id: str, name: str = "") -> np.ndarray:
        """The data set of a clip (with `name`: that one of its group) in one read, past h5py's slower objects."""
        try:
            stored = h5py.h5d.open(self._file.id, f"{clip_id}/{name}".rstrip("/").encode())
        except KeyError:
            self._entry(clip_id)
            raise
        array = np.empty(stored.shape, stored.dtype)
        if array.size:
            stored.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
        return array


class ShardReader(_Reader):
    """Reads clips. `header.content` must be "clips"."""

    def __init__(self, path: str | Path, **expect):
        super().__init__(path, content=CLIPS, **expect)

    def clip(self, clip_id: str, masks: bool = True) -> StoredClip:
        """Frames, and masks unless not wanted, of one clip."""
        with self._readable(f"clip {clip_id}"):
            group = self._entry(clip_id)
            annotated = np.asarray(group.attrs["annotated"], bool)
            frames, found = self.pictures(clip_id, annotated if masks else None)
            return StoredClip(
                frames=frames.transpose(0, 2, 3, 1),
                masks=found,
                annotated=annotated,
                position=int(group.attrs["position"]),
                category=_get(group, "category"),
                part=_get(group, "part"),
            )

    def pictures(self, clip_id: str, annotated: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """What training reads of one clip: frames uint8 [T,3,H,W] and, if `annotated` is given, masks uint8 [T,H,W].

        Args:
            annotated: bool [T] as the index holds it, to which frames the stored masks belong.
        """
        with self._readable(f"clip {clip_id}"):
            frames = self._whole(clip_id, "frames")
            if annotated is None:
                return frames, None
            stored = self._whole(clip_id, "masks")
            if annotated.all():
                return frames, stored
            masks = np.full((len(frames), *stored.shape[1:]), UNANNOTATED, np.uint8)
            masks[annotated] = stored
            return frames, masks

    def sounds(self, clip_id: str) -> list[Sound]:
        """The sources of one clip, as their files stored them."""
        with self._readable(f"the sound of clip {clip_id}"):
            track = self._entry(clip_id)["sound"]
            stored = [track[str(index)] for index in range(len(track))]
            return [
                Sound(
                    samples=entry[()],
                    rate=int(entry.attrs["rate"]),
                    subtype=_get(entry, "subtype"),
                    category=_get(entry, "category"),
                    position=float(entry.attrs["position"]),
                )
                for entry in stored
            ]

    def row(self, clip_id: str) -> dict:
        """What the index says of a clip, from attributes and shapes alone: no array is read."""
        with self._readable(f"clip {clip_id}"):
            group = self._entry(clip_id)
            frames, _, height, width = group["frames"].shape
            return {
                "clip_id": clip_id,
                "position": int(group.attrs["position"]),
                "shard": self.header.shard,
                "frames": frames,
                "height": height,
                "width": width,
                "category": _get(group, "category"),
                "part": _get(group, "part"),
                "annotated": [bool(flag) for flag in group.attrs["annotated"]],
            }


class ArrayReader(_Reader):
    """Reads one array a clip."""

    def array(self, clip_id: str) -> np.ndarray:
        """The array [T,...] of one clip."""
        with self._readable(f"clip {clip_id}"):
            return self._whole(clip_id)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
