"""Rows of ensembles: labelled, apart from single weights, and never beside published numbers."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from avsbench import cards
from avsbench.plan import Plan, Run
from avsbench.report.failures import find_failures, stages
from avsbench.report.leaderboard import write_leaderboard
from avsbench.report.stage import render
from tests.unit.report_runs import make_run, paths_in, row_of, write

SINGLE = [Run("ms3", "tpavi-r50", seed) for seed in "01"]
TOP = [Run("ms3", "tpavi-r50", seed, members=3) for seed in "01"]


@pytest.fixture
def paths(tmp_path):
    return paths_in(tmp_path)


def board(paths, runs) -> str:
    return Path(write_leaderboard(runs=runs, paths=paths)).read_text()


def test_a_row_of_its_own_with_a_label(paths):
    for run, value in zip(SINGLE + TOP, (0.40, 0.42, 0.50, 0.54), strict=True):
        make_run(paths, run, values={"miou": value})
    text = board(paths, [SINGLE[0], TOP[0], SINGLE[1], TOP[1]])
    ensemble = row_of(text, "tpavi-r50 (top-3 ensemble)")
    assert ensemble[0] == "1"
    assert ensemble[3] == "52.00 ± 2.83"
    assert ensemble[5] == "0, 1"
    assert ensemble[7] == "val"
    assert row_of(text, "tpavi-r50")[3] == "41.00 ± 1.41"
    assert "A top-k ensemble is selected on validation" in text
    assert "An ensemble: parameters of one member" in text
    assert "Fewer epochs" not in text
    table = pd.read_parquet(paths.leaderboard("parquet"))
    found = table[table.metric == "miou"].set_index(["members", "seed"]).value.to_dict()
    assert found == {(1, "0"): 0.40, (1, "1"): 0.42, (3, "0"): 0.50, (3, "1"): 0.54}


def test_a_vote_for_classes_is_said_where_there_are_classes(paths, monkeypatch):
    runs = [Run(name, "tpavi-r50", "0", members) for name in ("ms3", "avss") for members in (1, 3)]
    for run in runs:
        make_run(paths, run)
    said = "The class that most epochs say, not the mean, decides for tpavi-r50 (top-3 ensemble)."
    assert said not in board(paths, runs)
    monkeypatch.setitem(vars(cards.variant("tpavi-r50").method), "vote", "class")
    ms3, avss = board(paths, runs).split("## AVS", 1)
    assert said not in ms3
    assert said in avss


def test_without_one_nothing_is_said_of_it(paths):
    make_run(paths, SINGLE[0])
    assert "ensemble" not in board(paths, SINGLE[:1]).lower()


def test_fewer_members_than_asked_for_are_named(paths):
    for run in (SINGLE[0], TOP[0]):
        make_run(paths, run)
    file = Path(paths.scores("ms3", "tpavi-r50", "0", ensemble=True))
    document = json.loads(file.read_text())
    document["scores"][0]["members"] = 2
    file.write_text(json.dumps(document))
    text = board(paths, [SINGLE[0], TOP[0]])
    assert "Fewer epochs than asked for had a score: tpavi-r50 (top-3 ensemble), seed 0: 2." in text


def test_never_beside_published_numbers(tmp_path):
    paths = paths_in(tmp_path, scale="full")
    for run in (SINGLE[0], TOP[0]):
        make_run(paths, run, image_size=224)
    published = board(paths, [SINGLE[0], TOP[0]]).split("### Measured beside published")[1].split("###")[0]
    assert "tpavi-r50" in published
    assert "ensemble" not in published


def test_one_that_failed_leaves_the_single_row(tmp_path):
    roots = {f"{name}_root": f"{tmp_path}/{name}" for name in ("data", "results", "weights")}
    overrides = {"tpavi-r50": {"keep_best": 3}}
    plan = Plan({"scale": "mini", "runs": {"ms3": ["tpavi-r50"]}, "seeds": [0], "overrides": overrides, **roots})
    single, ensemble = plan.rows
    for stage, outputs, log in stages(plan, ensemble):
        if stage == "predict":
            write(log, "02.epoch0003.safetensors: not the weights of epoch 3\n")
            break
        for file in outputs:
            write(file, {"usable": 32, "expected": 32} if stage == "check split" else "{}")
    make_run(plan.paths, single)
    write(plan.paths.predictions("ms3", "tpavi-r50", "0"), "")
    os.utime(plan.paths.run_json("ms3", "tpavi-r50", "0"), (0, 0))
    failure = find_failures(plan)
    assert set(failure) == {ensemble}
    assert failure[ensemble].reason == "predict: 02.epoch0003.safetensors: not the weights of epoch 3"
    text = Path(render(plan, partial=True)).read_text()
    assert row_of(text, "tpavi-r50")[3] == "50.00"
    assert row_of(text, "tpavi-r50 (top-3 ensemble)")[3] == "failed"
