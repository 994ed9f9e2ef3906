"""Unpack archives that people bring: zip, tar, tar.gz, tar.bz2, tar.xz, whole or in pieces, without trusting them.

A name that leaves the folder, a link, a device, a second file of the same name with other content, or more files and
bytes than such an archive can honestly hold: each is an error that names the archive and the member, and nothing stays.
"""

import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from tqdm import tqdm

from avsbench.datasets.archive_parts import open_pieces, piece_of, pieces
from avsbench.errors import AvsbenchError

_ZIP = (".zip",)
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
_OTHER = (".7z", ".rar", ".zst")
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_DRIVE = re.compile(r"[A-Za-z]:")
_CHUNK = 1 << 20
# What zipfile, tarfile and the decompressors raise for bytes that are no sound archive (RuntimeError: unknown method).
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)
BY_HAND = "unpack it with another program where there is room, and name the folder in the configuration"


@dataclass(frozen=True)
class Limits:
    """What an honest archive of a data set stays below.

    Attributes:
        members: files and folders in it.
        ratio: unpacked bytes for each byte of the archive; pictures, videos and sounds stay below 3.
        floor: unpacked bytes that are never too many, however small the archive.
    """

    members: int = 3_000_000
    ratio: float = 100.0
    floor: int = 64 << 20


class _Member(NamedTuple):
    name: str
    kind: str  # "file", "folder", or what else it is
    size: int
    open: object  # () -> file object with the content
    packed: int  # bytes in the archive, for the progress bar


def is_archive(path: Path) -> bool:
    """True for a file whose name is that of an archive or of a piece of one, of a kind that can be unpacked or not."""
    piece = piece_of(path)
    name = (piece[0] if piece else path.name).lower()
    return name.endswith((*_ZIP, *_TAR, *_OTHER))


def archives_in(folder: Path) -> list[Path]:
    """The archives that lie in a folder, sorted; of one in pieces the first piece alone."""
    found, seen = [], set()
    for path in sorted(folder.iterdir()):
        piece = piece_of(path)
        whole = (piece[0] if piece else path.name).lower()
        if path.is_file() and is_archive(path) and whole not in seen and not path.name.startswith("."):
            seen.add(whole)
            found.append(path)
    return found


def fingerprint(archives: list[Path]) -> list:
    """Name, size and time of every piece: equal where the files are the same ones, untouched."""
    files = [file for archive in archives for file in pieces(archive)]
    return [[str(file.resolve()), file.stat().st_size, int(file.stat().st_mtime)] for file in files]


def unpacked_bytes(archive: Path) -> int:
    """Bytes that an archive unpacks to: as a zip's own directory says, else what the compression is worth at most."""
    files = pieces(archive)
    if _whole_name(archive).endswith(_ZIP):
        with _reading(archive), open_pieces(files) as file, zipfile.ZipFile(file) as opened:
            return sum(info.file_size for info in opened.infolist())
    size = sum(file.stat().st_size for file in files)
    # Media barely shrink; a fifth more is on the safe side.
    return size if _whole_name(archive).endswith(".tar") else int(1.2 * size)


def unpack(archive: Path, folder: Path, limits: Limits | None = None) -> int:
    """Unpack an archive (or the one that `archive` is a piece of) into an existing folder; returns the number of files.

    What it wrote before an error stays: use it inside `atomic_folder`.

    Raises:
        AvsbenchError: a piece is missing, the archive is damaged, encrypted, of an unknown kind, or not to be trusted.
    """
    limits = limits or Limits()
    files = pieces(archive)
    size = sum(file.stat().st_size for file in files)
    budget = max(limits.floor, int(limits.ratio * size))
    written = count = 0
    bar = tqdm(total=size, unit="B", unit_scale=True, disable=None, desc=f"unpack {archive.name}", leave=False)
    with bar, _reading(archive), open_pieces(files) as file:
        for number, member in enumerate(_members(archive, file), start=1):
            if number > limits.members:
                raise _distrust(archive, member.name, "too many members", f"at most {limits.members}")
            bar.update(member.packed)
            place = safe_name(archive, member.name)
            if place is None:
                continue
            if member.kind not in ("file", "folder"):
                raise _distrust(archive, member.name, member.kind, "files and folders only")
            target = folder / place
            with _placing(archive, member.name):
                (target if member.kind == "folder" else target.parent).mkdir(parents=True, exist_ok=True)
            if member.kind == "file":
                with member.open() as content:
                    written += _write(archive, member.name, content, target, budget - written)
                count += 1
    return count


