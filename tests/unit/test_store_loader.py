"""The data set over a store: content, padding, order, resume, processes."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avsbench.errors import AvsbenchError
from avsbench.paths import Paths
from avsbench.store.loader import ClipDataset, collate, epoch_batches, make_loader
from avsbench.store.shards import ArrayWriter, Header
from tests.unit.store_fakes import SIZE, FakeReader, build

ENDS = ("vggish_mel",)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build(tmp_path_factory.mktemp("store"))


def jitter(clip, generator):
    """An augmentation that shows its random numbers, in place."""
    clip["frames"] += torch.randint(0, 256, (1,), generator=generator).to(torch.uint8)
    clip["masks"][:] = clip["masks"].flip(-1)
    return clip


def same(first, second):
    """Whether two batches are equal in every bit."""
    return (
        first.clip_ids == second.clip_ids
        and torch.equal(first.frames, second.frames)
        and torch.equal(first.masks, second.masks)
        and torch.equal(first.annotated, second.annotated)
        and torch.equal(first.real, second.real)
        and first.audio.keys() == second.audio.keys()
        and all(torch.equal(first.audio[name], second.audio[name]) for name in first.audio)
    )


# items


def test_items_hold_what_the_reader_gave(store):
    paths, of = store
    with ClipDataset(paths, of, "train", ENDS) as clips:
        assert len(clips) == 7
        assert clips.clip_ids == [f"-a.train_{number}" for number in range(7)]
        for number in range(7):
            item = clips[number]
            original = FakeReader(of).read(clips.index.iloc[number], SIZE)
            assert item["position"] == number
            assert item["frames"].dtype == torch.uint8
            assert np.array_equal(item["frames"].permute(0, 2, 3, 1).numpy(), original.frames)
            assert item["masks"].dtype == torch.int64
            assert np.array_equal(item["masks"].numpy(), original.masks)
            assert np.array_equal(item["annotated"].numpy(), original.annotated)
            assert item["audio"]["vggish_mel"].shape == (len(original.frames), 1, 96, 64)
            assert item["real"].all()


def test_without_masks(store):
    paths, of = store
    with ClipDataset(paths, of, "test", masks=False) as clips:
        batch = collate([clips[0], clips[1]])
    assert batch.masks is None
    assert batch.annotated is None
    assert batch.audio == {}


@pytest.mark.parametrize("cache", [False, True])
def test_an_augmentation_cannot_change_what_comes_next(store, cache):
    paths, of = store
    with ClipDataset(paths, of, "train", ENDS, transform=jitter, cache=cache) as clips:
        first = clips.item(2, seed=1, epoch=1)
        for number in range(3):
            clips.item(2, seed=number, epoch=number)
        again = clips.item(2, seed=1, epoch=1)
        other = clips.item(2, seed=1, epoch=2)
    assert torch.equal(first["frames"], again["frames"])
    assert torch.equal(first["masks"], again["masks"])
    assert not torch.equal(first["frames"], other["frames"])


def test_the_cache_spares_the_files(store, monkeypatch):
    paths, of = store
    with ClipDataset(paths, of, "train", ENDS) as plain, ClipDataset(paths, of, "train", ENDS, cache=True) as clips:
        clips.preload()
        clips.close()
        monkeypatch.setattr("avsbench.store.clips.ShardReader", None)
        cached = [clips[number] for number in range(7)]
        monkeypatch.undo()
        assert same(collate(cached), collate([plain[number] for number in range(7)]))


def test_features(store):
    paths, of = store
    for shard in range(2):
        path = Path(paths.features(of.name, "depth", "train", shard, 2))
        path.parent.mkdir(parents=True, exist_ok=True)
        header = Header(
            dataset=of.name, scale="mini", split="train", shard=shard, shards=2, image_size=SIZE, content="depth"
        )
        rows = [row for row in ClipDataset(paths, of, "train").index.to_dict("records") if row["shard"] == shard]
        with ArrayWriter(path, header) as writer:
            for row in rows:
                writer.add(row["clip_id"], np.full((row["frames"], 2), row["position"], np.float16))
    with ClipDataset(paths, of, "train", features=("depth",)) as clips:
        batch = collate([clips[3], clips[4]], 10)
    assert batch.features["depth"].dtype == torch.float16
    assert batch.features["depth"][0].unique().tolist() == [3]
    assert batch.features["depth"][1, 5:].unique().tolist() == [0]


# padding


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 3) | st.none())
def test_what_is_real_survives_padding(lengths, extra):
    items = [
        {
            "clip_id": str(number),
            "frames": torch.randint(0, 256, (length, 3, 4, 4), dtype=torch.uint8),
            "masks": torch.randint(0, 2, (length, 4, 4)),
            "annotated": torch.rand(length) > 0.5,
            "real": torch.ones(length, dtype=torch.bool),
            "audio": {"a": torch.randn(length, 2)},
            "features": {"f": torch.randn(length)},
        }
        for number, length in enumerate(lengths)
    ]
    pad_to = None if extra is None else max(lengths) + extra
    batch = collate(items, pad_to)
    assert batch.frames.shape == (len(lengths), pad_to or max(lengths), 3, 4, 4)
    assert batch.real.sum(1).tolist() == lengths
    for name, fill in (("frames", 0), ("masks", 255), ("annotated", 0)):
        whole = getattr(batch, name)
        assert torch.equal(whole[batch.real], torch.cat([item[name] for item in items]))
        assert (whole[~batch.real] == fill).all()
        assert whole.dtype == items[0][name].dtype
    assert torch.equal(batch.audio["a"][batch.real], torch.cat([item["audio"]["a"] for item in items]))
    assert (batch.audio["a"][~batch.real] == 0).all()
    assert torch.equal(batch.features["f"][batch.real], torch.cat([item["features"]["f"] for item in items]))


def test_a_clip_longer_than_the_batch(store):
    paths, of = store
    with ClipDataset(paths, of, "train") as clips, pytest.raises(AvsbenchError, match="train_1 is longer than a batch"):
        collate([clips[0], clips[1]], 5)


def test_clips_of_two_sizes(store):
    paths, of = store
    with ClipDataset(paths, of, "train") as clips:
        items = [clips[0], clips[2]]
    items[1]["frames"] = items[1]["frames"][..., :-1]
    with pytest.raises(AvsbenchError, match="differ in the shape of frames"):
        collate(items)


# order


@given(st.integers(1, 50), st.integers(1, 9), st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_every_clip_comes_once(clips, batch, seed, epoch, shuffle):
    batches = epoch_batches(clips, batch, seed=seed, epoch=epoch, shuffle=shuffle)
    flat = [number for numbers in batches for number in numbers]
    assert sorted(flat) == list(range(clips))
    assert batches == epoch_batches(clips, batch, seed=seed, epoch=epoch, shuffle=shuffle)
    assert all(len(numbers) == batch for numbers in batches[:-1])
    whole = epoch_batches(clips, batch, seed=seed, epoch=epoch, shuffle=shuffle, drop_last=True)
    assert whole == [numbers for numbers in batches if len(numbers) == batch]
    if not shuffle:
        assert flat == list(range(clips))


def test_epochs_and_seeds_differ():
    orders = [epoch_batches(50, 50, seed=s, epoch=e, shuffle=True)[0] for s in range(3) for e in range(3)]
    assert len({tuple(order) for order in orders}) == 9


def test_the_order_is_pinned():
    """A resumed run must continue the order that it began, after an update too."""
    assert epoch_batches(8, 8, seed=3, epoch=2, shuffle=True) == [[1, 6, 3, 4, 7, 0, 2, 5]]


@pytest.mark.parametrize("cache", [False, True])
def test_workers_change_nothing(store, cache):
    paths, of = store
    with ClipDataset(paths, of, "train", ENDS, transform=jitter, cache=cache) as clips:
        clips[0]  # files are open in this process when the workers start
        options = {"batch": 2, "seed": 5, "epoch": 3, "shuffle": True, "pad_to": 10}
        alone, helped = (list(make_loader(clips, workers=workers, **options)) for workers in (0, 2))
    assert len(alone) == 4
    assert all(same(*pair) for pair in zip(alone, helped, strict=True))
    assert all(batch.frames.shape[1] == 10 for batch in alone)


def test_an_interrupted_epoch_continues(store):
    paths, of = store
    with ClipDataset(paths, of, "train", ENDS, transform=jitter) as clips:
        options = {"batch": 2, "seed": 1, "epoch": 4, "shuffle": True}
        whole = list(make_loader(clips, **options))
        for skip in range(5):
            rest = make_loader(clips, **options, skip=skip)
            assert len(rest) == 4 - skip
            assert all(same(*pair) for pair in zip(whole[skip:], rest, strict=True))


def test_reading_leaves_the_global_generator_alone(store):
    paths, of = store
    with ClipDataset(paths, of, "train", ENDS, transform=jitter) as clips:
        torch.manual_seed(0)
        before = torch.random.get_rng_state()
        list(make_loader(clips, batch=2, shuffle=True))
        assert torch.equal(torch.random.get_rng_state(), before)


# processes and damage


def test_a_data_set_travels_to_another_process_without_its_files(store):
    paths, of = store
    with ClipDataset(paths, of, "train", ENDS) as clips:
        first = clips[1]
        with pickle.loads(pickle.dumps(clips)) as copy:
            assert same(collate([first]), collate([copy[1]]))


def test_files_are_closed(store):
    paths, of = store

    def descriptors():
        return sum(os.path.realpath(f"/proc/self/fd/{name}").endswith(".h5") for name in os.listdir("/proc/self/fd"))

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts open files through /proc, which this system does not have")
    with ClipDataset(paths, of, "train", ENDS) as clips:
        list(make_loader(clips, batch=2))
        assert descriptors() == 4
    assert descriptors() == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_shard_is_named(tmp_path, workers):
    paths, of = build(tmp_path, front_ends=())
    path = Path(paths.shard(of.name, "val", 0, 1))
    path.write_bytes(path.read_bytes()[:3000])
    with (
        ClipDataset(paths, of, "val") as clips,
        pytest.raises(AvsbenchError, match=r"val\.0of1\.h5: the shard is truncated") as caught,
    ):
        list(make_loader(clips, batch=2, workers=workers))
    assert "Traceback" not in str(caught.value)


def test_an_index_of_something_else(store, tmp_path):
    paths, of = store
    with pytest.raises(AvsbenchError, match=r"val\.parquet: the index is of another image size"):
        ClipDataset(paths, of, "val", image_size=224)
    moved = Paths("mini", data_root=str(tmp_path))
    target = Path(moved.index(of.name, "val"))
    target.parent.mkdir(parents=True)
    target.write_bytes(Path(paths.index(of.name, "train")).read_bytes())
    with pytest.raises(AvsbenchError, match="the index is of another split"):
        ClipDataset(moved, of, "val")
    with pytest.raises(AvsbenchError, match="no such index"):
        ClipDataset(moved, of, "test")


def test_a_front_end_of_another_length(tmp_path):
    paths, of = build(tmp_path)
    path = paths.audio(of.name, "vggish_mel", "val", 0, 1)
    header = Header(
        dataset=of.name, scale="mini", split="val", shard=0, shards=1, image_size=SIZE, content="vggish_mel"
    )
    with ArrayWriter(path, header) as writer:
        writer.add("-a.val_0", np.zeros((4, 1, 96, 64), np.float32))
    with ClipDataset(paths, of, "val", ENDS) as clips, pytest.raises(AvsbenchError, match="another number of frames"):
        clips[0]
