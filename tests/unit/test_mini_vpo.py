"""The embedded VPO: deterministic, in the layout of the release, and made so that sound and its place decide."""

import hashlib
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from avsbench import cards
from avsbench.datasets.mini import render
from avsbench.datasets.mini_kinds import KINDS, VPO_KINDS
from avsbench.datasets.mini_vpo import RATES, SECONDS, SIZES, picture_of, plan, position_of, scene_of, sound_of
from avsbench.datasets.vpo_build.check import check_set
from avsbench.datasets.vpo_build.layout import Kind

from .rendered import own, rendered, small_card  # noqa: F401 - fixtures

# ruff: noqa: F811

NAMES = ("vpo_ss", "vpo_ms", "vpo_msmi")


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def stills(name):
    return list(plan(cards.dataset(name)))


# determinism


def pinned(name):
    still = next(still for still in stills(name) if still.kind is Kind.of(name) and still.split == "test")
    image, mask, owner = picture_of(still, 0)
    samples, rate = sound_of(still, still.heard[0], 0)
    return {
        "row": [str(value) for value in still.cells(still.heard[0]).values()],
        "position": position_of(owner, still.heard[0]),
        "picture": digest(image),
        "mask": digest(mask),
        "sound": digest(samples),
        "rate": rate,
    }


