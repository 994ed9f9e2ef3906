"""Curves of trainings, from logs as they are written."""

import pytest

from avsbench.engine.trainlog import TrainLog
from avsbench.report.curves import POINTS, curve

RECORD = {
    "selection": {"split": "val", "metric": "miou"}, "best_epoch": 4,
    "history": [{"epoch": 2, "miou": 0.25, "f_at_0.5": 0.9}, {"epoch": 4, "miou": 0.5}, {"epoch": 5, "miou": None}],
}  # fmt: skip


def write_log(file, losses, steps: int = 10) -> str:
    """(epoch, step, loss) lines, with what else the engine writes."""
    log = TrainLog(file)
    log.start("tpavi-r50 on ms3, seed 0", epoch=1, step=0, batch=4)
    for epoch, step, loss in losses:
        log.write(kind="train", epoch=epoch, step=step, at=step / steps, loss=loss, terms={"loss": 9.0}, seconds=1.5)
    log.write(kind="validation", epoch=2, scores={"miou": 0.25}, seconds=1.0)
    log.close()
    return str(file)


def test_losses_are_means_over_steps_and_scores_those_of_validation(tmp_path):
    log = write_log(tmp_path / "log.jsonl", [(1, 9, 1.0), (1, 10, 2.0), (2, 20, 0.5), (3, 30, 1e-7)])
    found = curve(RECORD, log)
    assert found == {
        "epochs": [1, 2, 3, 4], "loss": [1.1, 0.5, 1e-7, None], "score": [None, 25.0, None, 50.0], "metric": "miou",
        "best": 4,
    }  # fmt: skip


def test_without_a_log_the_record_has_the_scores(tmp_path):
    found = curve(RECORD, tmp_path / "log.jsonl")
    assert (found["epochs"], found["loss"], found["score"]) == ([2, 4], [None, None], [25.0, 50.0])


def test_what_was_not_trained_has_no_curve(tmp_path):
    log = write_log(tmp_path / "log.jsonl", [(1, 10, 1.0)])
    assert curve({"seed": "none"}, log) is None
    assert curve(RECORD | {"history": []}, tmp_path / "no.jsonl") is None


def test_losses_that_are_not_finite_and_broken_lines_are_left_out(tmp_path):
    file = tmp_path / "log.jsonl"
    write_log(file, [(1, 10, 1.0), (1, 20, float("nan")), (2, 30, 3.0)])
    with open(file, "ab") as end:
        end.write(b'{"kind": "train", "time": "2026", "epoch": 3, "step": 40, "at": 4.0, "lo\xff')
    assert curve(RECORD | {"history": []}, file)["loss"] == [1.0, 3.0]


@pytest.mark.parametrize("epochs", [POINTS, POINTS + 1, 1000])
def test_long_trainings_are_thinned(tmp_path, epochs):
    log = write_log(tmp_path / "log.jsonl", [(epoch, epoch, float(epoch)) for epoch in range(1, epochs + 1)], steps=1)
    history = [{"epoch": epoch, "miou": (epoch == 7) / 2} for epoch in range(1, epochs + 1)]
    found = curve(RECORD | {"history": history, "best_epoch": 7}, log)
    count = len(found["epochs"])
    assert count == len(found["loss"]) == len(found["score"]) <= POINTS
    assert count > POINTS / 2
    assert found["epochs"][-1] == epochs
    assert max(found["score"]) == 50.0  # the best is not thinned away
    assert sum(found["loss"]) / count == pytest.approx((1 + epochs) / 2, rel=0.03)
