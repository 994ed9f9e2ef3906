"""Jobs that would run, grouped by what they are for and why."""

import fcntl
import json
from pathlib import Path

import pytest

from avsbench import cli, workflow
from avsbench.plan import Plan, Run
from avsbench.reruns.changes import Change
from avsbench.reruns.dry_run import DryRun, Job
from avsbench.reruns.reasons import Group, Stage, explain_jobs, told
from tests.unit.report_runs import write

FOLLOWS = "Input files updated by another job: x"


@pytest.fixture
def plan(tmp_path):
    roots = {f"{name}_root": f"{tmp_path}/{name}" for name in ("data", "results", "weights")}
    return Plan({"scale": "mini", "runs": {"ms3": ["tpavi-r50", "tpavi-pvt", "saliency"]}, "seeds": [0], **roots})


def jobs_of(plan, variant, seed, reason):
    run = ("ms3", variant, seed)
    return [
        Job(f"train_{variant.replace('-', '_')}", (plan.paths.run_json(*run), plan.paths.run_weights(*run)), reason),
        Job("predict", (plan.paths.predictions(*run),), FOLLOWS),
    ]


def test_runs_with_the_same_reasons_stand_together(plan):
    newer = "Updated input files: a.h5"
    jobs = [
        *jobs_of(plan, "tpavi-r50", "0", newer),
        *jobs_of(plan, "tpavi-pvt", "0", newer),
        Job("predict", (plan.paths.predictions("ms3", "saliency", "none"),), "Missing output files: b"),
        Job("extract", (plan.shards("ms3", "train")[0],), "Code has changed since last execution"),
        Job("extract", (plan.shards("ms3", "train")[1],), "Code has changed since last execution"),
        Job("leaderboard", (plan.paths.leaderboard(),), FOLLOWS),
    ]
    groups = explain_jobs(plan, DryRun(jobs, {}))
    assert groups == [
        Group(("data of ms3",), (Stage("extract", 2, (Change("command", "the command of its rule changed"),)),)),
        Group(
            ("tpavi-r50 on ms3, seed 0", "tpavi-pvt on ms3, seed 0"),
            (Stage("train", 2, (Change("newer", "newer than what was made of it: a.h5"),)), Stage("predict", 2, ())),
            (plan.paths.run("ms3", "tpavi-r50", "0"), plan.paths.run("ms3", "tpavi-pvt", "0")),
        ),
        Group(("saliency on ms3, seed none",), (Stage("predict", 1, (Change("missing", "missing: b"),)),)),
        Group(("pages",), (Stage("leaderboard", 1, ()),)),
    ]
    text = told(groups)
    assert text.startswith("8 jobs would run; nothing was run or changed.")
    assert "  train (2): newer than what was made of it: a.h5\n  and so: predict (2)\n" in text
    assert f"avsbench accept {plan.paths.run('ms3', 'tpavi-r50', '0')}" in text
    assert told([]).startswith("Nothing would run")


def test_what_snakemake_does_before_it_plans_is_told(plan, tmp_path):
    """A dry run without any effect does not bring manifests in step with a newer csv."""
    for file in plan.manifests("ms3"):
        write(file, "clip\n")
    write(plan.paths.acquired("ms3"), {"csv": f"{tmp_path}/ms3.csv"})
    write(f"{tmp_path}/ms3.csv", "newer")
    (group,) = explain_jobs(plan, DryRun([], {}))
    assert group.places == ("data of ms3",)
    assert "the table of its clips changed" in group.stages[0].causes[0].words
    assert Path(plan.manifests("ms3")[0]).read_text() == "clip\n"


def test_another_version_of_the_scores_code_is_told(plan):
    run = Run("ms3", "external", "theirs")
    write(plan.paths.run_json(run.dataset, run.variant, run.seed), {"code": "old"})
    (group,) = explain_jobs(plan, DryRun([], {}))
    assert group.places == ("theirs (external) on ms3",)


def test_without_a_workflow_the_folder_is_named(tmp_path, monkeypatch, capsys, caplog):
    write(f"{tmp_path}/config.yaml", {"scale": "mini", "runs": {"ms3": ["saliency"]}, "seeds": [0]})
    monkeypatch.chdir(tmp_path)
    assert cli.main(["status", "--why", "--config", "config.yaml"]) == 2
    assert "run in the project's top folder" in capsys.readouterr().err + caplog.text


def test_files_are_laid_over_the_configuration(tmp_path, monkeypatch, capsys):
    write(f"{tmp_path}/config.yaml", {"scale": "mini", "runs": {"ms3": ["saliency"]}, "seeds": [0]})
    write(f"{tmp_path}/more.yaml", {"runs": {"s4": ["saliency"]}})
    monkeypatch.chdir(tmp_path)
    arguments = ["status", "--config", "config.yaml", "--configfile", "more.yaml", "--format", "json"]
    assert cli.main(arguments) == 0
    assert list(json.loads(capsys.readouterr().out)["datasets"]) == ["ms3", "s4"]


def test_whether_a_workflow_runs_here(tmp_path):
    assert not workflow.works_here(tmp_path)
    with open(tmp_path / "avsbench.alive", "w") as handle:
        assert not workflow.works_here(tmp_path)
        fcntl.flock(handle, fcntl.LOCK_SH)
        assert workflow.works_here(tmp_path)
    assert not workflow.works_here(tmp_path)
