"""Readers of AVSBench on rendered data: what they give, and what they say about broken data."""

import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from avsbench.datasets import ClipFault, reader
from avsbench.datasets.avsbench_semantic import class_indices
from avsbench.errors import AvsbenchError
from avsbench.media.images import voc_palette

from .rendered import own, rendered, small_card  # noqa: F401 - fixtures

# The fixtures above are used by name in the signatures below.
# ruff: noqa: F811


def clip_of(root, name, split, part=None, size=64):
    """(reader, row, clip) of the first clip of a split (and part)."""
    read = reader(small_card(name), root)
    table = read.table()
    row = table[(table.split == split) & ((table.part == part) if part else True)].iloc[0]
    return read, row, read.read(row, size)


def fault(read, row, size=64):
    with pytest.raises(ClipFault) as caught:
        read.read(row, size)
    assert caught.value.clip_id == row["clip_id"]
    assert row["clip_id"] in str(caught.value)
    return str(caught.value)


# tables


@pytest.mark.parametrize("name", ["s4", "ms3", "avss"])
def test_table_keeps_csv_order_and_counts_positions_per_split(name, rendered):
    card, root = small_card(name), rendered(name)
    table = reader(card, root).table()
    assert list(table.columns) == ["clip_id", "split", "position", "category", "part", "frames"]
    assert table["split"].value_counts().to_dict() == card.splits["mini"]
    column = {"s4": "name", "ms3": "name", "avss": "uid"}[name]
    file = {"s4": "s4_meta_data.csv", "ms3": "ms3_meta_data.csv", "avss": "metadata.csv"}[name]
    assert table["clip_id"].tolist() == pd.read_csv(root / file, dtype=str)[column].tolist()
    for _, rows in table.groupby("split"):
        assert rows["position"].tolist() == list(range(len(rows)))


def test_avss_has_three_parts_of_two_lengths(rendered):
    table = reader(small_card("avss"), rendered("avss")).table()
    assert table.groupby("part")["frames"].unique().map(list).to_dict() == {"v1m": [5], "v1s": [5], "v2": [10]}


# label2idx.json


def test_class_numbers_of_the_file_count_from_1(rendered):
    classes = small_card("avss").classes
    indices = class_indices(rendered("avss") / "label2idx.json", classes)
    assert json.loads((rendered("avss") / "label2idx.json").read_text())["woman"] == 71
    assert (indices["background"], indices["accordion"], indices["woman"]) == (0, 1, 70)


def test_a_file_of_70_classes_is_an_error(own):
    root = own("avss")
    values = json.loads((root / "label2idx.json").read_text())
    del values["woman"]
    (root / "label2idx.json").write_text(json.dumps(values))
    with pytest.raises(
        AvsbenchError, match=r"label2idx\.json: wrong number of classes(.|\n)*70 entries(.|\n)*71 entries"
    ):
        reader(small_card("avss"), root).table()


def test_class_numbers_from_0_are_an_error(tmp_path):
    classes = small_card("avss").classes
    (tmp_path / "label2idx.json").write_text(json.dumps({name: k for k, name in enumerate(classes)}))
    with pytest.raises(AvsbenchError, match="wrong class numbers"):
        class_indices(tmp_path / "label2idx.json", classes)


# clips


