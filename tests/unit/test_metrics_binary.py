"""Protocols A and B: definitions, edges, order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsbench.metrics import METRICS, metric
from avsbench.metrics.binary import BinaryIoU, binary_counts, frame_iou
from avsbench.metrics.dataset_level import DatasetScores
from avsbench.metrics.exact import fixed, mean
from avsbench.metrics.fscore import THRESHOLDS, ThresholdF, level_histograms, levels, threshold_curves


def frames(seed, n=12, size=8):
    """Probabilities and labels of n frames; some labels empty, some pixels ignored."""
    rng = np.random.default_rng(seed)
    label = (rng.random((n, size, size)) < rng.choice([0, 0.1, 0.5], (n, 1, 1))).astype(np.uint8)
    label[rng.random(label.shape) < 0.05] = 255
    probability = np.clip(0.3 * (label == 1) + rng.random(label.shape) * 0.8, 0, 1).astype(np.float32)
    return probability, label


def test_thresholds_are_torch_linspace():
    expected = torch.linspace(0, 1 - 1e-10, 255).numpy()
    np.testing.assert_array_equal(THRESHOLDS.view(np.int32), expected.view(np.int32))
    assert (THRESHOLDS[0], THRESHOLDS[-1], THRESHOLDS.dtype) == (0, 1, np.float32)


def by_comparison(p):
    return (np.asarray(p, dtype=np.float32)[..., None] >= THRESHOLDS).sum(axis=-1)


def test_levels_at_and_beside_every_threshold():
    ulp = [THRESHOLDS]
    for towards in (0, 2):
        step = THRESHOLDS
        for _ in range(3):
            step = np.nextafter(step, np.float32(towards))
            ulp.append(step)
    p = np.concatenate(ulp)
    p = p[(p >= 0) & (p <= 1)]
    np.testing.assert_array_equal(levels(p), by_comparison(p))


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_levels_equal_comparison(values):
    p = np.array(values, dtype=np.float32)
    np.testing.assert_array_equal(levels(p), by_comparison(p))
    np.testing.assert_array_equal(levels(torch.from_numpy(p)), by_comparison(p))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_levels_compare_in_float32(dtype):
    p = torch.rand(1000, generator=torch.Generator().manual_seed(0)).to(dtype)
    np.testing.assert_array_equal(levels(p), by_comparison(p.float().numpy()))


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1, float("inf")])
def test_levels_refuse_what_is_no_probability(value):
    with pytest.raises(ValueError, match=r"probabilities lie in 0\.\.1"):
        levels(np.array([0.5, value], dtype=np.float32))


def test_empty_frames_score_specificity():
    empty = np.zeros((4, 10, 10), dtype=np.uint8)
    prediction = np.zeros((4, 10, 10), dtype=bool)
    prediction[1] = True
    prediction[2, 0] = True
    empty[3] = 1  # an object that is missed altogether
    iou = frame_iou(binary_counts(prediction, empty))
    np.testing.assert_allclose(iou, [1, 0, 0.9, 0], atol=1e-8)
    scores = BinaryIoU().update(binary_counts(prediction, empty)).compute()
    assert scores["empty_share"] == 0.75
    assert scores["miou_empty"] == pytest.approx(1.9 / 3)
    assert scores["miou_nonempty"] == 0
    assert scores["f_at_0.5"] == 0


def test_ignored_pixels_do_not_count():
    label = np.array([[[1, 255, -1, 0]]])
    assert [int(v[0]) for v in binary_counts(np.ones((1, 1, 4)), label)] == [1, 1, 0, 0]
    foreground, background = level_histograms(np.full((1, 1, 4), 9, dtype=np.uint8), label)
    assert (foreground.sum(), background.sum()) == (1, 1)


def test_a_third_label_is_an_error():
    with pytest.raises(ValueError, match=r"0, 1 or 255 .* \[0, 7\]"):
        binary_counts(np.zeros((1, 1, 2)), np.array([[[0, 7]]]))


def test_a_frame_without_annotation_is_an_error():
    with pytest.raises(ValueError, match="without an annotated pixel"):
        BinaryIoU().update(binary_counts(np.zeros((1, 2, 2)), np.full((1, 2, 2), 255)))


def test_curves_equal_the_definition():
    probability, label = frames(0)
    curves = threshold_curves(*level_histograms(levels(probability), label))
    for p, g, curve in zip(probability, label, curves, strict=True):
        for t, f in zip(THRESHOLDS, curve, strict=True):
            y = (p >= t) & (g != 255)
            tp = np.sum(y & (g == 1))
            precision, recall = tp / (y.sum() + 1e-20), tp / ((g == 1).sum() + 1e-20)
            expected = 1.3 * precision * recall / (0.3 * precision + recall) if tp else 0
            assert f == pytest.approx(expected, rel=1e-12)


def test_a_call_of_empty_frames_scores_zero_and_a_larger_call_hides_it():
    label = np.zeros((2, 4, 4), dtype=np.uint8)
    label[1, :2] = 1
    probability = np.where(label == 1, 0.9, 0.1).astype(np.float32)
    scores = ThresholdF().update([0, 1], *level_histograms(levels(probability), label)).compute([1, 2])
    assert scores == {"fscore_b1": 0.5, "fscore_b2": 1.0, "fscore_valid": 1.0, "fscore_all": 1.0}


def test_nothing_scored_is_undefined():
    assert all(np.isnan(v) for v in ThresholdF().compute().values())
    assert all(np.isnan(v) for v in BinaryIoU().compute().values())


def run(probability, label, clip, groups):
    """Scores when the frames come in `groups` of indices, each in an accumulator of its own, merged afterwards."""
    merged = [BinaryIoU(), ThresholdF(), DatasetScores(2)]
    for group in groups:
        counts = binary_counts(probability[group] > 0.5, label[group])
        mine = [
            BinaryIoU().update(counts),
            ThresholdF().update(clip[group], *level_histograms(levels(probability[group]), label[group])),
            DatasetScores(2).update_binary(counts),
        ]
        for whole, part in zip(merged, mine, strict=True):
            whole.merge(part)
    iou, curves, dataset = merged
    return iou.compute() | curves.compute([1, 2, 3]) | dataset.compute()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 100), order=st.permutations(range(12)), cuts=st.sets(st.integers(1, 11), max_size=5))
def test_order_batches_and_workers_change_nothing(seed, order, cuts):
    probability, label = frames(seed)
    clip = np.arange(12) // 3
    once = run(probability, label, clip, [np.arange(12)])
    groups = np.split(np.array(order), sorted(cuts))
    again = run(probability, label, clip, groups)
    assert repr(once) == repr(again)  # to the last bit, NaN included


def test_fixed_point_sums():
    values = np.random.default_rng(0).random(10_000)
    assert mean(fixed(values).sum(), len(values)) == pytest.approx(values.mean(), abs=1e-12)
    assert mean(fixed(np.ones(7)).sum(), 7) == 1


def test_every_score_is_documented():
    probability, label = frames(1)
    for name in run(probability, label, np.arange(12), [np.arange(12)]):
        entry = metric(name)
        assert entry.protocol in "ABD"
        assert "binary" in entry.tasks
        assert entry.title
        assert entry.empty
    assert "7 clips" in metric("fscore_b7").title
    assert metric("dataset_fdr").direction == "lower"
    with pytest.raises(KeyError):
        metric("fscore_b0")
    assert {m.direction for m in METRICS.values()} <= {"higher", "lower", "none"}
