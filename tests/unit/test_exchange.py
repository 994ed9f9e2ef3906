"""Exchange: exported files are found by the published rules, read back equal, and released ones come in safely."""

import contextlib
import dataclasses
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from avsbench import datasets
from avsbench.errors import AvsbenchError
from avsbench.features import maskige
from avsbench.paths import Paths
from avsbench.store.audio import audio_shard
from avsbench.store.build import build_index, extract_shard
from avsbench.store.exchange import layout
from avsbench.store.exchange.export import export, pickled
from avsbench.store.exchange.imports import import_released
from avsbench.store.legacy import read_legacy_log_mel
from avsbench.store.manifest import write_manifests
from avsbench.store.native import native_shard
from avsbench.store.shards import ArrayReader, ShardReader
from tests.unit.rendered import rendered, small_card  # noqa: F401 - fixtures

SPLITS = ("train", "val", "test")
MEL = {"s4": "vggish_mel", "ms3": "vggish_mel", "avss": "combo_mel"}


def card_of(name):
    return dataclasses.replace(small_card(name), shards={"mini": dict.fromkeys(SPLITS, 1)})


def extracted(card, root, folder, native=False):
    """Shards and index of every split of an official layout."""
    paths, reader = Paths("mini", data_root=str(folder)), datasets.reader(card, root)
    write_manifests(card, "mini", reader.table(), paths)
    for split in SPLITS:
        place = (card.name, split, 0, 1)
        shared = {"card": card, "scale": "mini", "reader": reader, "manifest_path": paths.manifest(*place)}
        shared |= {"split": split, "shard": 0, "shards": 1}
        extract_shard(**shared, image_size=224, out=paths.shard(*place), faults_out=paths.faults(*place))
        if native:
            native_shard(**shared, out=paths.native(*place))
        build_index(card=card, scale="mini", split=split, paths=paths)
    return paths


@pytest.fixture(scope="module")
def stored(rendered, tmp_path_factory):  # noqa: F811
    """Function: data set -> (card, paths) with shards, made once."""
    done = {}

    def get(name):
        if name not in done:
            card = card_of(name)
            done[name] = card, extracted(card, rendered(name), tmp_path_factory.mktemp("data"), native=name == "avss")
        return done[name]

    return get


def computed(card, paths, *ends):
    for split in SPLITS:
        outs = {end: paths.audio(card.name, end, split, 0, 1) for end in ends}
        audio_shard(card=card, shard_path=paths.shard(card.name, split, 0, 1), outs=outs, threads=1)


def write(card, paths, out, *what, splits=SPLITS, **options):
    options |= {"what": what} if what else {}
    return export(card=card, scale="mini", paths=paths, out=out, splits=splits, **options)


def take(card, paths, root, what, **options):
    return import_released(card=card, paths=paths, root=root, what=what, splits=SPLITS, **options)


def assert_same_shards(name, one, two):
    for split in SPLITS:
        with ShardReader(one.shard(name, split, 0, 1)) as a, ShardReader(two.shard(name, split, 0, 1)) as b:
            assert a.clip_ids() == b.clip_ids() != []
            for clip_id in a.clip_ids():
                left, right = a.clip(clip_id), b.clip(clip_id)
                assert np.array_equal(left.frames, right.frames)
                assert np.array_equal(left.masks, right.masks)
                assert a.row(clip_id) == b.row(clip_id)
                for x, y in zip(a.sounds(clip_id), b.sounds(clip_id), strict=True):
                    assert (x.rate, x.subtype) == (y.rate, y.subtype)
                    assert np.array_equal(x.samples, y.samples)


@pytest.mark.parametrize("name", ["s4", "ms3", "avss"])
def test_extract_export_extract(stored, tmp_path, name):
    card, paths = stored(name)
    record = write(card, paths, tmp_path / "out")
    assert record["complete"]
    assert json.loads((tmp_path / "out" / "EXPORT.json").read_text()) == record
    assert_same_shards(name, paths, extracted(card, tmp_path / "out", tmp_path / "again"))


@pytest.mark.parametrize("name", ["s4", "ms3", "avss"])
def test_pictures_have_the_names_of_the_release(stored, rendered, tmp_path, name):  # noqa: F811
    card, paths = stored(name)
    write(card, paths, tmp_path / "out", "frames", "masks", "wav")
    ours = {file.relative_to(tmp_path / "out") for file in (tmp_path / "out").rglob("*") if file.is_file()}
    released = {file.relative_to(rendered(name)) for file in rendered(name).rglob("*") if file.is_file()}
    assert {str(file) for file in ours - released} == {"EXPORT.json", "README.txt"}
    # Beside MS3 lies AVSS's table, which says what sounds in its clips.
    beside = {Path("metadata.csv")} if name == "ms3" else set()
    assert beside <= released
    assert {file.suffix for file in released - ours - beside} <= {".mp4"}


