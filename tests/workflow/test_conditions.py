"""Predictions under other sounds: which jobs they take, and what makes them anew."""

import yaml

from avsbench.config import check_config
from avsbench.plan import Plan
from benchmarks import planning
from benchmarks.planning import JOBS
from tests.workflow.conftest import REPORT


def heard(jobs):
    return {name: count for name, count in jobs.items() if "conditions" in name}


def test_two_jobs_a_run(finished):
    jobs = finished.planned("--forceall")
    assert heard(jobs) == {
        "predict_conditions_s4": 2,
        "predict_conditions_ms3": 3,
        "score_conditions_s4": 2,
        "score_conditions_ms3": 3,
    }
    assert jobs["negatives"] == 2
    assert jobs["predict"] == jobs["score"] == 6


def test_what_makes_negatives_leaves_training_and_predicting_alone(complete):
    complete.edit("avsbench/engine/conditions.py", "\nfrom", "\nEDITED = 1\nfrom")
    complete.edit("avsbench/store/negatives.py", "\nclass Negatives", "\nEDITED = 1\n\n\nclass Negatives")
    complete.edit("avsbench/media/negatives.py", "SILENCE_RATE, NOISE_RATE = 11025", "SILENCE_RATE, NOISE_RATE = 8000")
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
    expected = {f"{verb}_conditions_{dataset}": 1 for verb in ("predict", "score") for dataset in ("s4", "ms3")}
    assert heard(complete.planned()) == expected


def test_without_them_the_leaderboard_alone_is_written_again(complete):
    complete.edit("config/config.yaml", "seeds: [0]", "seeds: [0]\nconditions: []")
    assert set(complete.planned()) == REPORT
    complete.edit("config/config.yaml", "conditions: []", "conditions: [silence, silence_reference]")
    jobs = complete.planned()
    # Jobs of another set of outputs are other jobs; saliency hears nothing, so the authors' features do it no harm.
    assert jobs["predict_conditions_s4_reference"] == 2
    assert jobs["predict_conditions_ms3_reference"] == 3
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
        assert {f"results/leaderboard.{kind}" for kind in ("md", "html", "parquet")} <= set(outputs.split())
        assert ("robustness" in outputs) is promised


def test_the_full_leaderboard_of_all_variants_keeps_to_the_limit_of_jobs(project):
    """With features, and two jobs more of each run on S4 and MS3, with its ensemble if it has one; three seeds."""
    planning.configure(project.folder, {dataset: planning.of_today(dataset) for dataset in planning.DATASETS})
    plan = Plan(check_config(yaml.safe_load((project.folder / "config/config.yaml").read_text())))
    _, jobs = planning.plan(project.folder, project.environment, seconds=240)
    expected = {}
    for dataset in ("s4", "ms3"):
        runs = [run for run in plan.runs if run.dataset == dataset]
        assert len(runs) > 60
        assert all(set(plan.conditions(run).values()) == {None} for run in runs)  # every method
        voting = sum(run.ensemble for run in plan.rows if run.dataset == dataset)
        for verb in ("predict", "score"):
            expected[f"{verb}_conditions_{dataset}"] = len(runs) - voting
            expected[f"{verb}_conditions_{dataset}__top"] = voting
    assert heard(jobs) == expected
    assert jobs["negatives"] == 4  # the training splits too, for the variant whose training mixes them in
    assert jobs["features"] > 100
    assert jobs["total"] <= JOBS
