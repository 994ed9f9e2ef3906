"""Shards: what goes in comes out, the same bytes each time; damage is told from data."""

import errno
import os
import time

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsbench.atomic import atomic, temporary_of
from avsbench.errors import AvsbenchError
from avsbench.media.sound import Sound
from avsbench.store.shards import ArrayReader, ArrayWriter, Header, ShardReader, ShardWriter
from tests.unit.test_store_manifest import IDS

HEADER = Header(dataset="s4", scale="mini", split="val", shard=0, shards=2, image_size=8)
SOUNDS = [
    Sound(np.array([[1, -2], [32767, -32768]], np.int16), 44100, "PCM_16", "dog", 0.25),
    Sound(np.array([[2**30], [-(2**31)]], np.int32), 48000, "PCM_24"),
    Sound(np.array([[0.5], [-1.0]], np.float32), 16000, "FLOAT"),
]


def clip(frames=5, size=8, seed=0, sounds=SOUNDS):
    dice = np.random.default_rng(seed)
    annotated = np.arange(frames) < 2
    masks = dice.integers(0, 2, (frames, size, size), np.uint8)
    masks[~annotated] = 255
    return {
        "frames": dice.integers(0, 256, (frames, size, size, 3), np.uint8),
        "masks": masks,
        "annotated": annotated,
        "sounds": sounds,
        "position": 7,
        "category": "dog_barking",
        "part": "v1s",
    }


def write(path, clips, header=HEADER):
    with ShardWriter(path, header) as writer:
        for clip_id, content in clips.items():
            writer.add(clip_id, **content)
    return path


def test_round_trip(tmp_path):
    stored = clip()
    path = write(tmp_path / "a.h5", {"-x.1_é": stored, "b": clip(3, seed=1)})
    with ShardReader(path, dataset="s4", split="val", image_size=8) as shard:
        assert shard.header == HEADER
        assert shard.clip_ids() == ["-x.1_é", "b"]
        assert "b" in shard
        assert "c" not in shard
        found = shard.clip("-x.1_é")
        for name in ("frames", "masks", "annotated"):
            assert np.array_equal(getattr(found, name), stored[name])
            assert getattr(found, name).dtype == stored[name].dtype
        assert (found.position, found.category, found.part) == (7, "dog_barking", "v1s")
        assert shard.clip("b", masks=False).masks is None
        for sound, original in zip(shard.sounds("b"), SOUNDS, strict=True):
            assert sound.samples.dtype == original.samples.dtype
            assert np.array_equal(sound.samples, original.samples)
            assert (sound.rate, sound.subtype, sound.category, sound.position) == (
                original.rate, original.subtype, original.category, original.position
            )  # fmt: skip
        row = shard.row("b")
        assert row["annotated"] == [True, True, False]
        assert (row["frames"], row["height"], row["width"], row["shard"]) == (3, 8, 8, 0)


@settings(max_examples=25, deadline=None)
@given(st.lists(IDS, min_size=1, max_size=6, unique=True))
def test_any_name_round_trips(tmp_path_factory, ids):
    path = tmp_path_factory.mktemp("s") / "a.h5"
    write(path, {clip_id: clip(1, seed=n, sounds=[]) for n, clip_id in enumerate(ids)})
    with ShardReader(path) as shard:
        assert shard.clip_ids() == sorted(ids)
        for n, clip_id in enumerate(ids):
            assert np.array_equal(shard.clip(clip_id).frames, clip(1, seed=n)["frames"])


def test_the_same_input_gives_the_same_bytes(tmp_path):
    content = {f"clip{n}": clip(seed=n) for n in range(40)}
    first = write(tmp_path / "first.h5", content).read_bytes()
    time.sleep(1.1)  # HDF5 counts seconds
    assert write(tmp_path / "second.h5", content).read_bytes() == first