def safe_name(archive: Path, name: str) -> PurePosixPath | None:
    """Where a member goes, relative and below the folder; None for what is not data (a Mac's notes, the folder itself).

    Raises AvsbenchError for a name that is absolute, climbs with `..`, names a drive, or cannot be a file name.
    """
    flat = name.replace("\\", "/")
    parts = [part for part in flat.split("/") if part not in ("", ".")]
    try:
        longest = max((len(part.encode("utf-8", "surrogateescape")) for part in parts), default=0)
    except UnicodeEncodeError:
        raise _distrust(archive, name, "a name that is no text", "a relative path") from None
    if flat.startswith("/") or ".." in parts or any(_DRIVE.match(part) for part in parts[:1]):
        raise _distrust(archive, name, "a name that leads out of the folder", "a relative path without ..")
    if "\0" in name or longest > 255:
        raise _distrust(archive, name, "a name that no file can have", "names of 255 bytes at most, without NUL")
    if not parts or any(part in _JUNK or part.startswith("._") for part in parts):
        return None
    return PurePosixPath(*parts)


def _members(archive: Path, file: BinaryIO) -> Iterator[_Member]:
    """The members in the order of the archive; each must be read before the next."""
    name = _whole_name(archive)
    if name.endswith(_ZIP):
        yield from _zip_members(archive, file)
    elif name.endswith(_TAR):
        yield from _tar_members(file)
    else:
        raise AvsbenchError(
            f"{archive}: an archive of a kind that is not read here", expected="zip, tar, tar.gz, tar.bz2 or tar.xz",
            hint=BY_HAND,
        )  # fmt: skip


def _zip_members(archive: Path, file: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as opened:
        for info in opened.infolist():
            mode = info.external_attr >> 16
            kind = "folder" if info.orig_filename.endswith(("/", "\\")) else "file"
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "a link" if stat.S_ISLNK(mode) else "a device"
            if info.flag_bits & 0x1 and kind == "file":
                raise AvsbenchError(f"{archive}: {info.filename}: encrypted", hint=BY_HAND)
            # The name as the archive holds it: the other one is cut at NUL.
            yield _Member(
                info.orig_filename, kind, info.file_size, lambda info=info: opened.open(info), info.compress_size
            )


def _tar_members(file: BinaryIO) -> Iterator[_Member]:
    before = 0
    with tarfile.open(fileobj=file, mode="r:*") as opened:
        for info in opened:
            kind = "file" if info.isreg() else "folder" if info.isdir() else "a device"
            if info.issym() or info.islnk():
                kind = f"a link to {info.linkname!r}"
            now = file.tell()
            yield _Member(info.name, kind, info.size, lambda info=info: opened.extractfile(info), max(0, now - before))
            before = max(before, now)
            opened.members.clear()  # or hundreds of thousands of them stay in memory
        if opened.fileobj is file:
            # A plain tar that was cut off, or damaged between two members, looks like the end to `tarfile`.
            file.seek(opened.offset)
            if file.read(512) != bytes(512):
                raise tarfile.ReadError(f"it breaks off at byte {opened.offset}")


def _write(archive: Path, name: str, content: BinaryIO, target: Path, budget: int) -> int:
    """Write one file that must not exist, or have the same content; returns its bytes, at most `budget`."""
    written = 0
    with _placing(archive, name):
        again = target.is_file()
        file = open(target, "rb" if again else "xb")  # noqa: SIM115 - closed below
    with file:
        while chunk := content.read(_CHUNK):
            written += len(chunk)
            if written > budget:
                raise _distrust(
                    archive, name, "far more content than the size of the archive allows", "no compression bomb"
                )
            with _placing(archive, name):
                same = file.read(len(chunk)) == chunk if again else file.write(chunk) == len(chunk)
            if not same:
                raise _distrust(archive, name, "two members of this name with different content", "one")
        if again and file.read(1):
            raise _distrust(archive, name, "two members of this name with different content", "one")
    return written


def _whole_name(archive: Path) -> str:
    piece = piece_of(archive)
    return (piece[0] if piece else archive.name).lower()


def _distrust(archive: Path, name: str, found: str, expected: str) -> AvsbenchError:
    return AvsbenchError(
        f"{archive}: the member {name[:200]!r} is not unpacked",
        found=found,
        expected=expected,
        hint=f"is this the archive that was published? If so, {BY_HAND}",
    )


class _placing:  # noqa: N801 - a context manager, used like a function
    """What the file system objects to becomes one error that names the member; a full disk says so."""

    def __init__(self, archive: Path, name: str):
        self.archive, self.name = archive, name

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None or not issubclass(kind, (OSError, ValueError)):
            return False
        raise AvsbenchError(
            f"{self.archive}: the member {self.name[:200]!r} cannot be written",
            found=error,
            hint="free some space and run the same command again" if getattr(error, "errno", 0) == 28 else BY_HAND,
        ) from None


class _reading:  # noqa: N801
    """What the readers of archives raise for damaged bytes becomes one error that names the archive."""

    def __init__(self, archive: Path):
        self.archive = archive

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None or issubclass(kind, AvsbenchError) or not issubclass(kind, _DAMAGE):
            return False
        raise AvsbenchError(
            f"{self.archive}: the archive cannot be read",
            found=f"{kind.__name__}: {error}",
            expected="a complete zip or tar archive",
            hint="copy or download it again; if it is whole, " + BY_HAND,
        ) from None
