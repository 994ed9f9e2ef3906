"""A study planned by the workflow: its own page, shared plain runs, and faults before anything runs."""

import pytest

from benchmarks.planning import JOBS, SECONDS, plan
from tests.workflow.conftest import copy_project

STUDY = """\
title: Query
question: Does the query generator matter?
datasets: [ms3]
variants: [avsegformer-r50]
rows:
  generator:
  learned: {options: {query: learned}}
  long: {recipe: {epochs: 20, keep_best: 3}}
"""
ASKED = ("--config", "study=query")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    found = copy_project(tmp_path_factory.mktemp("study") / "project")
    (found.folder / "config/studies").mkdir(exist_ok=True)
    (found.folder / "config/studies/query.yaml").write_text(STUDY)
    (found.folder / "config/config.yaml").write_text("scale: mini\nruns: {ms3: [avsegformer-r50]}\nseeds: [0]\n")
    return found


def test_a_study_plans_its_rows_and_its_page(project):
    jobs = project.planned(*ASKED)
    rules = {name: count for name, count in jobs.items() if name.startswith("train_")}
    assert rules == {
        "train_avsegformer_r50": 1,
        "train_avsegformer_r50__query__learned": 1,
        "train_avsegformer_r50__query__long": 1,
    }
    assert (jobs["predict"], jobs["predict_ensemble"], jobs["score"], jobs["study"]) == (3, 1, 3, 1)
    assert "leaderboard" not in jobs
    shell = project.snakemake("--cores", "2", "-n", "--printshellcmds", *ASKED).stdout
    assert "--variant avsegformer-r50@query.learned --seed 0" in shell
    assert "results/studies/query.md" in shell
    assert ".html" not in shell  # a study is Markdown and Parquet


def test_without_it_nothing_changes(project):
    jobs = project.planned()
    assert [name for name in jobs if name.startswith("train_")] == ["train_avsegformer_r50"]
    assert jobs["leaderboard"] == 1


def test_the_plain_run_is_shared(project):
    project.pretend_complete()
    assert project.planned() == {}
    jobs = project.planned(*ASKED)
    assert "train_avsegformer_r50" not in jobs
    assert "extract" not in jobs
    assert jobs["train_avsegformer_r50__query__learned"] == jobs["train_avsegformer_r50__query__long"] == 1
    # Made for another question, the leaderboard stays current.
    assert project.planned() == {}


def test_a_fault_is_said_with_its_line_before_anything_runs(project):
    file = project.folder / "config/studies/query.yaml"
    file.write_text(STUDY.replace("{options:", "{optoins:"))
    try:
        done = project.snakemake("--cores", "2", "-n", *ASKED, check=False)
        text = done.stdout + done.stderr
        assert done.returncode != 0
        assert "config/studies/query.yaml:7: unknown key 'optoins' in rows.learned" in text
        assert "did you mean 'options'" in text
        assert project.snakemake("--cores", "2", "-n", check=False).returncode == 0  # the leaderboard does not care
    finally:
        file.write_text(STUDY)
    done = project.snakemake("--cores", "2", "-n", "--config", "study=qery", check=False)
    assert "did you mean 'query'" in done.stdout + done.stderr


def test_a_large_study_plans_within_the_limits(tmp_path):
    project = copy_project(tmp_path / "project")
    rows = "\n".join(f"  lr-{number}: {{recipe: {{optimizer: {{lr: 0.000{number + 1}}}}}}}" for number in range(9))
    text = STUDY[: STUDY.index("rows:")].replace("[ms3]", "[s4, ms3, avss]")
    (project.folder / "config/studies").mkdir(exist_ok=True)
    (project.folder / "config/studies/rates.yaml").write_text(f"{text}seeds: [0, 1, 2]\nrows:\n{rows}\n")
    (project.folder / "config/config.yaml").write_text(
        "{scale: full, runs: {s4: [tpavi-r50]}, seeds: [0], study: rates, roots: {s4: /r, ms3: /r, avss: /r}}"
    )
    used, jobs = plan(project.folder, project.environment, seconds=120)
    assert sum(count for name, count in jobs.items() if name.startswith("train_")) == 9 * 3 * 3
    assert jobs["total"] <= JOBS
    assert used.cpu <= 2 * SECONDS
    print(f"{jobs['total']} jobs, {used.cpu:.1f} s CPU, {used.mb:.0f} MB")
