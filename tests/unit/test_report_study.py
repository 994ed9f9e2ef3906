"""The page of a study: rows in order, differences to the first, what failed and why, and the long table."""

import re
from pathlib import Path

import pandas as pd
import pytest

from avsbench.plan import Plan
from avsbench.report.stage import render
from avsbench.report.study import describe
from tests.unit.report_runs import make_run, row_of, write

STUDY = """\
title: Frozen encoders
question: What does it matter?
datasets: [ms3]
variants: [etavs-r50]
seeds: [0, 1]
rows:
  eval:
  train: {title: in train mode, options: {frozen_encoders: train}}
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Makes the plan of a study whose file has these words replaced."""
    monkeypatch.setenv("AVSBENCH_STUDIES", str(tmp_path))

    def make(*changes: tuple[str, str], **config) -> Plan:
        text = STUDY
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "frozen.yaml").write_text(text)
        roots = {f"{name}_root": f"{tmp_path}/{name}" for name in ("data", "results", "weights")}
        return Plan({"scale": "mini", "runs": {"s4": ["saliency"]}, "seeds": [0], "study": "frozen", **roots, **config})

    return make


def finish(plan: Plan, scores: dict) -> None:
    """Make runs: (row's variant, seed, members) -> miou."""
    for run in plan.rows:
        key = (run.variant.rpartition(".")[2], run.seed, run.members)
        if key in scores:
            make_run(plan.paths, run, values={"miou": scores[key]})


SCORES = {("etavs-r50", "0", 1): 0.40, ("etavs-r50", "1", 1): 0.50, ("train", "0", 1): 0.46, ("train", "1", 1): 0.52}


def test_differences_are_paired_by_seed(study):
    plan = study()
    finish(plan, SCORES)
    page = render(plan)
    assert page == plan.paths.study("frozen")
    text = Path(page).read_text()
    assert text.startswith("# Frozen encoders · mini\n\n**Question.** What does it matter?\n")
    assert "4 of 4 planned runs are complete." in text
    assert "--config study=frozen" in text
    first, other = row_of(text, "eval"), row_of(text, "in train mode")
    assert first[:4] == ["eval", "nothing", "45.00 ± 7.07", "–"]
    # 6 and 2 points: their deviation is that of the differences, not of the scores
    assert other[:4] == ["in train mode", "options.frozen_encoders: train", "49.00 ± 4.24", "+4.00 ± 2.83"]
    assert other[-3:] == ["0, 1", "stand-ins for resnet50, vggish", row_of(text, "eval")[-1]]
    assert text.index("| eval ") < text.index("| in train mode ")
    assert "| row" in text
    assert "| rank" not in text


def test_a_row_is_called_as_the_study_calls_it_whatever_generator_it_chooses(study):
    rows = "  train: {title: in train mode, options: {frozen_encoders: train}}"
    plan = study(
        ("etavs-r50", "sam4avs-no-prompt"),
        (rows, "  few: {features: {proposals: {generator: none}}}"),
        ("[0, 1]", "[0]"),
    )
    assert [run.chosen for run in plan.runs] == [(), ("none",)]
    text = Path(render(plan)).read_text()
    assert [row_of(text, name)[0] for name in ("eval", "few")] == ["eval", "few"]


def test_records_are_linked_from_where_the_page_lies(study):
    plan = study()
    finish(plan, SCORES)
    page = Path(render(plan))
    links = re.findall(r"\(([^)]*run\.json)\)", page.read_text())
    assert len(links) == 4
    table = pd.read_parquet(plan.paths.study("frozen", "parquet"))
    assert set(table.run_json) == set(links)
    assert all((page.parent / link).is_file() for link in links)


def test_the_long_table_names_rows(study):
    plan = study()
    finish(plan, SCORES)
    render(plan)
    table = pd.read_parquet(plan.paths.study("frozen", "parquet"))
    assert list(table.columns[:3]) == ["study", "row", "base"]
    found = table[table.metric == "miou"].set_index(["row", "seed"]).value.to_dict()
    assert found == {("eval", "0"): 0.40, ("eval", "1"): 0.50, ("train", "0"): 0.46, ("train", "1"): 0.52}
    assert set(table.base) == {"etavs-r50"}
    assert not Path(plan.paths.leaderboard()).exists()


def test_a_seed_that_is_missing_is_in_no_difference(study):
    plan = study()
    finish(plan, {key: value for key, value in SCORES.items() if key != ("train", "1", 1)})
    text = Path(render(plan, partial=True)).read_text()
    assert row_of(text, "in train mode")[3] == "+6.00"
    assert row_of(text, "in train mode")[-3] == "0 (1 of 2)"


