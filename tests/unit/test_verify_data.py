"""Released data with every kind of damage, checked by `avsbench verify-data`."""

import functools
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from avsbench import cli
from avsbench.datasets import reader
from avsbench.datasets.verify import verify_clip, verify_clips
from avsbench.datasets.verify_kinds import FAULT, KINDS
from avsbench.datasets.verify_report import COLUMNS, verify
from avsbench.errors import AvsbenchError
from tests.unit.rendered import own, rendered, small_card  # noqa: F401

TEST_KINDS: set[str] = set()
"""Kinds that some test of this file has provoked."""


def check(name, root, **options):
    report = verify(options.pop("card", small_card(name)), root, scale="mini", **options)
    TEST_KINDS.update(line.kind for line in report.lines)
    return report


def row_of(name, root, split, number=0):
    table = reader(small_card(name), root).table()
    return table[table["split"] == split].iloc[number].to_dict()


def files_of(name, root, split, number=0):
    return reader(small_card(name), root).files(row_of(name, root, split, number))


def rewrite_mask(file, change):
    mask = np.array(Image.open(file))
    Image.fromarray(change(mask)).save(file)


def truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def no_pictures(files):
    shutil.rmtree(files.frames[0].parent)


def third_value(mask):
    mask[:2, :2] = 100
    return mask


def colour(mask):
    mask[0, 0] = (1, 2, 3)
    return mask


def one_more(file):
    labels = np.array(Image.open(file))
    Image.fromarray(labels + 1).save(file)


def other_labels(file):
    labels = np.array(Image.open(file))
    labels[:3] = 70 - labels[:3]
    Image.fromarray(labels).save(file)


def numbers(files, index=0):
    """The mask of class numbers beside a colour mask."""
    return files.masks[index].parent.with_name("labels_semantic") / files.masks[index].name


def picture(file, size):
    Image.open(file).resize(size).save(file)


def sound(files, samples, rate=16000):
    soundfile.write(files.sounds[0], samples, rate, subtype="PCM_16")


NOISE = np.random.RandomState(0).randint(-9000, 9000, 80000).astype(np.int16)

