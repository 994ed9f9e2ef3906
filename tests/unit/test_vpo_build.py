"""VPO-style sets: which annotations sound with which clip, the folders that are written, and the checks."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from avsbench import cards
from avsbench.datasets import reader
from avsbench.datasets.vpo_build import Kind, Sources, build
from avsbench.datasets.vpo_build.build import draw_mask
from avsbench.datasets.vpo_build.choose import Chooser
from avsbench.datasets.vpo_build.layout import AUDIOS, read_rows
from avsbench.datasets.vpo_build.tables import tables
from avsbench.errors import AvsbenchError

# ruff: noqa: F811
from .vpo_built import built, files  # noqa: F401 - fixture

# choosing

CLASSES = ("bird", "bus", "cat", "dog", "zebra")
LIMITLESS = {split: dict.fromkeys(CLASSES, 10**6) for split in ("train", "val")}


def candidate_table(images):
    """Candidates of images given as (split, image, classes of its annotations)."""
    rows = []
    for split, image, names in images:
        for place, name in enumerate(names):
            row = {"split": split, "img_Id": image, "file_name": f"{image:012d}.jpg", "width": 100, "height": 80}
            box = {"x": 10.0 * place, "y": 0.0, "w": 8.0, "h": 8.0, "area": 64, "segmentation": "[]"}
            row |= {"ann_Id": 10 * image + place, "cateName": name, "cateId": tables().mask_ids[name]}
            rows.append({**row, **box, "instances": names.count(name)})
    return pd.DataFrame(rows)


def pool_table(clips=3, classes=CLASSES):
    return pd.DataFrame(
        [
            {"split": split, "cateName": name, "vgg_file": f"{split}_{name}_{k:06d}", "vgg_label": name}
            for split in ("train", "val")
            for name in classes
            for k in range(clips)
        ]
    )


images = st.lists(
    st.tuples(st.sampled_from(["train", "val"]), st.lists(st.sampled_from(CLASSES), min_size=1, max_size=6)),
    min_size=1,
    max_size=12,
).map(lambda found: [(split, 5 + n, names) for n, (split, names) in enumerate(found)])


def kinds(chooser, caps=LIMITLESS):
    several = chooser.several(caps)
    return chooser.single(caps), several, chooser.instances(caps, set(several["img_Id"]))


@settings(deadline=None)
@given(images, st.randoms(use_true_random=False))
def test_order_does_not_matter(images, random):
    table, pool = candidate_table(images), pool_table()
    shuffled = list(range(len(table)))
    random.shuffle(shuffled)
    mixed = Chooser(table.iloc[shuffled], pool.iloc[::-1])
    for one, other in zip(kinds(Chooser(table, pool)), kinds(mixed), strict=True):
        pd.testing.assert_frame_equal(one, other)


@settings(deadline=None)
@given(images, st.integers(0, 5))
def test_the_rules_of_the_three_sets(images, seed):
    names_of = {image: names for _, image, names in images}
    chooser = Chooser(candidate_table(images), pool_table(), seed)
    single, several, instances = kinds(chooser)
    alone = {(i, n) for i, names in names_of.items() for n, count in Counter(names).items() if count == 1}
    assert set(zip(single["img_Id"], single["cateName"], strict=True)) == alone, "each annotation that is alone"
    for image, names in names_of.items():
        rows = several[several["img_Id"] == image]
        fits = len(names) > 1 and len(set(names)) == len(names)
        assert bool(len(rows)) == fits, "a non-empty subset of different classes"
        assert rows["cateName"].is_unique
        more = instances[instances["img_Id"] == image]
        crowd = [n for n, count in Counter(names).items() if 2 <= count <= 4]
        assert bool(len(more)) == bool(crowd)
        assert more["cateName"].nunique() <= 1
        assert set(more["cateName"]) <= set(crowd)
    assert set(several["img_Id"]).isdisjoint(instances["img_Id"])
    for table, multi in ((single, 0), (several, 0), (instances, 1)):
        assert (table["multi_instance"] == multi).all()
        assert [clip.split("_")[:2] for clip in table["vgg_file"]] == table[["split", "cateName"]].to_numpy().tolist()
        assert table["audio_pos"].equals(((table["x"] + 4) / 100).rename("audio_pos"))


def test_instances_of_an_image_sound_with_different_clips():
    chooser = Chooser(candidate_table([("train", n, ["cat"] * 4) for n in range(30)]), pool_table(4))
    rows = chooser.instances(LIMITLESS, set())
    assert not rows.duplicated(["img_Id", "vgg_file"]).any()
    few = Chooser(chooser.candidates, pool_table(1)).instances(LIMITLESS, set())
    assert set(few["vgg_file"]) == {"train_cat_000000"}, "a pool of one clip is no reason to stop"


def test_subsets_and_clips_are_spread_evenly():
    rows = Chooser(candidate_table([("train", n, ["cat", "dog"]) for n in range(1500)]), pool_table(3)).several(
        LIMITLESS
    )
    sets = rows.groupby("img_Id")["cateName"].apply("+".join).value_counts()
    assert set(sets.index) == {"cat", "dog", "cat+dog"}
    assert (abs(sets - 500) < 80).all()
    clips = rows["vgg_file"].value_counts()
    assert len(clips) == 6
    assert (abs(clips - len(rows) / 6) < 80).all()


def test_caps_hold_by_split_and_keep_the_first_by_hash():
    images = [("train" if n % 3 else "val", n, ["cat", "dog"]) for n in range(60)]
    chooser, free = Chooser(candidate_table(images), pool_table()), {"cat": 5, "dog": 7}
    caps = {"train": free, "val": {"cat": 2, "dog": 1}}
    single, several, _ = kinds(chooser, caps)
    assert single.groupby(["split", "cateName"]).size().to_dict() == {
        (split, name): caps[split][name] for split in caps for name in ("cat", "dog")
    }
    used = several.groupby(["split", "cateName"]).size()
    assert all(used[split, name] <= caps[split][name] for split, name in used.index)
    assert used["train"].sum() >= 7
    fewer = Chooser(candidate_table(images[:30]), pool_table()).single(LIMITLESS)
    kept = single[single["img_Id"] < 30]
    assert len(kept.merge(fewer, on=["img_Id", "ann_Id", "vgg_file"])) == len(kept), "other images change no choice"


def test_another_seed_is_another_set():
    table, pool = candidate_table([("train", n, ["cat", "dog"]) for n in range(20)]), pool_table()
    assert not Chooser(table, pool, 0).several(LIMITLESS).equals(Chooser(table, pool, 1).several(LIMITLESS))


def test_classes_without_clips_stay_silent():
    table = candidate_table([("train", n, ["cat", "zebra"]) for n in range(20)] + [("train", 99, ["bus", "zebra"])])
    single, several, _ = kinds(Chooser(table, pool_table(classes=("cat", "bus"))))
    assert set(single["cateName"]) == set(several["cateName"]) == {"cat", "bus"}
    assert len(several) == 21


# drawing


def drawing(number, name, polygon, area):
    row = {"img_Id": 1, "ann_Id": number, "split": "train", "cateId": tables().mask_ids[name], "cateName": name}
    return {**row, "area": area, "segmentation": json.dumps([polygon])}


def test_small_objects_are_drawn_over_large_ones():
    dog = drawing(1, "dog", [0, 0, 8, 0, 8, 6, 0, 6], 48)
    cat = drawing(2, "cat", [2, 2, 4, 2, 4, 4, 2, 4], 4)
    for rows in ([dog, cat], [cat, dog]):
        mask, unseen = draw_mask(rows, (10, 6), Path("none"))
        assert unseen == []
        expected = np.zeros((6, 10))
        expected[:, :8], expected[2:4, 2:4] = 18, 17
        np.testing.assert_array_equal(mask, expected)


def test_an_object_that_is_covered_is_reported_also_among_its_like():
    rows = [drawing(n, "cat", [0, 0, 3, 0, 3, 3, 0, 3], 9) for n in (1, 2)]
    mask, unseen = draw_mask(rows, (5, 5), Path("none"))
    assert [row["ann_Id"] for row in unseen] == [1]
    assert (mask > 0).sum() == 9
    with pytest.raises(AvsbenchError, match="image 1, annotation 3: a broken polygon"):
        draw_mask([drawing(3, "cat", [1, 2], 1)], (5, 5), Path("none"))


# building


@pytest.mark.parametrize("kind", Kind)
def test_a_built_set_is_read_like_a_released_one(built, kind):
    card = cards.dataset(f"{kind.value}_rebuilt")
    found = reader(card, built.root(kind))
    table = found.table()
    assert {s: int((table["split"] == s).sum()) for s in card.splits["mini"]} == card.splits["mini"]
    rows = read_rows(built.root(kind), kind)
    for _, row in table.iterrows():
        clip = found.read(row, 64)
        assert clip.notes == []
        assert set(np.unique(clip.masks)) == {0, *(card.classes.index(sound.category) for sound in clip.sounds)}
        assert all((s.rate, s.samples.shape[1], s.seconds) == (16000, 1, 4.0) for s in clip.sounds)
    assert len(rows) == sum(built.manifests[kind]["rows"].values())
    assert json.loads((built.root(kind) / "manifest.json").read_text()) == built.manifests[kind]
    assert "Not the released VPO" in built.manifests[kind]["note"]


def test_workers_and_order_do_not_change_a_byte(built, tmp_path):
    mixed = built.candidates.sample(frac=1, random_state=1)
    built.build(Kind.MS, tmp_path / "again", workers=2, candidates=mixed, pool=built.pool.iloc[::-1])
    assert files(tmp_path / "again") == files(built.root(Kind.MS))


def test_msmi_holds_ms_and_links_it(built):
    ms, msmi = read_rows(built.root(Kind.MS), Kind.MS), read_rows(built.root(Kind.MSMI), Kind.MSMI)
    first = msmi[msmi["multi_instance"] == 0].drop(columns="multi_instance").reset_index(drop=True)
    pd.testing.assert_frame_equal(first, ms)
    assert (msmi["multi_instance"] == 1).any()
    name = next((built.root(Kind.MS) / "VPO/VPO-MS/data").iterdir()).relative_to(built.root(Kind.MS))
    assert os.path.samefile(built.root(Kind.MS) / name, built.root(Kind.MSMI) / name)


def test_sounds_are_resampled_and_positions_are_those_of_the_boxes(built):
    rows = read_rows(built.root(Kind.SS), Kind.SS).merge(
        built.candidates, left_on=["img_Id", "ann_Ids"], right_on=["img_Id", "ann_Id"]
    )
    np.testing.assert_allclose(rows["audio_pos"], (rows["x"] + rows["w"] / 2) / rows["width"], atol=1e-6)
    entry = built.pool[(built.pool["rate"] == 44100) & built.pool["vgg_file"].isin(rows["vgg_file"])].iloc[0]
    whole, rate = soundfile.read(built.sources.vggsound / entry["path"], always_2d=True)
    made, new_rate = soundfile.read(built.root(Kind.SS) / AUDIOS / f"{entry['vgg_file']}.wav")
    assert (rate, new_rate, len(made)) == (44100, 16000, len(whole) * 16000 // 44100)
    # Well below the new Nyquist frequency, where the short filter begins to fall.
    old = np.abs(np.fft.rfft(whole.mean(axis=1)))[1:24000] * 16000 / 44100
    np.testing.assert_allclose(np.abs(np.fft.rfft(made))[1:24000], old, atol=0.02 * old.max())


def test_a_failed_build_leaves_what_was_there(built, tmp_path):
    out = tmp_path / "set"
    built.build(Kind.MS, out)
    before = files(out)
    broken = Sources(tmp_path / "coco", built.sources.vggsound)
    shutil.copytree(built.sources.coco, broken.coco)
    victim = sorted((out / "VPO/VPO-MS/data").iterdir())[0].name
    (broken.coco / "train2017" / victim).unlink()
    with pytest.raises(AvsbenchError, match=rf"{victim}: the picture is missing"):
        built.build(Kind.MS, out, sources=broken)
    Image.new("RGB", (3, 3)).save(broken.coco / "train2017" / victim)
    with pytest.raises(AvsbenchError, match=rf"{victim}: a picture of another size"):
        built.build(Kind.MS, out, sources=broken)
    assert files(out) == before
    assert [p.name for p in tmp_path.iterdir() if "tmp" in p.name] == []


def test_a_covered_object_leaves_its_picture_out(built, tmp_path):
    rows = read_rows(built.root(Kind.MS), Kind.MS)
    image = int(rows["img_Id"][rows["img_Id"].duplicated()].iloc[0])
    table = built.candidates.copy()
    here = table["img_Id"] == image
    table.loc[here, "segmentation"] = "[[0,0,60,0,60,60,0,60]]"
    manifest = built.build(Kind.MS, tmp_path / "set", candidates=table)
    assert f"image {image}: no pixel of" in manifest["left_out"][0]
    assert image not in set(read_rows(tmp_path / "set", Kind.MS)["img_Id"])
    assert not (tmp_path / f"set/VPO/VPO-MS/data/{image:012d}.jpg").exists()


def test_a_full_disk_is_known_before_anything_is_written(built, tmp_path, monkeypatch):
    monkeypatch.setattr("avsbench.datasets.space.free_bytes", lambda path: 10**6)
    with pytest.raises(AvsbenchError, match=r"not enough room on the disk for building vpo_ss_rebuilt"):
        built.build(Kind.SS, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_build_and_no_ms_to_extend_are_errors(built, tmp_path):
    with pytest.raises(AvsbenchError, match="nothing could be built"):
        built.build(Kind.SS, tmp_path / "none", pool=built.pool[:0])
    with pytest.raises(AvsbenchError, match="no VPO-MS, which VPO-MSMI extends"):
        build(
            Kind.MSMI,
            "vpo_msmi_rebuilt",
            tmp_path / "none",
            sources=built.sources,
            candidates=built.candidates,
            pool=built.pool,
            ms_root=tmp_path,
        )
    assert not (tmp_path / "none").exists()