def test_failures_are_visible_with_their_reason(study):
    plan = study()
    finish(plan, {key: value for key, value in SCORES.items() if key[0] == "etavs-r50"})
    lost = next(run for run in plan.runs if "@" in run.variant)
    write(plan.paths.log("train", lost.dataset, lost.variant, lost.seed), "the loss is not finite at step 3\n")
    from avsbench.report.failures import stages

    for stage, outputs, _ in stages(plan, lost):
        if stage == "train":
            break
        for file in outputs:
            write(file, {"usable": 32, "expected": 32} if stage == "check split" else "{}")
    page = render(plan, partial=True)
    assert page.endswith("studies/frozen.partial.md")
    text = Path(page).read_text()
    assert text.startswith("**Partial study: 2 of 4 runs are complete (1 failed, 1 not run).** First failure: ")
    assert row_of(text, "in train mode")[2] == "failed"
    assert "etavs-r50@frozen.train" in text
    assert "the loss is not finite at step 3" in text
    finish(plan, SCORES)
    render(plan)
    assert not Path(page).exists()


def test_a_first_row_without_scores_leaves_no_differences(study):
    plan = study()
    finish(plan, {key: value for key, value in SCORES.items() if key[0] == "train"})
    text = Path(render(plan, partial=True)).read_text()
    assert row_of(text, "in train mode")[2:4] == ["49.00 ± 4.24", "–"]


def test_ensembles_stand_beside_single_weights(study):
    plan = study(("options: {frozen_encoders: train}", "recipe: {keep_best: 2}"))
    assert [run.members for run in plan.rows] == [1, 1, 1, 2, 1, 2]
    finish(plan, {**SCORES, ("train", "0", 2): 0.56, ("train", "1", 2): 0.56})
    text = Path(render(plan)).read_text()
    assert row_of(text, "in train mode (top-2 ensemble)")[1:4] == ["keep_best: 2", "56.00 ± 0.00", "+11.00 ± 7.07"]
    assert row_of(text, "in train mode")[3] == "+4.00 ± 2.83"
    assert "A top-k ensemble is selected on validation" in text


def test_variants_and_columns(study):
    plan = study(
        ("[etavs-r50]", "[etavs-r50, etavs-pvt]"),
        ("[ms3]", "[ms3, avss]"),
        ("seeds: [0, 1]", "seeds: [0]\ncolumns: [dataset_miou, miou]"),
    )
    for run in plan.rows:
        make_run(plan.paths, run)
    text = Path(render(plan)).read_text()
    ms3, avss = text.split("\n## ")[1:3]
    assert "### etavs-r50\n" in ms3
    assert "### etavs-pvt\n" in ms3
    assert "dataset_miou (D) ↑" in ms3
    assert ms3.index(" Δ dataset_miou |") < ms3.index(" Δ miou |")
    assert "f_at_0.5" not in ms3
    assert "miou (A)" not in avss  # not defined there
    assert "etavs-pvt: in train mode" in ms3.split("### Runs")[1]


def test_rows_with_variants_of_their_own_name_them(study):
    plan = study(
        ("variants: [etavs-r50]\n", ""),
        ("  eval:", "  eval: {variant: tpavi-r50}"),
        ("{title: in train mode, options: {frozen_encoders: train}}", "{variant: saliency}"),
    )
    for run in plan.rows:
        make_run(plan.paths, run, values={"miou": 0.25 if run.variant == "saliency" else 0.5})
    text = Path(render(plan)).read_text()
    assert row_of(text, "tpavi-r50")[:3] == ["eval", "tpavi-r50", "nothing"]
    # no seed in common: the difference of means
    assert row_of(text, "saliency")[:5] == ["train", "saliency", "nothing", "25.00", "-25.00"]


def test_a_skipped_row_says_why(study):
    plan = study(
        ("variants: [etavs-r50]\n", ""),
        ("[ms3]", "[avss]"),
        ("  eval:", "  eval: {variant: tpavi-r50}"),
        ("{title: in train mode, options: {frozen_encoders: train}}", "{variant: saliency}"),
    )
    for run in plan.rows:
        make_run(plan.paths, run)
    text = Path(render(plan)).read_text()
    assert row_of(text, "saliency")[3] == "skipped"
    assert "saliency is not defined for avss" in text


def test_changes_in_words():
    changes = {"recipe": {"optimizer": {"lr": 0.1}, "epochs": 2}, "encoders": {"audio": None}, "init": "scratch"}
    assert describe(changes) == "optimizer.lr: 0.1, epochs: 2, encoders.audio: none, init: scratch"
    assert describe({"options": {"skip": False, "width": 1}}) == "options.skip: false, options.width: 1"
    assert describe({}) == "nothing"
