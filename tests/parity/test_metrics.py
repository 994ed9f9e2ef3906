"""Scores against vectors measured with the official functions: directly, and through the prediction store.

Runs over every fixture of `metrics_avsbench` and over those of `cavp` that hold scores, under $AVSBENCH_PARITY.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench.contract import Batch, Method
from avsbench.evaluation.predict import predict_clips
from avsbench.evaluation.predictions import PredictionInfo, PredictionWriter
from avsbench.evaluation.score import ClipTruth, read_scores, score_predictions, scores_from_frames
from avsbench.metrics.binary import BinaryIoU, binary_counts, frame_iou
from avsbench.metrics.dataset_level import DatasetScores, class_iou, dataset_scores, totals_of_matrix
from avsbench.metrics.exact import UNIT
from avsbench.metrics.fscore import ThresholdF, binary_video_scores, level_histograms, levels, threshold_curves
from avsbench.metrics.pairs import confusion_matrix, frame_areas
from avsbench.metrics.semantic import ClassScores, class_frame_scores

from .fill import array

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE))


def fixtures(kind):
    """Fixtures whose expectations are of one kind: "binary", "semantic" or "cavp"."""
    found = []
    for path in sorted(ROOT.rglob("fixture.json")):
        name = path.parent.relative_to(ROOT).as_posix()
        fixture = json.loads(path.read_text())
        expected = fixture.get("expected")
        expected = expected if isinstance(expected, dict) else {}
        is_kind = {
            "binary": name.startswith("metrics_avsbench/") and "random" in expected,
            "semantic": name.startswith("metrics_avsbench/") and "classes_absent" in expected,
            "cavp": name.startswith("cavp/") and "dataset_level" in fixture,
        }
        if is_kind[kind]:
            found.append(pytest.param(path.parent, id=name))
    if not found:
        found = [pytest.param(HERE / fallback, id=fallback) for fallback in FALLBACK[kind]]
    return found


FALLBACK = {
    "binary": ["metrics_avsbench/binary"],
    "semantic": ["metrics_avsbench/avss"],
    "cavp": ["cavp/metrics"],
}


def load(folder):
    """(fixture, expected arrays, salt, tolerance); a file that the folder lacks comes from this one."""

    def file(name):
        path = folder / name
        return path if path.is_file() else HERE / folder.relative_to(ROOT) / name

    fixture = json.loads(file("fixture.json").read_text())
    tolerance = {"rtol": 0, "atol": 0} | fixture["tolerance"]
    with np.load(file("expected.npz")) as arrays:
        return fixture, dict(arrays), fixture.get("input_salt", 0), tolerance


class Replay(Method):
    """Says what it is told: logits [T,K,h,w] by clip id."""

    def __init__(self, logits: dict[str, np.ndarray]):
        super().__init__()
        self.logits = logits
        self.channels = next(iter(logits.values())).shape[1]

    def forward(self, batch):
        return {"logits": torch.stack([torch.from_numpy(self.logits[clip]) for clip in batch.clip_ids])}

    def scores(self, output, size):
        assert output["logits"].shape[-2:] == size
        return output["logits"]


def through_the_store(folder, clips, *, task, classes, padded_to=0, fscore_k=(1, 4)):
    """Logits -> prediction file -> per-frame Parquet -> scores. `clips`: list of (clip id, logits, label)."""
    predictions, frames, scores = folder / "p.h5", folder / "frames.parquet", folder / "scores.json"
    info = PredictionInfo("fixture", "replay", "0", "positive", task, classes)
    batches = []
    for clip_id, logits, _ in clips:
        pictures = torch.zeros(1, len(logits), 3, *logits.shape[-2:], dtype=torch.uint8)
        batches.append(Batch(pictures, torch.ones(1, len(logits), dtype=torch.bool), [clip_id]))
    with PredictionWriter(predictions, info) as writer:
        predict_clips(Replay({clip_id: logits for clip_id, logits, _ in clips}), batches, writer)
    truth = [ClipTruth(c, n, g, np.ones(len(g), dtype=bool)) for n, (c, _, g) in enumerate(clips)]
    score_predictions(predictions, truth, frames, scores, fscore_k=fscore_k, padded_to=padded_to)
    row = read_scores(scores)
    again = scores_from_frames(frames, fscore_k=fscore_k)
    assert row["values"] == {name: None if np.isnan(value) else value for name, value in again.items()}
    return again, row


# protocols A and B


def random_case(salt):
    gt = np.kron(array("gt_masks", (20, 4, 4), salt) > 0.3, np.ones((1, 8, 8), dtype=bool)).astype(np.int64)
    logits = 2 * (2 * gt - 1).astype(np.float32) + 2 * array("pred_logits", (20, 32, 32), salt)
    gt[[3, 7, *range(10, 15)]] = 0
    return logits, gt


def edge_case():
    empty, full, half = np.zeros((32, 32)), np.ones((32, 32)), np.zeros((32, 32))
    half[:16] = 1
    gt = np.stack([empty, empty, full, full, half, half, half, half, empty]).astype(np.int64)
    sign = (2 * half - 1).astype(np.float32)
    flat = [np.full((32, 32), v, dtype=np.float32) for v in (-9, 9, -9, 9, 0)]
    return np.stack([*flat, 200 * sign, -200 * sign, 20 * sign, np.zeros_like(sign)]).astype(np.float32), gt


def sigmoid(logits):
    return torch.from_numpy(logits).sigmoid()


@pytest.mark.parametrize("folder", fixtures("binary"))
@pytest.mark.parametrize("case", ["random", "edge"])
def test_binary_frames(folder, case):
    _, expected, salt, tolerance = load(folder)
    logits, gt = random_case(salt) if case == "random" else edge_case()
    iou = frame_iou(binary_counts(logits > 0, gt))
    np.testing.assert_allclose(iou, expected[f"{case}_iou_per_frame"], **tolerance)
    foreground, background = level_histograms(levels(sigmoid(logits)), gt)
    curves = threshold_curves(foreground, background)
    np.testing.assert_allclose(curves, expected[f"{case}_f_curve_per_frame"], **tolerance)
    for n in range(len(gt)):
        f = ThresholdF().update([n], foreground[n : n + 1], background[n : n + 1]).compute([1])["fscore_b1"]
        np.testing.assert_allclose(f, expected[f"{case}_f_per_frame"][n], **tolerance)


@pytest.mark.parametrize("folder", fixtures("binary"))
def test_binary_calls(folder):
    fixture, _, salt, tolerance = load(folder)
    for case, (logits, gt) in {"random": random_case(salt), "edge": edge_case()}.items():
        expected = fixture["expected"][case]
        iou = BinaryIoU().update(binary_counts(logits > 0, gt)).compute()["miou"]
        f = ThresholdF().update(np.zeros(len(gt)), *level_histograms(levels(sigmoid(logits)), gt)).compute([1])
        np.testing.assert_allclose(iou, expected["mask_iou_all_frames_one_call"], **tolerance)
        np.testing.assert_allclose(f["fscore_b1"], expected["fmeasure_all_frames_one_call"], **tolerance)


@pytest.mark.parametrize("folder", fixtures("binary"))
def test_binary_through_the_store(folder, tmp_path):
    fixture, _, salt, tolerance = load(folder)
    expected = fixture["expected"]["random"]
    logits, gt = random_case(salt)
    clips = [(f"clip{n}", logits[5 * n : 5 * n + 5, None], gt[5 * n : 5 * n + 5].astype(np.uint8)) for n in range(4)]
    values, row = through_the_store(tmp_path, clips, task="binary", classes=1, fscore_k=(1, 2, 3, 4))
    assert (row["clips"], row["frames"], row["hard"]) == (4, 20, False)
    # Protocol A is the mean over frames, which the official loop gives whenever its batches divide the clips.
    np.testing.assert_allclose(values["miou"], expected["mask_iou_all_frames_one_call"], **tolerance)
    for k in (1, 2, 3, 4):
        np.testing.assert_allclose(values[f"fscore_b{k}"], expected[f"test_loop_batch_{k}"]["f_score"], **tolerance)
    with_object = [f for f in expected["test_loop_batch_1"]["per_batch_f"] if f > 0]
    np.testing.assert_allclose(values["fscore_valid"], np.mean(with_object), **tolerance)
    check_dataset_level(values, expected["dataset_level"], tolerance)


def check_dataset_level(values, expected, tolerance):
    names = {
        "miou": "dataset_miou",
        "pixel_accuracy": "pixel_accuracy",
        "fdr": "dataset_fdr",
        "f1": "dataset_f1",
        "f_0.3": "dataset_f",
    }
    for theirs, ours in names.items():
        np.testing.assert_allclose(round(values[ours], 4), expected[theirs], **tolerance, err_msg=ours)


# protocol C


def semantic_case(salt):
    z = array("avss_cells", (20, 4, 4), salt)
    label = np.floor(np.abs(z) * np.float32(1000)).astype(np.int64) % 71
    label[np.abs(z) < 0.6] = 0
    label[(label >= 60) & (label < 64)] = 0
    label = np.kron(label, np.ones((1, 8, 8), dtype=np.int64))
    logits = array("avss_logits", (20, 71, 32, 32), salt)
    at_label = np.take_along_axis(logits, label[:, None], axis=1)
    np.put_along_axis(logits, label[:, None], at_label + 5, axis=1)
    logits[:, 60:64] -= 100
    label[5, :8] = 70
    label[6] = 0
    logits[7, 1:] -= 100
    label[8, :4] = 255
    label[9, :4] = -1
    logits[15:] = 0
    label[15:] = 0
    return logits, label


def check_semantic(values, expected, tolerance):
    real = expected["without_padded_frames"]
    pairs = {
        "miou_avss": expected["miou"],
        "f_avss": expected["f_score"],
        "miou_avss_fg": expected["miou_true_no_background"],
        "miou_avss_present": expected["miou_present_classes_only"],
        "miou_avss_real": real["miou"],
        "f_avss_real": real["f_score"],
    }
    for name, value in pairs.items():
        np.testing.assert_allclose(values[name], value, **tolerance, err_msg=name)


@pytest.mark.parametrize("folder", fixtures("semantic"))
@pytest.mark.parametrize("padded", ["closed form", "as frames"])
def test_semantic(folder, padded):
    fixture, arrays, salt, tolerance = load(folder)
    logits, label = semantic_case(salt)
    prediction = logits.argmax(axis=1)
    real = slice(15) if padded == "closed form" else slice(20)
    scores = ClassScores(71).update(frame_areas(prediction[real], label[real], 71))
    if padded == "closed form":
        scores.add_padded(5)
    iou, f, count = scores.per_class()
    np.testing.assert_array_equal(count, arrays["class_count"])
    np.testing.assert_allclose(np.nan_to_num(iou) * count, arrays["iou_sum"], **tolerance)
    np.testing.assert_allclose(np.nan_to_num(f) * count, arrays["f_sum"], **tolerance)
    expected = fixture["expected"]
    assert (count == 0).sum() == expected["classes_absent"]
    np.testing.assert_allclose(iou[0], expected["background_iou"], **tolerance)
    values = scores.compute()
    np.testing.assert_allclose(values["miou_avss"], expected["miou"], **tolerance)
    if padded == "closed form":
        check_semantic(values, expected, tolerance)
        background = scores.per_class(padded=False)[0][0]
        np.testing.assert_allclose(background, expected["without_padded_frames"]["background_iou"], **tolerance)


@pytest.mark.parametrize("folder", fixtures("semantic"))
def test_semantic_per_frame(folder):
    _, arrays, salt, tolerance = load(folder)
    logits, label = semantic_case(salt)
    iou, _, _ = class_frame_scores(frame_areas(logits.argmax(axis=1), label, 71))
    with np.errstate(invalid="ignore"):
        frame_miou = iou.sum(axis=1) / (iou > 0).sum(axis=1)
    np.testing.assert_allclose(frame_miou, arrays["frame_miou"], **tolerance)


@pytest.mark.parametrize("folder", fixtures("semantic"))
def test_semantic_through_the_store(folder, tmp_path):
    fixture, arrays, salt, tolerance = load(folder)
    logits, label = semantic_case(salt)
    clips = [("long", logits[:10], label[:10]), ("short", logits[10:15], label[10:15])]
    values, row = through_the_store(tmp_path, clips, task="semantic", classes=71, padded_to=10)
    assert (row["clips"], row["frames"], row["padded_frames"]) == (2, 15, 5)
    check_semantic(values, fixture["expected"], tolerance)
    check_dataset_level(values, fixture["expected"]["dataset_level_real_frames"], tolerance)
    np.testing.assert_allclose(row["per_class"]["dataset_miou"], arrays["dataset_iou_per_class"], **tolerance)


# CAVP


def cavp_logits(arrays, salt):
    target = arrays["target"].astype(np.int64)
    logits = array("metric_logits", (*target.shape[:1], 5, *target.shape[1:]), salt)
    shown = np.where(target == 255, 0, target)
    onehot = np.moveaxis(np.eye(5, dtype=np.float32)[shown], -1, 1)
    logits = logits + 2 * onehot
    logits[:, 4] = -9
    return logits


@pytest.mark.parametrize("folder", fixtures("cavp"))
def test_cavp_confusion(folder):
    fixture, arrays, salt, tolerance = load(folder)
    prediction = cavp_logits(arrays, salt).argmax(axis=1)
    np.testing.assert_array_equal(prediction, arrays["argmax"])
    for expected in fixture["dataset_level"]:
        k = expected["confusion_classes"]
        matrix = confusion_matrix(prediction, arrays["target"], k)
        np.testing.assert_array_equal(matrix, arrays[f"confusion_{k}"])
        scores = dataset_scores(totals_of_matrix(matrix))
        names = {"FDR": "dataset_fdr", "F1": "dataset_f1", "F0.3": "dataset_f", "acc": "pixel_accuracy"}
        for theirs, ours in names.items():
            np.testing.assert_allclose(scores[ours], expected[theirs], **tolerance)
        # The model's 5 classes share the mean, however many the matrix has.
        iou = class_iou(totals_of_matrix(matrix))[:5]
        np.testing.assert_allclose(iou, expected["iou_per_class"], **tolerance)
        np.testing.assert_allclose(iou.mean(), expected["mIoU"], **tolerance)


@pytest.mark.parametrize("folder", fixtures("cavp"))
def test_cavp_through_the_store(folder, tmp_path):
    fixture, arrays, salt, tolerance = load(folder)
    logits = cavp_logits(arrays, salt)
    clips = [(f"image{n}", logits[n : n + 1], arrays["target"][n : n + 1]) for n in range(len(logits))]
    values, row = through_the_store(tmp_path, clips, task="semantic", classes=5)
    expected = fixture["dataset_level"][0]
    names = {
        "mIoU": "dataset_miou",
        "acc": "pixel_accuracy",
        "FDR": "dataset_fdr",
        "F1": "dataset_f1",
        "F0.3": "dataset_f",
    }
    for theirs, ours in names.items():
        np.testing.assert_allclose(values[ours], expected[theirs], **tolerance)
    np.testing.assert_allclose(row["per_class"]["dataset_miou"], expected["iou_per_class"], **tolerance)


@pytest.mark.parametrize("folder", fixtures("cavp"))
def test_cavp_binary(folder, tmp_path):
    fixture, arrays, salt, tolerance = load(folder)
    expected, gt = fixture["binary"], arrays["binary_gt"]
    logits = array("binary_logits", (len(gt), 2, *gt.shape[1:]), salt)
    logits[:, 1] += np.float32(1.5) * gt
    j, f = binary_video_scores(arrays["binary_prob"], gt)
    values, _ = through_the_store(tmp_path, [("video", logits, gt)], task="binary", classes=1)
    for found in ((j, f), (values["miou"], values["fscore_b1"])):
        np.testing.assert_allclose(found, (expected["mask_iou"], expected["f_measure"]), **tolerance)
    alone = binary_video_scores(arrays["binary_prob"][2:3], gt[2:3])
    np.testing.assert_allclose(
        alone, (expected["mask_iou_frame2_only"], expected["f_measure_frame2_only"]), **tolerance
    )


@pytest.mark.parametrize("folder", fixtures("cavp"))
def test_cavp_colour_sums(folder):
    _, arrays, _, tolerance = load(folder)
    target = np.where(arrays["target"] == 255, 0, arrays["target"])
    areas = frame_areas(arrays["argmax"], target, 5)
    scores = ClassScores(5).update(areas)
    np.testing.assert_allclose(scores.scores[0] / UNIT, arrays["color_iou_sum"], **tolerance)
    np.testing.assert_allclose(scores.scores[1] / UNIT, arrays["color_f_sum"], **tolerance)
    np.testing.assert_array_equal(scores.count, arrays["color_count"])
    iou, _, _ = class_frame_scores(areas)
    np.testing.assert_allclose(iou.sum(axis=1) / (iou > 0).sum(axis=1), arrays["color_frame_miou"], **tolerance)
    # D of the same areas agrees with D of the matrix.
    both = (
        DatasetScores(5).update(areas).compute(),
        dataset_scores(totals_of_matrix(confusion_matrix(arrays["argmax"], target, 5))),
    )
    assert both[0]["dataset_miou"] == both[1]["dataset_miou"]