def test_arrays(tmp_path):
    path, mel = tmp_path / "mel.h5", np.random.default_rng(0).random((5, 1, 4, 3), np.float32)
    with ArrayWriter(path, Header(**{**HEADER.__dict__, "content": "mel"})) as writer:
        writer.add("-a.b", mel)
    with ArrayReader(path, content="mel", shards=2) as arrays:
        assert np.array_equal(arrays.array("-a.b"), mel)
    with pytest.raises(AvsbenchError, match="another content"):
        ArrayReader(path, content="wave")
    with pytest.raises(AvsbenchError, match="another content"):
        ShardReader(path)


# damage


def read_all(path, **expect):
    with ShardReader(path, **expect) as shard:
        for clip_id in shard.clip_ids():
            shard.clip(clip_id)
            shard.sounds(clip_id)


def message(path, **expect):
    """The one error that opening or reading the shard gives."""
    with pytest.raises(AvsbenchError) as caught:
        read_all(path, **expect)
    text = str(caught.value)
    assert str(path) in text
    return text


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_shard(tmp_path, share):
    path = write(tmp_path / "a.h5", {"a": clip(), "b": clip()})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    text = message(path)
    assert "truncated or damaged" in text
    assert "delete this file" in text


def test_damage_inside_a_shard_is_never_another_exception(tmp_path):
    """Pictures and sound are plain, so damage there passes; damage of the structure or of a mask must not crash."""
    path = write(tmp_path / "a.h5", {"a": clip(), "b": clip()})
    data = path.read_bytes()
    caught = 0
    for start in range(64, len(data), 256):
        path.write_bytes(data[:start] + b"\xff" * 48 + data[start + 48 :])
        try:
            read_all(path)
        except AvsbenchError as error:
            assert str(path) in str(error)  # noqa: PT017 - some damage passes
            caught += 1
    assert caught > 5


def test_a_missing_shard_or_clip(tmp_path):
    assert "no such shard" in message(tmp_path / "none.h5")
    path = write(tmp_path / "a.h5", {"a": clip()})
    with ShardReader(path) as shard, pytest.raises(AvsbenchError, match=r"a\.h5: the shard has no clip z"):
        shard.clip("z")


def test_foreign_files(tmp_path):
    text, foreign, newer = tmp_path / "t.h5", tmp_path / "f.h5", tmp_path / "n.h5"
    text.write_text("not HDF5")
    assert "truncated or damaged" in message(text)
    with h5py.File(foreign, "w") as file:
        file.create_group("a")
    assert "another format or version" in message(foreign)
    write(newer, {"a": clip()})
    with h5py.File(newer, "r+") as file:
        file.attrs["version"] = 99
    found = message(newer)
    assert "version 99" in found
    assert "version 2" in found


def test_a_shard_of_something_else(tmp_path):
    path = write(tmp_path / "a.h5", {"a": clip()})
    assert "another image size" in message(path, image_size=224)
    assert "expected: image_size 224" in message(path, image_size=224)
    assert "another split" in message(path, split="test")


# a full disk


@pytest.mark.parametrize("room", [100, 5000, 60000])
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path, monkeypatch, room):
    """HDF5 must not see the failure: it cannot close a file that it could not write."""
    real, used = os.pwrite, [0]

    def pwrite(descriptor, data, offset):
        used[0] += len(data)
        if used[0] > room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space left") as caught, atomic(tmp_path / "a.h5") as temporary:
        write(temporary, {f"clip{n}": clip(seed=n) for n in range(50)})
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    import subprocess
    import sys

    def name(stem, process):
        own = temporary_of(tmp_path / f"{stem}.h5")
        return own.with_name(own.name.replace(f".{os.getpid()}@", f".{process}@"))

    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left, other = name("a", dead.stdout.strip()), name("b", dead.stdout.strip())
    live = name("a", os.getppid())
    for file in (left, other, live):
        file.write_text("half")
    with atomic(tmp_path / "a.h5") as temporary:
        temporary.write_text("whole")
    assert not left.exists()
    assert other.exists(), "of another target"
    assert live.exists(), "its process is alive"
