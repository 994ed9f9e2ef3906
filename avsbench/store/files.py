"""HDF5 files of the store: what every one says about itself, how it is written, and how damage is told from data."""

import contextlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import h5py
import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.store.disk import SafeFile

FORMAT = "avsbench-shard"
VERSION = 2
CLIPS = "clips"
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


def check_clip_id(clip_id: str) -> str:
    """`clip_id`, if it can name a group: not empty, not ".", without "/" and NUL."""
    if not clip_id or clip_id == "." or "/" in clip_id or "\0" in clip_id:
        raise AvsbenchError(f"{clip_id!r} cannot name a clip", expected="a name without '/', not empty and not '.'")
    return clip_id


class FileWriter:
    """Context manager around an HDF5 file; a full disk is one OSError, raised by `add` or at the end."""

    def __init__(self, path: str | Path, header: Header):
        self.path, self.header = Path(path), header
        self._sink = SafeFile(path)
        # A fixed version, so that the bytes do not change with the library's default. The structure of this one carries
        # checksums; in older ones a flipped bit can send HDF5 into an endless loop.
        self._file = h5py.File(self._sink, "w", libver=("v110", "v110"))
        for name, value in {"format": FORMAT, "version": VERSION, **asdict(header)}.items():
            set_attribute(self._file, name, value)

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


def set_attribute(place, name: str, value: object) -> None:
    """An attribute; text in place and not, as is usual, in a heap without checksum."""
    place.attrs[name] = np.array(value.encode(), "S") if isinstance(value, str) else value


def get_attribute(place, name: str):
    value = place.attrs[name]
    return value.decode() if isinstance(value, bytes) else value


class FileReader:
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
            raise AvsbenchError(f"{path}: no such shard", hint="`avsbench extract`, `audio` or `features` writes it")
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
            attributes = {name: get_attribute(self._file, name) for name in self._file.attrs}
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


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
