"""The page's data and the page around them, from made-up runs."""

from pathlib import Path

import pytest

from avsbench.paths import Paths
from avsbench.plan import Run, Skip
from avsbench.report.failures import Failure
from avsbench.report.leaderboard import read_leaderboard, write_leaderboard
from avsbench.report.web.others import address
from avsbench.report.web.payload import payload
from benchmarks.invented import large_board
from tests.unit.report_runs import make_run, paths_in, row_of, write
from tests.unit.web_pages import data_in, names, submission

TPAVI = [Run("ms3", "tpavi-r50", seed) for seed in "012"]
PVT, SALIENCY = Run("ms3", "tpavi-pvt", "0"), Run("ms3", "saliency", "none")


@pytest.fixture
def paths(tmp_path) -> Paths:
    return paths_in(tmp_path)


def data_of(paths, runs, **options) -> dict:
    return payload(read_leaderboard(runs=runs, paths=paths, **options), paths)


def only(data, name: str) -> dict:
    """The row of a name, of the first data set."""
    return next(row for row in data["datasets"][0]["rows"] if row["name"] == name)


# numbers


def test_numbers_are_those_of_the_tables(paths):
    for run, value in zip(TPAVI, (0.40, 0.42, 0.47), strict=True):
        make_run(paths, run, values={"miou": value})
    make_run(paths, PVT, values={"miou": 0.9, "fscore_b1": 0.1, "dataset_miou": 0.1})
    runs = [*TPAVI, PVT]
    row = only(data_of(paths, runs), "tpavi-r50")
    score = row["grids"]["common"]["miou"]
    text = Path(write_leaderboard(runs=runs, paths=paths)).read_text()
    assert row_of(text, "tpavi-r50")[3] == f"{score['mean']:.2f} ± {score['spread']:.2f}" == "43.00 ± 3.61"
    assert score["each"] == [40.0, 42.0, 47.0]
    assert (row["seeds"], row["planned"]) == (["0", "1", "2"], 3)
    assert row["places"] == {"A": 2, "B": 1, "D": 1}
    assert row["cost"]["parameters"] == 2_500_000
    assert row["cost"]["train_minutes"] == 2.0
    assert all(note in text for note in data_of(paths, runs)["datasets"][0]["cost_notes"])
    assert only(data_of(paths, runs), "tpavi-pvt")["grids"]["common"]["miou"]["spread"] is None


def test_protocols_stand_apart_and_the_headline_is_first(paths):
    for run in (TPAVI[0], Run("avss", "tpavi-r50", "0")):
        make_run(paths, run)
    data = data_of(paths, [TPAVI[0], Run("avss", "tpavi-r50", "0")])
    found = [{p["name"]: p["ranks_by"] for p in each["protocols"]} for each in data["datasets"]]
    assert found == [
        {"A": "miou", "B": "fscore_b1", "D": "dataset_miou"},
        {"C": "miou_avss", "D": "dataset_miou"},
    ]
    for each in data["datasets"]:
        for protocol in each["protocols"]:
            assert {data["metrics"][name]["protocol"] for name in protocol["metrics"]} == {protocol["name"]}
    assert "dataset_miou_present" not in data["datasets"][1]["rows"][0]["grids"]["common"]  # it is undefined there


def test_nothing_about_the_same_runs_changes(paths):
    for run in (*TPAVI, SALIENCY):
        make_run(paths, run)
    texts = []
    for _ in range(2):
        write_leaderboard(runs=[*TPAVI, SALIENCY], paths=paths)
        texts.append(Path(paths.leaderboard("html")).read_text())
    assert texts[0] == texts[1]
    assert str(Path(paths.results_root).parent) not in texts[0]


# rows of every kind


