"""What VPO-style sets are built from: segmentations, people, candidates of COCO, clips of VGGSound."""

import contextlib
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from avsbench.datasets.vpo_build.audio_pool import find_sounds
from avsbench.datasets.vpo_build.candidates import Area, find_candidates
from avsbench.datasets.vpo_build.people import classes_named, person_class
from avsbench.datasets.vpo_build.segments import polygon_mask, runs_mask, segment_mask
from avsbench.datasets.vpo_build.tables import PERSON, tables
from avsbench.errors import AvsbenchError

# segmentations


def test_a_rectangle_covers_its_area():
    mask = polygon_mask([2, 1, 6, 1, 6, 4, 2, 4], 6, 8)
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_triangle_takes_the_pixels_whose_centre_is_inside():
    mask = polygon_mask([0, 0, 4, 0, 0, 4], 4, 4)
    # Row r has centre y = r + 0.5 and the edge at x = 4 - y: the centres 0.5 … below 3.5 - r are inside.
    expected = ["###.", "##..", "#...", "...."]
    np.testing.assert_array_equal(mask, [[c == "#" for c in row] for row in expected])


def test_a_hole_and_a_polygon_that_leaves_the_picture():
    frame = [0, 0, 5, 0, 5, 5, 0, 5, 0, 0, 1, 1, 1, 4, 4, 4, 4, 1, 1, 1]
    assert polygon_mask(frame, 5, 5).sum() == 25 - 9
    assert polygon_mask([-3, -3, 2, -3, 2, 99, -3, 99], 4, 6).sum() == 2 * 4
    assert not polygon_mask([10, 10, 12, 10, 12, 12], 4, 6).any()


@given(st.lists(st.tuples(st.floats(-9, 49), st.floats(-9, 39)), min_size=3, max_size=9))
def test_polygons_agree_with_rays_from_every_pixel(points):
    """A ray to the left of a centre inside crosses the outline an odd number of times."""
    y, x = np.mgrid[0:30, 0:40] + 0.5
    inside, doubtful = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if y0 != y1:
            with np.errstate(over="ignore"):
                crossing = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
            inside ^= ((y0 <= y) != (y1 <= y)) & (crossing <= x)
            doubtful |= abs(crossing - x) < 1e-6
    np.testing.assert_array_equal(polygon_mask(np.ravel(points), 30, 40)[~doubtful], inside[~doubtful])


@pytest.mark.parametrize("polygon", [[], [1, 2, 3, 4], [1, 2, 3, 4, 5], [0, 0, float("nan"), 1, 1, 1]])
def test_a_broken_polygon_is_named(polygon):
    with pytest.raises(AvsbenchError, match="broken polygon"):
        polygon_mask(polygon, 4, 4)


def test_run_lengths_go_down_the_columns():
    mask = runs_mask([1, 2, 3], 2, 3)
    np.testing.assert_array_equal(mask, [[False, True, False], [True, False, False]])


def test_compressed_run_lengths_by_hand():
    # 1 -> "1", 2 -> "2", 3 -> "3"; the fourth is written as 2 - 2 = 0, the fifth as 40 - 3 = 37 = 5 + 32 * 1 -> "U1".
    np.testing.assert_array_equal(runs_mask("1230U1", 6, 8), runs_mask([1, 2, 3, 2, 40], 6, 8))
    # 1 - 5 = -4: five bits 11100 of two's complement -> chr(28 + 48) = "L".
    np.testing.assert_array_equal(runs_mask("053L", 3, 3), runs_mask([0, 5, 3, 1], 3, 3))


def compressed(counts):
    """COCO's text form of run lengths."""
    text = ""
    for place, count in enumerate(counts):
        value = count - (counts[place - 2] if place > 2 else 0)
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
    return text


@given(st.lists(st.booleans(), min_size=12, max_size=400))
def test_run_lengths_return_the_mask_in_both_forms(pixels):
    width = len(pixels) // 4
    mask = np.array(pixels[: 4 * width]).reshape(4, width)
    edges = np.flatnonzero(np.diff(mask.T.ravel(), prepend=False))
    counts = np.diff([0, *edges, mask.size]).tolist()
    for form in (counts, compressed(counts)):
        np.testing.assert_array_equal(segment_mask({"size": [4, width], "counts": form}, 4, width), mask)


