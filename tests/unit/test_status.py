"""How far runs are, from the files, logs and signs that a workflow leaves."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from avsbench import cli
from avsbench.plan import Plan, Run
from avsbench.report.failures import preparation
from avsbench.report.stage import render
from avsbench.report.status import prepared, run_statuses
from avsbench.running import sign_of_life
from tests.unit.report_runs import make_run, row_of, write

RUN = Run("ms3", "tpavi-r50", "0")
CONTROL = Run("ms3", "saliency", "none")


@pytest.fixture
def config(tmp_path):
    roots = {f"{name}_root": f"{tmp_path}/{name}" for name in ("data", "results", "weights")}
    return {"scale": "mini", "runs": {"ms3": ["tpavi-r50", "saliency", "cavp-stereo-r50"]}, "seeds": [0], **roots}


@pytest.fixture
def plan(config):
    return Plan(config | {"conditions": []})


def status_of(plan, run=RUN):
    return next(each for each in run_statuses(plan) if each.run == run)


def prepare(plan):
    """Pretend that all data is there."""
    for stage, outputs, _ in preparation(plan, RUN):
        for file in outputs:
            write(file, {"usable": 32, "expected": 32} if stage == "check split" else "{}")


def write_log(plan, *, start, lines, epochs=10, steps=8):
    """A training log: seconds after `start`, epoch and step of each line."""
    texts = []
    for number, (seconds, epoch, step) in enumerate(lines):
        line = {"kind": "train" if number else "start", "epoch": epoch, "step": step}
        line["time"] = (start + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
        texts.append(
            json.dumps(line | ({} if number else {"epochs": epochs, "steps_per_epoch": steps, "device": "cpu"}))
        )
    write(plan.paths.train_log("ms3", "tpavi-r50", "0"), "\n".join(texts) + "\n")


def test_states_follow_what_happens(plan):
    states = {each.run.variant: each for each in run_statuses(plan)}
    assert (states["tpavi-r50"].state, states["tpavi-r50"].stage) == ("missing", "acquire")
    assert states["cavp-stereo-r50"].state == "skipped"
    assert "not defined for ms3" in states["cavp-stereo-r50"].reason

    prepare(plan)
    log = plan.paths.log("train", "ms3", "tpavi-r50", "0")
    with sign_of_life(log):
        write(log, "working\n")
        found = status_of(plan)
        assert (found.state, found.stage, found.log) == ("running", "train", log)
        assert found.sign.alive
        assert found.progress is None
    assert (status_of(plan).state, status_of(plan).reason) == ("failed", "train: working")

    make_run(plan.paths, RUN)
    assert status_of(plan).state == "done"


def test_a_killed_stage_is_no_running_one(plan):
    prepare(plan)
    log = plan.paths.log("train", "ms3", "tpavi-r50", "0")
    write(log, "epoch 3\n")
    sign = {"host": "node7", "pid": 12, "born": "", "since": "2026-01-01T00:00:00+00:00", "slurm": "99"}
    write(f"{log}.running", sign)
    assert status_of(plan).state == "running"  # another machine, and the file is new
    os.utime(f"{log}.running", (0, 0))
    found = status_of(plan)
    assert found.state == "failed"
    assert found.reason == "train: killed (on node7, process 12, SLURM job 99), after: epoch 3"


def test_a_training_says_how_far_it_is_and_when_it_ends(plan):
    prepare(plan)
    with sign_of_life(plan.paths.log("train", "ms3", "tpavi-r50", "0")):
        now = datetime.now(UTC) + timedelta(seconds=1)
        write_log(plan, start=now, lines=[(0, 1, 0)])
        assert status_of(plan).progress.until is None
        # Continued after step 16; eight steps more took 80 s, and 56 of 80 are left.
        write_log(plan, start=now, lines=[(0, 3, 16), (40, 3, 20), (80, 3, 24)])
        found = status_of(plan).progress
        assert (found.epoch, found.epochs, found.step, found.steps) == (3, 10, 24, 80)
        assert abs((found.until - now).total_seconds() - (80 + 560)) < 0.1
        write_log(plan, start=now - timedelta(hours=1), lines=[(0, 3, 16), (80, 3, 24)])
        assert status_of(plan).progress is None  # of an earlier training; this one still loads


def test_the_partial_leaderboard_calls_a_running_job_running(plan):
    prepare(plan)
    make_run(plan.paths, CONTROL)
    log = plan.paths.log("train", "ms3", "tpavi-r50", "0")
    with sign_of_life(log):
        write(log, "working\n")
        text = Path(render(plan, partial=True)).read_text()
    assert text.startswith("**Partial leaderboard: 1 of 2 runs are complete (1 running, 1 skipped).**")
    assert row_of(text.split("### Runs without a score")[1], "tpavi-r50")[2] == "running"
    assert "failed" not in text


def test_data_that_was_removed_leaves_a_run_done(plan):
    make_run(plan.paths, RUN)
    assert status_of(plan).state == "done"


def test_a_run_made_again_by_hand_runs(plan):
    make_run(plan.paths, RUN)
    with sign_of_life(plan.paths.log("train", "ms3", "tpavi-r50", "0")):
        assert status_of(plan).state == "running"


def test_scores_older_than_weights_are_missing(plan):
    make_run(plan.paths, RUN)
    os.utime(plan.paths.scores("ms3", "tpavi-r50", "0"), (0, 0))
    found = status_of(plan)
    assert (found.state, found.reason) == ("missing", "its scores are older than its weights")


def test_a_run_waits_for_its_scores_under_other_sounds(config):
    plan = Plan(config | {"conditions": ["silence"]})
    make_run(plan.paths, RUN)
    found = status_of(plan)
    assert (found.state, found.stage) == ("missing", "predict under other sounds")
    write(plan.paths.scores("ms3", "tpavi-r50", "0", "silence"), "{}")
    assert status_of(plan).state == "done"


def test_shards_are_counted(plan):
    prepare(plan)
    gone = plan.shards("ms3", "train")[1]
    Path(gone).unlink()
    counts = prepared(plan)["ms3"]
    total = sum(plan.shard_count("ms3", split) for split in ("train", "val", "test"))
    assert (counts["extract"].done, counts["extract"].total) == (total - 1, total)
    assert (counts["index"].done, counts["index"].total) == (3, 3)
    name = plan.paths.shard_name("train", 1, plan.shard_count("ms3", "train"))
    log = plan.paths.log("extract", "ms3", name)
    with sign_of_life(log):
        assert prepared(plan)["ms3"]["extract"].running == 1
    write(log, "clip a: no sound\n")
    failed = prepared(plan)["ms3"]["extract"]
    assert (failed.failed, failed.reasons) == (1, [f"extract: clip a: no sound ({log})"])


def test_the_verb_prints_and_checks(config, plan, tmp_path, capsys):
    write(str(tmp_path / "config.yaml"), config | {"conditions": []})
    arguments = ["status", "--config", str(tmp_path / "config.yaml")]
    prepare(plan)
    make_run(plan.paths, CONTROL)
    assert cli.main(arguments) == 0
    assert cli.main([*arguments, "--check"]) == 1
    text = capsys.readouterr().out
    assert sorted(text.splitlines()[1].split("; ")[0].split(", ")) == ["1 done", "1 missing", "1 skipped"]
    assert "tpavi-r50 on ms3, seed 0" in text
    make_run(plan.paths, RUN)
    assert cli.main([*arguments, "--check"]) == 0  # a skipped run is no debt
    capsys.readouterr()
    assert cli.main([*arguments, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert {each["name"]: each["state"] for each in content["runs"]} == {
        "tpavi-r50 on ms3, seed 0": "done",
        "saliency on ms3, seed none": "done",
        "cavp-stereo-r50 on ms3, seed 0": "skipped",
    }
    assert content["datasets"]["ms3"]["extract"]["done"] == content["datasets"]["ms3"]["extract"]["total"]


def test_what_a_workflow_removes_while_somebody_looks_is_missing(plan, monkeypatch):
    make_run(plan.paths, RUN)
    Path(plan.paths.scores("ms3", "tpavi-r50", "0")).unlink()
    monkeypatch.setattr("avsbench.report.status.find_failures", lambda plan: {})  # they were there a moment before
    assert status_of(plan).state == "missing"