def test_badges_say_what_a_row_is(paths):
    top, official = Run("ms3", "tpavi-r50", "0", members=3), Run("ms3", "tpavi-r50", "official")
    accepted = {"date": "2026-01-02", "changes": ["x"], "reason": ""}
    odd = {"deviations": ["bfloat16"], "accepted": accepted}
    for run, options in ((TPAVI[0], {}), (top, odd), (official, {"clips": 30}), (SALIENCY, {})):
        make_run(paths, run, **options)
    guest = submission(paths, "guest", hard=True, note="more data", setting="zero-shot")
    data = data_of(paths, [TPAVI[0], top, official, SALIENCY], submissions=[guest])
    badges = {row["name"]: row["badges"] for row in data["datasets"][0]["rows"]}
    assert badges == {
        "tpavi-r50": ["otherwise", "accepted", "stand-in"],
        "tpavi-r50 (top-3 ensemble)": ["ensemble", "otherwise", "accepted", "stand-in"],
        "tpavi-r50 (official)": ["official", "incomplete", "stand-in"],
        "saliency": [],
        "guest (external)": ["external", "zero-shot", "hard"],
    }
    assert set(data["badges"]) == {badge for each in badges.values() for badge in each}
    row = only(data, "guest (external)")
    assert row["cost"] is None
    assert row["seeds"] == []
    assert (row["title"], row["url"]) == ("somebody", "https://example.org/paper")
    assert any("more data" in note for note in row["notes"])
    assert row["places"] == {"A": 1, "B": None, "D": 1}  # alone in its setting; hard masks have no place under B
    assert [each["name"] for each in data["datasets"][0]["settings"]] == ["supervised", "zero-shot"]


def test_ids_are_different_and_can_be_addresses(paths):
    for run in (TPAVI[0], Run("ms3", "tpavi-r50", "0", members=3), Run("avss", "tpavi-r50", "0")):
        make_run(paths, run)
    guest = submission(paths, "tpavi-r50")
    runs = [TPAVI[0], Run("ms3", "tpavi-r50", "0", members=3), Run("avss", "tpavi-r50", "0")]
    data = data_of(paths, runs, submissions=[guest])
    found = [row["id"] for each in data["datasets"] for row in each["rows"]]
    assert len(set(found)) == len(found) == 4
    assert not any(letter.isspace() for each in found for letter in each)


def test_links_are_relative_and_lead_somewhere(paths):
    failed = Failure("failed", "train: no memory", paths.log("train", "ms3", "tpavi-pvt", "0"))
    for run in (TPAVI[0], SALIENCY):
        make_run(paths, run)
    write(failed.log, "no memory\n")
    for file in (paths.train_log(*names(TPAVI[0])), paths.frame_scores(*names(TPAVI[0]))):
        write(file, "")
    before = data_of(paths, [TPAVI[0], SALIENCY, PVT], failures={PVT: failed})
    assert only(before, "tpavi-r50")["runs"][0]["explorer"] is None
    write(paths.explorer_page(*names(TPAVI[0])), "<!doctype html>")
    data = data_of(paths, [TPAVI[0], SALIENCY, PVT], failures={PVT: failed})
    run = only(data, "tpavi-r50")["runs"][0]
    links = [run[name] for name in ("record", "frames", "log", "explorer")]
    links.append(data["datasets"][0]["absent"][0]["log"])
    for link in links:
        assert not link.startswith("/")
        assert (Path(paths.leaderboard()).parent / link).is_file(), link
    assert only(data, "saliency")["runs"][0]["log"] is None


def test_what_has_no_score_is_there_with_its_reason(paths):
    make_run(paths, SALIENCY)
    skips = [Skip(Run("ms3", "cavp-r50", "0"), "cavp-r50 is not defined for ms3")]
    data = data_of(
        paths, [SALIENCY, PVT], skips=skips, failures={PVT: Failure("failed", "train: no memory", "gone.log")}
    )
    found = [(each["name"], each["status"], each["reason"], each["log"]) for each in data["datasets"][0]["absent"]]
    assert found == [
        ("tpavi-pvt", "failed", "train: no memory", None),
        ("cavp-r50", "skipped", "cavp-r50 is not defined for ms3", None),
    ]
    assert (data["planned"], data["complete"], data["problems"]) == (2, 1, "1 failed, 1 skipped")


@pytest.mark.parametrize("runs", [[], [PVT]])
def test_a_page_without_any_number(paths, runs):
    write_leaderboard(runs=runs, paths=paths)
    data = data_in(paths.leaderboard("html"))
    assert data["complete"] == 0
    assert [each["rows"] for each in data["datasets"]] == [[] for _ in runs]
    assert data["robustness"] is None


# published numbers


