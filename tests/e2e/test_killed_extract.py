"""A preprocessing job that is killed leaves nothing that counts, and its shard alone is made again."""

import os
import signal
import sys
import time
from pathlib import Path

import yaml

from tests.e2e.conftest import start
from tests.workflow.conftest import copy_project

SHARDS = [f"data/mini/ms3/shards/{name}.h5" for name in ("train.0of2", "train.1of2", "val.0of1", "test.0of1")]


def test_only_the_killed_shard_is_made_again(tmp_path):
    project = copy_project(tmp_path / "project")
    config = {"scale": "mini", "runs": {"ms3": ["tpavi-r50"]}, "seeds": [0]}
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--", *SHARDS]
    folder = project.folder / "data/mini/ms3/shards"
    process = start(project, command)
    victim = None
    end = time.monotonic() + 300
    while victim is None:
        assert process.poll() is None, "the workflow ended before a job could be killed"
        assert time.monotonic() < end
        # The second job or a later one, while it writes: temporary names hold the number of the process.
        done = list(folder.glob("*.h5"))
        for file in folder.glob(".*.h5.*.tmp") if done else []:
            victim = (file.name.split(".h5.")[0].lstrip("."), int(file.name.split(".")[-2].split("@")[0]))
            os.kill(victim[1], signal.SIGKILL)
        time.sleep(0.005)
    assert process.wait(timeout=300) != 0
    lost = f"{victim[0]}.h5"
    assert {Path(shard).name for shard in SHARDS} - {file.name for file in folder.glob("*.h5")} == {lost}
    assert not (folder / f"{victim[0]}.faults.csv").exists()
    assert project.planned("--", *SHARDS) == {"extract": 1, "total": 1}
    before = {file: file.stat().st_mtime_ns for file in folder.glob("*.h5")}
    assert project.command(command).returncode == 0
    assert (folder / lost).is_file()
    assert not list(folder.glob(".*.tmp"))
    assert all(file.stat().st_mtime_ns == date for file, date in before.items())
