"""Archives in several files read as one: plain pieces (`x.zip.001 …`, `x.tar.aa …`) and spanned zips (`x.z01 … x.zip`).

Plain pieces joined are the archive. A spanned zip is not that simple: its directory gives places as (number of the
piece, offset in the piece), which no reader of single files understands. So the joined pieces get a directory of their
own behind them, with places counted from the beginning (the format: APPNOTE of PKWARE, sections 4.3 to 4.5).
"""

import io
import re
import struct
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

from avsbench.errors import AvsbenchError

_PIECE = re.compile(r"(?P<stem>.+\.(?:zip|tar|tgz|gz|bz2|xz))\.(?:part)?(?P<number>\d{1,4}|(?!gz|xz)[a-z]{2})", re.I)
_SPANNED = re.compile(r"(?P<stem>.+)\.z(?P<number>\d{2,4})", re.I)
_COPY_LATER = "copy or download the missing pieces into the same folder"

_END, _END64, _LOCATOR64, _ENTRY = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02"
_ENTRY_HEAD = struct.Struct("<4s6H3L5H2L")
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF


def piece_of(path: Path) -> tuple[str, str] | None:
    """(name of the whole archive, number) if a file's name is that of a piece, else None."""
    if match := _PIECE.fullmatch(path.name) or _SPANNED.fullmatch(path.name):
        spanned = match.re is _SPANNED
        return match["stem"] + (".zip" if spanned else ""), match["number"].lower()
    return None


def pieces(path: Path) -> list[Path]:
    """All pieces, in order, of the archive that `path` is or is a piece of.

    Raises AvsbenchError naming the first piece that is missing from the sequence.
    """
    piece = piece_of(path)
    whole = path.with_name(piece[0]) if piece else path
    numbered = {}
    for file in path.parent.iterdir():
        found = piece_of(file)
        if found and found[0].lower() == whole.name.lower() and file.is_file():
            numbered[found[1]] = file
    spanned = [file for file in numbered.values() if _SPANNED.fullmatch(file.name)]
    if spanned:
        last = next((file for file in path.parent.iterdir() if file.name.lower() == whole.name.lower()), None)
        if last is None:
            raise AvsbenchError(f"{whole}: the last piece of a spanned zip is missing", hint=_COPY_LATER)
        numbered = {number: file for number, file in numbered.items() if file in spanned}
        return [*_in_sequence(whole, numbered, first=1), last]
    if whole.is_file() and not piece:
        return [whole]
    return _in_sequence(whole, numbered)


def _in_sequence(whole: Path, numbered: dict[str, Path], first: int | None = None) -> list[Path]:
    """Pieces sorted by number or letters, checked for gaps."""
    places = {_ordinal(number): file for number, file in numbered.items()}
    start = min(0 if 0 in places else 1, *places) if first is None else first
    for place in range(start, max(places) + 1):
        if place not in places:
            raise AvsbenchError(
                f"{whole}: piece number {place} of the archive is missing",
                found=", ".join(file.name for _, file in sorted(places.items())[:8]),
                expected=f"pieces {start} to {max(places)} without a gap",
                hint=_COPY_LATER,
            )
    return [places[place] for place in sorted(places)]


def _ordinal(number: str) -> int:
    return int(number) if number.isdigit() else 26 * (ord(number[0]) - 97) + ord(number[1]) - 97


class Joined(io.RawIOBase):
    """Files, and perhaps bytes behind them, read as one."""

    def __init__(self, files: list[Path], tail: bytes = b""):
        self._files: list[io.BufferedIOBase] = [open(file, "rb") for file in files]  # noqa: SIM115 - closed by close()
        sizes = [file.stat().st_size for file in files]
        if tail:
            self._files.append(io.BytesIO(tail))
            sizes.append(len(tail))
        self.starts = [0, *accumulate(sizes)]
        self._position = 0

    @property
    def size(self) -> int:
        return self.starts[-1]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence] + offset
        if position < 0:
            raise OSError("position before the beginning of the file")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        if self._position >= self.size:
            return 0
        index = bisect_right(self.starts, self._position) - 1
        view = memoryview(buffer)[: self.starts[index + 1] - self._position]
        self._files[index].seek(self._position - self.starts[index])
        count = self._files[index].readinto(view)
        self._position += count
        return count

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def open_pieces(files: list[Path]) -> io.BufferedReader:
    """Pieces of an archive as one file, for `zipfile` or `tarfile`.

    Raises AvsbenchError for a spanned zip whose end does not fit its pieces.
    """
    if len(files) > 1 and _SPANNED.fullmatch(files[0].name):
        return io.BufferedReader(Joined(files, _directory(files)))
    return io.BufferedReader(Joined(files))


