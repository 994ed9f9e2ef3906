"""Archives: kinds, pieces, and everything that must not get out of the folder they are unpacked into."""

import contextlib
import io
import shutil
import stat
import struct
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsbench.datasets.archive_parts import pieces
from avsbench.datasets.archives import Limits, archives_in, fingerprint, is_archive, unpack, unpacked_bytes
from avsbench.errors import AvsbenchError

NOISE = np.random.default_rng(0).bytes(20_000)
FILES = {"top/a.csv": b"name,split\n", "top/deep/b.bin": NOISE, "top/deep/c.bin": NOISE[::-1], "top/é 中.txt": b"x"}


def make_zip(path, files, mode=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", mode) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return path


def make_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as opened:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return path


def content_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def unpacked(archive, folder, **options):
    folder.mkdir(exist_ok=True)
    unpack(archive, folder, **options)
    return content_of(folder)


@pytest.mark.parametrize("end", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "zip", "ZIP"])
def test_every_kind(end, tmp_path):
    archive = tmp_path / f"x.{end}"
    if end.lower() == "zip":
        make_zip(archive, FILES)
    else:
        make_tar(archive, FILES, {"tar": "w", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}.get(end, "w:gz"))
    assert is_archive(archive)
    assert unpacked(archive, tmp_path / "out") == FILES
    if end.lower() == "zip":
        assert unpacked_bytes(archive) == sum(map(len, FILES.values()))
    else:
        assert unpacked_bytes(archive) >= archive.stat().st_size


def cut(archive, size, names):
    data = archive.read_bytes()
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    archive.unlink()
    for part, name in zip(parts, names, strict=False):
        (archive.parent / name).write_bytes(part)
    return len(parts)


@pytest.mark.parametrize("names", ["x.zip.{:03d}", "x.zip.part{}", "x.zip.{:02d}"])
def test_a_zip_in_plain_pieces(names, tmp_path):
    archive = make_zip(tmp_path / "x.zip", FILES)
    count = cut(archive, 9_000, [names.format(i) for i in range(1, 99)])
    first = tmp_path / names.format(1)
    assert count > 3
    assert archives_in(tmp_path) == [first]
    assert len(fingerprint([first])) == count
    assert unpacked(tmp_path / names.format(2), tmp_path / "out") == FILES, "any piece stands for the whole"
    (tmp_path / names.format(2)).unlink()
    with pytest.raises(AvsbenchError, match=r"x\.zip: piece number 2 of the archive is missing"):
        pieces(first)


def test_a_tar_in_pieces_with_letters(tmp_path):
    archive = make_tar(tmp_path / "x.tar.gz", FILES, "w:gz")
    cut(archive, 9_000, [f"x.tar.gz.a{letter}" for letter in "abcdefgh"])
    assert unpacked(tmp_path / "x.tar.gz.aa", tmp_path / "out") == FILES


def make_spanned(folder, files, size, wide=False):
    """A spanned zip as the format has it: places are (number of the piece, offset in it), headers are never cut."""
    whole = make_zip(folder / "whole.zip", files, zipfile.ZIP_STORED)
    data, disks, entries = b"PK\x07\x08" + whole.read_bytes(), [bytearray()], []
    with zipfile.ZipFile(whole) as opened:
        infos = opened.infolist()
        start = opened.start_dir + 4
    bounds = [info.header_offset + 4 for info in infos] + [start]
    disks[0] += data[:4]
    for info, begin, end in zip(infos, bounds, bounds[1:], strict=False):
        header = 30 + len(info.filename.encode())
        if len(disks[-1]) + header > size:
            disks.append(bytearray())
        entries.append((len(disks) - 1, len(disks[-1])))
        disks[-1] += data[begin : begin + header]
        for position in range(begin + header, end):
            if len(disks[-1]) >= size:
                disks.append(bytearray())
            disks[-1] += data[position : position + 1]
    directory, position = b"", start
    for disk, offset in entries:
        head = list(struct.unpack_from("<4s6H3L5H2L", data, position))
        name = data[position + 46 : position + 46 + head[10]]
        position += 46 + head[10] + head[11] + head[12]
        extra = b""
        if wide:
            extra = struct.pack("<HHQQQL", 1, 28, head[9], head[8], offset, disk)
            head[8] = head[9] = head[16] = 0xFFFFFFFF
            head[11], head[13] = len(extra), 0xFFFF
        else:
            head[13], head[16] = disk, offset
        directory += struct.pack("<4s6H3L5H2L", *head) + name + extra
    last, place = len(disks) - 1, len(disks[-1])
    end = b""
    if wide:
        end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, last, last, len(entries), len(entries),
                          len(directory), place)  # fmt: skip
        end += struct.pack("<4sLQL", b"PK\x06\x07", last, place + len(directory), last + 1)
    numbers = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if wide else (len(entries),) * 2 + (len(directory), place)
    end += struct.pack("<4s4H2LH", b"PK\x05\x06", last, last, *numbers, 0)
    disks[-1] += directory + end
    whole.unlink()
    for number, disk in enumerate(disks[:-1], start=1):
        (folder / f"x.z{number:02d}").write_bytes(disk)
    (folder / "x.zip").write_bytes(disks[-1])
    return folder / "x.zip"


