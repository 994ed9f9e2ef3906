"""The section "Does it listen?": numbers, rows, reasons, and the table of all numbers."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from avsbench.config import check_config
from avsbench.errors import AvsbenchError
from avsbench.metrics.robust import global_value
from avsbench.paths import EXTERNAL
from avsbench.plan import Plan, Run
from avsbench.report.stage import render
from tests.unit.report_runs import make_run, row_of, write
from tests.unit.web_pages import data_in

SCORES = {
    "silence": {"miou": 0.1, "fscore_b1": 0.2, "fpr": 0.01},
    "noise": {"miou": 0.2, "fscore_b1": 0.3, "fpr": 0.02},
    "offscreen": {"miou": 0.3, "fscore_b1": 0.4, "fpr": 0.06},
}


def hear(paths, run, condition, values):
    """Scores of a run under a condition, as it has them under its own sound but for `values`."""
    names = (run.dataset, run.variant, run.seed)
    content = json.loads(Path(paths.scores(*names, ensemble=run.ensemble)).read_text())
    content["scores"][0]["values"] |= values
    found = (*names, condition, run.ensemble)
    for file in (paths.scores(*found), paths.predictions(*found)):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(json.dumps(content))


def planned(folder, **config):
    roots = {f"{name}_root": f"{folder}/{name}" for name in ("data", "results", "weights")}
    runs = {"s4": ["tpavi-r50", "aclp-fpn"], "avss": ["tpavi-r50"]}
    plan = Plan(check_config({"scale": "mini", "runs": runs, "seeds": [0, 1]} | roots | config))
    for run in plan.rows:
        make_run(plan.paths, run, values={"fpr": 0.3} if run.dataset == "s4" else {})
        for condition, reason in plan.conditions(run).items():
            if reason is None:
                shift = 0.1 * (run.seed == "1")
                values = SCORES[condition.removesuffix("_reference")]
                hear(plan.paths, run, condition, values | {"miou": values["miou"] + shift})
    return plan


def section_of(plan, partial=False):
    text = Path(render(plan, partial=partial)).read_text()
    assert text.count("Does it listen?") <= 1
    return re.split(r"^## ", text.partition("## Does it listen?")[2], flags=re.M)[0]


def test_global_values_and_components(tmp_path):
    text = section_of(planned(tmp_path, seeds=[0]))
    g_miou, g_f = global_value(0.5, [0.1, 0.2, 0.3]), global_value(0.7, [0.2, 0.3, 0.4])
    expected = ["tpavi-r50", "mini", f"{100 * g_miou:.2f}", f"{100 * g_f:.2f}", "3.00", "50.00", "30.00", "0"]
    assert row_of(text, "tpavi-r50") == expected
    rows = [line for line in text.partition("components")[2].splitlines() if line.startswith("| tpavi-r50")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[2] for row in cells] == ["positive", "silence", "noise", "offscreen"]
    assert [row[3] for row in cells] == ["30.00", "1.00", "2.00", "6.00"]
    assert [row[4] for row in cells] == ["50.00", "10.00", "20.00", "30.00"]
    assert "AVSS" not in text
    assert "Not heard" not in text


def test_printed_numbers_stand_apart(tmp_path):
    text = section_of(planned(tmp_path, seeds=[0]))
    printed = text.partition("published, protocol not stated")[2]
    assert row_of(printed, "VCT")[6] == "23.79"
    assert "61.00" not in text  # that is of MS3
    whole = Path(render(planned(tmp_path / "again", seeds=[0]))).read_text()
    assert "Robust-S4" not in whole.partition("Not shown")[2]


def test_seeds_are_averaged(tmp_path):
    text = section_of(planned(tmp_path))
    each = [100 * global_value(0.5, [0.1 + shift, 0.2 + shift, 0.3 + shift]) for shift in (0, 0.1)]
    mean, spread = sum(each) / 2, abs(each[0] - each[1]) / 2**0.5
    assert row_of(text, "tpavi-r50")[2] == f"{mean:.2f} ± {spread:.2f}"


def test_reference_features_have_tables_of_their_own(tmp_path):
    conditions = ["silence", "noise", "offscreen", "silence_reference", "noise_reference", "offscreen_reference"]
    text = section_of(planned(tmp_path, conditions=conditions, seeds=[0]))
    matched, _, reference = text.partition("with the authors' features for negatives")
    assert "aclp-fpn" in matched
    assert "| tpavi-r50" in reference.partition("Not heard")[0]
    assert "aclp-fpn" not in reference.partition("Not heard")[0]
    reason = row_of(reference.partition("Not heard")[2], "aclp-fpn")
    assert reason[1:3] == ["s4", "silence_reference, noise_reference, offscreen_reference"]
    assert "VGGish" in reason[3]


def test_an_ensemble_has_rows_of_its_own(tmp_path):
    plan = planned(tmp_path, seeds=[0], overrides={"tpavi-r50": {"keep_best": 2}})
    (ensemble,) = (run for run in plan.rows if run.ensemble and run.dataset == "s4")
    hear(plan.paths, ensemble, "noise", {"miou": 0.11, "fpr": 0.015})
    text, name = section_of(plan), "tpavi-r50 (top-2 ensemble)"
    own, top = row_of(text, "tpavi-r50"), row_of(text, name)
    assert top[2] == f"{100 * global_value(0.5, [0.1, 0.11, 0.3]):.2f}" != own[2]
    assert [line.split("|")[3].strip() for line in text.splitlines() if line.startswith(f"| {name}")][1:] == [
        "positive", *SCORES,
    ]  # fmt: skip
    Path(plan.paths.scores("s4", "tpavi-r50", "0", "noise", True)).unlink()
    log = Path(plan.paths.log("score", "s4", "tpavi-r50", "0.s4"))  # of the job that hears both
    write(log, "no such clip\n")
    assert row_of(section_of(plan, partial=True).partition("Not heard")[2], name)[2:4] == [
        "noise", "score: no such clip",
    ]  # fmt: skip


def test_where_nobody_is_heard_reasons_alone_are_shown(tmp_path):
    """Nothing promises the table of numbers then."""
    plan = planned(tmp_path, seeds=[0], runs={"s4": ["tpavi-r50"]}, arrays={"s4": {"vggish_mel": "released"}})
    assert plan.condition_scores == []
    text = section_of(plan)
    assert "imported arrays" in row_of(text, "tpavi-r50")[3]
    assert "components" not in text
    assert not Path(plan.paths.robustness()).exists()
    (missing,) = data_in(plan.paths.leaderboard("html"))["robustness"]["missing"]
    assert (missing["name"], missing["conditions"]) == ("tpavi-r50", list(SCORES))


def test_the_page_names_the_seeds_that_were_heard(tmp_path):
    plan = planned(tmp_path, runs={"s4": ["tpavi-r50"]})
    Path(plan.paths.scores("s4", "tpavi-r50", "1", "noise")).unlink()
    render(plan)
    (kind,) = data_in(plan.paths.leaderboard("html"))["robustness"]["datasets"][0]["kinds"]
    assert [row["seeds"] for row in kind["rows"]] == [["0"]]


def test_what_others_predicted_cannot_be_heard(tmp_path):
    plan = planned(tmp_path, seeds=[0])
    reasons = plan.conditions(Run("s4", EXTERNAL, "theirs"))
    assert reasons == dict.fromkeys(SCORES, "others predicted it, under the sound of the clips alone")
    assert plan.conditions(Run("avss", EXTERNAL, "theirs")) == {}


def test_without_all_three_there_is_no_global_value(tmp_path):
    text = section_of(planned(tmp_path, conditions=["silence"], seeds=[0]))
    assert "g_miou" not in text
    assert [line.count("| silence") for line in text.splitlines() if line.startswith("| tpavi")] == [0, 1]


def test_nothing_asked_no_section(tmp_path):
    render(planned(tmp_path))
    plan = planned(tmp_path, conditions=[])
    assert Path(plan.paths.robustness()).exists()
    assert section_of(plan) == ""
    assert not Path(plan.paths.robustness()).exists()


def test_the_table_of_all_numbers(tmp_path):
    plan = planned(tmp_path)
    render(plan)
    table = pd.read_parquet(plan.paths.robustness())
    assert set(table["condition"]) == {"positive", "silence", "noise", "offscreen", "all"}
    assert set(table[table["condition"] == "all"]["metric"]) == {"g_miou", "g_f", "g_fpr"}
    found = table[(table["condition"] == "noise") & (table["metric"] == "miou") & (table["seed"] == "1")]
    assert found["value"].tolist() == pytest.approx([0.3, 0.3])
    assert set(found["variant"]) == {"tpavi-r50", "aclp-fpn"}
    board = pd.read_parquet(plan.paths.leaderboard("parquet"))
    assert "condition" not in board
    assert board[(board["metric"] == "miou") & (board["dataset"] == "s4")]["value"].tolist() == [0.5] * 4


def test_what_is_missing_is_said(tmp_path):
    plan = planned(tmp_path, seeds=[0])
    run = plan.run("s4", "tpavi-r50", "0")
    names = (run.dataset, run.variant, run.seed)
    for file in (plan.paths.scores(*names, "noise"), plan.paths.predictions(*names, "noise")):
        Path(file).unlink()
    reason = row_of(section_of(plan).partition("Not heard")[2], "tpavi-r50")  # as by hand: no workflow has failed
    assert reason[2] == "noise"
    assert re.fullmatch(r"predict: .*noise\.h5 does not exist", reason[3])
    log = Path(plan.paths.log("predict", "s4", "tpavi-r50", "0.s4"))
    log.parent.mkdir(parents=True)
    log.write_text("clip a: the scores are not finite\n")
    text = section_of(plan, partial=True)
    reason = row_of(text.partition("Not heard")[2], "tpavi-r50")
    assert reason[2:4] == ["noise", "predict: clip a: the scores are not finite"]
    assert "tpavi-r50" not in text.partition("components")[0]  # no global value without one of the three
    assert "aclp-fpn" in text.partition("components")[0]


def test_a_damaged_file_is_an_error(tmp_path):
    plan = planned(tmp_path, seeds=[0])
    file = plan.paths.scores("s4", "tpavi-r50", "0", "noise")
    Path(file).write_text("{")
    with pytest.raises(AvsbenchError, match=re.escape(file)):
        render(plan)
