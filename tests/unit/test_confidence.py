"""Intervals of rows and of differences, and where the pages show them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avsbench.errors import AvsbenchError
from avsbench.evaluation.draws import read_draws, write_draws
from avsbench.evaluation.resample import clip_sums, compare, frames_file, interval
from avsbench.plan import Run
from avsbench.report import tables
from avsbench.report.collect import collect, long_table
from avsbench.report.confidence import interval_of, pairs
from avsbench.report.leaderboard import write_leaderboard
from avsbench.report.tables import Entry
from tests.unit.report_runs import make_run, paths_in, row_of
from tests.unit.test_compare import run as frames_of

WORSE, BETTER = [Run("ms3", "tpavi-r50", seed) for seed in "01"], Run("ms3", "tpavi-pvt", "0")
OTHER, OLD = Run("ms3", "etavs-r50", "0"), Run("ms3", "saliency", "none")
ALL = [*WORSE, BETTER, OTHER, OLD]


def scored(paths, run, right, seed=0, clips=10):
    """A run as scoring leaves it, with draws: its values are those of its frames."""
    sums = clip_sums(frames_file(frames_of(Path(paths.run(*names(run))), right=right, seed=seed, clips=clips)))
    ends = write_draws(paths.draws(*names(run)), sums)
    make_run(paths, run, values=sums.values()[0])
    document = json.loads(Path(paths.scores(*names(run))).read_text())
    document["scores"][0] |= {"intervals": ends, "gflops_per_frame": 1.5}
    Path(paths.scores(*names(run))).write_text(json.dumps(document))


def names(run):
    return run.dataset, run.variant, run.seed


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Two seeds, a better variant, one scored on fewer clips, and one scored before there were draws."""
    paths = paths_in(tmp_path_factory.mktemp("confidence"))
    for number, run in enumerate(WORSE):
        scored(paths, run, 0.6, seed=number)
    scored(paths, BETTER, 0.8)
    scored(paths, OTHER, 0.7, clips=8)
    make_run(paths, OLD)
    return paths


@pytest.fixture(scope="module")
def rows(paths):
    results, _ = collect(ALL, [], paths)
    return [Entry(results[:2], 2), *(Entry([result], 1) for result in results[2:])]


def drawn(paths, run):
    return read_draws(paths.draws(*names(run))).values


def test_seeds_are_averaged_draw_by_draw(paths, rows):
    mean = np.mean([drawn(paths, run)["miou"] for run in WORSE], axis=0, dtype=np.float64)
    assert interval_of(rows[0], "miou") == interval(mean)
    low, high = interval_of(rows[0], "miou")
    assert low < rows[0].mean("miou") < high


def test_a_pair_is_the_paired_bootstrap_of_the_first_row_minus_the_second(paths, rows):
    assert [pair[:2] for pair in pairs(rows[1:2] + rows[:1], "miou")] == [(0, 1)]
    one_seed = Entry(rows[0].results[:1], 1)
    sums = [clip_sums(frames_file(paths.run(*names(run)))) for run in (WORSE[0], BETTER)]
    known = compare(*sums, ["miou"])[0]  # B - A
    (_, _, low, high), = pairs([rows[1], one_seed], "miou")  # fmt: skip
    assert (low, high) == pytest.approx((known.low, known.high), abs=1e-6)
    assert low > 0


def test_rows_of_other_clips_or_without_draws_make_no_pair(rows):
    assert [pair[:2] for pair in pairs(rows, "miou")] == [(0, 1)]
    assert pairs(rows[2:], "miou") == []
    assert pairs(rows, "fscore_b4") == []  # calls in the order of the csv are not drawn
    assert interval_of(rows[3], "miou") is None
    assert interval_of(Entry([rows[1].first, rows[2].first], 2), "miou") is None
    assert interval_of(Entry([rows[1].first, rows[3].first], 2), "miou") is None


