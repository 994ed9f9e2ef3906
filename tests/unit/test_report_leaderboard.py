"""The leaderboard from made-up runs."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from avsbench.errors import AvsbenchError
from avsbench.plan import Run, Skip
from avsbench.report.columns import Measurement, rank
from avsbench.report.failures import Failure
from avsbench.report.leaderboard import write_leaderboard
from tests.unit.report_runs import make_run, paths_in, row_of, write

TPAVI = [Run("ms3", "tpavi-r50", seed) for seed in "012"]
PVT, SALIENCY = Run("ms3", "tpavi-pvt", "0"), Run("ms3", "saliency", "none")


@pytest.fixture
def paths(tmp_path):
    return paths_in(tmp_path)


def render(paths, runs, **options) -> str:
    return Path(write_leaderboard(runs=runs, paths=paths, **options)).read_text()


def test_ranked_by_the_headline_alone(paths):
    make_run(paths, PVT, values={"miou": 0.3, "f_at_0.5": 0.9, "dataset_miou": 0.99})
    make_run(paths, SALIENCY, values={"miou": 0.31, "f_at_0.5": 0.1})
    text = render(paths, [PVT, SALIENCY])
    assert row_of(text, "saliency")[:5] == ["1", "saliency", "mini", "31.00", "10.00"]
    assert row_of(text, "tpavi-pvt")[:5] == ["2", "tpavi-pvt", "mini", "30.00", "90.00"]


def test_equal_scores_share_a_place(paths):
    for run in (PVT, SALIENCY, TPAVI[0]):
        make_run(paths, run, values={"miou": 0.1 if run is TPAVI[0] else 0.5})
    text = render(paths, [TPAVI[0], PVT, SALIENCY])
    assert [row_of(text, name)[0] for name in ("tpavi-pvt", "saliency", "tpavi-r50")] == ["1", "1", "3"]


def test_mean_and_sample_deviation_over_seeds(paths):
    for run, value in zip(TPAVI, (0.40, 0.42, 0.47), strict=True):
        make_run(paths, run, values={"miou": value})
    cells = row_of(render(paths, TPAVI), "tpavi-r50")
    assert cells[3] == "43.00 ± 3.61"
    assert cells[5] == "0, 1, 2"


def test_a_missing_seed_is_counted(paths):
    for run in TPAVI[:2]:
        make_run(paths, run)
    text = render(paths, TPAVI)
    assert row_of(text, "tpavi-r50")[5] == "0, 1 (2 of 3)"
    assert "### Runs without a score" in text


def test_official_weights_are_a_row_of_their_own(paths):
    official = Run("ms3", "tpavi-r50", "official")
    make_run(paths, TPAVI[0], values={"miou": 0.2})
    make_run(paths, official, values={"miou": 0.6})
    text = render(paths, [TPAVI[0], official])
    assert row_of(text, "tpavi-r50 (official)")[3] == "60.00"
    assert row_of(text, "tpavi-r50 (official)")[7] == "authors"
    assert row_of(text, "tpavi-r50")[3] == "20.00"


def test_stand_ins_and_scale_are_named_at_mini(paths):
    make_run(paths, TPAVI[0])
    text = render(paths, TPAVI[:1])
    cells = row_of(text, "tpavi-r50")
    assert cells[2] == "mini"
    assert cells[6] == "stand-ins for resnet50, vggish"
    assert cells[7] == "val"
    assert "not AVSBench" in text
    assert "(MS3) · mini" in text


def test_full_scale_names_the_published_start(tmp_path):
    paths = paths_in(tmp_path, "full")
    make_run(paths, TPAVI[0])
    text = render(paths, TPAVI[:1])
    assert row_of(text, "tpavi-r50")[6] == "imagenet (resnet50, vggish)"
    assert "mini" not in text


def test_incomplete_clips_are_shown(paths):
    make_run(paths, SALIENCY, clips=30)
    make_run(paths, PVT)
    text = render(paths, [SALIENCY, PVT])
    assert row_of(text, "saliency")[8] == "30 of 32"
    assert row_of(text, "tpavi-pvt")[8] == "32 of 32"
    note = next(line for line in text.splitlines() if "Incomplete test split" in line)
    assert "saliency (30 of 32 clips)" in note
    assert "tpavi-pvt" not in note
    table = pd.read_parquet(paths.leaderboard("parquet")).groupby("variant")[["clips", "clips_expected"]].first()
    assert table.loc["saliency"].tolist() == [30, 32]


def test_the_checked_split_says_how_many_clips_are_expected(paths):
    """A card whose number is not certain does not make a row incomplete; a clip that was left out does."""
    make_run(paths, SALIENCY, clips=30)
    write(paths.complete("ms3", "test"), {"usable": 30, "expected": 30})
    assert "Incomplete test split" not in render(paths, [SALIENCY])
    write(paths.complete("ms3", "test"), {"usable": 30, "expected": 31})
    text = render(paths, [SALIENCY])
    assert row_of(text, "saliency")[8] == "30 of 31"
    assert "Incomplete test split" in text


def test_a_damaged_check_is_named(paths):
    make_run(paths, SALIENCY)
    write(paths.complete("ms3", "test"), {"usable": 30})
    with pytest.raises(AvsbenchError, match=r"test\.complete\.json"):
        render(paths, [SALIENCY])


def test_failed_skipped_and_missing_runs_say_why(paths):
    make_run(paths, SALIENCY)
    failures = {TPAVI[0]: Failure("failed", "train: the loss is not finite", "logs/train.log")}
    skips = [Skip(Run("avss", "saliency", "none"), "saliency is not defined for avss")]
    text = render(paths, [SALIENCY, TPAVI[0], PVT], skips=skips, failures=failures)
    lost = text.split("### Runs without a score")[1]
    assert row_of(lost, "tpavi-r50") == [
        "tpavi-r50",
        "0",
        "failed",
        "train: the loss is not finite",
        "`logs/train.log`",
    ]
    assert row_of(lost, "tpavi-pvt")[2] == "not run"
    assert "run.json does not exist" in row_of(lost, "tpavi-pvt")[3]
    assert row_of(text, "tpavi-r50")[3] == "failed"
    assert "(AVSS)" in text
    assert row_of(text.split("(AVSS)")[1], "saliency")[3] == "skipped"
    assert "1 of 3 planned runs are complete (1 failed, 1 not run, 1 skipped)" in text


def test_a_pipe_or_newline_in_a_reason_stays_in_its_cell(paths):
    failures = {PVT: Failure("failed", "a | b\nc", None)}
    assert r"a \| b c" in render(paths, [PVT], failures=failures)


def test_partial_leaves_the_full_files_alone(paths):
    make_run(paths, SALIENCY)
    render(paths, [SALIENCY])
    full = {kind: Path(paths.leaderboard(kind)) for kind in ("md", "parquet")}
    before = {kind: (file.read_bytes(), file.stat().st_mtime_ns) for kind, file in full.items()}
    failures = {PVT: Failure("failed", "train: out of memory", "some.log")}
    text = render(paths, [SALIENCY, PVT], partial=True, failures=failures)
    assert {kind: (file.read_bytes(), file.stat().st_mtime_ns) for kind, file in full.items()} == before
    first = text.splitlines()[0]
    assert "Partial leaderboard: 1 of 2 runs" in first
    assert "1 failed" in first
    assert "out of memory" in first
    assert Path(paths.leaderboard("md", partial=True)).read_text() == text


def test_a_full_leaderboard_clears_an_old_partial_one(paths):
    make_run(paths, SALIENCY)
    render(paths, [SALIENCY], partial=True)
    render(paths, [SALIENCY])
    assert not os.path.exists(paths.leaderboard("md", partial=True))


def test_scores_of_replaced_weights_are_left_out_of_a_partial_one(paths):
    make_run(paths, SALIENCY)
    record = Path(paths.run_json("ms3", "saliency", "none"))
    os.utime(record, ns=(0, os.stat(record).st_mtime_ns + 10**10))
    assert "older than its weights" in render(paths, [SALIENCY], partial=True)


def test_nothing_at_all_still_renders_partially(paths):
    text = render(paths, [PVT], partial=True)
    assert "0 of 1 runs" in text.splitlines()[0]


@pytest.mark.parametrize("content", ["{", "[]", '{"variant": "saliency"}'])
def test_an_unreadable_record_is_named(paths, content):
    make_run(paths, SALIENCY)
    file = paths.run_json("ms3", "saliency", "none")
    write(file, content)
    with pytest.raises(AvsbenchError, match=r"saliency/none/run\.json"):
        render(paths, [SALIENCY])
    lost = render(paths, [SALIENCY], partial=True).split("### Runs without a score")[1]
    assert row_of(lost, "saliency")[2] == "failed"
    assert "run.json" in row_of(lost, "saliency")[3]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": "avsbench-scores", "version": 1, "scores": []}'])
def test_unreadable_scores_are_named(paths, content):
    make_run(paths, SALIENCY)
    write(paths.scores("ms3", "saliency", "none"), content)
    with pytest.raises(AvsbenchError, match=r"positive\.json"):
        render(paths, [SALIENCY])


def test_a_record_of_another_run_is_refused(paths):
    make_run(paths, SALIENCY, variant="tpavi-r50")
    with pytest.raises(AvsbenchError, match="describes another run"):
        render(paths, [SALIENCY])


def test_seeds_of_different_code_are_pointed_out(paths):
    make_run(paths, TPAVI[0], code="aaaa")
    make_run(paths, TPAVI[1], code="bbbb")
    assert "different versions of the code" in render(paths, TPAVI[:2])


def test_the_same_runs_give_the_same_bytes(paths, tmp_path):
    runs = [*TPAVI, SALIENCY, Run("avss", "tpavi-r50", "0")]
    for run in runs:
        make_run(paths, run)
    files = [paths.leaderboard("md"), paths.leaderboard("parquet")]
    outcomes = []
    for _ in range(2):
        render(paths, runs)
        outcomes.append([Path(file).read_bytes() for file in files])
    assert outcomes[0] == outcomes[1]
    assert str(tmp_path) not in outcomes[0][0].decode()


def test_links_lead_to_the_records(paths):
    make_run(paths, SALIENCY)
    text = render(paths, [SALIENCY])
    link = row_of(text.split("### Runs")[1], "saliency")[5]
    target = Path(paths.leaderboard()).parent / link.removeprefix("[run.json](").removesuffix(")")
    assert json.loads(target.read_text())["variant"] == "saliency"


def test_protocols_never_share_a_table_of_comparison(paths):
    for run in (TPAVI[0], Run("avss", "tpavi-r50", "0")):
        make_run(paths, run)
    text = render(paths, [TPAVI[0], Run("avss", "tpavi-r50", "0")])
    for part in text.split("### Protocol ")[1:]:
        header = next(line for line in part.splitlines() if line.startswith("|"))
        assert {cell[cell.index("(") + 1] for cell in header.split("|") if "(" in cell} == {part[0]}


def test_avss_shows_the_ceiling_and_what_is_undefined(paths):
    run = Run("avss", "tpavi-r50", "0")
    make_run(paths, run)
    text = render(paths, [run])
    assert row_of(text, "tpavi-r50")[3:7] == ["5.00", "40.00", "14.00", "6.00"]
    assert "miou_avss_ceiling (C)" in text
    assert "dataset_miou_present" not in text  # no seed has it


def test_every_column_explains_itself(paths):
    make_run(paths, SALIENCY)
    text = render(paths, [SALIENCY])
    assert "`miou` (protocol A, percent, higher is better)" in text
    assert "share of pixels left empty" in text


def test_long_table(paths):
    for run in (*TPAVI[:2], Run("avss", "tpavi-r50", "0")):
        make_run(paths, run)
    render(paths, [*TPAVI[:2], Run("avss", "tpavi-r50", "0")])
    table = pd.read_parquet(paths.leaderboard("parquet"))
    found = table[(table.dataset == "ms3") & (table.metric == "fscore_b4")]
    assert list(found.seed) == ["0", "1"]
    assert set(found.protocol) == {"B"}
    assert set(found.value) == {0.65}
    assert table[table.metric == "dataset_miou_present"].value.isna().sum() == 1
    assert {"code", "device", "finished", "grid", "hard", "run_json"} <= set(table)


def test_an_empty_long_table_has_its_columns(paths):
    render(paths, [PVT])
    table = pd.read_parquet(paths.leaderboard("parquet"))
    assert len(table) == 0
    assert "protocol" in table


# ranking refuses


def test_rank_refuses_two_protocols():
    entries = [(Measurement("miou", "common"), 0.5), (Measurement("dataset_miou", "common"), 0.8)]
    with pytest.raises(ValueError, match="one protocol, this one A, D"):
        rank(entries)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([("fscore_b1", "common", False), ("fscore_b4", "common", False)], "one measurement"),
        ([("fscore_b4", "common", True), ("fscore_b4", "common", False)], "hard masks"),
        ([("miou", "common", False), ("miou", "512", False)], "one measurement"),
        ([("miou", "512", False)], "only grid common"),
        ([("empty_share", "common", False)], "describes the data"),
    ],
)
def test_rank_refuses_what_differs(entries, why):
    with pytest.raises(ValueError, match=why):
        rank([(Measurement(*entry), 0.5) for entry in entries])


def test_rank_takes_hard_masks_where_no_threshold_matters():
    entries = [(Measurement("miou", "common", True), 0.4), (Measurement("miou", "common"), 0.6)]
    assert rank(entries) == [2, 1]


def test_rank_knows_the_direction_and_what_has_no_number():
    entries = [(Measurement("dataset_fdr", "common"), value) for value in (0.3, None, 0.1)]
    assert rank(entries) == [2, None, 1]


def test_hundreds_of_runs(paths):
    runs = [Run("ms3", variant, str(seed)) for seed in range(250) for variant in ("tpavi-r50", "tpavi-pvt")]
    for run in runs:
        make_run(paths, run)
    assert "(official)" not in render(paths, runs)
    assert len(pd.read_parquet(paths.leaderboard("parquet"))) == 500 * 12


def test_what_was_trained_otherwise_than_published_is_said_beneath(paths):
    note = "batch statistics over 2 clips, 4 in the published set-up"
    for run in TPAVI[:2]:
        make_run(paths, run, deviations=[note, "forward pass in bfloat16"])
    make_run(paths, PVT)
    text = render(paths, [*TPAVI[:2], PVT])
    assert f"Trained otherwise than published: tpavi-r50 ({note}; forward pass in bfloat16)." in text
    make_run(paths, TPAVI[0])
    assert "Trained otherwise" not in render(paths, [TPAVI[0], PVT])
