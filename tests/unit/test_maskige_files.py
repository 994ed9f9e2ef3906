"""The generator `files`: maskiges and masks by the names of the published scripts."""

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from avsbench import datasets
from avsbench.errors import AvsbenchError
from avsbench.features import maskige
from avsbench.features.settings import resolve
from avsbench.media.images import resize_mask
from avsbench.paths import Paths
from avsbench.store.exchange.export import export
from avsbench.store.extract import extract_shard
from avsbench.store.features import feature_shard
from avsbench.store.index import build_index
from avsbench.store.manifest import write_manifests
from avsbench.store.maskige_files import read_indices
from avsbench.store.native import native_shard
from avsbench.store.shards import ArrayReader, ShardReader
from tests.unit.rendered import rendered, small_card  # noqa: F401 - fixtures

SIZE = 32


@pytest.fixture
def stored(rendered, tmp_path):  # noqa: F811
    """Function: name -> card, paths and reader of a data set whose test split is one shard."""

    def get(name):
        card = replace(small_card(name), shards={"mini": dict.fromkeys(("train", "val", "test"), 1)})
        paths = Paths("mini", data_root=str(tmp_path / "data"))
        reader = datasets.reader(card, rendered(name))
        os.makedirs(paths.dataset(name))
        os.symlink(rendered(name), paths.official(name))
        write_manifests(card, "mini", reader.table(), paths)
        for split in ("train", "test"):
            place = (name, split, 0, 1)
            job = {"card": card, "scale": "mini", "reader": reader, "manifest_path": paths.manifest(*place)}
            job |= {"split": split, "shard": 0, "shards": 1}
            extract_shard(**job, image_size=SIZE, out=paths.shard(*place), faults_out=paths.faults(*place))
            if name == "avss":
                native_shard(**job, out=paths.native(*place))
        return card, paths, reader

    return get


def derive(card, paths, chosen, split="test"):
    setting, place = resolve("maskige", paths, chosen), (split, 0, 1)
    files = (paths.features, paths.feature_report, paths.feature_masks)
    out, report, masks = (of(card.name, setting.stored, *place) for of in files)
    native = paths.native(card.name, *place) if setting.pictures == "native" else None
    shard = paths.shard(card.name, *place)
    feature_shard(
        card=card, setting=setting, shard_path=shard, native_path=native, out=out, report_out=report, masks_out=masks
    )
    return ArrayReader(out, content=setting.stored)


def from_files(root):
    return {"generator": "files", "options": {"root": str(root)}}


def clips(reader, split="test"):
    table = reader.table()
    return table[table["split"] == split].to_dict("records")


def draw(seed, shape):
    """Three masks, and their index image."""
    masks = np.random.default_rng(seed).random((3, *shape)) < 0.3
    return masks, maskige.index_image(masks)


def save_picture(file, indices, mode="P"):
    picture = Image.fromarray(indices)
    picture.putpalette(maskige.palette()[:150].tobytes())
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.convert(mode).save(file)


PLACES = {  # data set -> (folder of the frames of a clip, where its maskiges lie, where its masks lie)
    "s4": (
        "s4_data/visual_frames",
        ("s4_data/pre_SAM_mask", "AVSBench_object/Single-source/s4_data/pre_SAM_mask"),
        "AVSBench_object/Single-source/s4_data/visual_frames",
    ),
    "ms3": (
        "ms3_data/visual_frames",
        ("ms3_data/pre_SAM_mask", "AVSBench_object/Multi-sources/ms3_data/pre_SAM_mask"),
        "AVSBench_object/Multi-sources/ms3_data/visual_frames",
    ),
}


@pytest.mark.parametrize("name", ["s4", "ms3"])
@pytest.mark.parametrize(("number", "mode"), [(0, "P"), (1, "RGB")])
def test_maskiges_are_found_where_the_scripts_write_them(stored, rendered, tmp_path, name, number, mode):  # noqa: F811
    card, paths, reader = stored(name)
    frames_at, maskiges_at, _ = PLACES[name]
    expected = {}
    for row in clips(reader):
        for n, frame in enumerate(reader.files(row).frames):
            rest = frame.relative_to(rendered(name) / frames_at)
            _, indices = draw(len(expected), (224, 224))
            expected[row["clip_id"], n] = resize_mask(indices, SIZE, "squash")
            save_picture(tmp_path / maskiges_at[number] / rest.parent / f"{rest.stem}_mask_color.png", indices, mode)
    with derive(card, paths, from_files(tmp_path)) as arrays:
        assert expected
        for (clip_id, n), indices in expected.items():
            assert np.array_equal(arrays.array(clip_id)[n], indices)


@pytest.mark.parametrize("name", ["s4", "ms3"])
def test_masks_are_taken_where_there_are_no_maskiges(stored, rendered, tmp_path, name):  # noqa: F811
    card, paths, reader = stored(name)
    frames_at, _, masks_at = PLACES[name]
    expected = {}
    for row in clips(reader):
        for n, frame in enumerate(reader.files(row).frames):
            rest = frame.relative_to(rendered(name) / frames_at)
            masks, indices = draw(len(expected), (SIZE, SIZE))
            if n == 0:  # what the published script writes where nothing was found
                masks, indices = np.zeros((1, SIZE, SIZE)), np.zeros((SIZE, SIZE), np.uint8)
            expected[row["clip_id"], n] = indices
            file = tmp_path / masks_at / rest.parent / f"{rest.stem}_mask.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, masks)
    with derive(card, paths, from_files(tmp_path)) as arrays:
        for (clip_id, n), indices in expected.items():
            assert np.array_equal(arrays.array(clip_id)[n], indices)