@given(st.text(max_size=20))
def test_any_text_is_run_lengths_or_an_error(text):
    with contextlib.suppress(AvsbenchError):
        assert runs_mask(text, 4, 4).shape == (4, 4)


def test_several_polygons_unite_and_other_forms_are_errors():
    square, other = [0, 0, 3, 0, 3, 3, 0, 3], [1, 1, 4, 1, 4, 4, 1, 4]
    assert segment_mask([square, other], 5, 5).sum() == 9 + 9 - 4
    with pytest.raises(AvsbenchError, match="another size"):
        segment_mask({"size": [3, 4], "counts": [12]}, 4, 3)
    with pytest.raises(AvsbenchError, match="unknown form"):
        segment_mask({"counts": [12]}, 4, 3)


# people


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        (["A man on a horse", "a guy rides", "somebody outside"], "male"),
        (["A man on a horse", "somebody outside"], None),  # one vote
        (["A man", "a boy", "a woman"], None),  # one against
        (["A woman and a man", "a woman and her husband"], None),
        (["A toddler with cake", "a baby boy", "an infant eats"], "baby"),
        (["a person and a baby elephant", "baby elephants", "a lady", "the woman laughs"], "female"),
        (["a snowman", "mankind", "humans"], None),
        ([], None),
    ],
)
def test_captions_must_agree(captions, expected):
    assert person_class(captions) == expected


@given(st.lists(st.sampled_from(["a man", "a woman", "a baby", "a cat", "people"]), max_size=5))
def test_a_class_needs_two_votes_and_no_other(captions):
    named = [classes_named(caption) for caption in captions]
    found = person_class(captions)
    if found is None:
        assert len(set().union(*named)) != 1 or sum(map(bool, named)) < 2
    else:
        assert sum(found in one for one in named) >= 2
        assert set().union(*named) == {found}


# tables


def test_numbers_and_names_are_those_of_the_published_code():
    labels = json.loads((Path(__file__).parents[1] / "parity/cavp/vpo_labels.json").read_text())
    index = {name: labels["index_table"].index(name) for name in tables().mask_ids}
    assert {str(n): index[name] for name, n in tables().mask_ids.items()} == labels["mask_id_to_index"]
    assert PERSON not in tables().mask_ids.values()


def test_caps_share_out_the_published_histogram():
    caps = tables().caps
    assert sum(sum(split.values()) for split in caps["single"].values()) == pytest.approx(12190, rel=0.01)
    assert sum(sum(split.values()) for split in caps["several"].values()) == pytest.approx(13500, rel=0.05)
    assert caps["single"]["train"]["dog"] + caps["single"]["val"]["dog"] == 765
    assert all(cap > 0 for kind in caps.values() for split in kind.values() for cap in split.values())


# candidates


