"""Predictions of others: names, encodings, faults by name, and scores equal to those of our own store."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import avsbench
from avsbench.cli import main
from avsbench.errors import AvsbenchError
from avsbench.evaluation.external import score_external
from avsbench.evaluation.external_files import find
from avsbench.evaluation.external_read import Form
from avsbench.evaluation.predictions import PredictionInfo, PredictionReader, PredictionWriter
from avsbench.evaluation.score import read_scores, resize_nearest, score_predictions, scores_from_frames, stored_truth
from avsbench.metrics.fscore import levels
from avsbench.report.external import score_table
from tests.unit.external_fakes import build, save, truth, write


@pytest.fixture(scope="module")
def s4(tmp_path_factory):
    return build(tmp_path_factory.mktemp("s4"), "s4")


@pytest.fixture(scope="module")
def avss(tmp_path_factory):
    return build(tmp_path_factory.mktemp("avss"), "avss")


@pytest.fixture(scope="module")
def vpo(tmp_path_factory):
    """VPO-SS, whose clips are called <picture>_<annotation>."""
    return build(tmp_path_factory.mktemp("vpo"), "vpo_ss", ids=lambda split, n: f"{n + 7}_{n + 70}{len(split)}")


def moved(masks):
    """Predictions that are neither right nor wrong everywhere."""
    return {clip: np.roll(frames, 2, axis=2) for clip, frames in masks.items()}


def score(store, folder, **form):
    paths, card = store
    return score_external(folder, card=card, paths=paths, form=Form(**form))


def reference(store, folder, fill):
    """Score row of the same predictions, stored by the writer alone."""
    paths, card = store
    hard = card.task == "binary"
    info = PredictionInfo(card.name, "x", "0", "positive", card.task, card.num_classes, hard)
    with PredictionWriter(folder / "p.h5", info) as writer:
        fill(writer)
    files = folder / "f.parquet", folder / "s.json"
    padded = card.frames if card.task == "semantic" else 0
    (row,) = score_predictions(folder / "p.h5", stored_truth(paths, card), *files, padded_to=padded, fscore_k=(1, 2, 4))
    return row


BINARY = {
    "avsbench": ("cat/{clip}/{clip}_{n}.png", 0, "mask"),
    "sam4avs": ("pred_masks/cat/{clip}/{clip}_{n}.png", 1, "mask"),
    "sam4avs ms3": ("{clip}/{clip}.mp4_{n}.png", 1, "web"),
    "flat": ("{clip}_{n}.png", 0, "bit"),
    "numbers": ("{clip}/masks/{n}.png", 1, "rgb"),
    "zeros in front": ("{clip}/{n:05d}.png", 0, "grey"),
}


@pytest.mark.parametrize("layout", BINARY)
def test_masks_score_as_hard_ones_of_ours(s4, tmp_path, layout):
    name, first, mode = BINARY[layout]
    masks = moved(truth(*s4))
    done = score(s4, write(tmp_path / "p", masks, name, first, mode))

    def fill(writer):
        for clip, frames in masks.items():
            writer.add_hard("common", clip, frames > 0)

    assert repr(done.scores["values"]) == repr(reference(s4, tmp_path, fill)["values"])
    assert done.scores["hard"]
    assert done.record["form"]["first_frame"] == first
    assert repr(scores_from_frames(done.files.frames, fscore_k=(1, 2, 4))) == repr(done.scores["values"])
    assert read_scores(done.files.scores)["clips"] == 4


SEMANTIC = {
    "colours": ("{clip}/{clip}_{n}.png", "colours"),
    "class ids": ("v2/{clip}/labels_semantic/{n}.png", "grey"),
    "class ids with colours": ("{clip}_{n}.png", "indexed"),
}


@pytest.mark.parametrize("layout", SEMANTIC)
def test_label_maps_of_avss(avss, tmp_path, layout):
    name, mode = SEMANTIC[layout]
    masks = moved(truth(*avss))
    done = score(avss, write(tmp_path / "p", masks, name, 0, mode))

    def fill(writer):
        for clip, frames in masks.items():
            writer.add_semantic("common", clip, frames)

    assert repr(done.scores["values"]) == repr(reference(avss, tmp_path, fill)["values"])
    assert not done.scores["hard"]
    assert 0 < done.scores["values"]["miou_avss_present"] < 1


def test_frames_that_pad_a_clip_are_too_many_and_do_no_harm(avss, tmp_path, caplog):
    padded = {
        clip: np.concatenate([f, np.zeros((10 - len(f), *f.shape[1:]), f.dtype)]) for clip, f in truth(*avss).items()
    }
    done = score(avss, write(tmp_path / "p", padded, first=0, mode="colours"))
    assert done.scores["values"]["miou_avss_present"] == 1
    assert done.record["extra_files"] == 10
    assert "extra: 10" in caplog.text
    np.savez(tmp_path / "whole.npz", **padded)
    assert repr(score(avss, tmp_path / "whole.npz").scores["values"]) == repr(done.scores["values"])


def test_vpo_by_padded_names_places_in_the_list_and_released_numbers(vpo, tmp_path):
    from avsbench.datasets.vpo_build.tables import tables

    paths, card = vpo
    masks = truth(paths, card)
    numbers = np.array([0, *(tables().mask_ids[name] for name in card.classes[1:])])
    for clip, (frame,) in masks.items():
        padded = "_".join(part.zfill(12) for part in clip.split("_"))
        save(tmp_path / "ours" / f"{clip}.png", frame)
        save(tmp_path / "colours" / f"{padded}.png", frame, "colours")
        save(tmp_path / "released" / "dog" / f"{padded}.png", numbers[frame], "indexed")
    perfect = [score(vpo, tmp_path / name).scores["values"]["dataset_miou_present"] for name in ("ours", "colours")]
    perfect.append(score(vpo, tmp_path / "released", class_ids="released").scores["values"]["dataset_miou_present"])
    assert perfect == [1, 1, 1]
    # Numbers of another list are either none of this list's, or wrong.
    with pytest.raises(AvsbenchError, match="--class-ids released"):
        score(vpo, tmp_path / "released")


def probabilities(masks):
    rng = np.random.default_rng(3)
    return {clip: (0.3 * frames + 0.7 * rng.random(frames.shape)).astype(np.float32) for clip, frames in masks.items()}


def test_probability_maps_are_soft(s4, tmp_path):
    paths, card = s4
    maps = probabilities(truth(paths, card))
    (tmp_path / "clips").mkdir()
    for clip, frames in maps.items():
        np.save(tmp_path / "clips" / f"{clip}.npy", frames[:, None])
        for n, frame in enumerate(frames):
            (tmp_path / "frames" / clip).mkdir(parents=True, exist_ok=True)
            np.savez(tmp_path / "frames" / clip / f"{n}.npz", probability=frame)
    done = score(s4, tmp_path / "clips", probabilities=True)
    assert not done.scores["hard"]
    again = score(s4, tmp_path / "frames", probabilities=True)
    assert repr(again.scores["values"]) == repr(done.scores["values"])
    with PredictionReader(done.files.predictions) as reader:
        for clip, frames in maps.items():
            level, mask = reader.binary("common", clip)
            np.testing.assert_array_equal(level, levels(frames))
            np.testing.assert_array_equal(mask, frames > 0.5)


@pytest.mark.parametrize(("bits", "largest"), [(8, 255), (16, 65535)])
def test_grey_pictures_are_probabilities_where_that_is_said(s4, tmp_path, bits, largest):
    paths, card = s4
    stored = {}
    for clip, frames in probabilities(truth(paths, card)).items():
        stored[clip] = np.rint(frames * largest).astype(f"uint{bits}")
        for n, frame in enumerate(stored[clip]):
            Image.fromarray(frame).save(tmp_path / f"{clip}_{n}.png")
    done = score_external(tmp_path, card=card, paths=paths, out=f"{tmp_path}.out", form=Form(probabilities=True))
    with PredictionReader(done.files.predictions) as reader:
        for clip, frames in stored.items():
            level, mask = reader.binary("common", clip)
            np.testing.assert_array_equal(level, levels((frames / largest).astype(np.float32)))
            np.testing.assert_array_equal(mask, frames > largest / 2)


def test_arrays_of_masks(s4, tmp_path):
    masks = moved(truth(*s4))
    values = []
    for kind in (bool, np.int64, np.float32):
        np.savez_compressed(tmp_path / f"{kind.__name__}.npz", **{c: (f > 0).astype(kind) for c, f in masks.items()})
        values.append(repr(score(s4, tmp_path / f"{kind.__name__}.npz").scores["values"]))
    np.savez(tmp_path / "bytes.npz", **{f"x/{c}.mp4": (f > 0).astype(np.uint8) * 255 for c, f in masks.items()})
    assert set(values) == {repr(score(s4, tmp_path / "bytes.npz").scores["values"])}


def test_faults_are_listed_by_name_and_kind(s4, tmp_path):
    paths, card = s4
    masks = truth(paths, card)
    folder = write(tmp_path / "p", masks, "{clip}/{clip}_{n}.png")
    a, b, c, d = masks
    (folder / a / f"{a}_1.png").unlink()
    (folder / a / f"{a}_2.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    save(folder / a / f"{a}_3.png", np.arange(256).reshape(16, 16), "grey")
    save(folder / b / f"{b}_1.png", np.zeros((8, 16)))
    save(folder / c / f"{c}_6.png", np.zeros((16, 16)))
    save(folder / "elsewhere" / f"{d}_1.png", np.zeros((16, 16)))
    (folder / "log.txt").write_text("loss")
    (folder / ".DS_Store").write_text("no prediction")
    with pytest.raises(AvsbenchError) as caught:
        score(s4, folder)
    expected = {
        ("missing", f"{a}, frame 0"),
        ("unreadable", f"{a}/{a}_2.png"),
        ("not binary", f"{a}/{a}_3.png"),
        ("wrong size", f"{b}/{b}_1.png"),
        ("extra", f"{c}/{c}_6.png"),
        ("twice", f"elsewhere/{d}_1.png"),
        ("extra", "log.txt"),
    }
    with open(f"{folder}.scores/faults.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["kind"], row["file"]) for row in rows} == expected
    text = str(caught.value)
    assert "5 predictions are missing or cannot be used" in text
    for kind, name in expected:
        assert f"{kind}: " in text
        assert name in text
    assert "16 × 8, not 16 × 16" in text
    for option in ("--resize", "--probabilities", f"{folder}.scores/faults.csv"):
        assert option in text
    assert [file.name for file in (tmp_path / "p.scores").iterdir()] == ["faults.csv"]


def test_at_most_twenty_of_a_kind_are_shown(s4, tmp_path):
    masks = truth(*s4)
    folder = write(tmp_path / "p", dict(list(masks.items())[:1]))
    save(folder / "extra_1.png", np.zeros((16, 16)))
    with pytest.raises(AvsbenchError) as caught:
        score(s4, folder)
    assert "missing: 15\n" in str(caught.value)
    names = write(tmp_path / "q", {f"stranger{n}": np.zeros((1, 16, 16)) for n in range(23)} | masks)
    (names / next(iter(masks)) / f"{next(iter(masks))}_1.png").unlink()
    with pytest.raises(AvsbenchError) as caught:
        score(s4, names)
    assert "extra: 23\n" in str(caught.value)
    assert "… and 3 more" in str(caught.value)
    assert str(caught.value).count("stranger") == 20 * 2  # folder and file
    assert len(pd.read_csv(f"{names}.scores/faults.csv")) == 24


def test_faults_of_a_mended_folder_are_gone_and_so_are_scores_of_a_broken_one(s4, tmp_path):
    masks = truth(*s4)
    folder = write(tmp_path / "p", masks)
    done = score(s4, folder)
    clip = next(iter(masks))
    (folder / clip / f"{clip}_1.png").rename(tmp_path / "kept.png")
    with pytest.raises(AvsbenchError, match="1 predictions are missing"):
        score(s4, folder)
    with pytest.raises(AvsbenchError, match="unreadable scores"):
        read_scores(done.files.scores)
    assert [file.name for file in (tmp_path / "p.scores").iterdir()] == ["faults.csv"]
    (tmp_path / "kept.png").rename(folder / clip / f"{clip}_1.png")
    score(s4, folder)
    assert read_scores(done.files.scores)["values"]["miou"] == pytest.approx(1)
    assert not (tmp_path / "p.scores" / "faults.csv").exists()


def test_resizing_is_nearest_and_counted(s4, tmp_path):
    masks = truth(*s4)
    large = {clip: resize_nearest(frames, (48, 64)) for clip, frames in masks.items()}
    done = score(s4, write(tmp_path / "p", large), resize=True)
    assert done.record["resized_frames"] == 20
    assert done.scores["values"]["dataset_miou"] == 1


@pytest.mark.parametrize(
    ("arrays", "form", "why"),
    [
        (np.full((5, 16, 16), 2), {}, "not binary"),
        (np.full((5, 16, 16), 0.4), {}, "not binary"),
        (np.full((5, 16, 16), 1.5), {"probabilities": True}, "not probabilities"),
        (np.full((5, 16, 16), np.nan), {"probabilities": True}, "not probabilities"),
        (np.zeros((4, 16, 16), bool), {}, "4 frames; the clip has 5"),
        (np.zeros((5, 16), bool), {}, "wrong shape"),
        (np.array(["a"]), {}, "an array of <U1"),
    ],
)
def test_arrays_that_cannot_be_meant(s4, tmp_path, arrays, form, why):
    masks = {clip: np.zeros((5, 16, 16), bool) for clip in truth(*s4)}
    np.savez(tmp_path / "p.npz", **{**masks, next(iter(masks)): arrays})
    with pytest.raises(AvsbenchError, match=why):
        score(s4, tmp_path / "p.npz", **form)


def test_a_damaged_array_and_one_that_would_run_code(s4, tmp_path):
    clips = list(truth(*s4))
    for clip in clips:
        np.save(tmp_path / f"{clip}.npy", np.zeros((5, 16, 16), bool))
    (tmp_path / f"{clips[0]}.npy").write_bytes((tmp_path / f"{clips[0]}.npy").read_bytes()[:200])
    np.save(tmp_path / f"{clips[1]}.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(AvsbenchError) as caught:
        score_external(tmp_path, card=s4[1], paths=s4[0], out=f"{tmp_path}.out")
    assert "unreadable: 3" in str(caught.value)
    assert "broken.npz" in str(caught.value)


def test_wrong_classes_colours_and_probabilities_of_avss(avss, tmp_path):
    masks = truth(*avss)
    folder = write(tmp_path / "p", masks, first=0, mode="colours")
    a, b, *_ = masks
    save(folder / a / f"{a}_0.png", np.full((16, 16), 71))
    Image.fromarray(np.full((16, 16, 3), 77, np.uint8)).save(folder / b / f"{b}_0.png")
    with pytest.raises(AvsbenchError) as caught:
        score(avss, folder)
    assert "not classes: 2" in str(caught.value)
    assert "avss has the classes 0 to 70" in str(caught.value)
    assert "a colour is not in the palette" in str(caught.value)
    with pytest.raises(AvsbenchError, match="no protocol of it reads probabilities"):
        score(avss, folder, probabilities=True)


def test_where_counting_starts(s4, tmp_path):
    masks = truth(*s4)
    index = pd.DataFrame({"clip_id": list(masks), "frames": [5] * 4})
    folder = write(tmp_path / "p", {clip: frames[:3] for clip, frames in masks.items()}, first=1)
    with pytest.raises(AvsbenchError, match="--first-frame"):
        find(folder, index)
    assert min(frame for _, frame in find(folder, index, 1).frames) == 0
    assert min(frame for _, frame in find(folder, index, 0).frames) == 1


def test_clips_whose_names_end_in_a_number(tmp_path):
    index = pd.DataFrame({"clip_id": ["v", "v_1", "1"], "frames": [2, 2, 2]})
    for name in ("v_0.png", "v_1.png", "v_1_0.png", "v_1_1.png", "1/0.png", "1/1.png"):
        save(tmp_path / name, np.zeros((2, 2)))
    found = find(tmp_path, index)
    assert not found.faults
    assert {key: entry.file.relative_to(tmp_path).as_posix() for key, entry in found.frames.items()} == {
        ("v", 0): "v_0.png", ("v", 1): "v_1.png", ("v_1", 0): "v_1_0.png", ("v_1", 1): "v_1_1.png",
        ("1", 0): "1/0.png", ("1", 1): "1/1.png",
    }  # fmt: skip


def test_nothing_that_fits_no_store_no_folder(s4, tmp_path):
    paths, card = s4
    write(tmp_path / "p", {"another": np.zeros((5, 16, 16))})
    with pytest.raises(AvsbenchError, match=r"no file is named after a clip of the test split of s4 at scale mini"):
        score(s4, tmp_path / "p")
    with pytest.raises(AvsbenchError, match="no such folder"):
        score(s4, tmp_path / "q")
    with pytest.raises(AvsbenchError) as caught:
        avsbench.score(tmp_path / "p", "s4", data_root=str(tmp_path / "data"))
    assert "is not built" in str(caught.value)
    assert f"snakemake --cores 8 --config scale=full -- {tmp_path}/data/full/s4/index/test.complete.json" in str(
        caught.value
    )
    for folder in (tmp_path / "p", tmp_path / "p" / "scores"):
        with pytest.raises(AvsbenchError, match="lies among the predictions"):
            score_external(tmp_path / "p", card=card, paths=paths, out=folder)
    folder = write(tmp_path / "run" / "predictions", truth(paths, card))  # where our file would stand among theirs
    with pytest.raises(AvsbenchError, match="lies among the predictions"):
        score_external(folder, card=card, paths=paths, out=tmp_path / "run")


def test_python_and_the_command_line(s4, tmp_path, capsys):
    paths, card = s4
    folder = write(tmp_path / "p", moved(truth(paths, card)))
    values = avsbench.score(folder, "s4", scale="mini", data_root=paths.data_root)
    options = ["--scale", "mini", "--data-root", paths.data_root, "--out", str(tmp_path / "out")]
    assert main(["score", "--predictions", str(folder), "--dataset", "s4", *options]) == 0
    text = capsys.readouterr().out
    assert "test split: 4 clips, 20 frames, 16 × 16, hard masks" in text
    for name, value in values.items():
        row = next(line for line in text.splitlines() if f"`{name}`" in line)
        assert f"{100 * value:.2f}" in row or value != value
    assert "B, hard masks" in text
    assert json.loads((tmp_path / "out" / "run.json").read_text())["variant"] == "external"
    assert main(["score", "--dataset", "s4"]) == 2
    first = score_table(card, values, hard=True).rows[:2]
    assert [row[1] for row in first] == ["`miou`", "`f_at_0.5`"]