@pytest.mark.parametrize("top", ["pre_SAM_mask/AVSBench_semantic", "AVSBench_semantic"])
@pytest.mark.parametrize("folder", ["processed_frames", "frames"])
def test_maskiges_of_avss(stored, tmp_path, top, folder):
    card, paths, reader = stored("avss")
    expected = {}
    for row in clips(reader):
        for n in range(row["frames"]):
            _, indices = draw(len(expected), (SIZE, SIZE))
            expected[row["clip_id"], n] = indices
            save_picture(tmp_path / top / row["part"] / row["clip_id"] / folder / f"{n}_mask_color.png", indices)
    with derive(card, paths, from_files(tmp_path)) as arrays:
        assert {len(arrays.array(row["clip_id"])) for row in clips(reader)} == {5, 10}
        for (clip_id, n), indices in expected.items():
            assert np.array_equal(arrays.array(clip_id)[n], indices)


def test_exported_maskiges_come_back(stored, tmp_path):
    """`files` reads what `export` writes of maskiges of this suite."""
    card, paths, _ = stored("ms3")
    build_index(card=card, scale="mini", split="test", paths=paths)
    with derive(card, paths, {}) as ours:
        label = ours.header.content.removeprefix("maskige-")
        where = {"card": card, "scale": "mini", "paths": paths, "out": tmp_path / "out"}
        export(**where, splits=("test",), what=("maskige",), label=label)
        with derive(card, paths, from_files(tmp_path / "out")) as theirs:
            assert theirs.clip_ids() == ours.clip_ids() != []
            for clip_id in ours.clip_ids():
                assert np.array_equal(theirs.array(clip_id), ours.array(clip_id))


def test_missing_files_are_listed_by_name(stored, rendered, tmp_path, monkeypatch):  # noqa: F811
    card, paths, reader = stored("s4")
    files = []
    for row in clips(reader):
        for frame in reader.files(row).frames:
            rest = frame.relative_to(rendered("s4") / "s4_data/visual_frames")
            files.append(tmp_path / "s4_data/pre_SAM_mask" / rest.parent / f"{rest.stem}_mask_color.png")
            save_picture(files[-1], draw(0, (SIZE, SIZE))[1])
    files[3].unlink()
    with pytest.raises(AvsbenchError, match="1 frames of s4 test have no maskige") as caught:
        derive(card, paths, from_files(tmp_path))
    assert str(files[3]) in str(caught.value)
    assert not os.path.exists(f"{paths.dataset('s4')}/features") or not any(
        name.endswith(".h5") for _, _, names in os.walk(f"{paths.dataset('s4')}/features") for name in names
    )
    with pytest.raises(AvsbenchError, match=r"root: (.|\n)*is no folder"):
        derive(card, paths, from_files(tmp_path / "nowhere"))
    with pytest.raises(AvsbenchError, match="is no folder"):
        derive(card, paths, {"generator": "files"})
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AvsbenchError, match="1 frames of s4 test have no maskige"):
        derive(card, paths, from_files("~"))


def test_files_that_are_no_maskiges_are_refused(tmp_path):
    wrong = tmp_path / "1_mask.npy"
    np.save(wrong, np.full((2, 4, 4), 7))
    with pytest.raises(AvsbenchError, match="no stack of masks"):
        read_indices(wrong)
    np.save(wrong, np.array([{}], object), allow_pickle=True)
    with pytest.raises(AvsbenchError, match=r"1_mask.npy: the masks cannot be read"):
        read_indices(wrong)
    picture = tmp_path / "1_mask_color.png"
    Image.fromarray(np.full((4, 4, 3), (1, 2, 3), np.uint8)).save(picture)
    with pytest.raises(AvsbenchError, match=r"\(1, 2, 3\)"):
        read_indices(picture)


def test_colours_and_indices_are_the_same_thing():
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colours = maskige.palette()[indices]
    again = maskige.indices_of(colours)
    assert np.array_equal(maskige.palette()[again], colours)
    assert (again <= indices).all()  # a colour that the palette has twice gets the first index


@pytest.mark.parametrize("split", ["train", "test"])
def test_avss_on_original_pictures(stored, split):
    """Published reading A: masks of the pictures as released, then cropped (training) or squashed like the frames."""
    card, paths, reader = stored("avss")
    chosen = {"options": {"scale": 50.0}, "pictures": "native"}
    with derive(card, paths, chosen, split) as arrays, ShardReader(paths.shard("avss", split, 0, 1)) as shard:
        from avsbench.features import build

        setting = resolve("maskige", paths, chosen)
        generator = build(setting.card, setting.options)
        rule = {"train": "crop", "test": "squash"}[split]
        assert arrays.clip_ids() == shard.clip_ids() != []
        for row in clips(reader, split)[:2]:
            pictures = [np.asarray(Image.open(file).convert("RGB")) for file in reader.files(row).frames]
            assert pictures[0].shape[:2] != (SIZE, SIZE)
            whole = [maskige.index_image(generator.propose(picture).masks) for picture in pictures]
            expected = np.stack([resize_mask(image, SIZE, rule) for image in whole])
            assert np.array_equal(arrays.array(row["clip_id"]), expected)
