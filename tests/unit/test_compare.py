"""Two runs side by side: sums over clips give the stored scores, draws of clips give intervals."""

import numpy as np
import pytest

from avsbench.cli import main
from avsbench.errors import AvsbenchError
from avsbench.evaluation.frames import FrameTable
from avsbench.evaluation.resample import ClipSums, clip_sums, compare, draws, frames_file, interval
from avsbench.evaluation.score import scores_from_frames
from avsbench.metrics.fscore import levels
from avsbench.report.compare import comparison

SIZE = 12
CLASSES = {"binary": 1, "semantic": 5}
SETS = {"binary": "ms3", "semantic": "avss"}


def run(folder, task="binary", *, right=0.7, clips=6, seed=0, harder=0.0):
    """The folder of a run whose pixels are right with this probability, less in later clips by `harder` a clip."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(7)
    known = {"dataset": SETS[task], "variant": f"v{right}", "seed": "0", "condition": "positive", "task": task}
    table = FrameTable(task, CLASSES[task], known | {"classes": CLASSES[task], "padded_to": 4})
    for number in range(clips):
        shape = (2 + number % 3, SIZE, SIZE)
        if task == "binary":
            label = truth.integers(0, 2, shape).astype(np.uint8) * (number > 0)
            probability = np.where(rng.random(shape) < right - harder * number, label, 1 - label) * 0.8 + 0.1
            arrays = {"mask": probability > 0.5, "level": levels(probability)}
        else:
            label = truth.integers(0, 4, shape)  # one of five classes never occurs
            arrays = {
                "prediction": np.where(rng.random(shape) < right - harder * number, label, rng.integers(0, 4, shape))
            }
        table.add_clip(f"clip{number}", number, "common", label, np.ones(len(label), bool), **arrays)
    table.write(folder / "scores" / "positive.frames.parquet")
    return folder


@pytest.mark.parametrize("task", CLASSES)
def test_the_sums_of_all_clips_are_the_stored_scores(tmp_path, task):
    file = frames_file(run(tmp_path, task))
    stored = scores_from_frames(file)
    values = clip_sums(file).values()[0]
    assert set(values) >= {"dataset_miou", "pixel_accuracy"} | (
        {"miou", "fscore_b1"} if task == "binary" else {"miou_avss"}
    )
    for metric, value in values.items():
        assert value == pytest.approx(stored[metric], abs=1e-12, nan_ok=True), metric


@pytest.mark.parametrize(("task", "metric"), [("binary", "miou"), ("binary", "fscore_b1"), ("semantic", "miou_avss")])
def test_a_draw_is_scored_as_a_split_of_the_drawn_clips(tmp_path, task, metric):
    sums = clip_sums(frames_file(run(tmp_path, task)))
    alone = sums.each(metric)
    assert alone.shape == (6,)
    twice = np.zeros((1, 6), int)
    twice[0, 2] = 6
    assert sums.values(twice)[0][metric] == pytest.approx(alone[2], abs=1e-12)


def test_draws_repeat_and_keep_the_number_of_clips():
    weights = draws(9, 50)
    assert np.array_equal(weights, draws(9, 50))
    assert (weights.sum(axis=1) == 9).all()
    assert len(np.unique(weights, axis=0)) > 40


def test_an_interval_leaves_out_draws_without_a_value():
    low, high = interval(np.array([*range(101), np.nan], float))
    assert (low, high) == pytest.approx((2.5, 97.5))
    assert np.isnan(interval(np.array([np.nan]))).all()


def test_a_better_run_is_clearly_better_and_a_run_equals_itself(tmp_path):
    worse, better = (clip_sums(frames_file(run(tmp_path / str(right), right=right, clips=12))) for right in (0.6, 0.8))
    found = {d.metric: d for d in compare(worse, better, ["miou", "dataset_miou"], 400)}
    for difference in found.values():
        assert difference.clear
        assert difference.low < difference.b - difference.a < difference.high
    same = compare(worse, worse, ["miou"], 50)[0]
    assert (same.low, same.high, same.clear) == (0, 0, False)


def test_the_pairing_counts(tmp_path):
    """Clips that are hard for both must not widen the interval: each run alone varies far more than the difference."""
    a, b = (clip_sums(frames_file(run(tmp_path / str(s), right=0.9, clips=12, seed=s, harder=0.04))) for s in (1, 2))
    weights = draws(12, 400)
    alone = interval(np.array([values["miou"] for values in a.values(weights)]))
    paired = compare(a, b, ["miou"], 400)[0]
    assert paired.high - paired.low < 0.5 * (alone[1] - alone[0])


def test_other_clips_do_not_compare(tmp_path):
    a, b = (clip_sums(frames_file(run(tmp_path / str(n), clips=n))) for n in (5, 6))
    with pytest.raises(AvsbenchError, match="scored on other clips") as error:
        compare(a, b, ["miou"])
    assert "only in B: 1, e.g. clip5" in str(error.value)


def test_other_data_sets_do_not_compare(tmp_path):
    a, b = (clip_sums(frames_file(run(tmp_path / task, task))) for task in CLASSES)
    with pytest.raises(AvsbenchError, match=r"v0.7, seed 0 on ms3 and v0.7, seed 0 on avss"):
        comparison(a, b)


def test_a_grid_that_was_not_scored(tmp_path):
    with pytest.raises(AvsbenchError, match="nothing is scored on the grid 512"):
        clip_sums(frames_file(run(tmp_path)), "512")


def test_a_folder_without_scores_is_named(tmp_path):
    with pytest.raises(AvsbenchError, match=r"nothing/scores/positive.frames.parquet: no such per-frame scores"):
        frames_file(tmp_path / "nothing")


@pytest.mark.parametrize("task", CLASSES)
def test_the_verb_prints_metrics_and_the_clips_that_changed_most(tmp_path, capsys, task):
    a, b = run(tmp_path / "a", task, right=0.6, clips=8), run(tmp_path / "b", task, right=0.8, clips=8)
    assert main(["compare", str(a), str(b), "--draws", "100", "--clips", "3"]) == 0
    text = capsys.readouterr().out
    assert "A: v0.6, seed 0" in text
    assert "Paired bootstrap over 8 clips, 100 draws" in text
    gained = text.split("Clips that gained most")[1]
    assert gained.count("| clip") == 1 + 3  # the header, and three clips
    assert "empty_share" not in text
    assert text.endswith(f"avsbench explore {a} {b}\n")
    row = next(line for line in text.splitlines() if line.startswith("| miou"))
    first, second, gap = (float(cell) for cell in row.split("|")[2:5])
    assert second - first == pytest.approx(gap, abs=0.011)


def test_sums_say_what_they_are_of(tmp_path):
    sums = clip_sums(frames_file(run(tmp_path)))
    assert isinstance(sums, ClipSums)
    assert sums.clips == [f"clip{n}" for n in range(6)]
    assert sums.about["variant"] == "v0.7"