def test_avss_without_originals_says_so(stored, tmp_path):
    card, paths = stored("avss")
    shutil.copytree(paths.dataset("avss"), tmp_path / "mini" / "avss")
    shutil.rmtree(tmp_path / "mini" / "avss" / "native")
    out = tmp_path / "out"
    record = write(card, Paths("mini", data_root=str(tmp_path)), out)
    assert "are absent" in " ".join(record["remarks"])
    assert "are absent" in (out / "README.txt").read_text()
    assert not list(out.rglob("frames"))
    with ShardReader(paths.shard("avss", "test", 0, 1)) as shard:
        for clip_id in shard.clip_ids():
            clip = shard.clip(clip_id)
            for n, mask in enumerate(clip.masks):
                folder = out / clip.part / clip_id
                label = Image.open(folder / "processed_labels_semantic" / f"{n}.png")
                assert label.mode == "L"
                assert np.array_equal(np.asarray(label), mask)
                frame = np.asarray(Image.open(folder / "processed_frames" / f"{n}.jpg")).astype(int)
                assert np.abs(frame - clip.frames[n]).mean() < 8


def test_names_that_published_loaders_derive(stored, tmp_path):
    for name, ending in (("s4", 6), ("ms3", 10)):
        card, paths = stored(name)
        computed(card, paths, "vggish_mel")
        out = tmp_path / name
        write(card, paths, out, "frames", "log_mel")
        reader = datasets.reader(card, out)
        for row in reader.table().to_dict("records"):
            files = reader.files(row)
            first = sorted(file.name for file in files.frames[0].parent.iterdir())[0]
            parts = [row["split"], *([row["category"]] if name == "s4" else []), f"{first[:-ending]}.pkl"]
            value = pickle.loads((out / f"{name}_data" / "audio_log_mel").joinpath(*parts).read_bytes())
            assert isinstance(value, torch.Tensor)
            assert value.dtype == torch.float32
            assert value.requires_grad
            assert value.shape == (5, 1, 96, 64)


@pytest.mark.parametrize("name", ["s4", "avss"])
@pytest.mark.parametrize("what", ["log_mel", "msai"])
def test_pickles_come_back(stored, tmp_path, name, what):
    card, paths = stored(name)
    ends = [MEL[name]] if what == "log_mel" else ["msai_256", "msai_512", "msai_1024"]
    computed(card, paths, *ends)
    write(card, paths, tmp_path / "out", what)
    assert take(card, paths, tmp_path / "out", what) == [f"{end}_released" for end in ends]
    for end in ends:
        for split in SPLITS:
            place = (split, 0, 1)
            with (
                ArrayReader(paths.audio(name, end, *place)) as a,
                ArrayReader(paths.audio(name, f"{end}_released", *place), content=f"{end}_released") as b,
            ):
                assert a.clip_ids() == b.clip_ids()
                assert all(np.array_equal(a.array(clip), b.array(clip)) for clip in a.clip_ids())
    if name == "avss":
        file = next((tmp_path / "out" / "v1m").rglob("*.pkl"))
        value = pickle.loads(file.read_bytes())
        assert value.shape == (10, 1, 96, 64)
        assert not value[5:].any()
        assert value[:5].any()


@pytest.mark.parametrize(("name", "mode"), [("s4", "RGB"), ("ms3", "P"), ("avss", "P")])
def test_maskiges_come_in_and_go_out(stored, tmp_path, name, mode):
    card, paths = stored(name)
    write(card, paths, tmp_path / "in", "frames", "wav")
    reader, generator = datasets.reader(card, tmp_path / "in"), np.random.default_rng(0)
    for row in reader.table().to_dict("records"):
        for file in layout.maskige_files(card, tmp_path / "in", reader.files(row)):
            index = generator.integers(0, 160 if mode == "RGB" else 9, (224, 224), np.uint8)
            image = Image.fromarray(index)
            image.putpalette(maskige.palette().tobytes())
            file.parent.mkdir(parents=True, exist_ok=True)
            image.convert(mode).save(file)
    assert take(card, paths, tmp_path / "in", "maskige", label="theirs") == ["maskige_theirs"]
    write(card, paths, tmp_path / "out", "maskige", label="theirs")
    files = sorted((tmp_path / "in").rglob("*_mask_color.png"))
    assert len(files) == sum(reader.table()["frames"])
    for file in files:
        ours = Image.open(tmp_path / "out" / file.relative_to(tmp_path / "in"))
        theirs = Image.open(file)
        assert ours.mode == theirs.mode == mode
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
        assert np.array_equal(np.asarray(ours.convert("RGB")), np.asarray(theirs.convert("RGB")))
    damaged = Image.open(files[0]).convert("RGB")
    damaged.putpixel((3, 3), (1, 2, 3))
    damaged.save(files[0])
    with pytest.raises(AvsbenchError, match=r"\(1, 2, 3\)"):
        take(card, paths, tmp_path / "in", "maskige", label="theirs")