def coco(folder, images, annotations, captions=(), categories=None):
    """A COCO of one or two pictures; the same in both splits."""
    known = [{"id": PERSON, "name": "person"}, *({"id": n, "name": name} for n, name in tables().coco_ids.items())]
    content = {"images": images, "annotations": annotations, "categories": categories or known}
    (folder / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (folder / f"annotations/instances_{split}.json").write_text(json.dumps(content))
        (folder / f"annotations/captions_{split}.json").write_text(json.dumps({"annotations": list(captions)}))
    return folder


def annotation(number, category, area=100, image=7, **others):
    box, polygon = [0, 0, 10, 10], [[0, 0, 10, 0, 10, 10, 0, 10]]
    entry = {"id": number, "image_id": image, "category_id": category, "iscrowd": 0, "area": area}
    return {**entry, "bbox": box, "segmentation": polygon, **others}


IMAGE = {"id": 7, "file_name": "000000000007.jpg", "width": 50, "height": 40}


def found_in(tmp_path, annotations, captions=(), **options):
    captions = [{"image_id": 7, "caption": caption} for caption in captions]
    table = find_candidates(coco(tmp_path / "coco", [IMAGE], annotations, captions), **options)
    return table[table["split"] == "train"].set_index("ann_Id")


def test_small_large_crowded_and_foreign_annotations_are_left_out(tmp_path):
    crowd = annotation(4, 18, iscrowd=1, segmentation={"size": [40, 50], "counts": [2000]})
    table = found_in(
        tmp_path, [annotation(1, 17), annotation(2, 17, 9), annotation(3, 6, 1801), crowd, annotation(5, 62)]
    )
    assert list(table.index) == [1]
    assert table.loc[1, ["cateName", "cateId", "instances"]].tolist() == ["cat", 17, 2], "the small one counts"
    assert json.loads(table.loc[1, "segmentation"]) == [[0, 0, 10, 0, 10, 10, 0, 10]]


def test_limits_of_the_area_are_included_and_can_be_set(tmp_path):
    annotations = [annotation(1, 17, 10), annotation(2, 6, 1800), annotation(3, 5, 9)]
    assert list(found_in(tmp_path / "a", annotations).index) == [1, 2]
    assert list(found_in(tmp_path / "b", annotations, area=Area(0.0045, 0.5)).index) == [1, 3]


def test_a_lone_person_is_what_the_captions_say(tmp_path):
    table = found_in(tmp_path / "a", [annotation(1, PERSON), annotation(2, 18)], ["a woman", "a girl and a dog"])
    assert table["cateName"].tolist() == ["female", "dog"]
    assert table.loc[1, "cateId"] == 93
    two = [annotation(1, PERSON), annotation(2, 18), annotation(3, PERSON, 2)]
    assert list(found_in(tmp_path / "b", two, ["a woman", "a girl"]).index) == [2], "a second person, however small"


def test_panoptic_segments_do_as_well(tmp_path):
    folder = coco(tmp_path / "coco", [IMAGE], [])
    segment = {"id": 515, "category_id": 18, "iscrowd": 0, "area": 100, "bbox": [5, 5, 10, 10]}
    entry = {
        "image_id": 7,
        "file_name": "000000000007.png",
        "segments_info": [segment, {**segment, "category_id": 62, "id": 3}],
    }
    for split in ("train2017", "val2017"):
        content = json.loads((folder / f"annotations/instances_{split}.json").read_text())
        (folder / f"annotations/panoptic_{split}.json").write_text(json.dumps({**content, "annotations": [entry]}))
    table = find_candidates(folder, "panoptic")
    assert table["ann_Id"].tolist() == [515, 515]
    picture = np.zeros((40, 50, 3), np.uint8)
    picture[5:15, 5:15] = (3, 2, 0)  # 3 + 2 * 256
    Image.fromarray(picture).save(tmp_path / "000000000007.png")
    mask = segment_mask(json.loads(table["segmentation"][0]), 40, 50, tmp_path)
    np.testing.assert_array_equal(mask, picture[..., 0] > 0)


def test_missing_damaged_and_foreign_annotations_are_named(tmp_path):
    with pytest.raises(AvsbenchError, match=r"instances_train2017\.json: no such file(.|\n)*vpo_sources\.coco"):
        find_candidates(tmp_path)
    wrong = [{"id": 18, "name": "cat"}]
    with pytest.raises(AvsbenchError, match=r"other categories(.|\n)*18 is 'cat', not 'dog'"):
        find_candidates(coco(tmp_path / "a", [IMAGE], [annotation(1, 18)], categories=wrong))
    folder = coco(tmp_path / "b", [IMAGE], [annotation(1, 18)])
    (folder / "annotations/instances_val2017.json").write_text('{"images": [')
    with pytest.raises(AvsbenchError, match=r"instances_val2017\.json: not a whole file"):
        find_candidates(folder)
    with pytest.raises(AvsbenchError, match=r"not a file of COCO annotations(.|\n)*'area'"):
        find_candidates(coco(tmp_path / "c", [IMAGE], [{k: v for k, v in annotation(1, 18).items() if k != "area"}]))


# sounds


def vggsound(folder, clips, labels=None):
    """A VGGSound whose csv has every label once, and the rows and wavs of `clips`."""
    folder.mkdir()
    known = labels or [label for names in tables().sounds.values() for label in names]
    rows = [(f"other{n:06d}", 1, label, "train") for n, label in enumerate(known)]
    for video, start, label, split, samples in clips:
        rows.append((video, start, label, split))
        if samples is not None:
            soundfile.write(folder / f"{video}_{start:06d}.wav", samples, 16000)
    with open(folder / "vggsound.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def noise(seconds, channels=1, loudness=0.1):
    shape = (round(16000 * seconds), channels)
    return np.random.default_rng(0).uniform(-loudness, loudness, shape)


def test_the_pool_and_what_was_dropped(tmp_path):
    quiet = noise(10)
    quiet[3 * 16000 : 7 * 16000] = 0  # heard are the central 3 s
    label = "bird chirping, tweeting"
    folder = vggsound(
        tmp_path / "v",
        [
            ("good1", 30, label, "train", noise(10, 2)),
            ("good2", 0, "dog barking", "test", noise(3)),
            ("short", 1, label, "train", noise(2.99)),
            ("quiet", 1, label, "train", quiet),
            ("faint", 1, label, "train", noise(4, loudness=0.0009)),
            ("torn", 1, label, "train", noise(4)),
            ("both", 1, label, "train", noise(4)),
            ("both", 1, label, "test", None),
        ],
    )
    whole = (folder / "torn_000001.wav").read_bytes()
    (folder / "torn_000001.wav").write_bytes(whole[:999])
    (folder / "audios").mkdir()
    (folder / "good1_000030.wav").rename(folder / "audios/good1_000030.wav")
    pool, dropped = find_sounds(folder)
    assert pool[["split", "cateName", "vgg_file"]].to_numpy().tolist() == [
        ["train", "bird", "good1_000030"],
        ["val", "dog", "good2_000000"],
    ]
    assert pool.loc[0, ["path", "seconds", "rate", "channels"]].tolist() == ["audios/good1_000030.wav", 10.0, 16000, 2]
    reasons = dropped[dropped["reason"] != "missing"].set_index("vgg_file")["reason"].to_dict()
    starts = {
        "short": "shorter than 3 s",
        "quiet": "silent",
        "faint": "silent",
        "torn": "undecodable",
        "both": "in both",
    }
    assert {name.split("_")[0]: reason for name, reason in reasons.items()} == {
        name: next(r for n, r in reasons.items() if n.startswith(name) and r.startswith(text))
        for name, text in starts.items()
    }
    assert (dropped["reason"] == "missing").sum() == len(
        [label for names in tables().sounds.values() for label in names]
    )


def test_workers_do_not_change_the_pool(tmp_path):
    folder = vggsound(tmp_path / "v", [(f"clip{n}", n, "cat purring", "train", noise(3)) for n in range(4)])
    one, two = find_sounds(folder, 1), find_sounds(folder, 2)
    for a, b in zip(one, two, strict=True):
        assert a.equals(b)


def test_an_unknown_label_names_the_nearest(tmp_path):
    labels = [label for names in tables().sounds.values() for label in names if label != "zebra braying"]
    with pytest.raises(AvsbenchError, match=r"1 labels(.|\n)*'zebra braying', nearest 'zebras braying'"):
        find_sounds(vggsound(tmp_path / "v", [], [*labels, "zebras braying"]))


@given(st.text(max_size=60))
def test_any_text_as_csv_is_clips_or_an_error(tmp_path_factory, text):
    from avsbench.datasets.vpo_build.audio_pool import read_clips

    path = tmp_path_factory.mktemp("csv") / "vggsound.csv"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(AvsbenchError, match=r"vggsound\.csv"):
        read_clips(path)


def test_no_usable_clip_is_an_error(tmp_path):
    with pytest.raises(AvsbenchError, match=r"no clip is usable(.|\n)*0 sound or video files"):
        find_sounds(vggsound(tmp_path / "v", []))
    with pytest.raises(AvsbenchError, match=r"vggsound\.csv: no such file"):
        find_sounds(tmp_path)
