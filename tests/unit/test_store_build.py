"""The three builders: extract, audio, index."""

import logging
from pathlib import Path

import h5py
import numpy as np
import pytest

from avsbench.errors import AvsbenchError
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.sound import Sound
from avsbench.paths import Paths
from avsbench.store import extract as extract_module
from avsbench.store.build import build_index
from avsbench.store.manifest import shard_of, write_manifests
from avsbench.store.shards import ArrayReader, ShardReader, ShardWriter
from avsbench.store.tables import INDEX, read_faults, read_index
from tests.unit.store_fakes import SIZE, FakeReader, build, card, extract, leftovers, table


@pytest.fixture
def planned(tmp_path):
    """Paths and card with manifests, nothing extracted yet."""
    of, paths = card(), Paths("mini", data_root=str(tmp_path))
    write_manifests(of, "mini", table(of), paths)
    return paths, of


def all_shards(paths, of, split, reader):
    return [extract(of, paths, reader, split, shard) for shard in range(of.shards["mini"][split])]


def test_full_round_trip(tmp_path):
    paths, of = build(tmp_path)
    reader, rows = FakeReader(of), table(of)
    for split in ("train", "val", "test"):
        index = read_index(paths.index(of.name, split))
        expected = rows[rows["split"] == split]
        assert list(index.columns) == INDEX.names
        for name in ("clip_id", "position", "category", "part", "frames"):
            assert list(index[name]) == list(expected[name])
        assert index.attrs == {
            "dataset": "avss", "scale": "mini", "split": split, "shards": of.shards["mini"][split], "image_size": SIZE
        }  # fmt: skip
        for row in index.to_dict("records"):
            assert row["shard"] == shard_of(row["clip_id"], of.shards["mini"][split])
            assert (row["height"], row["width"]) == (SIZE, SIZE)
            clip = reader.read(row, SIZE)
            assert list(row["annotated"]) == list(clip.annotated)
            with ShardReader(paths.shard(of.name, split, row["shard"], of.shards["mini"][split])) as shard:
                stored, sounds = shard.clip(row["clip_id"]), shard.sounds(row["clip_id"])
            assert np.array_equal(stored.frames, clip.frames)
            assert np.array_equal(stored.masks, clip.masks)
            assert np.array_equal(sounds[0].samples, clip.sounds[0].samples)
            with ArrayReader(paths.audio(of.name, "vggish_mel", split, row["shard"], of.shards["mini"][split])) as mel:
                computed = FRONT_ENDS["vggish_mel"].compute(ClipSound.of(of, sounds, row["frames"]))
                assert np.array_equal(mel.array(row["clip_id"]), computed)
    assert leftovers(tmp_path) == []


def test_every_output_has_the_same_bytes_again(tmp_path):
    build(tmp_path / "a")
    build(tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*") if path.is_file())
    assert len(files) == 5 * 4 + 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


# faults


def test_a_faulty_clip_does_not_lose_the_others(planned, caplog):
    paths, of = planned
    reader = FakeReader(of, faulty=["-a.val_1"], notes={"-a.val_0": ["0.wav: the sound is silent"]})
    with caplog.at_level(logging.WARNING):
        path = extract(of, paths, reader, "val", 0)
    assert "1 faulty clips" in caplog.text
    with ShardReader(path) as shard:
        assert shard.clip_ids() == ["-a.val_0", "-a.val_2"]
    faults = read_faults(paths.faults(of.name, "val", 0, 1)).to_dict("records")
    assert {fault["clip_id"]: (fault["kind"], fault["file"]) for fault in faults} == {
        "-a.val_0": ("note", "0.wav"),
        "-a.val_1": ("fault", "official/a folder/1.png"),
    }
    assert "the image cannot be read; found 3 bytes; expected a PNG" in faults[1]["text"]


def test_an_unexpected_error_costs_one_clip_and_is_logged(planned, caplog):
    paths, of = planned
    path = extract(of, paths, FakeReader(of, breaks={"-a.val_2": IndexError("list index")}), "val", 0)
    with ShardReader(path) as shard:
        assert len(shard) == 2
    assert "unexpected IndexError: list index" in read_faults(paths.faults(of.name, "val", 0, 1))["text"][0]
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError("no room"), KeyboardInterrupt()])
def test_a_failing_machine_is_no_fault_of_the_clip(planned, error, tmp_path):
    paths, of = planned
    with pytest.raises(type(error)):
        extract(of, paths, FakeReader(of, breaks={"-a.val_2": error}), "val", 0)
    assert not Path(paths.shard(of.name, "val", 0, 1)).exists()
    assert not Path(paths.faults(of.name, "val", 0, 1)).exists()
    assert leftovers(tmp_path) == []


def wrong(**changes):
    def change(clip):
        for name, function in changes.items():
            setattr(clip, name, function(getattr(clip, name)))
        return clip

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (wrong(frames=lambda frames: frames[:-1]), "wrong frames"),
        (wrong(frames=lambda frames: frames.astype(np.float32)), "wrong frames"),
        (wrong(masks=lambda masks: masks[:, :-1]), "wrong masks"),
        (wrong(annotated=lambda flags: flags.astype(int)), "wrong annotated"),
        (wrong(masks=lambda masks: np.where(masks == 255, masks, 71)), "found 71; expected 0 to 70, or 255"),
        (wrong(sounds=lambda sounds: []), "no sound"),
    ],
)
def test_what_the_store_promises_is_checked(planned, change, text):
    paths, of = planned
    extract(of, paths, FakeReader(of, change=change), "val", 0)
    faults = read_faults(paths.faults(of.name, "val", 0, 1))
    assert len(faults) == 3
    assert text in faults["text"][1]


