"""Scoring a run from the store, as the rule `score` does."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from avsbench.errors import AvsbenchError
from avsbench.evaluation.draws import clips_digest, read_draws
from avsbench.evaluation.predictions import PredictionInfo, PredictionWriter
from avsbench.evaluation.score import read_scores, score_run, stored_truth
from tests.unit import store_fakes

RUN = ("avss", "tpavi-r50", "0")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    paths, card = store_fakes.build(root / "data", front_ends=())
    return dataclasses.replace(paths, results_root=str(root / "results")), card


def predict(paths, clips):
    with PredictionWriter(paths.predictions(*RUN), PredictionInfo(*RUN, "positive", "semantic", 71)) as writer:
        writer.frames_per_second, writer.gflops_per_frame = 12.5, 0.25
        for clip in clips:
            writer.add_semantic("common", clip.clip_id, np.where(clip.masks == 255, 0, clip.masks))


def test_a_perfect_prediction(store):
    paths, card = store
    clips = list(stored_truth(paths, card))
    assert [clip.position for clip in clips] == list(range(len(clips)))
    assert all(clip.masks.dtype == np.uint8 for clip in clips)
    predict(paths, clips)
    score_run(paths, *RUN)
    row = read_scores(paths.scores(*RUN))
    assert (row["clips"], row["frames"]) == (len(clips), sum(clip.annotated.sum() for clip in clips))
    assert row["padded_frames"] == sum(10 - len(clip.masks) for clip in clips)
    assert (row["frames_per_second"], row["gflops_per_frame"]) == (12.5, 0.25)
    values = row["values"]
    assert values["miou_avss_present"] == values["dataset_f"] == values["pixel_accuracy"] == 1
    assert values["miou_avss"] == values["miou_avss_ceiling"] <= 1
    drawn = read_draws(paths.draws(*RUN))
    assert drawn.clips == clips_digest([clip.clip_id for clip in clips])
    assert set(drawn.values) == set(row["intervals"])
    assert row["intervals"]["pixel_accuracy"] == [1, 1]


def test_clips_are_drawn_under_their_own_sound_alone(store):
    paths, card = store
    clips = list(stored_truth(paths, card))
    with PredictionWriter(
        paths.predictions(*RUN, "silence"), PredictionInfo(*RUN, "silence", "semantic", 71)
    ) as writer:
        for clip in clips[1:]:
            writer.add_semantic("common", clip.clip_id, np.zeros_like(clip.masks))
    score_run(paths, *RUN, condition="silence")
    row = read_scores(paths.scores(*RUN, "silence"))
    assert "intervals" not in row
    assert (row["clips"], row["gflops_per_frame"]) == (len(clips) - 1, None)
    assert not Path(paths.draws(*RUN, "silence")).exists()


def test_a_clip_that_was_not_predicted(store):
    paths, card = store
    clips = list(stored_truth(paths, card))
    predict(paths, clips[1:])
    with pytest.raises(AvsbenchError, match=f"no prediction of clip {clips[0].clip_id} on grid common"):
        score_run(paths, *RUN)
