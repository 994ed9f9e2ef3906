"""A leaderboard through a real scheduler: asked as the cards say, cut off twice, and finished by the same command."""

import json
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml

from tests.e2e import slurm_node
from tests.e2e.slurm_node import SlurmNode
from tests.unit.small_method import CARD, write_method
from tests.workflow.conftest import Project, copy_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(slurm_node.missing()), reason=slurm_node.missing()),
]

PROFILE = [sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/slurm"]
NO_ACCOUNTING = ["--slurm-no-account", "--slurm-status-command", "squeue"]
IMPATIENT = ["--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "20"]
COMMAND = [*PROFILE, *NO_ACCOUNTING, *IMPATIENT]
METHODS = {"slow": (1, 200), "doomed": (1, 60), "twofold": (2, 1)}  # name -> GPUs, epochs
ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED")


def run_folder(name: str) -> str:
    return f"results/mini/ms3/{name}-small/0"


class Watched:
    """The workflow under way, and every job that the scheduler has seen."""

    def __init__(self, project: Project, node: SlurmNode):
        self.project, self.node = project, node
        self.jobs: dict[str, dict] = {}
        self.most_gpu_jobs = 0
        self.log = project.folder / "snakemake.out"

    def run(self, each_moment=lambda: None, seconds: float = 400, options: tuple[str, ...] = ()) -> int:
        """The documented command from begin to end; `each_moment` may interfere. Returns its exit code."""
        end = time.monotonic() + seconds
        with open(self.log, "a") as log:
            process = subprocess.Popen(
                [*COMMAND, *options], cwd=self.project.folder, env=self.project.environment, stdout=log, stderr=log
            )
            try:
                while process.poll() is None:
                    assert time.monotonic() < end, f"the workflow does not end\n{self.log.read_text()[-4000:]}"
                    self.look()
                    each_moment()
                    time.sleep(0.5)
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)  # cancels its jobs; at SIGTERM it would wait for them
                    process.wait()
        self.look()
        return process.returncode

    def look(self) -> None:
        for job in self.node.jobs():
            self.jobs[job["JobId"]] = job
        gpu_jobs = [job for job in self.running() if "gpu" in job.get("TresPerJob", "")]
        self.most_gpu_jobs = max(self.most_gpu_jobs, len(gpu_jobs))

    def running(self, rule: str = "") -> list[dict]:
        return [job for job in self.of(rule) if job["JobState"] == "RUNNING"]

    def of(self, rule: str) -> list[dict]:
        return [job for job in self.jobs.values() if f"rule_{rule}" in job.get("Comment", "")]

    def has_saved(self, name: str) -> bool:
        return any((self.project.folder / run_folder(name) / "state").glob("*.pt"))


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    base = tmp_path_factory.mktemp("slurm")
    project = copy_project(base / "project")
    project.edit(
        "avsbench/datasets/ms3.yaml", "mini: {train: 64, val: 16, test: 32}", "mini: {train: 16, val: 4, test: 4}"
    )
    for name, (gpus, _) in METHODS.items():
        write_method(project.folder / "models", name, card=CARD.replace("gpu: 0", f"gpu: {gpus}"))
    config = {
        "scale": "mini",
        "runs": {"ms3": [f"{name}-small" for name in METHODS]},
        "seeds": [0],
        "overrides": {f"{name}-small": {"epochs": epochs} for name, (_, epochs) in METHODS.items()},
    }
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    with SlurmNode(base / "node") as node:
        project.environment["PATH"] = f"{node.folder}/commands:{project.environment['PATH']}"
        yield Watched(project, node)


@pytest.fixture(scope="module")
def extracted(watched):
    """Every shard is extracted, so that all jobs of what follows are ready at once.

    In one go Snakemake may look for ready jobs between the reports of two finished shards, and submit these apart.
    """
    assert watched.run(options=("--until", "extract")) == 0, watched.log.read_text()[-4000:]
    return watched


@pytest.fixture(scope="module")
def cut_off(extracted):
    """The first whole call: one training comes to its time limit, another one is cancelled as often as it starts."""
    watched, shortened = extracted, []

    def interfere():
        for job in watched.running("train_slow"):
            if not shortened and watched.has_saved("slow"):
                # Under the five minutes of `--signal=TERM@300`: the scheduler warns within half a minute.
                watched.node.ask("scontrol", "update", f"JobId={job['JobId']}", "TimeLimit=2")
                shortened.append(job["JobId"])
        for job in watched.running("train_doomed"):
            if watched.has_saved("doomed"):
                watched.node.ask("scancel", job["JobId"])

    assert watched.run(interfere) != 0
    assert shortened, watched.log.read_text()[-4000:]
    return watched, shortened[0]


def test_a_training_at_its_time_limit_saves_and_is_submitted_again(cut_off):
    watched, first = cut_off
    attempts = watched.of("train_slow")
    assert len(attempts) == 2, attempts
    assert watched.jobs[first]["JobState"] == "FAILED"  # it left by itself, before it was killed (TIMEOUT)
    record = json.loads((watched.project.folder / run_folder("slow") / "run.json").read_text())
    assert record["resumes"] == 1


def test_a_cancelled_training_fails_alone(cut_off):
    watched, _ = cut_off
    states = {job["JobState"] for job in watched.of("train_doomed")}
    assert states == {"CANCELLED"}
    assert not (watched.project.folder / run_folder("doomed") / "weights.safetensors").exists()
    partial = (watched.project.folder / "results/leaderboard.partial.md").read_text()
    assert "doomed-small" in partial
    assert not (watched.project.folder / "results/leaderboard.md").exists()


def test_the_same_command_finishes(cut_off):
    watched, _ = cut_off
    assert watched.run() == 0, watched.log.read_text()[-6000:]
    table = pd.read_parquet(watched.project.folder / "results/leaderboard.parquet")
    assert set(table["variant"]) == {f"{name}-small" for name in METHODS}
    record = json.loads((watched.project.folder / run_folder("doomed") / "run.json").read_text())
    assert record["resumes"] >= 1
    assert len(watched.of("extract")) == 4  # nothing that was finished ran again


def test_jobs_ask_for_what_the_cards_say(cut_off):
    watched, _ = cut_off
    assert watched.most_gpu_jobs >= 2
    for name, (gpus, _) in METHODS.items():
        for job in watched.of(f"train_{name}"):
            assert job["TresPerJob"] == f"gres:gpu:{gpus}"
            assert job["NumTasks"] == "1"  # the training itself starts a process a device
            assert job["MinMemoryNode"] == "1000M"
            assert job["TimeLimit"] == "00:10:00" or name == "slow"
    assert not any("gpu" in job.get("TresPerJob", "") for job in watched.of("score"))


def test_shard_jobs_are_arrays(cut_off):
    watched, _ = cut_off
    for rule in ("extract", "audio_ms3_1"):
        jobs = watched.of(rule)
        assert len(jobs) == 4
        assert len({job["ArrayJobId"] for job in jobs}) == 1


def test_logs_of_failed_jobs_stay(cut_off):
    watched, first = cut_off
    logs = watched.project.folder / ".snakemake/slurm_logs"
    assert list(logs.glob(f"rule_train_slow_small/**/{first}.log"))
    assert not list(logs.glob("rule_score/**/*.log"))  # those of finished jobs are removed
    assert list((watched.project.folder / "results/mini/logs").rglob("*slow*"))