def test_published_numbers_stand_beside_ours_at_full_scale_alone(tmp_path):
    for scale in ("full", "mini"):
        paths = paths_in(tmp_path / scale, scale)
        make_run(paths, TPAVI[0], values={"miou": 0.5}, image_size=224)
        data = data_of(paths, [TPAVI[0]])["datasets"][0]
        beside = [each for each in data["published"] if each["gap"] is not None]
        if scale == "mini":
            assert not beside
            continue
        assert {each["variant"] for each in beside} == {"tpavi-r50"}
        one = next(each for each in beside if each["ours"] == "miou")
        assert one["measured"] == 50.0
        assert one["gap"] == round(50.0 - float(one["published"]), 2)
        assert one["protocol"] == "A"


def test_numbers_of_unknown_protocol_have_no_gap(tmp_path):
    paths = paths_in(tmp_path, "full")
    make_run(paths, TPAVI[0], image_size=224)
    data = data_of(paths, [TPAVI[0]])["datasets"][0]
    assert data["unknown"]
    assert {each["protocol"] for each in data["unknown"]} == {"?"}
    assert all(each["gap"] is None and each["variant"] is None and each["ours"] is None for each in data["unknown"])
    assert "?" not in {each["protocol"] for each in data["published"]}


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("arXiv 2308.10175", "https://arxiv.org/abs/2308.10175"),
        ("cyh-0/CAVP README; corrects table 3", "https://github.com/cyh-0/CAVP"),
        ("GitHub issue GenjiB/LAVISH#5, answer", "https://github.com/GenjiB/LAVISH/issues/5"),
        ("seed 002.txt table 1", None),
    ],
)
def test_sources_are_addresses_where_they_name_one(source, where):
    assert address(source) == where


# what only finished stages leave: draws of clips, scores under other sounds


@pytest.fixture(scope="module")
def invented(tmp_path_factory):
    """Two variants on S4 and VPO, two seeds each but one that failed: the board and its data."""
    folder = tmp_path_factory.mktemp("invented")
    with large_board(folder, variants=3, datasets=("s4", "vpo_ss"), seeds=2, failed=1) as options:
        read = read_leaderboard(**options)
        yield read, payload(read, options["paths"])


def test_intervals_hold_the_mean_and_pairs_their_difference(invented):
    _, data = invented
    for each in data["datasets"]:
        for name in (protocol["ranks_by"] for protocol in each["protocols"]):
            scores = [row["grids"]["common"][name] for row in each["rows"]]
            assert all(score["low"] < score["mean"] < score["high"] for score in scores)
            assert [pair[:2] for pair in each["pairs"][name]] == [[0, 1], [0, 2], [1, 2]]
            for i, j, low, high in each["pairs"][name]:
                assert low <= scores[i]["mean"] - scores[j]["mean"] <= high


def test_other_sounds_are_shown_as_the_tables_have_them(invented):
    read, data = invented
    robust = data["robustness"]
    assert [each["name"] for each in robust["datasets"]] == ["s4"]
    (kind,) = robust["datasets"][0]["kinds"]
    assert kind["conditions"] == ["silence", "noise", "offscreen"]
    table = next(section for section in read.board.sections if not section.dataset).tables[0]
    shown = [[row["name"], *(row["all"][name] for name in ("g_miou", "g_f", "g_fpr"))] for row in kind["rows"]]
    printed = [[name, *(f"{score['mean']:.2f}" for score in scores)] for name, *scores in shown]
    assert printed == [[cells[0], *(cell.split(" ±")[0] for cell in cells[2:5])] for cells in table.rows]
    for row in kind["rows"]:
        assert set(row["conditions"]) == set(kind["conditions"])
        assert set(row["own"]) == {"fpr", "miou", "miou_nonempty", "fscore_b1"}
    assert set(robust["metrics"]) <= set(data["metrics"])


def test_a_large_board_has_curves_and_reasons(invented):
    _, data = invented
    curves = [run["curve"] for each in data["datasets"] for row in each["rows"] for run in row["runs"]]
    assert len(curves) == 11
    assert all(len(curve["epochs"]) <= 60 and None not in curve["loss"] for curve in curves)
    assert data["problems"] == "1 failed"
    assert data["datasets"][0]["absent"][0]["log"].endswith(".log")
