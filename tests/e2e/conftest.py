"""One finished mini workflow, shared by the tests that look at its results."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tests.workflow.conftest import Project, copy_project

CONFIG = {
    "scale": "mini",
    "runs": {"s4": ["saliency"], "ms3": ["saliency", "tpavi-r50"], "avss": ["tpavi-r50", "saliency"]},
    "seeds": [0],
    "overrides": {"tpavi-r50": {"epochs": 4}},
}
COMMAND = [sys.executable, "-m", "snakemake", "--cores", "2", "--resources", "gpu=2"]


def new_project(folder, **changes) -> Project:
    project = copy_project(folder)
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))
    return project


def start(project: Project, command: list[str] = COMMAND) -> subprocess.Popen:
    """A command, by default the documented one, in a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # Tests that a shell started in the background inherit that Ctrl-C is ignored; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def kill_when(process: subprocess.Popen, condition, seconds: float = 600) -> None:
    """SIGKILL to the whole group as soon as `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the workflow ended ({process.returncode}) before it could be killed"
        assert time.monotonic() < end, "the moment to kill never came"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    project = new_project(tmp_path_factory.mktemp("finished") / "project")
    done = project.command(COMMAND)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return project