def test_a_mask_without_annotation_is_a_fault(planned):
    paths, of = planned
    extract(of, paths, FakeReader(of, change=wrong(masks=lambda masks: np.zeros_like(masks))), "val", 0)
    # The clip of ten masks is sound, the two clips with one mask are not.
    assert list(read_faults(paths.faults(of.name, "val", 0, 1))["clip_id"]) == ["-a.val_0", "-a.val_2"]


def test_an_error_while_writing_leaves_no_output(planned, monkeypatch, tmp_path):
    paths, of = planned
    real, calls = ShardWriter.add, []

    def add(self, clip_id, **content):
        calls.append(clip_id)
        if len(calls) == 2:
            raise RuntimeError("stop")
        real(self, clip_id, **content)

    monkeypatch.setattr(ShardWriter, "add", add)
    with pytest.raises(RuntimeError, match="stop"):
        extract(of, paths, FakeReader(of), "val", 0)
    assert not Path(paths.shard(of.name, "val", 0, 1)).exists()
    assert leftovers(tmp_path) == []


def test_a_failed_run_keeps_the_older_shard(planned):
    paths, of = planned
    path = Path(extract(of, paths, FakeReader(of), "val", 0))
    before = path.read_bytes()
    with pytest.raises(OSError, match="gone"):
        extract(of, paths, FakeReader(of, breaks={"-a.val_1": OSError(116, "gone")}), "val", 0)
    assert path.read_bytes() == before


def test_a_shard_is_checked_before_it_is_renamed(planned, monkeypatch):
    paths, of = planned
    real = ShardWriter.add

    def add(self, clip_id, **content):
        if clip_id != "-a.val_1":
            real(self, clip_id, **content)

    monkeypatch.setattr(ShardWriter, "add", add)
    with pytest.raises(AvsbenchError, match="does not hold the clips that were written"):
        extract(of, paths, FakeReader(of), "val", 0)
    assert not Path(paths.shard(of.name, "val", 0, 1)).exists()


def test_sound_that_is_not_finite_is_found(planned):
    paths, of = planned
    sound = Sound(np.array([[np.nan]], np.float32), 16000)
    with pytest.raises(AvsbenchError, match="not finite"):
        extract(of, paths, FakeReader(of, change=wrong(sounds=lambda sounds: [sound])), "val", 0)


def test_empty_shards_pass_through(tmp_path):
    """Few clips over many shards leave some shards without any."""
    of = card(splits={"train": 2, "val": 1, "test": 1}, shards={"train": 6, "val": 3, "test": 1})
    paths, _ = build(tmp_path, of)
    assert len(read_index(paths.index(of.name, "train"))) == 2


# index


def test_faulty_clips_are_left_out_with_a_warning(planned, caplog):
    paths, of = planned
    all_shards(paths, of, "test", FakeReader(of, faulty=["-a.test_2"]))
    index = build_index(card=of, scale="mini", split="test", paths=paths)
    assert list(index["position"]) == [0, 1, 3]
    assert "clip -a.test_2 is left out" in caplog.text


def test_an_index_without_clips(tmp_path):
    of = card(splits={"train": 1, "val": 2, "test": 1}, shards={"train": 1, "val": 1, "test": 1})
    paths = Paths("mini", data_root=str(tmp_path))
    write_manifests(of, "mini", table(of), paths)
    extract(of, paths, FakeReader(of, faulty=set(table(of)["clip_id"])), "val", 0)
    with pytest.raises(AvsbenchError, match="no clip is usable"):
        build_index(card=of, scale="mini", split="val", paths=paths)


def test_shards_of_two_image_sizes(planned):
    paths, of = planned
    extract(of, paths, FakeReader(of), "test", 0)
    extract(of, paths, FakeReader(of), "test", 1, size=24)
    with pytest.raises(AvsbenchError, match="different image sizes") as caught:
        build_index(card=of, scale="mini", split="test", paths=paths)
    assert "24 in" in caught.value.found


def test_a_clip_in_two_shards(planned):
    paths, of = planned
    first, second = all_shards(paths, of, "test", FakeReader(of))
    with h5py.File(first) as one, h5py.File(second, "r+") as two:
        clip_id = next(iter(one))
        one.copy(clip_id, two)
    with pytest.raises(AvsbenchError, match=f"two clips with the same clip id {clip_id}"):
        build_index(card=card(splits={"train": 7, "val": 3, "test": 5}), scale="mini", split="test", paths=paths)


def test_the_index_reads_no_arrays(planned, monkeypatch):
    paths, of = planned
    all_shards(paths, of, "test", FakeReader(of))

    def read(*_):
        raise AssertionError("an array was read")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)
    assert len(build_index(card=of, scale="mini", split="test", paths=paths)) == 4


def test_a_damaged_index(tmp_path):
    file = tmp_path / "val.parquet"
    with pytest.raises(AvsbenchError, match="no such index"):
        read_index(file)
    file.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(AvsbenchError, match="truncated or damaged"):
        read_index(file)


def test_the_store_does_not_depend_on_the_builders():
    """An edit of a builder must not retrain: what training imports stays clear of them."""
    from avsbench import digest

    found: dict = {}
    digest._collect("avsbench.store.loader", found, digest.PLUMBING | digest.CHOSEN)
    assert not {name for name in found if name.startswith("avsbench.datasets")}
    assert extract_module.__name__ not in found