# data set, split, what is done to the files of a clip, and the kinds that are found
DAMAGE = {
    "a frame is missing": ("s4", "test", lambda f: f.frames[2].unlink(), {"missing_frame"}),
    "masks are missing": ("ms3", "val", lambda f: shutil.rmtree(f.masks[0].parent), {"missing_mask"}),
    "sound and video are missing": (
        "s4", "val", lambda f: (f.sounds[0].unlink(), f.video.unlink()), {"missing_sound"}),
    "a whole clip is missing": (
        "avss", "test", lambda f: shutil.rmtree(f.sounds[0].parent),
        {"missing_frame", "missing_mask", "missing_sound"}),
    "neither frames nor video": ("ms3", "test", lambda f: (no_pictures(f), f.video.unlink()), {"missing_frame"}),
    "an empty frame": ("avss", "train", lambda f: f.frames[0].write_bytes(b""), {"empty_file"}),
    "an empty sound": ("s4", "train", lambda f: f.sounds[0].write_bytes(b""), {"empty_file"}),
    "a truncated frame": ("avss", "val", lambda f: truncate(f.frames[1]), {"unreadable_image"}),
    "a truncated mask": ("s4", "test", lambda f: truncate(f.masks[4]), {"unreadable_image"}),
    "a truncated sound": ("ms3", "train", lambda f: truncate(f.sounds[0]), {"unreadable_sound"}),
    "a truncated video that is needed": (
        "s4", "test", lambda f: (no_pictures(f), truncate(f.video)), {"unreadable_video"}),
    "a truncated video that is not needed": ("s4", "test", lambda f: truncate(f.video), {"broken_video"}),
    "frames from the video": ("s4", "test", no_pictures, {"from_video"}),
    "frames of two sizes": ("avss", "test", lambda f: picture(f.frames[1], (100, 90)), {"size_differs"}),
    "frames not of the released size": (
        "ms3", "val", lambda f: [picture(file, (200, 200)) for file in f.frames], {"wrong_size", "mask_size"}),
    "a third mask value": ("s4", "val", lambda f: rewrite_mask(f.masks[0], third_value), {"mask_values"}),
    "an unknown colour": ("avss", "val", lambda f: rewrite_mask(f.masks[0], colour), {"unknown_colour"}),
    "class numbers from 1": ("avss", "val", lambda f: one_more(numbers(f)), {"class_offset"}),
    "other class numbers": ("avss", "test", lambda f: other_labels(numbers(f)), {"labels_differ"}),
    "class numbers that cannot be read": ("avss", "test", lambda f: truncate(numbers(f)), {"labels_differ"}),
    "a mask too many": (
        "s4", "train", lambda f: shutil.copy(f.masks[0], str(f.masks[0]).replace("_1.png", "_2.png")), {"extra_mask"}),
    "still frames": (
        "ms3", "test", lambda f: [shutil.copy(f.frames[0], file) for file in f.frames[1:]], {"still_frames"}),
    "no samples": ("s4", "val", lambda f: sound(f, NOISE[:0]), {"no_samples"}),
    "half a second of sound": ("avss", "test", lambda f: sound(f, NOISE[:8000]), {"too_short_sound"}),
    "three seconds of sound": ("s4", "test", lambda f: sound(f, NOISE[:48000]), {"short_sound"}),
    "a silent sound": ("ms3", "test", lambda f: sound(f, NOISE * 0), {"silent_sound"}),
    "a muted sound": ("ms3", "test", lambda f: sound(f, NOISE // 1000), {"muted_sound"}),
    "a picture without its mask": ("vpo_ss", "test", lambda f: f.masks[0].unlink(), {"missing_mask"}),
    "a picture and a mask of two sizes": (
        "vpo_ss", "train", lambda f: picture(f.frames[0], (100, 90)), {"size_differs"}),
    "a number that is no class": (
        "vpo_msmi", "val", lambda f: rewrite_mask(f.masks[0], lambda mask: mask + 1), {"mask_values"}),
    "too little sound for a picture": ("vpo_ss", "test", lambda f: sound(f, NOISE[:8000]), {"too_short_sound"}),
    "a silent sound of a picture": ("vpo_ss", "test", lambda f: sound(f, NOISE * 0), {"silent_sound"}),
    "one sound of several is missing": ("vpo_msmi", "test", lambda f: f.sounds[-1].unlink(), {"missing_sound"}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "split", "damage", "kinds"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named(own, name, split, damage, kinds):  # noqa: F811
    root = own(name)
    damage(files_of(name, root, split))
    report = check(name, root)
    assert {line.kind for line in report.lines} == kinds
    row = row_of(name, root, split)
    assert {(line.clip_id, line.split) for line in report.lines} == {(row["clip_id"], split)}
    faulty = any(KINDS[kind][0] == FAULT for kind in kinds)
    assert report.usable(split) == report.clips[split] - faulty
    # A fault is what extraction refuses, neither more nor less.
    try:
        reader(small_card(name), root).read(row, 64)
        assert not faulty
    except AvsbenchError:
        assert faulty


@pytest.mark.parametrize("name", ["s4", "ms3", "avss", "vpo_ss", "vpo_ms", "vpo_msmi"])
def test_sound_data_have_no_line(rendered, name):  # noqa: F811
    report = check(name, rendered(name))
    assert report.lines == []
    assert [report.usable(split) for split in report.clips] == list(report.expected.values())


def several(own):  # noqa: F811
    """A tree with damage of several kinds in several clips."""
    root = own("s4")
    for number, split in enumerate(("train", "val", "test")):
        files = files_of("s4", root, split, number)
        files.frames[number].unlink()
        sound(files, NOISE * 0)
    files_of("s4", root, "train", 3).masks[0].write_bytes(b"no picture")
    return root


def test_one_and_two_processes_give_the_same_report(own, tmp_path):  # noqa: F811
    root = several(own)
    texts = [check("s4", root, jobs=jobs).text() for jobs in (1, 2)]
    assert texts[0] == texts[1]
    assert "faults: 4, notes: 0" in texts[0]


def test_several_files_share_a_line(own):  # noqa: F811
    root = own("s4")
    files = files_of("s4", root, "test")
    for file in files.frames[1:4]:
        file.unlink()
    (line,) = check("s4", root).lines
    assert (line.kind, line.files) == ("missing_frame", 3)
    assert line.text.endswith("(and 2 more)")
    assert line.file == str(files.frames[1].relative_to(root))
    assert str(root) not in line.text


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_damaged_the_report_agrees_with_the_reader(rendered, tmp_path, data):  # noqa: F811
    """Bytes of any file of a clip are cut off or replaced: a line or none, never an exception."""
    name = data.draw(st.sampled_from(["s4", "avss", "vpo_ss"]))
    root = tmp_path / name
    if not root.is_dir():
        shutil.copytree(rendered(name), root)
    source, row = reader(small_card(name), root), row_of(name, root, "test")
    files = source.files(row)
    places = [*files.frames, *files.masks, *files.sounds]
    file = data.draw(st.sampled_from(places))
    before = file.read_bytes()
    start = data.draw(st.integers(0, len(before) - 1))
    put = data.draw(st.one_of(st.none(), st.binary(min_size=1, max_size=40)))
    try:
        file.write_bytes(before[:start] if put is None else before[:start] + put + before[start + len(put) :])
        lines = verify_clip(source, row)
        try:
            source.read(row, 224)
            refused = False
        except Exception:
            refused = True
        assert any(line.severity == FAULT for line in lines) == refused
    finally:
        file.write_bytes(before)


# the data set


def test_files_of_no_clip_are_counted(own):  # noqa: F811
    root = own("s4")
    table = root / "s4_meta_data.csv"
    lines = table.read_text().splitlines()
    gone = row_of("s4", root, "train")["clip_id"]
    table.write_text("\n".join(line for line in lines if not line.startswith(gone)) + "\n")
    report = check("s4", root)
    kinds = {line.kind: line for line in report.lines}
    assert set(kinds) == {"not_in_table", "count_differs"}
    assert kinds["not_in_table"].files == 5 + 1 + 1 + 1  # frames, a mask, sound, video
    assert kinds["count_differs"].text == "3 clips, the card says 4"


def test_another_number_of_test_clips_is_a_fault_where_the_number_is_known(rendered):  # noqa: F811
    card = small_card("ms3")
    more = replace(card, splits={"mini": {**card.splits["mini"], "test": 9}})
    assert [line.kind for line in check("ms3", rendered("ms3"), card=more).lines] == ["clip_count"]
    unsure = check("ms3", rendered("ms3"), card=replace(more, counts_known=False))
    assert [line.kind for line in unsure.lines] == ["count_differs"]
    assert "9 (unverified)" in unsure.summary()


def test_a_clip_in_two_splits(own):  # noqa: F811
    root = own("ms3")
    clip = row_of("ms3", root, "train")["clip_id"]
    with open(root / "ms3_meta_data.csv", "a") as file:
        file.write(f"{clip},test\n")
    found = [line for line in check("ms3", root).lines if line.kind == "two_splits"]
    assert [(line.clip_id, line.text) for line in found] == [(clip, "this clip stands in train and test")]


def test_a_picture_in_two_splits(own):  # noqa: F811
    root = own("vpo_ss")
    file = root / "VPO/VPO-SS/vpo_ss_data_stereo.csv"
    table = pd.read_csv(file, dtype=str)
    seen = table[table["split"] == "train"].iloc[0]
    again = pd.concat([table, pd.DataFrame([{**seen, "ann_Ids": "777", "split": "test"}])])
    again.to_csv(file, index=False)
    mask = next((root / "VPO/VPO-SS/mask").rglob(f"{int(seen['img_Id']):012d}_*.png"))
    shutil.copy(mask, mask.with_name(f"{int(seen['img_Id']):012d}_{777:012d}.png"))
    found = [line.text for line in check("vpo_ss", root).lines if line.kind == "two_splits"]
    assert len(found) == 1
    assert found[0].startswith("this picture stands in")


def test_a_clip_twice_in_a_split(own):  # noqa: F811
    root = own("ms3")
    clip = row_of("ms3", root, "train")["clip_id"]
    with open(root / "ms3_meta_data.csv", "a") as file:
        file.write(f"{clip},train\n")
    (line,) = check("ms3", root).lines
    assert line.kind == "table"
    assert f"the clip {clip} stands twice in train" in line.text


def test_class_numbers_of_the_wrong_base(own):  # noqa: F811
    root = own("avss")
    file = root / "label2idx.json"
    file.write_text(json.dumps({name: value - 1 for name, value in json.loads(file.read_text()).items()}))
    (line,) = check("avss", root).lines
    assert line.kind == "class_numbers"
    assert "found 0 … 70" in line.text


# clips that break more than themselves


class OddReader:
    """Stands for a reader: the table of another, one clip that raises and one that ends the process."""

    def __init__(self, card, root, ends=(), raises=()):
        self.inner, self.ends, self.raises = reader(card, root), ends, raises
        self.card, self.root, self.files, self.read_mask = card, root, self.inner.files, self.inner.read_mask

    def read(self, row, size):
        if row["clip_id"] in self.ends:
            os._exit(9)
        if row["clip_id"] in self.raises:
            raise ZeroDivisionError("odd")
        clip = self.inner.read(row, size)
        clip.notes.append("an oddity of its own")
        return clip


def test_a_clip_that_ends_its_process_costs_itself_alone(rendered):  # noqa: F811
    root, card = rendered("ms3"), small_card("ms3")
    rows = reader(card, root).table().to_dict("records")[:4]
    ends, raises = rows[1]["clip_id"], rows[3]["clip_id"]
    make = functools.partial(OddReader, card, root, (ends,), (raises,))
    lines = verify_clips(make, rows, 2, "verify")
    TEST_KINDS.update(line.kind for line in lines)
    assert {line.clip_id: line.kind for line in lines} == {
        row["clip_id"]: {ends: "crash", raises: "unusable"}.get(row["clip_id"], "remark") for row in rows
    }
    assert "unexpected ZeroDivisionError: odd" in next(line.text for line in lines if line.kind == "unusable")


# the verb


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a configuration of scale mini, to call verbs in."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("{scale: mini, runs: {s4: [saliency]}, seeds: [0]}")
    return ["--config", "config.yaml", "--jobs", "1"]


def test_the_verb_writes_both_files_and_exits_with_1(own, project, capsys):  # noqa: F811
    root = several(own)
    # A folder that was named is compared with the release, so the counts of this small tree are faults too.
    assert cli.main(["verify-data", "--dataset", "s4", "--root", str(root), *project]) == 1
    printed = capsys.readouterr().out
    assert "results/full/data/s4.verify.txt" in printed
    assert "missing_frame" in printed
    text = Path("results/full/data/s4.verify.txt").read_text()
    table = pd.read_parquet("results/full/data/s4.verify.parquet")
    assert list(table.columns) == COLUMNS
    assert len(table) == sum(line.startswith(("[fault]", "[note]")) for line in text.splitlines())
    assert set(table["kind"]) == {"clip_count", "count_differs", "missing_frame", "unreadable_image"}
    for clip_id in table["clip_id"]:
        assert clip_id in text


def test_the_verb_exits_with_0_for_sound_data(rendered, project, monkeypatch):  # noqa: F811
    monkeypatch.setattr("avsbench.cards.dataset", {"s4": small_card("s4")}.get)
    root = ["--root", str(rendered("s4"))]
    assert cli.main(["verify-data", "--dataset", "s4", *root, "--scale", "mini", "--out", "here", *project]) == 0
    assert Path("here/s4.verify.txt").read_text().endswith("faults: 0, notes: 0\n")


def test_the_verb_says_what_to_name_where_nothing_is(project, capsys):
    assert cli.main(["verify-data", "--dataset", "ms3", *project]) == 2
    assert "no roots.ms3 in the configuration" in capsys.readouterr().err


def test_every_kind_was_provoked_here():
    # Runs last; a part of this file alone cannot know.
    if not {"crash", "class_numbers", "muted_sound"} <= TEST_KINDS:
        pytest.skip("only a part of this file ran, so not every kind was provoked")
    assert set(KINDS) - TEST_KINDS == set()
