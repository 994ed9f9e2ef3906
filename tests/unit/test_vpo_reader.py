"""The reader of VPO: tables, our validation split, clips, and what it says about broken data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from avsbench import cards
from avsbench.datasets import ClipFault, acquire, reader
from avsbench.datasets.vpo import class_table, validation_picture
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths

from .rendered import own, rendered, small_card  # noqa: F401 - fixtures

# ruff: noqa: F811

NAMES = ("vpo_ss", "vpo_ms", "vpo_msmi")
LABELS = json.loads((Path(__file__).parents[1] / "parity/cavp/vpo_labels.json").read_text())
VAL = [n for n in range(1, 2000) if validation_picture(n)]
TRAIN = [n for n in range(1, 2000) if not validation_picture(n)]
HEADER = "img_Id,ann_Ids,cateName,cateId,vgg_file,split,audio_pos,multi_instance"
FILLER = [f"{VAL[-1]},1,dog,18,v_000001,train,0.5,0", "1999,2,dog,18,t_000001,test,0.5,0"]
"""Rows that give a table its val and test."""
FILLER_TRAIN = f"{TRAIN[-1]},1,dog,18,r_000001,train,0.5,0"


def csv_of(root, name):
    kind = name.removeprefix("vpo_")
    return root / f"VPO/VPO-{kind.upper()}/{name}_data_stereo.csv"


def read_table(root, name, rows, header=HEADER):
    """(reader, table) of a csv with these rows and those of FILLER; no files."""
    path = csv_of(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows, *FILLER]) + "\n")
    found = reader(cards.dataset(name), root)
    return found, found.table()


# classes


@pytest.mark.parametrize("name", NAMES)
def test_classes_and_their_numbers_are_those_of_the_release(name):
    card = cards.dataset(name)
    assert card.classes == LABELS["index_table"]
    table = class_table(tuple(card.classes))
    known = {int(number): index for number, index in LABELS["mask_id_to_index"].items()} | {0: 0}
    assert {number: int(table[number]) for number in range(256) if table[number] != 255} == known


def test_cars_beside_airplanes_stay_cars():
    """The published loader renames in place and gets every one of these pairs wrong."""
    table = class_table(tuple(LABELS["index_table"]))
    for case in LABELS["sequential_remap_collisions"]:
        assert case["expected"] != case["reference"]
        assert table[case["ids"]].tolist() == case["expected"]


# tables


def test_val_is_a_twentieth_of_the_training_pictures():
    share = np.mean([validation_picture(n) for n in range(1, 40001)])
    assert 0.045 < share < 0.055


@pytest.mark.parametrize("name", NAMES)
def test_splits_follow_the_picture(name, tmp_path):
    rows = [f"{VAL[0]},3,cat,17,a,train,0,0", f"{TRAIN[0]},4,cat,17,b,train,1,0", f"{VAL[1]},5,cat,17,c,val,0.5,0"]
    table = read_table(tmp_path, name, rows)[1]
    splits = {clip.split("_")[0]: split for clip, split in zip(table["clip_id"], table["split"], strict=True)}
    assert splits[str(VAL[0])] == "val"
    assert splits[str(TRAIN[0])] == "train"
    assert splits[str(VAL[1])] == "test", "official val is test, whatever the hash says"


def test_rows_of_single_sources_are_clips_of_their_own(tmp_path):
    image = TRAIN[5]
    rows = [f"{image},{a},{c},{i},s{a},train,0.25,0" for a, c, i in ((7, "sports ball", 37), (8, "dog", 18))]
    found, table = read_table(tmp_path, "vpo_ss", rows)
    mine = table[table["split"] == "train"]
    assert mine["clip_id"].tolist() == [f"{image}_7", f"{image}_8"]
    assert mine["category"].tolist() == ["sports ball", "dog"]
    assert (mine["position"].tolist(), set(mine["frames"]), set(mine["part"])) == ([0, 1], {1}, {""})
    files = found.files(mine.iloc[0])
    folder = tmp_path / "VPO/VPO-SS"
    assert files.frames == [folder / f"data/sports ball/{image:012d}.jpg"]
    assert files.masks == [folder / f"mask/sports ball/{image:012d}_{7:012d}.png"]
    assert files.sounds == [tmp_path / "vggsound_bench/VGGSound/audios/s7.wav"]


def test_several_classes_in_one_row_of_single_sources(tmp_path):
    found, table = read_table(tmp_path, "vpo_ss", [f'{TRAIN[0]},1,"dog,cat",18,s,train,0.5,0'])
    assert table["category"][0] == "dog+cat"
    assert found.files(table.iloc[0]).frames[0].parent.name == "dog,cat"


def test_rows_of_a_picture_are_one_clip_in_order_of_first_appearance(tmp_path):
    first, second = TRAIN[7], TRAIN[3]
    rows = [f"{first},1,dog,18,a,train,0.1,0", f"{second},2,cow,21,b,train,0.2,0", f"{first},3,car,3,c,train,0.9,0"]
    found, table = read_table(tmp_path, "vpo_ms", [*rows, f"{first},4,dog,18,d,train,1,0"])
    mine = table[table["split"] == "train"]
    assert mine["clip_id"].tolist() == [str(first), str(second)]
    assert mine["category"].tolist() == ["dog+car", "cow"]
    assert [file.stem for file in found.files(mine.iloc[0]).sounds] == ["a", "c", "d"]


def test_pictures_of_single_instances_lie_with_vpo_ms(tmp_path):
    rows = [f"{TRAIN[0]},1,dog,18,a,train,0.1,0", f"{TRAIN[1]},2,dog,18,b,train,0.1,1.0"]
    found, table = read_table(tmp_path, "vpo_msmi", rows)
    assert table["part"].tolist()[:2] == ["", "multi"]
    for row, folder in zip(table.to_dict("records")[:2], ("VPO-MS", "VPO-MSMI"), strict=True):
        files = found.files(row)
        image = int(row["clip_id"])
        assert files.frames == [tmp_path / f"VPO/{folder}/data/{image:012d}.jpg"]
        assert files.masks == [tmp_path / f"VPO/{folder}/mask/{image:012d}.png"]


def test_a_picture_of_both_kinds_is_refused(tmp_path):
    rows = [f"{TRAIN[0]},1,dog,18,a,train,0.1,0", f"{TRAIN[0]},2,dog,18,b,train,0.1,1"]
    with pytest.raises(AvsbenchError, match=rf"stereo\.csv:3: picture {TRAIN[0]} has rows with multi_instance 0 and 1"):
        read_table(tmp_path, "vpo_msmi", rows)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("x7,1,dog,18,a,train,0.5,0", "img_Id 'x7' is no number"),
        ("-7,1,dog,18,a,train,0.5,0", "img_Id '-7' is no number"),
        ("7,,dog,18,a,train,0.5,0", "ann_Ids '' is no number"),
        ("7,1,tiger,18,a,train,0.5,0", "unknown class 'tiger'"),
        ("7,1,background,0,a,train,0.5,0", "unknown class 'background'"),
        ("7,1,dog,18,../a,train,0.5,0", "'../a' cannot be the name of a sound"),
        ("7,1,dog,18,,train,0.5,0", "'' cannot be the name of a sound"),
        ("7,1,dog,18,a,valid,0.5,0", "unknown split 'valid'"),
        ("7,1,dog,18,a,train,1.01,0", "audio_pos '1.01' is no place"),
        ("7,1,dog,18,a,train,nan,0", "audio_pos 'nan' is no place"),
        ("7,1,dog,18,a,train,left,0", "audio_pos 'left' is no place"),
        ("1999,2,dog,18,a,test,0.5,0\n1999,2,cat,17,b,val,0.5,0", "the clip 1999_2 stands twice"),
    ],
)
def test_a_faulty_row_is_named_with_its_line(row, says, tmp_path):
    line = 2 + row.count("\n")
    with pytest.raises(AvsbenchError) as caught:
        read_table(tmp_path, "vpo_ss", row.split("\n"))
    assert f"vpo_ss_data_stereo.csv:{line}: {says}" in str(caught.value)


def test_only_0_and_1_say_how_many_instances(tmp_path):
    with pytest.raises(AvsbenchError, match=r"csv:2: multi_instance 2(.|\n)*0 or 1"):
        read_table(tmp_path, "vpo_msmi", [f"{TRAIN[0]},1,dog,18,a,train,0.5,2"])


@pytest.mark.parametrize(
    ("name", "column"), [("vpo_ss", "ann_Ids"), ("vpo_ms", "vgg_file"), ("vpo_msmi", "multi_instance")]
)
def test_a_missing_column_is_named(name, column, tmp_path):
    with pytest.raises(AvsbenchError, match=f"the table lacks the column {column}"):
        read_table(tmp_path, name, [], HEADER.replace(column, "other"))


def test_other_columns_do_no_harm_and_positions_may_be_absent(tmp_path, caplog):
    found, table = read_table(tmp_path, "vpo_ms", [FILLER_TRAIN], HEADER.replace("audio_pos", "vgg_label"))
    assert {source.position for sources in found._sources.values() for source in sources} == {0.5}
    assert len(table) == 3
    assert "3 rows without audio_pos" in caplog.text


def test_a_number_that_is_not_that_of_the_class_is_a_warning(tmp_path, caplog):
    read_table(tmp_path, "vpo_ms", [f"{TRAIN[0]},1,dog,17,a,train,0.5,0"])
    assert "in 1 rows, first line 2, cateId is not the number of cateName" in caplog.text


CELL = st.one_of(
    st.sampled_from(["", "7", "1999", "dog", "cell phone", "train", "val", "0.3", "1", "nan", "dog,cat", '"', "\x00"]),
    st.text(max_size=6),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(CELL, max_size=9), max_size=4), name=st.sampled_from(NAMES))
def test_any_rows_give_a_table_or_an_error_that_names_the_file(rows, name, tmp_path):
    lines, problem = [FILLER_TRAIN, *(",".join(row) for row in rows)], ""
    try:
        table = read_table(tmp_path, name, lines)[1]
    except AvsbenchError as error:
        problem = str(error)
    if problem:
        assert csv_of(tmp_path, name).name in problem
    else:
        assert table["split"].tolist().count("test") >= 1
        assert table["clip_id"].str.fullmatch(r"\d+(_\d+)?").all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), name=st.sampled_from(NAMES))
def test_any_bytes_are_a_table_or_an_error(data, name, tmp_path):
    path = csv_of(tmp_path, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(HEADER.encode() + b"\n" + data if len(data) % 2 else data)
    with pytest.raises(AvsbenchError, match=path.name):
        reader(cards.dataset(name), tmp_path).table()


# clips


@pytest.mark.parametrize("name", NAMES)
def test_clips_keep_their_own_size_and_each_sound_its_place(name, rendered):
    found = reader(small_card(name), rendered(name))
    table, card = found.table(), small_card(name)
    assert table["split"].value_counts().to_dict() == card.splits["mini"]
    sizes = set()
    for row in table.to_dict("records"):
        clip = found.read(row, 64)
        files = found.files(row)
        picture, mask = Image.open(files.frames[0]), Image.open(files.masks[0])
        height, width = picture.size[::-1]
        assert (clip.frames.shape, clip.frames.dtype) == ((1, height, width, 3), np.uint8)
        assert (clip.masks.shape, clip.masks.dtype) == ((1, height, width), np.uint8)
        assert clip.annotated.tolist() == [True]
        assert clip.notes == []
        numbers = {0: 0} | {int(number): index for number, index in LABELS["mask_id_to_index"].items()}
        assert (np.vectorize(numbers.get)(np.asarray(mask)) == clip.masks[0]).all()
        assert {card.classes[k] for k in np.unique(clip.masks)} - {"background"} == set(row["category"].split("+"))
        assert [sound.samples.shape[1] for sound in clip.sounds] == [1] * len(files.sounds)
        assert {sound.category for sound in clip.sounds} == set(row["category"].split("+"))
        columns = np.nonzero(clip.masks[0])[1]
        assert all(columns.min() / width <= sound.position <= (columns.max() + 1) / width for sound in clip.sounds)
        sizes.add((height, width))
    assert len(sizes) > 1


def first(root, name="vpo_ms"):
    """(reader, row, files) of the first clip."""
    found = reader(small_card(name), root)
    row = found.table().iloc[0]
    return found, row, found.files(row)


def fault(found, row):
    with pytest.raises(ClipFault) as caught:
        found.read(row, 64)
    assert caught.value.clip_id == row["clip_id"]
    return str(caught.value)


def test_missing_files_are_named(own):
    root = own("vpo_ms")
    found, row, files = first(root)
    for file, says in (
        (files.sounds[0], "no such sound file"),
        (files.masks[0], "no such image"),
        (files.frames[0], "no such image"),
    ):
        file.unlink()
        assert f"{file}: {says}" in fault(found, row)


def test_a_mask_of_another_size(own):
    found, row, files = first(own("vpo_ms"))
    mask = Image.open(files.masks[0])
    mask.resize((50, 40)).save(files.masks[0])
    text = fault(found, row)
    assert f"{files.masks[0]}: picture and mask of one clip differ in size" in text
    assert "50 x 40" in text


def test_a_number_that_no_class_has_and_a_mask_of_colours(own):
    found, row, files = first(own("vpo_ms"))
    numbers = np.asarray(Image.open(files.masks[0])).copy()
    numbers[0, 0], numbers[1, 1] = 1, 255
    Image.fromarray(numbers).save(files.masks[0])
    text = fault(found, row)
    assert f"{files.masks[0]}: the mask holds a number that is no class" in text
    assert "1, 255" in text
    Image.fromarray(numbers).convert("RGB").save(files.masks[0])
    assert "an image of mode RGB" in fault(found, row)


def test_grey_and_palette_masks_mean_the_same(own):
    found, row, files = first(own("vpo_ms"))
    before = Image.open(files.masks[0])
    labels = found.read(row, 64).masks
    assert before.mode == "P"
    Image.fromarray(np.asarray(before)).save(files.masks[0])
    assert Image.open(files.masks[0]).mode == "L"
    assert (found.read(row, 64).masks == labels).all()


def test_a_mask_that_shows_something_else_is_a_note(own):
    found, row, files = first(own("vpo_ms"))
    Image.fromarray(np.full(np.asarray(Image.open(files.masks[0])).shape, 24, np.uint8)).save(files.masks[0])
    assert found.read(row, 64).notes == [
        f"{files.masks[0].name}: the mask shows zebra, the table says {row['category'].replace('+', ', ')}"
    ]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_sound_of_two_channels_is_averaged(subtype, own):
    found, row, files = first(own("vpo_ms"))
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (64000, 2))
    soundfile.write(files.sounds[0], wave, 16000, subtype=subtype)
    clip = found.read(row, 64)
    sound = clip.sounds[0]
    assert clip.notes == [f"{files.sounds[0].name}: 2 channels, averaged"]
    stored = soundfile.read(files.sounds[0], dtype=str(sound.samples.dtype))[0]
    assert sound.samples.shape == (64000, 1)
    step = 1e-7 if subtype == "FLOAT" else 0.51
    assert abs(sound.samples[:, 0] - stored.mean(axis=1)).max() <= step


def test_a_short_sound_is_a_note_and_a_broken_one_a_fault(own):
    found, row, files = first(own("vpo_ms"))
    soundfile.write(files.sounds[0], np.ones(32000, np.int16), 16000)
    assert found.read(row, 64).notes == [f"{files.sounds[0].name}: 2.00 s of sound for 3 s of pictures"]
    files.sounds[0].write_bytes(b"RIFF")
    assert f"{files.sounds[0]}: the sound cannot be read" in fault(found, row)


def test_the_original_bytes_of_a_picture(rendered):
    found, row, files = first(rendered("vpo_ss"), "vpo_ss")
    originals = found.originals(row)
    assert originals.frames == [files.frames[0].read_bytes()]
    assert (originals.masks[0] == found.read(row, 64).masks[0]).all()


@pytest.mark.parametrize("named", ["", "VPO"])
def test_the_folder_above_vpo_or_vpo_itself_may_be_named(named, rendered, tmp_path):
    root, out = rendered("vpo_msmi"), Paths("full", data_root=str(tmp_path))
    content = acquire(small_card("vpo_msmi"), scale="full", root=str(root / named), out=out)
    assert content["source"] == str(root.resolve())
    assert Path(content["csv"]).is_file()


def test_vpo_msmi_is_not_complete_without_vpo_ms(own, tmp_path):
    root, out = own("vpo_msmi"), Paths("full", data_root=str(tmp_path / "data"))
    shutil.rmtree(root / "VPO/VPO-MS")
    with pytest.raises(AvsbenchError, match=r"VPO/VPO-MS\b"):
        acquire(small_card("vpo_msmi"), scale="full", root=str(root), out=out)
