"""Predictions under other sounds: which jobs they take, and what makes them anew."""

import shutil
from pathlib import Path

import pytest

from benchmarks import planning
from benchmarks.planning import JOBS
from tests.workflow.conftest import Project, copy_project

CONFIG = """
scale: mini
runs:
  s4: [saliency, tpavi-r50]
  ms3: [tpavi-r50]
  avss: [tpavi-r50]
seeds: [0]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project that Snakemake takes for finished; tests get copies."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    (project.folder / "config/config.yaml").write_text(CONFIG)
    project.pretend_complete()
    return project


@pytest.fixture
def complete(finished, tmp_path):
    return Project(Path(shutil.copytree(finished.folder, tmp_path / "project")))


def heard(jobs):
    return {name: count for name, count in jobs.items() if "conditions" in name}


def test_two_jobs_a_run(finished):
    jobs = finished.planned("--forceall")
    assert heard(jobs) == {
        "predict_conditions_s4": 2,
        "predict_conditions_ms3": 1,
        "score_conditions_s4": 2,
        "score_conditions_ms3": 1,
    }
    assert jobs["negatives"] == 2
    assert jobs["predict"] == jobs["score"] == 4


def test_what_makes_negatives_leaves_training_and_predicting_alone(complete):
    complete.edit("avsbench/engine/conditions.py", "\nfrom", "\nEDITED = 1\nfrom")
    jobs = complete.planned()
    assert heard(jobs).keys() >= {"predict_conditions_s4", "predict_conditions_ms3"}
    assert not {"predict", "score", "negatives"} & set(jobs)
    assert not any(name.startswith("train") for name in jobs)


def test_another_draw_leaves_runs_alone(complete):
    """No recipe here mixes negatives in."""
    complete.edit("avsbench/store/offscreen.py", "SEED = 42", "SEED = 43")
    jobs = complete.planned()
    assert jobs["negatives"] == 2
    assert jobs["predict_conditions_s4"] == 2


def test_a_method_is_heard_again_alone(complete):
    complete.edit("models/saliency/model.py", "\nimport", "\nEDITED = 1\nimport")
    assert heard(complete.planned()) == {"predict_conditions_s4": 1, "score_conditions_s4": 1}


def test_without_them_the_leaderboard_alone_is_written_again(complete):
    complete.edit("config/config.yaml", "seeds: [0]", "seeds: [0]\nconditions: []")
    assert set(complete.planned()) == {"leaderboard", "all", "total"}
    complete.edit("config/config.yaml", "conditions: []", "conditions: [silence, silence_reference]")
    jobs = complete.planned()
    # Jobs of another set of outputs are other jobs; saliency hears nothing, so the authors' features do it no harm.
    assert jobs["predict_conditions_s4_reference"] == 2
    assert jobs["predict_conditions_ms3_reference"] == 1
    assert "predict" not in jobs


def test_ms3_without_avss_is_heard_under_silence_and_noise(project):
    """What sounds in its clips stands in AVSS's table, which silence and noise do not need."""
    planning.configure(project.folder, {"ms3": ["saliency"]})
    jobs = project.planned()
    assert heard(jobs) == {"predict_conditions_ms3": 1, "score_conditions_ms3": 1}
    assert jobs["acquire"] == 1
    assert "negatives" not in jobs


def test_the_table_of_negatives_is_promised_only_where_a_run_is_heard(project):
    """A variant that its card rules out on S4 is skipped there, and nothing is written about listening."""
    for name, promised in (("cavp-stereo-r50", False), ("saliency", True)):
        planning.configure(project.folder, {"s4": [name], "avss": ["saliency"]})
        outputs = project.snakemake("--cores", "2", "--summary").stdout
        assert "results/leaderboard.parquet" in outputs
        assert ("robustness" in outputs) is promised


def test_the_full_leaderboard_hears_every_run(project):
    """Twenty variants at three seeds on three data sets: 120 runs on S4 and MS3, two jobs each."""
    names = planning.add_variants(project.folder, 20)
    planning.configure(project.folder, dict.fromkeys(planning.DATASETS, names))
    _, jobs = planning.plan(project.folder, project.environment, seconds=240)
    assert heard(jobs) == {
        f"{verb}_conditions_{dataset}": 60 for verb in ("predict", "score") for dataset in ("s4", "ms3")
    }
    assert jobs["negatives"] == 2
    assert jobs["total"] <= JOBS
