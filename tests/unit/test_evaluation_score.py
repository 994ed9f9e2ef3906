"""From predictions to scores: rows, recomputation, mismatches, validation."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsbench import cards
from avsbench.contract import Batch
from avsbench.errors import AvsbenchError
from avsbench.evaluation.predictions import PredictionInfo, PredictionWriter
from avsbench.evaluation.score import ClipTruth, read_scores, resize_nearest, score_predictions, scores_from_frames
from avsbench.evaluation.validate import Validator
from avsbench.metrics import metric

LENGTHS = (5, 3, 5, 4, 5, 2)
RNG = np.random.default_rng(0)
LABELS = [(RNG.random((t, 8, 8)) < 0.4).astype(np.uint8) for t in LENGTHS]
LABELS[2][:] = 0
PROBABILITIES = [np.clip(g * 0.3 + RNG.random(g.shape) * 0.7, 0, 1).astype(np.float32) for g in LABELS]
CLASSES = [RNG.integers(0, 6, g.shape) for g in LABELS]
GUESSES = [np.where(RNG.random(g.shape) < 0.5, g, RNG.integers(0, 6, g.shape)) for g in CLASSES]


def predict(folder, task="binary", grids=("common",)):
    classes = 1 if task == "binary" else 71
    with PredictionWriter(folder / "p.h5", PredictionInfo("s4", "x", "0", "positive", task, classes)) as writer:
        for n in reversed(range(len(LENGTHS))):  # the order of prediction is of no matter
            for grid in grids:
                if task == "binary":
                    p = PROBABILITIES[n]
                    p = resize_nearest(p, (512, 512)) if grid == "512" else p
                    writer.add_binary(grid, f"clip{n}", probability=p, mask=p > 0.5)
                else:
                    writer.add_semantic(grid, f"clip{n}", GUESSES[n])
    return folder / "p.h5"


def truth(task="binary", **changes):
    labels = LABELS if task == "binary" else CLASSES
    clips = [ClipTruth(f"clip{n}", n, g, np.ones(len(g), dtype=bool)) for n, g in enumerate(labels)]
    for n, clip in changes.items():
        clips[int(n[1:])] = clip
    return clips


def score(folder, task="binary", clips=None, **options):
    predictions = predict(folder, task)
    return score_predictions(predictions, clips or truth(task), folder / "f.parquet", folder / "s.json", **options)


@pytest.mark.parametrize("task", ["binary", "semantic"])
def test_every_value_can_be_computed_from_the_file(tmp_path, task):
    (row,) = score(tmp_path, task, fscore_k=(1, 4, 5), padded_to=0 if task == "binary" else 10)
    again = scores_from_frames(tmp_path / "f.parquet", fscore_k=(1, 4, 5))
    assert repr(again) == repr(row["values"])
    stored = read_scores(tmp_path / "s.json")
    assert (stored["clips"], stored["frames"], stored["grid"], stored["hard"]) == (6, sum(LENGTHS), "common", False)
    assert stored["size"] == [8, 8]
    for name, value in stored["values"].items():
        assert task in metric(name).tasks
        assert value is None or 0 <= value <= 1
    document = json.loads((tmp_path / "s.json").read_text())
    assert (document["dataset"], document["variant"], document["condition"]) == ("s4", "x", "positive")
    if task == "semantic":
        assert stored["padded_frames"] == sum(10 - t for t in LENGTHS)
        assert len(stored["per_class"]["miou_avss"]) == 71
    else:
        assert {"fscore_b1", "fscore_b4", "fscore_b5", "fscore_valid", "f_at_0.5"} <= set(stored["values"])


@pytest.fixture(scope="module", params=["binary", "semantic"])
def table(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    score(folder, request.param, padded_to=10)
    return pq.read_table(folder / "f.parquet")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(sum(LENGTHS))))
def test_the_order_of_rows_changes_nothing(table, order):
    assert repr(scores_from_frames(table)) == repr(scores_from_frames(table.take(order)))


def test_grids_are_scored_apart(tmp_path):
    path = predict(tmp_path, grids=("common", "512"))
    rows = score_predictions(path, truth(), tmp_path / "f.parquet", tmp_path / "s.json")
    assert [row["grid"] for row in rows] == ["common", "512"]
    assert rows[1]["size"] == [512, 512]
    # Every pixel became 64 x 64 of the same: the shares stay.
    assert rows[0]["values"]["fscore_b4"] == pytest.approx(rows[1]["values"]["fscore_b4"], abs=1e-9)
    assert scores_from_frames(tmp_path / "f.parquet", grid="512") == rows[1]["values"]
    with pytest.raises(AvsbenchError, match="no row of grid 'native'"):
        scores_from_frames(tmp_path / "f.parquet", grid="native")


def test_only_annotated_frames_count(tmp_path):
    hidden = LABELS[0].copy()
    hidden[1:] = 255
    clip = ClipTruth("clip0", 0, hidden, np.array([True, False, False, False, False]))
    (row,) = score(tmp_path, clips=truth(c0=clip))
    assert row["frames"] == sum(LENGTHS) - 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c0": ClipTruth("new", 0, LABELS[0], np.ones(5, bool))}, "no prediction of clip new"),
        ({"c0": ClipTruth("clip0", 0, LABELS[0][:, :4], np.ones(5, bool))}, "clip0, grid common: .* differ in size"),
        ({"c0": ClipTruth("clip0", 0, LABELS[0][:4], np.ones(4, bool))}, "clip0, .* wrong number of predicted frames"),
        ({"c0": ClipTruth("clip0", 0, LABELS[0] + 3, np.ones(5, bool))}, "clip0, frame 0, .*0, 1 or 255"),
    ],
)
def test_predictions_that_do_not_fit_the_data(tmp_path, change, message):
    with pytest.raises(AvsbenchError, match=message):
        score(tmp_path, clips=truth(**change))
    assert not (tmp_path / "s.json").exists()


def test_a_clip_that_left_the_index_and_an_empty_split(tmp_path):
    with pytest.raises(AvsbenchError, match="predicted clips that the index lacks"):
        score(tmp_path, clips=truth()[:-1])
    nothing = [ClipTruth(c.clip_id, c.position, c.masks, np.zeros(len(c.masks), bool)) for c in truth()]
    with pytest.raises(AvsbenchError, match="no frame has ground truth"):
        score(tmp_path, clips=nothing)


def test_damaged_tables(tmp_path):
    (tmp_path / "f.parquet").write_bytes(b"PAR1")
    with pytest.raises(AvsbenchError, match="unreadable per-frame table"):
        scores_from_frames(tmp_path / "f.parquet")
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(AvsbenchError, match="not a scores file"):
        read_scores(tmp_path / "s.json")


def test_nearest_takes_centres():
    masks = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    np.testing.assert_array_equal(resize_nearest(masks, (2, 2))[0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(resize_nearest(masks, (8, 8))[0], np.kron(masks[0], np.ones((2, 2))))


# validation


def batches(task, order, cuts):
    """The clips as padded batches, with logits [B,T,K,h,w]."""
    labels = LABELS if task == "binary" else CLASSES
    for group in np.split(np.array(order), sorted(cuts)):
        t = max(LENGTHS[n] for n in group)
        masks = torch.full((len(group), t, 8, 8), 255)
        scores = torch.zeros(len(group), t, 1 if task == "binary" else 71, 8, 8)
        real = torch.zeros(len(group), t, dtype=torch.bool)
        for b, n in enumerate(group):
            real[b, : LENGTHS[n]] = True
            masks[b, : LENGTHS[n]] = torch.from_numpy(labels[n].astype(np.int64))
            if task == "binary":
                scores[b, : LENGTHS[n], 0] = torch.logit(torch.from_numpy(PROBABILITIES[n]))
            else:
                scores[b, : LENGTHS[n]].scatter_(1, torch.from_numpy(GUESSES[n])[:, None], 1.0)
        clips = [f"clip{n}" for n in group]
        hard = scores[:, :, 0] > 0 if task == "binary" else scores.argmax(dim=2)
        pictures = torch.zeros(len(group), t, 3, 8, 8, dtype=torch.uint8)
        yield scores, hard, Batch(pictures, real, clips, masks=masks, annotated=real)


def validate(task, order=range(6), cuts=(), merged=False):
    card = cards.dataset("s4" if task == "binary" else "avss")
    whole = Validator(card)
    for parts in batches(task, order, cuts):
        if merged:
            worker = Validator(card)
            worker.update(*parts)
            whole.merge(worker)
        else:
            whole.update(*parts)
    return whole


@pytest.mark.parametrize("task", ["binary", "semantic"])
def test_validation_equals_scoring(tmp_path, task):
    validator = validate(task)
    (row,) = score(tmp_path, task, padded_to=10)
    for name, value in validator.compute().items():
        assert value == pytest.approx(row["values"][name], abs=1e-6, nan_ok=True), name
    assert validator.metrics == list(validator.compute())


@pytest.mark.parametrize(("dataset", "protocols"), [("s4", "ABD"), ("ms3", "ABD"), ("avss", "CD"), ("vpo_ms", "D")])
def test_a_validation_has_the_protocols_of_its_data_set(dataset, protocols):
    found = Validator(cards.dataset(dataset)).metrics
    assert {metric(name).protocol for name in found} == set(protocols)
    assert {"A": "miou", "C": "miou_avss", "D": "dataset_miou"}[protocols[0]] in found


@settings(max_examples=15, deadline=None)
@given(
    task=st.sampled_from(["binary", "semantic"]),
    order=st.permutations(range(6)),
    cuts=st.sets(st.integers(1, 5)),
    merged=st.booleans(),
)
def test_validation_does_not_depend_on_batches_or_workers(task, order, cuts, merged):
    assert repr(validate(task, order, cuts, merged).compute()) == repr(validate(task).compute())
