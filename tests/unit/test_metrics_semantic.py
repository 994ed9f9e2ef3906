"""Protocols C and D: definitions, edges, order; torchmetrics as an oracle."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsbench.metrics import METRICS, metric
from avsbench.metrics.dataset_level import DatasetScores, Totals, dataset_scores, multi_source
from avsbench.metrics.pairs import confusion_matrix, frame_areas, label_pairs
from avsbench.metrics.semantic import ClassScores

K = 7


def maps(seed, n=10, size=8):
    """Predictions and labels of n frames, a few classes each; class 6 never occurs."""
    rng = np.random.default_rng(seed)
    label = np.zeros((n, size, size), dtype=np.int64)
    for frame in label:
        a, b = rng.integers(0, K - 1, 2)
        frame[: size // 2], frame[:, : size // 4] = a, b
    prediction = np.where(rng.random(label.shape) < 0.2, rng.integers(0, K - 1, label.shape), label)
    return prediction, label


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_torchmetrics_agrees_on_protocol_c(seed):
    segmentation = pytest.importorskip("torchmetrics.segmentation", reason="the oracle is a test-only dependency")
    prediction, label = maps(seed)
    oracle = segmentation.MeanIoU(num_classes=K, per_class=True, input_format="index")
    oracle.update(torch.from_numpy(prediction), torch.from_numpy(label))
    theirs = oracle.compute().numpy()
    iou, _, count = ClassScores(K).update(frame_areas(prediction, label, K)).per_class()
    # It marks a class that never occurs with -1 (or NaN, or 0, depending on the release).
    np.testing.assert_allclose(iou[count > 0], theirs[count > 0], rtol=1e-5)


def test_protocol_c_equals_the_definition():
    prediction, label = maps(3)
    prediction[0, 0, 0] = 6  # one stray pixel makes class 6 occur once, with IoU 0
    iou, f = np.zeros(K), np.zeros(K)
    count = np.zeros(K)
    for p, g in zip(prediction, label, strict=True):
        for k in range(K):
            i, a, b = np.sum((p == k) & (g == k)), np.sum(p == k), np.sum(g == k)
            if a + b:
                count[k] += 1
                iou[k] += i / (a + b - i)
                f[k] += 1.3 * (i / a) * (i / b) / (0.3 * i / a + i / b) if i else 0
    scores = ClassScores(K).update(frame_areas(prediction, label, K))
    ours = scores.per_class()
    np.testing.assert_array_equal(ours[2], count)
    np.testing.assert_allclose(ours[0], iou / count, atol=1e-11)
    np.testing.assert_allclose(ours[1], f / count, atol=1e-11)
    values = scores.compute()
    assert values["miou_avss"] == pytest.approx((iou / count).mean(), abs=1e-11)
    assert values["miou_avss_ceiling"] == pytest.approx(6 / 7)  # never labelled, so out of a perfect prediction's reach


def test_absent_classes():
    same = np.zeros((2, 4, 4), dtype=np.int64)
    same[0, :2] = 1
    scores = ClassScores(4).update(frame_areas(same, same, 4)).compute()
    assert scores["miou_avss"] == scores["miou_avss_ceiling"] == 0.5
    assert scores["miou_avss_present"] == 1
    assert scores["miou_avss_fg"] == pytest.approx(1 / 3)
    dataset = DatasetScores(4).update(frame_areas(same, same, 4)).compute()
    assert dataset["dataset_miou"] == 0.5
    assert dataset["dataset_miou_present"] == dataset["dataset_f"] == dataset["dataset_f1"] == 1
    assert dataset["dataset_fdr"] == 0


def test_padding_in_closed_form_equals_padded_frames():
    prediction, label = maps(5)
    zeros = np.zeros((4, 8, 8), dtype=np.int64)
    stacked = frame_areas(np.concatenate([prediction, zeros]), np.concatenate([label, zeros]), K)
    as_frames = ClassScores(K).update(stacked).compute()
    closed = ClassScores(K).update(frame_areas(prediction, label, K)).add_padded(4).compute()
    for name, value in closed.items():
        if not name.endswith("_real"):
            assert value == as_frames[name]
    assert closed["miou_avss_real"] == ClassScores(K).update(frame_areas(prediction, label, K)).compute()["miou_avss"]


def test_void_counts_in_c_and_ignored_nowhere():
    prediction = np.ones((1, 1, 4), dtype=np.int64)
    for code, predicted in ((255, 4), (-1, 2)):
        label = np.array([[[1, 1, code, code]]])
        areas = frame_areas(prediction, label, 2)
        iou = ClassScores(2).update(areas).per_class()[0][1]
        assert iou == pytest.approx(2 / predicted)
        assert DatasetScores(2).update(areas).compute()["dataset_miou_present"] == 1
        assert areas.predicted.sum() == 2
    np.testing.assert_array_equal(confusion_matrix(prediction[0], label[0], 2), [[0, 0], [0, 2]])


def test_uint8_and_int64_labels_agree():
    prediction, label = maps(7)
    label[0, 0] = 255
    wide = frame_areas(prediction, label, K)
    narrow = frame_areas(prediction.astype(np.uint8), label.astype(np.uint8), K)
    for a, b in zip(wide, narrow, strict=True):
        np.testing.assert_array_equal(a, b)


def test_multi_source_frames():
    label = np.zeros((4, 20, 20), dtype=np.int64)
    label[0, :6], label[0, 6:12] = 1, 2  # 120 pixels each
    label[1, :5], label[1, 5:12] = 1, 2  # exactly 100 do not count
    label[2, :6] = 1
    label[3, :6], label[3, 6:12] = 1, 255  # what is not labelled counts as one
    areas = frame_areas(np.zeros_like(label), label, 3)
    assert multi_source(areas).tolist() == [True, False, False, True]
    scores = DatasetScores(3).update(areas)
    assert scores.ms_frames == 2
    assert scores.compute(ms=True)["pixel_accuracy_ms"] == pytest.approx((160 + 160) / (400 + 280))
    none = DatasetScores(3).compute(ms=True)
    assert none["dataset_miou_ms"] == 0
    assert np.isnan(none["dataset_f_ms"])


def test_cavp_edge_all_background():
    values = dataset_scores(Totals(*(np.array([9, 0, 0]) for _ in range(3))))
    assert values["dataset_miou"] == pytest.approx(1 / 3)
    assert (values["dataset_fdr"], values["dataset_f1"]) == (0, 1)
    assert dataset_scores(Totals.zero(3), absent="skip")["dataset_miou"] != 0
    with pytest.raises(ValueError, match="'zero' or 'skip'"):
        dataset_scores(Totals.zero(3), absent="drop")


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [([[7]], [[0]], r"predictions lie in 0\.\.6"), ([[-1]], [[0]], "found -1"), ([[0, 0]], [[0]], "differ in shape")],
)
def test_bad_maps(prediction, label, message):
    with pytest.raises(ValueError, match=message):
        label_pairs(np.array(prediction), np.array(label), K)


def run(prediction, label, groups):
    per_class, dataset = ClassScores(K), DatasetScores(K)
    for group in groups:
        areas = frame_areas(prediction[group], label[group], K)
        per_class.merge(ClassScores(K).update(areas).add_padded(len(group)))
        dataset.merge(DatasetScores(K).update(areas))
    return per_class.compute() | dataset.compute() | dataset.compute(ms=True)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 100), order=st.permutations(range(10)), cuts=st.sets(st.integers(1, 9), max_size=5))
def test_order_batches_and_workers_change_nothing(seed, order, cuts):
    prediction, label = maps(seed)
    once = run(prediction, label, [np.arange(10)])
    again = run(prediction, label, np.split(np.array(order), sorted(cuts)))
    assert repr(once) == repr(again)


def test_every_score_is_documented():
    prediction, label = maps(1)
    names = set(run(prediction, label, [np.arange(10)]))
    assert names == {name for name, entry in METRICS.items() if "semantic" in entry.tasks}
    assert {metric(name).protocol for name in names} == {"C", "D"}
