"""The training log: what a line says, and how the file is cut back where a training continues."""

import json
from datetime import datetime

import pytest
import torch

from avsbench.engine.trainlog import TrainLog, by_protocol, draw_curves, read_log
from avsbench.metrics import METRICS
from avsbench.provenance import memory_mb, memory_now_mb


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def started(path, position=0, step=0):
    log = TrainLog(path, position)
    log.start("tiny on s4, seed 0", epoch=1, step=step, device="cpu", world_size=2, batch=4)
    return log


def test_the_first_line_says_what_the_file_is_about(tmp_path):
    started(tmp_path / "log.jsonl").close()
    (line,) = lines_of(tmp_path / "log.jsonl")
    assert line["kind"] == "start"
    assert line["run"] == "tiny on s4, seed 0"
    assert (line["device"], line["world_size"], line["batch"]) == ("cpu", 2, 4)
    assert line["versions"]["torch"] == torch.__version__
    assert datetime.fromisoformat(line["time"]).utcoffset().total_seconds() == 0


def test_scores_stand_under_their_protocol_and_at_a_step(tmp_path):
    log = started(tmp_path / "log.jsonl")
    log.write(kind="train", epoch=1, step=7, loss=1.0)
    scores = {"miou": 0.5, "f_at_0.5": 0.4, "fscore_b1": 0.3, "dataset_miou": float("nan"), "of_a_test": 1.0}
    log.write(kind="validation", epoch=1, scores=scores, seconds=1.5)
    log.close()
    line = lines_of(tmp_path / "log.jsonl")[-1]
    assert line["step"] == 7
    assert line["scores"] == {
        "A": {"miou": 0.5, "f_at_0.5": 0.4},
        "B": {"fscore_b1": 0.3},
        "D": {"dataset_miou": None},  # undefined
        "-": {"of_a_test": 1.0},
    }


def test_every_metric_has_a_protocol():
    assert set(by_protocol(dict.fromkeys(METRICS, 0.0))) == {*"ABCD", "robust"}


def test_each_line_is_json_for_strict_readers(tmp_path):
    log = started(tmp_path / "log.jsonl")
    log.write(kind="train", epoch=1, step=1, loss=float("inf"), terms={"bce": float("nan")}, lr=[1e-4])
    log.close()

    def refuse(constant):
        raise AssertionError(constant)

    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_a_continued_log_holds_each_step_once_and_keeps_its_id(tmp_path):
    path = tmp_path / "log.jsonl"
    log = started(path)
    for step in (1, 2, 3):
        if step == 3:
            position = log.position
        log.write(kind="train", epoch=1, step=step, loss=1.0)
    log.close()
    for _ in range(2):  # the first of these dies before it saves a state of its own
        log = started(path, position, step=2)
        log.write(kind="train", epoch=1, step=3, loss=1.0)
        log.close()
    lines = lines_of(path)
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("start", 0),
        ("train", 1),
        ("train", 2),
        ("start", 2),
        ("train", 3),
    ]
    assert lines[0]["id"] == lines[3]["id"]


def test_a_new_training_has_a_log_and_an_id_of_its_own(tmp_path):
    path = tmp_path / "log.jsonl"
    started(path).close()
    (old,) = lines_of(path)
    started(path).close()
    (new,) = lines_of(path)
    assert old["id"] != new["id"]


@pytest.mark.parametrize("lost", ["its end", "its last newline", "everything"])
def test_a_log_that_lost_its_end_goes_on_with_whole_lines(tmp_path, lost):
    path = tmp_path / "log.jsonl"
    log = started(path)
    log.write(kind="train", epoch=1, step=1, loss=1.0)
    position = log.position
    log.close()
    content = path.read_bytes()
    if lost == "everything":
        path.unlink()
    else:
        path.write_bytes(content[:-20] if lost == "its end" else content[:-1])
    log = started(path, position, step=1)
    log.write(kind="train", epoch=1, step=2, loss=1.0)
    assert log.position == path.stat().st_size
    log.close()
    kept = [] if lost == "everything" else [("start", 0)]
    assert [(line["kind"], line["step"]) for line in lines_of(path)] == [*kept, ("start", 1), ("train", 2)]


def test_memory_now_is_at_most_the_peak():
    now, peak = memory_now_mb(torch.device("cpu")), memory_mb(torch.device("cpu"))
    assert now.keys() <= peak.keys()
    assert all(1 < value <= peak[name] * 1.05 for name, value in now.items())  # the kernel counts both lazily


def test_curves_leave_undefined_scores_and_starts_out(tmp_path):
    log = started(tmp_path / "log.jsonl")
    for epoch, score in ((1, float("nan")), (2, 0.5)):
        log.write(kind="train", epoch=epoch, step=epoch, at=float(epoch), loss=1.0, terms={"bce": 1.0})
        log.write(kind="validation", epoch=epoch, scores={"miou": score})
    log.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"kind": "tr')  # a kill while writing
    assert len(read_log(tmp_path / "log.jsonl")) == 5
    draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png", title="tiny", select="miou", best_epoch=2)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
