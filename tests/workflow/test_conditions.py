"""Predictions under other sounds: which jobs they take, and what makes them anew."""

import shutil
from pathlib import Path

import pytest
import yaml

from avsbench.config import check_config
from avsbench.plan import Plan
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


def test_the_full_leaderboard_of_all_variants_keeps_to_the_limit_of_jobs(project):
    """With features, and two jobs more of each run on S4 and MS3 that can be heard; three seeds."""
    planning.configure(project.folder, {dataset: planning.of_today(dataset) for dataset in planning.DATASETS})
    plan = Plan(check_config(yaml.safe_load((project.folder / "config/config.yaml").read_text())))
    _, jobs = planning.plan(project.folder, project.environment, seconds=240)
    expected = {}
    for dataset in ("s4", "ms3"):
        runs = [run for run in plan.runs if run.dataset == dataset and None in plan.conditions(run).values()]
        assert len(runs) > 50
        expected |= {f"{verb}_conditions_{dataset}": len(runs) for verb in ("predict", "score")}
    assert heard(jobs) == expected
    assert jobs["negatives"] == 4  # the training splits too, for the variant whose training mixes them in
    assert jobs["features"] > 100
    assert jobs["total"] <= JOBS