def test_draws_without_a_value_are_left_out(rows):
    """One clip of ten has no object: in a third of the draws it does not occur, and `miou_empty` is undefined."""
    gaps = [row.first.draws.values["miou_empty"] for row in rows[:2]]
    assert 0.2 < np.isnan(gaps[0]).mean() < 0.5
    one_seed = Entry(rows[0].results[:1], 1)
    (_, _, low, high), = pairs([one_seed, rows[1]], "miou_empty")  # fmt: skip
    assert (low, high) == interval(np.float64(gaps[0]) - gaps[1])
    assert np.isfinite([low, high]).all()


def test_the_headline_shows_the_interval_and_the_costs_show_operations(paths, rows):
    text = Path(write_leaderboard(runs=ALL, paths=paths)).read_text()
    header = next(line for line in text.splitlines() if line.startswith("|   rank"))
    assert [cell.strip() for cell in header.split("|")][4:7] == ["miou (A) ↑", "95 %", "f_at_0.5 (A) ↑"]
    low, high = interval_of(rows[0], "miou")
    assert row_of(text, "tpavi-r50")[4] == f"{100 * low:.2f} … {100 * high:.2f}"
    assert row_of(text, "saliency")[4] == "–"
    assert "95 %: ends of the middle 95 % of 2000 draws of the test clips" in text
    costs = text.split("### Parameters and cost")[1].split("###")[0]
    assert row_of(costs, "variant")[6] == "GFLOPs/frame"
    assert [row_of(costs, name)[6] for name in ("tpavi-r50", "saliency")] == ["1.500", "–"]


def test_without_any_draws_there_is_no_column(paths):
    text = Path(write_leaderboard(runs=[OLD], paths=paths)).read_text()
    assert "95 %" not in text


def test_the_long_table_has_ends_run_by_run(paths):
    results, _ = collect(ALL, [], paths)
    table = long_table(results).set_index(["variant", "seed", "metric"])
    for run in WORSE:
        row = table.loc["tpavi-r50", run.seed, "miou"]
        assert (row["low"], row["high"]) == pytest.approx(interval(drawn(paths, run)["miou"]), abs=1e-6)
        assert row["low"] < row["value"] < row["high"]
        assert row["gflops_per_frame"] == 1.5
    assert table.loc["saliency"][["low", "high", "gflops_per_frame"]].isna().all(axis=None)
    assert pd.isna(table.loc["tpavi-pvt", "0", "fscore_b4"]["low"])


def test_no_network_of_its_own_is_not_for_nothing(tmp_path):
    """All that computes in such a method made its features: 0 operations, 0 parameters would call it the cheapest."""
    paths = paths_in(tmp_path)
    boxes = Run("s4", "sam4avs-heatmap-box", "none", features=("felzenszwalb",))
    made = {"generator": "felzenszwalb", "stored": "felzenszwalb", "options": {}, "pictures": "stored"}
    for run, features in ((boxes, {"features": {"proposals": made | {"weights_digest": None}}}), (OLD, {})):
        make_run(paths, run, **features, parameters={"total": 0, "trainable": 0})
        document = json.loads(Path(paths.scores(*names(run))).read_text())
        document["scores"][0]["gflops_per_frame"] = 0.0
        Path(paths.scores(*names(run))).write_text(json.dumps(document))
    found, _ = collect([boxes, OLD], [], paths)
    assert [(result.gflops_per_frame, result.parameters) for result in found] == [(None, None), (0, 0)]
    assert [row[2] for row in tables.cost([Entry([result], 1) for result in found]).rows] == [tables.NOTHING, "0.000"]


def test_damaged_draws_are_an_error_that_names_the_file(paths, tmp_path):
    broken = paths_in(tmp_path)
    scored(broken, BETTER, 0.8, clips=4)
    Path(broken.draws(*names(BETTER))).write_bytes(b"cut")
    with pytest.raises(AvsbenchError, match=r"tpavi-pvt/0/scores/positive\.draws\.parquet: unreadable draws"):
        write_leaderboard(runs=[BETTER], paths=broken)
    page = Path(write_leaderboard(runs=[BETTER], paths=broken, partial=True)).read_text()
    assert row_of(page, "tpavi-pvt")[3] == "failed"
    assert "positive.draws.parquet: unreadable draws" in page
