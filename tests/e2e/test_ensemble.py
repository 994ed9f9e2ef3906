"""A recipe that keeps several epochs, from the configuration to the row of its ensemble."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.e2e.conftest import COMMAND
from tests.workflow.conftest import Project

pytestmark = pytest.mark.slow

RUN = "results/mini/ms3/tpavi-r50/0"


def test_two_epochs_become_a_row_of_the_leaderboard(finished, tmp_path):
    project = Project(Path(shutil.copytree(finished.folder, tmp_path / "project")))
    recipe = {"epochs": 3, "validate": {"every": 1}, "keep_best": 2}
    config = {"scale": "mini", "runs": {"ms3": ["tpavi-r50"]}, "seeds": [0], "overrides": {"tpavi-r50": recipe}}
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    done = project.command(COMMAND)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    record = json.loads((project.folder / RUN / "run.json").read_text())
    files = sorted(file.name for file in (project.folder / RUN / "weights_top").glob("*.safetensors"))
    assert files == [member["file"] for member in record["members"]]
    assert len(files) == 2
    text = (project.folder / "results/leaderboard.md").read_text()
    assert "2 of 2 planned runs are complete" in text
    assert "| tpavi-r50 (top-2 ensemble) |" in text
    table = pd.read_parquet(project.folder / "results/leaderboard.parquet")
    headline = table[(table.metric == "miou") & (table.grid == "common")]
    assert sorted(headline.members) == [1, 2]
    assert project.planned() == {}
