"""A test split that lacks clips: it stops training, it can be allowed, and neither trains anything anew."""

import re

import pytest
import yaml

from tests.workflow.conftest import REPORT, copy_project

CONFIG = {"scale": "mini", "runs": {"ms3": ["tpavi-r50", "saliency"]}, "seeds": [0]}
ALLOWED = ("--config", "allow_incomplete=true")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project that Snakemake takes for finished; tests get copies."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(CONFIG))
    project.pretend_complete()
    assert project.planned() == {}
    return project


def test_training_waits_for_the_check_of_the_test_split_and_for_none_of_its_clips(complete):
    weights = "results/mini/ms3/tpavi-r50/0/weights.safetensors"
    summary = complete.snakemake("--cores", "1", "--detailed-summary", "--", weights).stdout
    inputs = next(line.split("\t")[4] for line in summary.splitlines() if line.startswith(weights))
    of_test = [file for file in inputs.split(",") if re.search(r"\btest\b", file)]
    assert of_test == ["data/mini/ms3/index/test.complete.json"]


def test_another_mind_about_incomplete_splits_checks_again_and_trains_nothing(complete):
    jobs = complete.planned(*ALLOWED)
    assert set(jobs) == {"check_split", *REPORT}
    assert jobs["check_split"] == 2  # val and test


def test_a_mended_test_clip_predicts_again_and_trains_nothing(complete):
    file = complete.folder / "data/mini/ms3/manifests/test.0of1.csv"
    file.write_text("clip_id\n")
    jobs = complete.planned()
    assert {"extract", "index", "check_split", "predict", "score"} <= set(jobs)
    assert not any(name.startswith("train_") for name in jobs)


@pytest.mark.slow
def test_a_faulty_test_clip_stops_training_until_it_is_allowed(tmp_path):
    """Runs the data stages: one broken picture of one test clip, and training is not even started."""
    project = copy_project(tmp_path / "project")
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(CONFIG))
    project.snakemake("--cores", "2", "--", "data/mini/ms3/acquired.json")
    official = project.folder / "data/mini/ms3/official"
    clip = next(row.split(",")[0] for row in (official / "ms3_meta_data.csv").read_text().split() if ",test" in row)
    next((official / "ms3_data/visual_frames" / clip).glob("*_2.png")).write_bytes(b"no picture")
    marks = [f"data/mini/ms3/index/{split}.complete.json" for split in ("val", "test")]
    done = project.snakemake("--cores", "2", "--keep-going", "--", *marks, check=False)
    assert done.returncode != 0
    assert "incomplete split, 1 of 32 clips are faulty" in done.stdout + done.stderr
    assert [(project.folder / mark).exists() for mark in marks] == [True, False]
    planned = project.planned("--", "results/mini/ms3/tpavi-r50/0/weights.safetensors")
    assert planned["check_split"] == planned["train_tpavi_r50"] == 1
    # Allowed: the check alone is made again, with the index that was there.
    assert set(project.planned(*ALLOWED, "--", marks[1])) == {"check_split", "total"}
    project.snakemake("--cores", "2", *ALLOWED, "--", *marks)
    assert (project.folder / marks[1]).read_text() == '{"usable": 31, "expected": 32}\n'