def test_every_missing_or_wrong_pickle_is_named(stored, tmp_path):
    card, paths = stored("s4")
    computed(card, paths, "vggish_mel")
    write(card, paths, tmp_path / "out", "log_mel")
    files = sorted((tmp_path / "out").rglob("train/**/*.pkl"))
    files[0].unlink()
    with pytest.raises(AvsbenchError, match=f"1 missing, 0 wrong.*{files[0].stem}"):
        take(card, paths, tmp_path / "out", "log_mel", label="bad")
    take(card, paths, tmp_path / "out", "log_mel", label="some", allow_missing=True)
    with ArrayReader(paths.audio("s4", "vggish_mel_some", "train", 0, 1)) as arrays:
        assert len(arrays) == len(files) - 1
    files[1].write_bytes(pickled(np.full((5, 1, 96, 64), np.nan, np.float32), 5))
    files[2].write_bytes(pickled(np.zeros((4, 1, 96, 64), np.float32), 4))
    with pytest.raises(AvsbenchError, match="1 missing, 2 wrong") as failure:
        take(card, paths, tmp_path / "out", "log_mel", label="bad", allow_missing=True)
    assert all(str(file) in str(failure.value) for file in files[1:3])
    assert not os.path.exists(paths.audio("s4", "vggish_mel_bad", "train", 0, 1))


class Call:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_that_runs_code_is_refused(stored, tmp_path):
    card, paths = stored("s4")
    computed(card, paths, "vggish_mel")
    write(card, paths, tmp_path / "out", "log_mel")
    next((tmp_path / "out").rglob("*.pkl")).write_bytes(pickle.dumps(Call(str(tmp_path / "ran"))))
    with pytest.raises(AvsbenchError, match="mkdir"):
        take(card, paths, tmp_path / "out", "log_mel", label="evil")
    assert not (tmp_path / "ran").exists()


GOOD = pickled(np.zeros((5, 1, 96, 64), np.float32), 5)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8))))
def test_any_bytes_are_data_or_one_error(tmp_path_factory, change):
    data = change if isinstance(change, bytes) else GOOD[: change[0]] + change[1] + GOOD[change[0] + len(change[1]) :]
    file = tmp_path_factory.getbasetemp() / "any.pkl"
    file.write_bytes(data)
    with contextlib.suppress(AvsbenchError):
        assert read_legacy_log_mel(file).shape[1:] == (1, 96, 64)


def test_an_export_continues_and_mends(stored, tmp_path):
    card, paths = stored("s4")
    write(card, paths, tmp_path / "out")
    frames = sorted((tmp_path / "out").rglob("*.png"))
    before = {file: file.stat().st_mtime_ns for file in frames}
    good = frames[0].read_bytes()
    frames[0].write_bytes(b"half")
    write(card, paths, tmp_path / "out")
    assert frames[0].read_bytes() == good
    assert all(file.stat().st_mtime_ns == before[file] for file in frames[1:])


def test_what_an_export_refuses(stored, rendered, tmp_path):  # noqa: F811
    card, paths = stored("ms3")
    with pytest.raises(AvsbenchError, match="not an export of this"):
        write(card, paths, rendered("ms3"))
    with pytest.raises(AvsbenchError, match="avsbench audio --front-end msai_256"):
        write(card, paths, tmp_path / "out", "msai")
    with pytest.raises(AvsbenchError, match="avsbench import"):
        write(card, paths, tmp_path / "out", "maskige")
    with pytest.raises(AvsbenchError, match="cannot export smell"):
        write(card, paths, tmp_path / "out", "smell")


@pytest.mark.parametrize("name", ["vpo_ss", "vpo_ms", "vpo_msmi"])
def test_vpo_has_names_masks_and_sound_of_the_release(rendered, tmp_path, name):  # noqa: F811
    card = card_of(name)
    paths = extracted(card, rendered(name), tmp_path / "data")
    os.symlink(rendered(name), paths.official(name))
    write(card, paths, tmp_path / "out")
    again = extracted(card, tmp_path / "out", tmp_path / "again")
    for split in SPLITS:
        with ShardReader(paths.shard(name, split, 0, 1)) as a, ShardReader(again.shard(name, split, 0, 1)) as b:
            assert a.clip_ids() == b.clip_ids() != []
            for clip_id in a.clip_ids():
                assert np.array_equal(a.clip(clip_id).masks, b.clip(clip_id).masks)
                for x, y in zip(a.sounds(clip_id), b.sounds(clip_id), strict=True):
                    assert np.array_equal(x.samples, y.samples)
                    assert x.position == y.position