@pytest.mark.parametrize("name", ["s4", "ms3"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_binary_clip(name, split, rendered):
    _, row, clip = clip_of(rendered(name), name, split)
    assert (clip.frames.shape, clip.frames.dtype) == ((5, 64, 64, 3), np.uint8)
    assert (clip.masks.shape, clip.masks.dtype) == ((5, 64, 64), np.uint8)
    only_first = name == "s4" and split == "train"
    assert clip.annotated.tolist() == [True] + [not only_first] * 4
    assert set(np.unique(clip.masks[clip.annotated])) <= {0, 1}
    assert (clip.masks[~clip.annotated] == 255).all()
    assert clip.notes == []
    (sound,) = clip.sounds
    assert (sound.samples.shape, sound.samples.dtype, sound.rate) == ((80000, 2), np.int16, 16000)
    assert sound.category == row["category"]


def test_frames_at_their_own_size_are_not_touched(rendered):
    _, row, clip = clip_of(rendered("s4"), "s4", "val", size=224)
    folder = rendered("s4") / "s4_data/visual_frames/val" / row["category"] / row["clip_id"]
    released = np.asarray(Image.open(folder / f"{row['clip_id']}_3.png"))
    assert (clip.frames[2] == released).all()


@pytest.mark.parametrize("part", ["v1s", "v1m", "v2"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_semantic_clip(part, split, rendered):
    root = rendered("avss")
    _, row, clip = clip_of(root, "avss", split, part)
    count = 10 if part == "v2" else 5
    assert clip.frames.shape == (count, 64, 64, 3)
    assert clip.annotated.sum() == (1 if (part, split) == ("v1s", "train") else count)
    assert clip.annotated[0]
    assert (clip.masks[~clip.annotated] == 255).all()
    classes = small_card("avss").classes
    seen = {classes[k] for k in np.unique(clip.masks[clip.annotated])}
    assert seen <= {"background", *row["category"].split("_")}
    # The index masks of the release, brought to size by the rule of the split, are the same masks.
    index = Image.open(root / part / row["clip_id"] / "labels_semantic/0.png")
    if split == "train":
        (w, h), s = index.size, 64
        wide, high = (int(w * s / h), s) if w > h else (s, int(h * s / w))
        left, top = round((wide - s) / 2), round((high - s) / 2)
        index = index.resize((wide, high), Image.NEAREST).crop((left, top, left + s, top + s))
    else:
        index = index.resize((64, 64), Image.NEAREST)
    assert (np.asarray(index) == clip.masks[0]).all()


@pytest.mark.parametrize("kind", ["series", "dict", "tuple", "manifest"])
def test_rows_come_in_any_form(kind, rendered):
    read = reader(small_card("ms3"), rendered("ms3"))
    row = read.table().iloc[4]
    forms = {
        "series": row,
        "dict": row.to_dict(),
        "tuple": next(iter(read.table().iloc[4:5].itertuples(index=False))),
        "manifest": {"clip_id": row["clip_id"]},
    }
    assert (read.read(forms[kind], 32).frames == read.read(row, 32).frames).all()
    with pytest.raises(ClipFault, match="nobody: not in the table of ms3"):
        read.read({"clip_id": "nobody"}, 32)


def test_a_clip_without_frames_is_cut_from_its_video(own):
    root = own("s4")
    read, row, released = clip_of(root, "s4", "test")
    shutil.rmtree(root / "s4_data/visual_frames/test" / row["category"] / row["clip_id"])
    clip = read.read(row, 64)
    assert clip.notes == ["frames made from the raw video"]
    difference = abs(clip.frames.astype(int) - released.frames.astype(int)).mean()
    assert difference < 10, "the same moments, but for the codec"
    other = abs(clip.frames[[4, 3, 2, 1, 0]].astype(int) - released.frames.astype(int)).mean()
    assert other > 1.3 * difference
    assert (clip.masks == released.masks).all()


def test_hidden_and_foreign_files_do_not_count(own):
    root = own("avss")
    _, row, before = clip_of(root, "avss", "val", "v2")
    for folder in ("frames", "labels_rgb"):
        for name in (".DS_Store", "._0.png", "Thumbs.db", "10.txt", "0 copy.jpg"):
            (root / "v2" / row["clip_id"] / folder / name).write_text("x")
    _, _, after = clip_of(root, "avss", "val", "v2")
    assert (before.frames == after.frames).all()
    assert (before.masks == after.masks).all()


# faults


def paths(root, row):
    """Folder of frames, folder of masks, wav and video of an MS3 clip."""
    data, clip_id = root / "ms3_data", row["clip_id"]
    return (
        data / "visual_frames" / clip_id,
        data / "gt_masks" / row["split"] / clip_id,
        data / "audio_wav" / row["split"] / f"{clip_id}.wav",
        data / "raw_videos" / f"{clip_id}.mp4",
    )


def test_a_row_without_a_folder(own):
    root = own("ms3")
    read, row, _ = clip_of(root, "ms3", "train")
    frames, masks, _wav, video = paths(root, row)
    shutil.rmtree(frames)
    video.unlink()
    text = fault(read, row)
    assert "no folder of frames" in text
    assert str(video) in text
    shutil.rmtree(masks)
    read, row, _ = clip_of(root, "ms3", "val")
    shutil.rmtree(paths(root, row)[1])
    assert "masks missing" in fault(read, row)


def test_a_row_without_a_folder_in_avss(own):
    root = own("avss")
    read, row, _ = clip_of(root, "avss", "train", "v2")
    shutil.rmtree(root / "v2" / row["clip_id"])
    assert "no such folder" in fault(read, row)


def test_missing_frames_and_masks_are_counted(own):
    root = own("ms3")
    read, row, _ = clip_of(root, "ms3", "test")
    frames, masks, *_ = paths(root, row)
    (masks / f"{row['clip_id']}_4.png").unlink()
    assert "numbers 1, 2, 3, 5" in fault(read, row)
    (frames / f"{row['clip_id']}.mp4_1.png").unlink()
    text = fault(read, row)
    assert "frames missing" in text
    assert "numbers 2, 3, 4, 5" in text
    assert "numbers 1 to 5" in text


def test_frames_of_two_sizes(own):
    root = own("ms3")
    read, row, _ = clip_of(root, "ms3", "test")
    file = paths(root, row)[0] / f"{row['clip_id']}.mp4_2.png"
    Image.open(file).resize((100, 80)).save(file)
    text = fault(read, row)
    assert file.name in text
    assert "100 x 80" in text
    assert "224 x 224" in text


def test_a_mask_with_a_third_value(own):
    root = own("ms3")
    read, row, _ = clip_of(root, "ms3", "train")
    file = paths(root, row)[1] / f"{row['clip_id']}_3.png"
    mask = np.asarray(Image.open(file)).copy()
    mask[0, :2] = 255, 77
    Image.fromarray(mask).save(file)
    text = fault(read, row)
    assert file.name in text
    assert "0, 77, 255" in text


def test_a_colour_outside_the_palette(own):
    root = own("avss")
    read, row, _ = clip_of(root, "avss", "train", "v1m")
    file = root / "v1m" / row["clip_id"] / "labels_rgb/2.png"
    colours = voc_palette(71)[np.zeros((240, 320), int)]
    colours[7, 9] = 10, 20, 30
    Image.fromarray(colours).save(file)
    text = fault(read, row)
    assert "labels_rgb/2.png" in text
    assert "(10, 20, 30) at row 7, column 9" in text


def test_a_truncated_frame(own):
    root = own("ms3")
    read, row, _ = clip_of(root, "ms3", "train")
    file = paths(root, row)[0] / f"{row['clip_id']}.mp4_5.png"
    file.write_bytes(file.read_bytes()[:500])
    assert f"{file.name}: the image cannot be read" in fault(read, row)


@pytest.mark.parametrize(
    ("data", "says"), [(b"", "the video file is empty"), (slice(0, 4000), "the video cannot be read")]
)
def test_an_empty_or_truncated_video(data, says, own):
    root = own("ms3")
    read, row, _ = clip_of(root, "ms3", "train")
    frames, _, _, video = paths(root, row)
    shutil.rmtree(frames)
    video.write_bytes(video.read_bytes()[data] if isinstance(data, slice) else data)
    assert f"{video.name}: {says}" in fault(read, row)


def test_without_a_wav_the_sound_of_the_video_is_taken(own):
    root = own("ms3")
    read, row, released = clip_of(root, "ms3", "train")
    wav = paths(root, row)[2]
    wav.unlink()
    sound = read.read(row, 32).sounds[0]
    assert (sound.rate, sound.samples.shape[1]) == (16000, 2)
    count = min(len(sound.samples), 80000)
    a, b = sound.samples[:count, 0].astype(float), released.sounds[0].samples[:count, 0].astype(float)
    assert (a @ b) / np.sqrt((a @ a) * (b @ b)) > 0.8


def test_the_sound_of_a_longer_video_is_trimmed_to_the_clip(own):
    from avsbench.media.video import write_video

    root = own("ms3")
    read, row, _ = clip_of(root, "ms3", "train")
    _, _, wav, video = paths(root, row)
    wav.unlink()
    tone = (np.sin(np.arange(9 * 16000) / 9) * 9000).astype(np.int16)
    write_video(video, np.zeros((9 * 8, 16, 16, 3), np.uint8), 8, tone, 16000)
    assert len(read.read(row, 32).sounds[0].samples) == 5 * 16000


def test_a_silent_video_without_a_wav(own):
    from avsbench.media.video import write_video

    root = own("ms3")
    read, row, _ = clip_of(root, "ms3", "train")
    _, _, wav, video = paths(root, row)
    wav.unlink()
    write_video(video, np.zeros((40, 16, 16, 3), np.uint8), 8, None, 16000)
    assert f"{video.name}: the video has no sound track" in fault(read, row)
    video.unlink()
    text = fault(read, row)
    assert f"{wav.name}: no such sound file" in text
    assert str(video) in text


def test_a_silent_wav_is_a_note_and_an_empty_or_short_one_a_fault(own):
    root = own("ms3")
    read, row, _ = clip_of(root, "ms3", "train")
    wav = paths(root, row)[2]
    soundfile.write(wav, np.zeros((80000, 2), np.int16), 16000)
    assert read.read(row, 32).notes == [f"{wav.name}: the sound is silent, every sample is zero"]
    soundfile.write(wav, np.ones((16000, 2), np.int16), 16000)
    assert read.read(row, 32).notes == [f"{wav.name}: 1.00 s of sound for 5 s of pictures"]
    soundfile.write(wav, np.ones((8000, 2), np.int16), 16000)
    text = fault(read, row)
    assert "the sound is too short" in text
    assert "0.500 s" in text
    wav.write_bytes(b"")
    assert "the sound file is empty" in fault(read, row)


@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (8000, 2), (48000, 6)])
def test_a_wav_of_another_form_is_kept_as_it_is(rate, channels, own):
    root = own("ms3")
    read, row, _ = clip_of(root, "ms3", "train")
    samples = np.random.default_rng(0).integers(-99, 99, (5 * rate, channels)).astype(np.int16)
    soundfile.write(paths(root, row)[2], samples, rate)
    clip = read.read(row, 32)
    assert clip.notes == []
    assert clip.sounds[0].rate == rate
    assert (clip.sounds[0].samples == samples).all()


def test_a_fault_survives_the_way_out_of_a_worker():
    before = ClipFault("abc", "broken", found=1, expected=2, hint="mend it")
    after = pickle.loads(pickle.dumps(before))
    assert (type(after), str(after), after.clip_id, after.reason) == (ClipFault, str(before), "abc", "broken")
