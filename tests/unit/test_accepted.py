"""Old weights that were accepted: what the leaderboard says, and the record of modules that tells what changed."""

from pathlib import Path

import pandas as pd
import pytest

from avsbench import digest, workflow
from avsbench.errors import AvsbenchError
from avsbench.plan import Plan, Run
from avsbench.report.collect import read_result
from avsbench.report.stage import render
from tests.unit.report_runs import make_run

RUN = Run("ms3", "tpavi-r50", "0")
MARK = {
    "date": "2026-03-04T05:06:07+00:00",
    "weights": "0123456789abcdef",
    "code": "fedcba9876543210",
    "changes": ["the code changed: models.tpavi.loss", "the recipe changed: epochs 15 → 20"],
    "reason": "a variable was renamed",
}
WORDS = "2026-03-04: the code changed: models.tpavi.loss; the recipe changed: epochs 15 → 20; a variable was renamed"


@pytest.fixture
def plan(tmp_path):
    roots = {f"{name}_root": f"{tmp_path}/{name}" for name in ("data", "results", "weights")}
    return Plan({"scale": "mini", "runs": {"ms3": ["tpavi-r50", "saliency"]}, "seeds": [0], "conditions": [], **roots})


def test_the_leaderboard_shows_the_mark(plan):
    make_run(plan.paths, RUN, accepted=MARK)
    make_run(plan.paths, Run("ms3", "saliency", "none"))
    assert read_result(RUN, plan.paths).accepted == WORDS
    text = Path(render(plan)).read_text()
    assert f"Old weights, kept by `avsbench accept`: tpavi-r50, seed 0 ({WORDS})." in text
    table = pd.read_parquet(plan.paths.leaderboard("parquet")).groupby("variant")["accepted"].first()
    assert table["tpavi-r50"] == WORDS
    assert pd.isna(table["saliency"])
    # Snakemake learns of it by a parameter of the leaderboard alone: run.json keeps its date.
    assert workflow.accepted(plan) == ["tpavi-r50 on ms3, seed 0: 2026-03-04T05:06:07+00:00"]


def test_without_a_reason_or_a_mark_nothing_is_made_up(plan):
    make_run(plan.paths, RUN, accepted=MARK | {"reason": ""})
    assert read_result(RUN, plan.paths).accepted == WORDS.removesuffix("; a variable was renamed")
    make_run(plan.paths, RUN)
    assert read_result(RUN, plan.paths).accepted is None
    assert workflow.accepted(plan) == []


def test_a_mark_of_another_form_names_its_file(plan):
    make_run(plan.paths, RUN, accepted={"date": "2026-03-04"})
    with pytest.raises(AvsbenchError, match=r"run\.json: of another form"):
        read_result(RUN, plan.paths)
    assert len(workflow.accepted(plan)) == 1


def test_modules_of_digests_are_recorded_once(plan):
    name = digest.stage("score")
    workflow.record_code(plan)
    found = workflow.read_code(plan)
    assert found[name] == digest.made()[name]
    assert "avsbench.evaluation.score" in found[name]
    size = Path(plan.paths.code_log()).stat().st_size
    workflow.record_code(plan)
    assert Path(plan.paths.code_log()).stat().st_size == size
    with open(plan.paths.code_log(), "a") as file:
        file.write('{"digest": "cut o')
    assert workflow.read_code(plan) == found


def test_files_that_a_stage_renders_stand_among_its_modules():
    assert "leaderboard.md.jinja" in digest.made()[digest.stage("report")]