@pytest.mark.parametrize("wide", [False, True])
def test_a_spanned_zip(wide, tmp_path):
    archive = make_spanned(tmp_path, FILES, 7_000, wide)
    assert len(pieces(archive)) == 6
    assert pieces(tmp_path / "x.z02") == pieces(archive)
    assert unpacked(archive, tmp_path / "out") == FILES
    assert unpacked_bytes(tmp_path / "x.z01") == sum(map(len, FILES.values()))
    (tmp_path / "x.z05").unlink()
    with pytest.raises(AvsbenchError, match=r"not complete(.|\n)*found: +5 pieces(.|\n)*expected: 6"):
        unpack(archive, tmp_path / "out")
    (tmp_path / "x.z02").unlink()
    with pytest.raises(AvsbenchError, match="piece number 2 of the archive is missing"):
        unpack(archive, tmp_path / "out")


@pytest.mark.skipif(shutil.which("zip") is None, reason="the program zip is not installed")
def test_a_spanned_zip_that_the_program_zip_made(tmp_path):
    source = tmp_path / "top"
    source.mkdir()
    files = {f"top/{i}.bin": np.random.default_rng(i).bytes(9_000) for i in range(30)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    subprocess.run(["zip", "-q", "-r", "-s", "64k", "x.zip", "top"], cwd=tmp_path, check=True)
    assert len(pieces(tmp_path / "x.zip")) == 5
    assert unpacked(tmp_path / "x.zip", tmp_path / "out") == files


@pytest.mark.parametrize(
    "name", ["../out.txt", "a/../../out.txt", "/etc/out.txt", "..\\out.txt", "C:\\out.txt", "c:/out.txt", "\\out.txt"]
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_no_name_leads_out(make, name, tmp_path):
    archive = make(tmp_path / f"x.{make.__name__[5:]}", {"good.txt": b"x", name: b"y"})
    with pytest.raises(
        AvsbenchError, match=r"x\.(zip|tar): the member .*out\.txt(.|\n)* leads out of the folder"
    ) as caught:
        unpacked(archive, tmp_path / "out")
    assert "published" in caught.value.hint
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {archive.name, "good.txt"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_neither_links_nor_devices(kind, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as opened:
        info = tarfile.TarInfo("top/odd")
        info.type, info.linkname = kind, "/etc/passwd"
        opened.addfile(info)
    with pytest.raises(AvsbenchError, match=r"x\.tar: the member 'top/odd'(.|\n)*(a link to '/etc/passwd'|a device)"):
        unpacked(tmp_path / "x.tar", tmp_path / "out")


def test_no_link_in_a_zip(tmp_path):
    info = zipfile.ZipInfo("top/odd")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        opened.writestr(info, "/etc/passwd")
    with pytest.raises(AvsbenchError, match="a link"):
        unpacked(tmp_path / "x.zip", tmp_path / "out")


def test_a_name_twice_never_overwrites(tmp_path):
    make_zip(tmp_path / "1.zip", {"a.txt": b"one", "same.txt": b"same"})
    make_zip(tmp_path / "2.zip", {"same.txt": b"same", "b.txt": b"two"})
    out = tmp_path / "out"
    unpacked(tmp_path / "1.zip", out)
    assert unpacked(tmp_path / "2.zip", out) == {"a.txt": b"one", "same.txt": b"same", "b.txt": b"two"}
    for other in (b"two", b"on", b"oneone"):
        make_zip(tmp_path / "3.zip", {"a.txt": other})
        with pytest.raises(AvsbenchError, match=r"3\.zip: the member 'a\.txt'(.|\n)*different content"):
            unpacked(tmp_path / "3.zip", out)
    make_zip(tmp_path / "4.zip", {"a.txt/b": b"a file where a folder should be"})
    with pytest.raises(AvsbenchError, match=r"4\.zip: the member 'a\.txt/b' cannot be written"):
        unpacked(tmp_path / "4.zip", out)
    assert (out / "a.txt").read_bytes() == b"one"


def test_bombs(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"a.txt": b"x", "zeros.bin": bytes(3_000_000)})
    with pytest.raises(AvsbenchError, match=r"x\.zip: the member 'zeros\.bin'(.|\n)*far more content"):
        unpacked(archive, tmp_path / "out", limits=Limits(floor=1_000_000))
    assert unpacked(archive, tmp_path / "good").keys() == {"a.txt", "zeros.bin"}
    archive = make_tar(tmp_path / "y.tar", {str(i): b"" for i in range(11)})
    with pytest.raises(AvsbenchError, match=r"y\.tar: the member '10'(.|\n)*too many members(.|\n)*at most 10"):
        unpacked(archive, tmp_path / "many", limits=Limits(members=10))


def test_what_a_mac_adds_is_left_out(tmp_path):
    archive = make_zip(
        tmp_path / "x.zip", {"a.txt": b"x", "__MACOSX/._a.txt": b"m", "top/.DS_Store": b"m", "top/._b": b"m"}
    )
    assert unpacked(archive, tmp_path / "out") == {"a.txt": b"x"}


def test_encrypted_foreign_and_damaged(tmp_path):
    archive = make_zip(tmp_path / "x.zip", FILES)
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    with pytest.raises(AvsbenchError, match=r"locked\.zip: top/a\.csv: encrypted"):
        unpacked(tmp_path / "locked.zip", tmp_path / "out")
    (tmp_path / "x.7z").write_bytes(b"7z")
    with pytest.raises(AvsbenchError, match="of a kind that is not read here"):
        unpacked(tmp_path / "x.7z", tmp_path / "out")
    data = archive.read_bytes()
    for end, broken in [("zip", data[: len(data) // 2]), ("zip", b""), ("tar", b"no"), ("tar.gz", data)]:
        (tmp_path / f"y.{end}").write_bytes(broken)
        with pytest.raises(AvsbenchError, match="cannot be read"):
            unpacked(tmp_path / f"y.{end}", tmp_path / "out")
    whole = make_tar(tmp_path / "whole.tar", FILES).read_bytes()
    for end in (1024, 1024 + 100):  # between two members, and inside a header
        (tmp_path / "cut.tar").write_bytes(whole[:end])
        with pytest.raises(AvsbenchError, match="breaks off at byte 1024"):
            unpacked(tmp_path / "cut.tar", tmp_path / "cut")
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    (tmp_path / "z.zip").write_bytes(flipped)
    with pytest.raises(AvsbenchError, match="CRC"):
        unpacked(tmp_path / "z.zip", tmp_path / "crc")


NASTY = st.lists(
    st.sampled_from(["..", ".", "/", "\\", "C:", "a", "\0", "é", "a" * 300, "x/y", "\n", "__MACOSX"])
    | st.text(max_size=5),
    max_size=6,
).map("".join)


@settings(max_examples=60, deadline=None)
@given(names=st.lists(NASTY | st.text(max_size=20), min_size=1, max_size=4), zipped=st.booleans())
def test_no_name_at_all_escapes_or_crashes(names, zipped):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        out = folder / "cage/out"
        out.mkdir(parents=True)
        files = {name: name.encode("utf-8", "replace") for name in names}
        if zipped:
            archive = folder / "x.zip"
            with zipfile.ZipFile(archive, "w") as opened:
                for name, content in files.items():
                    info = zipfile.ZipInfo("x")
                    info.filename = name  # as it is: the constructor would tidy it up
                    opened.writestr(info, content)
        else:
            archive = make_tar(folder / "x.tar", files)
        with contextlib.suppress(AvsbenchError):
            unpack(archive, out)
        assert sorted(p.name for p in folder.iterdir()) == ["cage", archive.name]
        assert [p.name for p in (folder / "cage").iterdir()] == ["out"]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200), place=st.floats(0, 1), end=st.sampled_from(["zip", "tar", "tar.gz", "tar.xz"]))
def test_damaged_bytes_never_crash(data, place, end):
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / f"x.{end}"
        if end == "zip":
            make_zip(archive, {"a": b"x" * 500, "b/c": b"y"})
        else:
            make_tar(archive, {"a": b"x" * 500, "b/c": b"y"}, "w" if end == "tar" else f"w:{end[4:]}")
        good = archive.read_bytes()
        start = int(place * len(good))
        archive.write_bytes(good[:start] + data + good[start + len(data) :])
        (out := Path(folder) / "out").mkdir()
        with contextlib.suppress(AvsbenchError):
            unpack(archive, out)