PINS = {
    "vpo_ss": {
        "row": ["83260", "832600", "keyboard", "76", "mzDlfuoe8-1_000000", "test", "0"],
        "position": "0.5000",
        "picture": "ff1f8166e3805b47",
        "mask": "04b7baf9c9fee550",
        "sound": "7a3dfb67cd2c91c7",
        "rate": 16000,
    },
    "vpo_ms": {
        "row": ["16198", "161980", "cat", "17", "gI_Wjoscodm_000007", "test", "0"],
        "position": "0.8333",
        "picture": "4f942ecb4a87ec2d",
        "mask": "c3f182a4ce011f77",
        "sound": "12b71f925b17f2bf",
        "rate": 16000,
    },
    "vpo_msmi": {
        "row": ["339", "3390", "cat", "17", "e_3m-ukUn6W_000227", "test", "1"],
        "position": "0.1719",
        "picture": "01dcedf84d4541eb",
        "mask": "5906c8b19f5c7622",
        "sound": "e3e5a91e36277384",
        "rate": 16000,
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_pixels_masks_and_samples_are_the_same_everywhere(name):
    assert pinned(name) == PINS[name]


def test_two_renders_are_equal_whatever_the_workers(rendered, tmp_path):
    render(small_card("vpo_msmi"), tmp_path / "again", 0, 2)
    first, second = rendered("vpo_msmi"), tmp_path / "again"
    assert files(first) == files(second)
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files(first))


def test_another_seed_is_other_data_under_the_same_names(rendered, tmp_path):
    render(small_card("vpo_ms"), tmp_path / "other", 1, 1)
    assert files(rendered("vpo_ms")) == files(tmp_path / "other")
    for ending in ("jpg", "wav"):
        name = next(name for name in files(tmp_path / "other") if name.endswith(ending))
        assert (rendered("vpo_ms") / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


# layout


@pytest.mark.parametrize("name", NAMES)
def test_each_set_has_the_layout_of_the_release(name, rendered):
    root, kind = rendered(name), Kind.of(name)
    table = pd.read_csv(root / kind.csv, dtype=str)
    expected = {kind.csv}
    for row in table.itertuples():
        image, annotation = f"{int(row.img_Id):012d}", f"{int(row.ann_Ids):012d}"
        expected.add(f"vggsound_bench/VGGSound/audios/{row.vgg_file}.wav")
        if kind is Kind.SS:
            expected.add(f"VPO/VPO-SS/data/{row.cateName}/{image}.jpg")
            expected.add(f"VPO/VPO-SS/mask/{row.cateName}/{image}_{annotation}.png")
        else:
            folder = "VPO-MSMI" if kind is Kind.MSMI and row.multi_instance == "1" else "VPO-MS"
            expected |= {f"VPO/{folder}/data/{image}.jpg", f"VPO/{folder}/mask/{image}.png"}
    if kind is Kind.MSMI:
        expected.add(Kind.MS.csv)
    assert set(files(root)) == expected
    mask = Image.open(root / next(f for f in expected if f.endswith(".png")))
    assert mask.mode == "P"


@pytest.mark.parametrize("name", NAMES)
def test_the_check_of_built_and_released_sets_finds_no_fault(name, rendered):
    summary = check_set(rendered(name), Kind.of(name))
    assert summary.rows == summary.clips, "every object has a sound of its own"
    assert summary.rows >= summary.images


def test_vpo_msmi_holds_the_rows_and_files_of_vpo_ms(tmp_path):
    from dataclasses import replace

    counts = {"train": 6, "val": 4, "test": 4}
    roots = {}
    for name, times in (("vpo_ms", 1), ("vpo_msmi", 6)):
        splits = {"mini": {split: times * count for split, count in counts.items()}}
        roots[name] = tmp_path / name
        render(replace(cards.dataset(name), splits=splits), roots[name], 0, 1)
    assert set(files(roots["vpo_ms"])) < set(files(roots["vpo_msmi"]))
    for name in files(roots["vpo_ms"]):
        assert (roots["vpo_ms"] / name).read_bytes() == (roots["vpo_msmi"] / name).read_bytes(), name
    more, less = (pd.read_csv(roots[name] / Kind.of(name).csv) for name in ("vpo_msmi", "vpo_ms"))
    assert more[more["multi_instance"] == 0].drop(columns="multi_instance").reset_index(drop=True).equals(less)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_clips_are_those_of_the_cards(name):
    from avsbench.datasets.vpo import validation_picture

    found = stills(name)
    ours = Counter(
        "test" if still.split != "train" else "val" if validation_picture(still.image) else "train" for still in found
    )
    assert ours == cards.dataset(name).splits["mini"]
    assert {still.split for still in found} == {"train", "val", "test"}, "val and test of the csv are our test"
    assert len({(still.image, still.heard) for still in found}) == len(found)
    pictures = {still.image: still.scene for still in found}
    assert len(pictures) == len(found) if name != "vpo_ss" else len(set(pictures.values())) == len(pictures)
    assert len({still.sound(number) for still in found for number in still.heard}) == sum(len(s.heard) for s in found)


def test_sounds_are_mono_and_of_several_forms(rendered):
    infos = [soundfile.info(path) for path in rendered("vpo_msmi").glob("vggsound_bench/VGGSound/audios/*.wav")]
    assert {info.channels for info in infos} == {1}
    assert {info.samplerate for info in infos} <= set(RATES)
    assert {info.duration for info in infos} <= set(SECONDS)
    assert len({info.samplerate for info in infos}) > 1
    assert len(set(SIZES)) > 2


# sound decides


@pytest.mark.parametrize("name", NAMES)
def test_clips_share_pictures_and_differ_in_who_is_heard(name):
    groups = defaultdict(list)
    for still in stills(name):
        groups[still.scene].append(still)
    assert sum(len(group) > 1 for group in groups.values()) > 0.9 * len(groups)
    for group in list(groups.values())[:4]:
        pictures = [picture_of(still, 0) for still in group]
        assert all((image == pictures[0][0]).all() for image, _, _ in pictures)
        assert len({mask.tobytes() for _, mask, _ in pictures}) == len(group)


def test_most_pictures_show_silent_objects_of_sounding_classes():
    for name, share in (("vpo_ss", 1.0), ("vpo_ms", 0.7), ("vpo_msmi", 0.8)):
        found = stills(name)
        assert np.mean([len(still.heard) < len(still.cast) for still in found]) >= share


def test_in_most_of_vpo_msmi_objects_of_one_class_stand_in_different_columns():
    several = [still for still in stills("vpo_msmi") if still.kind is Kind.MSMI]
    assert len(several) == len(stills("vpo_msmi")) * 5 / 6
    for still in several:
        heard, owner = {still.cast[number] for number in still.heard}, picture_of(still, 0)[2]
        same = [number for number, name in enumerate(still.cast) if name in heard]
        assert len(heard) == 1
        assert len(same) in (2, 3)
        places = sorted(float(position_of(owner, number)) for number in same)
        assert min(np.diff(places)) > 0.15
    assert {len(still.heard) for still in several} == {1}


def test_without_position_most_of_vpo_msmi_cannot_be_told():
    """What class is heard leaves about as many pixels of it silent as heard: without position both guesses are bad."""
    heard = silent = 0
    for still in stills("vpo_msmi"):
        if still.kind is Kind.MSMI and still.split != "train":
            owner = picture_of(still, 0)[2]
            for number in (number for number, name in enumerate(still.cast) if name == still.cast[0]):
                size = int((owner == number + 1).sum())
                heard, silent = (heard + size, silent) if number in still.heard else (heard, silent + size)
    assert 0.8 < silent / heard < 1.5


def test_sources_a_picture():
    ms = [len(still.heard) for still in stills("vpo_ms")]
    assert set(ms) == {1, 2, 3}
    assert 1.3 < np.mean(ms) < 1.9
    assert {len(still.heard) for still in stills("vpo_ss")} == {1}
    assert all(len(set(still.cast)) == len(still.cast) for still in stills("vpo_ms"))


@pytest.mark.parametrize("name", NAMES)
def test_every_object_can_be_seen(name):
    for still in stills(name):
        owner = picture_of(still, 0)[2]
        shares = [(owner == number + 1).mean() for number in range(len(still.cast))]
        assert min(shares) > 0.006
        assert [thing.sounding for thing in scene_of(still, 0).things] == [
            (number in still.heard,) for number in range(len(still.cast))
        ]


def test_every_class_is_heard():
    for name in NAMES:
        heard = Counter(
            still.cast[number] for still in stills(name) if still.split == "train" for number in still.heard
        )
        assert set(heard) == {kind.name for kind in VPO_KINDS}
        assert max(heard.values()) <= 3 * min(heard.values())


def test_kinds_are_classes_of_vpo_and_two_of_them_collide_in_the_published_loader():
    names = {kind.name for kind in VPO_KINDS}
    assert names < set(cards.dataset("vpo_ss").classes)
    assert {"car", "airplane"} < names
    assert len({kind.timbre for kind in VPO_KINDS}) == len(names) == len(KINDS)
