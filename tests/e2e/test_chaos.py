"""A training that is killed again and again ends with the files of one that was left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avsbench.engine.trainlog import read_log
from tests.e2e.conftest import COMMAND, CONFIG, new_project, start
from tests.workflow.conftest import Project

pytestmark = pytest.mark.slow

SEED = 20261121
RECIPE = {**CONFIG["overrides"]["tpavi-r50"], "validate": {"every": 1}}
POINTS = ("start-up", "step", "saving", "validation", "step", "start-up", "saving", "step", "weights", "curves")
"""Where the ten kills fall; when exactly, by which signal and to whom is random."""


class Training:
    """A short training as a process of its own; `folder` is the run's."""

    def __init__(self, project: Project, results: str):
        self.project = project
        self.folder = project.folder / results / "mini/ms3/tpavi-r50/0"
        self.command = [sys.executable, "-m", "avsbench.cli", "train", "--dataset", "ms3", "--variant", "tpavi-r50"]
        self.command += ["--results-root", results, "--save-every", "0.3", "--threads", "1"]

    def start(self) -> subprocess.Popen:
        return start(self.project, self.command)

    def finish(self) -> None:
        done = self.project.command(self.command)
        assert done.returncode == 0, done.stderr[-4000:]

    def lines(self) -> list[dict]:
        log = self.folder / "log.jsonl"
        return [line for line in read_log(log) if line["kind"] == "train"] if log.is_file() else []

    def result(self) -> tuple:
        """Weights as bytes, the history, and every line of the log without its clocks."""
        record = json.loads((self.folder / "run.json").read_text())
        steps = [(line["epoch"], line["step"], line["loss"], line["lr"]) for line in self.lines()]
        return (self.folder / "weights.safetensors").read_bytes(), record["history"], record["best_epoch"], steps

    def reached(self, point: str, since: float, wanted: int, delay: float) -> bool:
        """Is this the moment? `wanted` is a step of the log, `since` when the process started."""
        state = self.folder / "state"
        if point == "start-up":
            return time.monotonic() - since >= delay * 3
        if point == "weights":  # they are there, and run.json is not
            return (self.folder / "weights.safetensors").is_file()
        if point == "curves":
            return bool(list(self.folder.glob(".curves.png.*.tmp")))
        lines = self.lines()
        if not lines or lines[-1]["step"] < wanted:
            return False
        if point == "saving":
            return bool(list(state.glob(".*.pt.*.tmp")))
        if point == "validation":  # the steps of an epoch are done
            return lines[-1]["at"] == lines[-1]["epoch"]
        time.sleep(delay / 10)
        return True


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory) -> Project:
    """Data and encoders of the finished workflow, without its results."""
    project = new_project(tmp_path_factory.mktemp("chaos") / "project", overrides={"tpavi-r50": RECIPE})
    for name in ("data", "weights"):
        shutil.copytree(finished.folder / name, project.folder / name, symlinks=True)
    return project


def test_ten_kills_change_nothing(project):
    calm, disturbed = Training(project, "calm"), Training(project, "disturbed")
    calm.finish()
    total = calm.lines()[-1]["step"]
    generator = random.Random(SEED)
    inner = [point for point in POINTS if point in ("step", "saving", "validation")]
    # In the order of the training, so that each kill finds it running; the last epoch is left for the last ones.
    wanted = iter(sorted(generator.sample(range(1, total * 3 // 4), len(inner))))
    told = []
    for point in POINTS:
        step, delay = next(wanted) if point in inner else 0, generator.random()
        number, everyone = generator.choice([signal.SIGKILL, signal.SIGTERM]), generator.random() < 0.5
        # A log that is there already tells of the process before; this one has to get on by a step.
        step = max(step, disturbed.lines()[-1]["step"] + 1) if point in inner and disturbed.lines() else step
        process, since = disturbed.start(), time.monotonic()
        while not disturbed.reached(point, since, step, delay):
            assert process.poll() is None, f"ended ({process.returncode}) before it could be killed at {point}; {told}"
            assert time.monotonic() - since < 120, f"{point} never came; {told}"
            time.sleep(0.002)
        (os.killpg if everyone else os.kill)(process.pid, number)
        code = process.wait(timeout=60)
        told.append(f"{point} (step {step}, {delay:.2f}): {number.name}{' to the group' * everyone} -> {code}")
        print(told[-1])
        assert code in ((-9,) if number == signal.SIGKILL else (143, -15)), told
        assert not (disturbed.folder / "run.json").exists(), told
    disturbed.finish()
    assert disturbed.result() == calm.result(), told
    assert [line["step"] for line in disturbed.lines()] == list(range(1, total + 1))
    record = json.loads((disturbed.folder / "run.json").read_text())
    assert record["resumes"] >= 5, told
    assert {path.name for path in disturbed.folder.rglob("*")} == {path.name for path in calm.folder.rglob("*")}


RUN = "results/mini/ms3/tpavi-r50/0"
TRAIN = [*COMMAND, "--", f"{RUN}/weights.safetensors"]


@pytest.fixture
def untrained(finished, tmp_path) -> Project:
    """The finished workflow, but for one training."""
    project = Project(Path(shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)))
    shutil.rmtree(project.folder / RUN)
    return project


def training_of(project: Project, workflow: subprocess.Popen) -> int:
    """The process that trains, as soon as it has saved two states."""
    state, end = project.folder / RUN / "state", time.monotonic() + 120
    while len(list(state.glob("*.pt"))) < 2:
        assert workflow.poll() is None, f"the workflow ended ({workflow.returncode}) without training"
        assert time.monotonic() < end, "the training never came"
        time.sleep(0.01)
    return int((state / "lock").read_text().split()[1])


def test_a_workflow_continues_a_training_that_was_terminated(finished, untrained):
    """SIGTERM to the training alone: Snakemake starts it again at once, and it continues."""
    workflow = start(untrained, TRAIN)
    os.kill(training_of(untrained, workflow), signal.SIGTERM)
    assert workflow.wait(timeout=300) == 0
    assert json.loads((untrained.folder / RUN / "run.json").read_text())["resumes"] == 1
    mine, theirs = ((p.folder / RUN / "weights.safetensors").read_bytes() for p in (untrained, finished))
    assert mine == theirs
    steps, undisturbed = (
        [line["step"] for line in read_log(p.folder / RUN / "log.jsonl") if line["kind"] == "train"]
        for p in (untrained, finished)
    )
    assert steps == undisturbed == list(range(1, len(steps) + 1))


def test_control_c_saves_and_is_not_tried_again(untrained):
    workflow = start(untrained, TRAIN)
    training = training_of(untrained, workflow)
    os.killpg(workflow.pid, signal.SIGINT)
    assert workflow.wait(timeout=60) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(training, 0)
    assert list((untrained.folder / RUN / "state").glob("*.pt"))
    assert not (untrained.folder / RUN / "run.json").exists()
    messages = "".join(path.read_text() for path in untrained.folder.rglob("*.log") if "train" in str(path))
    assert "stopped by SIGINT; the state is saved" in messages
