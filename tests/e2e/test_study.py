"""A study through the real workflow: rows trained beside a shared plain run, its page, and a row that fails."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.conftest import COMMAND
from tests.workflow.conftest import Project

pytestmark = pytest.mark.slow

STUDY = """\
title: Epochs
question: Are four epochs better than two?
datasets: [ms3]
variants: [tpavi-r50]
rows:
  four:
  two: {recipe: {epochs: 2, validate: {every: 1}, keep_best: 2}}
"""
ASKED = [*COMMAND, "--config", "study=epochs"]
RUNS = Path("results/mini/ms3")


@pytest.fixture
def project(finished, tmp_path):
    """The finished project, whose plain run has four epochs, with a study."""
    copy = Project(Path(shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)))
    (copy.folder / "config/studies").mkdir(exist_ok=True)
    (copy.folder / "config/studies/epochs.yaml").write_text(STUDY)
    return copy


def test_rows_become_a_page_of_their_own(project):
    plain = project.folder / RUNS / "tpavi-r50/0/weights.safetensors"
    board = project.folder / "results/leaderboard.md"
    before = plain.stat().st_mtime_ns, board.read_bytes()
    done = project.command(ASKED)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert (plain.stat().st_mtime_ns, board.read_bytes()) == before
    record = json.loads((project.folder / RUNS / "tpavi-r50@epochs.two/0/run.json").read_text())
    assert (record["variant"], record["recipe"]["epochs"]) == ("tpavi-r50@epochs.two", 2)
    assert len(record["members"]) == 2

    text = (project.folder / "results/studies/epochs.md").read_text()
    for word in (
        "Are four epochs better than two?",
        "3 of 3 planned runs",
        "| four ",
        "| two (top-2 ensemble)",
        "Δ miou",
    ):
        assert word in text, word
    table = pd.read_parquet(project.folder / "results/studies/epochs.parquet")
    scores = table[(table.metric == "miou") & (table.grid == "common")].set_index(["row", "members"])["value"]
    assert set(scores.index) == {("four", 1), ("two", 1), ("two", 2)}
    assert f"{100 * (scores['two', 1] - scores['four', 1]):+.2f}" in text
    stored = json.loads((project.folder / RUNS / "tpavi-r50/0/scores/positive.json").read_text())["scores"][0]["values"]
    assert scores["four", 1] == stored["miou"]

    assert project.planned("--config", "study=epochs") == {}
    assert project.planned() == {}
    page = (project.folder / "results/studies/epochs.md").read_bytes()
    done = project.command(["avsbench", "study", "epochs"])
    assert done.returncode == 0, done.stderr
    assert (project.folder / "results/studies/epochs.md").read_bytes() == page


def test_a_row_that_fails_is_visible_with_its_reason(project):
    project.edit("config/studies/epochs.yaml", "{epochs: 2,", "{optimizer: {lr: 1.0e+30},")
    done = project.command([*ASKED, "retries=0"])
    assert done.returncode != 0
    partial = (project.folder / "results/studies/epochs.partial.md").read_text()
    assert partial.startswith(
        "**Partial study: 1 of 3 runs are complete (2 failed).** First failure: tpavi-r50@epochs.two"
    )
    assert "not finite" in partial
    assert not (project.folder / "results/studies/epochs.md").exists()
    assert not (project.folder / "results/leaderboard.partial.md").exists()