def _directory(files: list[Path]) -> bytes:
    """The directory of a spanned zip, written anew for the joined pieces."""
    last = files[-1]
    with io.BufferedReader(Joined(files)) as joined:
        starts = joined.raw.starts
        try:
            end = _end_record(joined, starts, last)
            joined.seek(starts[end["disk"]] + end["offset"])
            entries = joined.read(end["size"])
            directory = b"".join(_moved(entries, starts, end["entries"]))
        except (struct.error, IndexError, ValueError, OSError) as error:
            raise AvsbenchError(f"{last}: the end of the spanned zip is damaged", found=error) from None
        return directory + _new_end(joined.raw.size, len(directory), end["entries"])


def _end_record(joined: io.BufferedReader, starts: list[int], last: Path) -> dict[str, int]:
    """What the end says about the directory: `disk` (number of its piece), `offset` in it, `size` and `entries`."""
    joined.seek(max(0, starts[-1] - 22 - _MAX16 - 76))
    tail = joined.read()
    place = tail.rfind(_END)
    if place < 0:
        raise ValueError("no end record")
    disk, directory_disk, _, entries, size, offset = struct.unpack_from("<4H2L", tail, place + 4)
    end = {"disk": directory_disk, "entries": entries, "size": size, "offset": offset}
    locator = place - 20
    wide = locator >= 0 and tail[locator : locator + 4] == _LOCATOR64
    if wide:
        end64_disk, end64_offset, disks = struct.unpack_from("<LQL", tail, locator + 4)
    else:
        disks = disk + 1
    if disks != len(starts) - 1:
        raise AvsbenchError(
            f"{last}: the pieces of the spanned zip are not complete",
            found=f"{len(starts) - 1} pieces",
            expected=disks,
            hint=_COPY_LATER,
        )
    if wide:
        joined.seek(starts[end64_disk] + end64_offset)
        record = joined.read(56)
        if record[:4] != _END64:
            raise ValueError("no zip64 end record")
        _, directory_disk, _, entries, size, offset = struct.unpack_from("<2L4Q", record, 16)
        end = {"disk": directory_disk, "entries": entries, "size": size, "offset": offset}
    return end


def _moved(directory: bytes, starts: list[int], count: int):
    """Every entry of the directory, with the place of its data counted from the first piece."""
    position = 0
    for _ in range(count):
        head = list(_ENTRY_HEAD.unpack_from(directory, position))
        if head[0] != _ENTRY:
            raise ValueError("an entry of the directory is damaged")
        name_length, extra_length, comment_length = head[10:13]
        body = position + _ENTRY_HEAD.size
        name = directory[body : body + name_length]
        extra = directory[body + name_length : body + name_length + extra_length]
        position = body + name_length + extra_length + comment_length
        compressed, size, disk, offset = head[8], head[9], head[13], head[16]
        wide, others = _split_extra(extra)
        if size == _MAX32:
            size, wide = struct.unpack_from("<Q", wide)[0], wide[8:]
        if compressed == _MAX32:
            compressed, wide = struct.unpack_from("<Q", wide)[0], wide[8:]
        if offset == _MAX32:
            offset, wide = struct.unpack_from("<Q", wide)[0], wide[8:]
        if disk == _MAX16:
            disk = struct.unpack_from("<L", wide)[0]
        # Sizes and place all as 64 bits: one form for every entry.
        extra = struct.pack("<2H3Q", 1, 24, size, compressed, starts[disk] + offset) + others
        head[8:10], head[11:14], head[16] = [_MAX32, _MAX32], [len(extra), 0, 0], _MAX32
        yield _ENTRY_HEAD.pack(*head) + name + extra


def _split_extra(extra: bytes) -> tuple[bytes, bytes]:
    """The zip64 field of an entry, and its other fields."""
    wide, others, position = b"", b"", 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        field = extra[position : position + 4 + length]
        position += 4 + length
        if kind == 1:
            wide = field[4:]
        else:
            others += field
    return wide, others


def _new_end(start: int, size: int, entries: int) -> bytes:
    """End records (zip64, locator, plain) of a directory of `size` bytes at `start`."""
    end64 = struct.pack("<4sQ2H2L4Q", _END64, 44, 45, 45, 0, 0, entries, entries, size, start)
    locator = struct.pack("<4sLQL", _LOCATOR64, 0, start + size, 1)
    end = struct.pack("<4s4H2LH", _END, 0, 0, _MAX16, _MAX16, _MAX32, _MAX32, 0)
    return end64 + locator + end
