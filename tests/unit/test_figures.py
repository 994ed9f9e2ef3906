"""Figures of the leaderboard: what is drawn, where, and that the same runs give the same bytes."""

import dataclasses
import functools
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import yaml

from avsbench import cards
from avsbench.cli import main
from avsbench.config import check_config
from avsbench.evaluation.draws import Draws
from avsbench.plan import Plan
from avsbench.report.collect import RunResult
from avsbench.report.figures import cost, protocols, ranking, style, write_figures
from avsbench.report.figures.labels import place_labels
from avsbench.report.figures.rows import groups, ranking_metrics
from avsbench.report.stage import leaderboard
from avsbench.report.tables import Entry
from tests.unit.report_runs import make_run, paths_in

RUNS = {"ms3": ["tpavi-r50", "avsegformer-first-r50", "saliency"], "vpo_ss": ["cavp-r50"]}
SCORES = {"tpavi-r50": 0.6, "avsegformer-first-r50": 0.7, "saliency": 0.4, "cavp-r50": 0.3}


def plan_in(folder, scale="mini", runs=RUNS) -> Plan:
    """Two seeds of every variant, complete; protocol D turns the order of the first two around."""
    paths = paths_in(folder, scale)
    roots = {key: getattr(paths, key) for key in ("data_root", "results_root", "weights_root")}
    plan = Plan(check_config({"scale": scale, "runs": runs, "seeds": [0, 1], "conditions": [], **roots}))
    for run in plan.rows:
        score = SCORES[run.variant] + 0.02 * (run.seed == "1")
        values = {"miou": score, "dataset_miou": 1 - score if run.variant != "saliency" else 0.1}
        count = {"saliency": 0, "tpavi-r50": 1_000_000}.get(run.variant, 2_500_000)
        make_run(
            paths,
            run,
            values=values,
            image_size=224 if scale == "full" else 64,
            parameters={"total": count, "trainable": 0},
        )
    return plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return plan_in(tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def board(plan):
    return leaderboard(plan)


@pytest.fixture(scope="module")
def drawn(plan, board, tmp_path_factory):
    """Every figure, by its file."""
    folder = tmp_path_factory.mktemp("drawn")
    write_figures(board, functools.partial(plan.paths.figure, folder=folder), ["svg", "png", "pdf"])
    return {file.name: file for file in folder.iterdir()}


def test_the_files_are_those_that_the_workflow_promises(plan, drawn):
    named = {
        plan.paths.figure(*figure, extension, ".") for figure in plan.figures for extension in ("svg", "png", "pdf")
    }
    assert {f"./{name}" for name in drawn} == named
    assert {name.split(".")[1] for name in drawn} == {"ranking", "protocols", "cost"}


def test_text_is_text_and_small_scales_are_named(drawn):
    assert ">Pareto front</text>" in drawn["ms3.cost.svg"].read_text()
    text = drawn["ms3.ranking.svg"].read_text()
    for word in ("tpavi-r50", "MS3 · mini", "61.00 ± 1.41", "miou (A) ↑, %"):
        assert f">{word}</text>" in text
    assert "sans-serif" in text  # where our font is missing
    assert "<dc:date>" not in text
    assert b"/FontFile2" in drawn["ms3.ranking.pdf"].read_bytes()  # embedded


def test_the_same_board_gives_the_same_bytes(plan, board, drawn, tmp_path):
    before = dict(matplotlib.rcParams)
    part = dataclasses.replace(board, results=[found for found in board.results if found.run.dataset == "vpo_ss"])
    files = write_figures(part, functools.partial(plan.paths.figure, folder=tmp_path), ["svg", "png", "pdf"])
    assert len(files) == 9
    assert dict(matplotlib.rcParams) == before
    for file in tmp_path.iterdir():
        assert file.read_bytes() == drawn[file.name].read_bytes(), file.name


def test_the_verb_writes_beside_the_leaderboard_and_says_when_there_is_nothing(plan, tmp_path, capsys):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(plan.config | {"runs": {"vpo_ss": ["cavp-r50"]}}))
    assert main(["figures", "--config", str(file), "--format", "svg"]) == 0
    assert main(["figures", "--config", str(file), "--results-root", str(tmp_path)]) == 2
    assert "nothing to draw" in capsys.readouterr().err
    with open(plan.paths.figure("cost", "vpo_ss", "svg")) as written:
        assert ">cavp-r50</text>" in written.read()


def test_published_numbers_stand_beside_comparable_rows_alone(board, tmp_path):
    card, marks = cards.dataset("ms3"), style.Marks(["tpavi", "avsegformer", "saliency"])
    full = leaderboard(plan_in(tmp_path, "full", {"ms3": ["tpavi-r50"]}))
    from avsbench.report.figures import _published

    assert _published(card, groups(board, card)) == {}
    published = _published(card, groups(full, card))
    assert published == {"tpavi-r50": [47.88]}
    with style.style():
        figure = ranking.draw(card, groups(full, card), marks, "full", published)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["mean of seeds", "a seed", "± deviation of seeds", "published"]
    across = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "d"]
    assert across == [47.88]


def test_the_interval_is_that_of_the_mean_over_seeds(board, monkeypatch):
    draws = Draws("clips", {"miou": np.linspace(0.5, 0.7, 2001, dtype=np.float32)})
    monkeypatch.setattr(RunResult, "draws", property(lambda self: draws))
    card = cards.dataset("ms3")
    with style.style():
        figure = ranking.draw(card, groups(board, card), style.Marks(["tpavi", "avsegformer", "saliency"]), "mini", {})
    thin = [line.get_xdata() for line in figure.axes[0].lines if line.get_linewidth() == 0.8]
    np.testing.assert_allclose(thin, [[50.5, 69.5]] * 3, atol=0.01)
    assert figure.axes[0].get_yticklabels()[0].get_text() == "avsegformer-first-r50"  # the best, on top


def test_orders_of_protocols(board):
    card = cards.dataset("ms3")
    assert ranking_metrics(card) == ["miou", "f_at_0.5", "fscore_b1", "dataset_miou"]
    assert ranking_metrics(cards.dataset("avss")) == ["miou_avss", "miou_avss_present", "f_avss", "dataset_miou"]
    entries = [entry for _, entry in groups(board, card)[0].rows]
    assert [entry.name for entry in entries] == ["avsegformer-first-r50", "tpavi-r50", "saliency"]
    assert [protocols.order(entries, "dataset_miou")[entry.name] for entry in entries] == [(1, 2), (0, 1), (2, 3)]
    # Equal numbers share a place and keep lines of their own.
    assert [protocols.order(entries, "f_at_0.5")[entry.name] for entry in entries] == [(0, 1), (1, 1), (2, 1)]


def test_hard_masks_have_no_place_under_b(board):
    soft, hard = (entry for _, entry in groups(board, cards.dataset("ms3"))[0].rows[:2])
    row = SimpleNamespace(name="hard", hard=True, mean=hard.mean, measurement=hard.measurement)
    assert protocols.order([row, soft], "fscore_b1") == {"hard": (1, None), soft.name: (0, 1)}
    assert protocols.order([row], "fscore_b1") == {"hard": (0, None)}  # as on the page
    assert protocols.order([row, soft], "miou")["hard"][1] is not None


def test_pareto_front():
    points = [
        (3.0, 70.0, "a"),
        (1.0, 50.0, "b"),
        (2.0, 40.0, "c"),
        (1.0, 45.0, "d"),
        (4.0, 70.0, "e"),
        (0.0, 10.0, "f"),
    ]
    assert [row for _, _, row in cost.pareto_front(points)] == ["f", "b", "a"]


def test_what_is_not_counted_has_no_cost():
    costs = [
        cost.COSTS["parameters, M"](SimpleNamespace(first=SimpleNamespace(parameters=n))) for n in (2_500_000, 0, None)
    ]
    assert costs == [2.5, 0, None]


def test_labels_keep_clear_of_each_other_or_stay_away():
    with style.style():
        figure = style.new_figure(3, 2)
        axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1))
        figure.draw_without_rendering()
        place_labels(axes, [(0.5, 0.5, f"row {i}") for i in range(30)], needed=1, strokes=[(0, 0.5, 1, 0.5)])
        boxes = [text.get_window_extent() for text in axes.texts]
    assert 2 <= len(boxes) < 30
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_marks_differ_and_belong_to_methods():
    marks = style.Marks(f"{i:02d}" for i in range(72))
    assert len({tuple(marks.of_method(f"{i:02d}").values()) for i in range(72)}) == 72
    other = Entry([SimpleNamespace(source="somebody", method="external")], 1)
    assert marks.of(other) == {"color": style.GREY, "marker": "*"}


def test_long_names_get_two_columns():
    assert style.width_beside(["combo-r50+felzenszwalb"]) == style.ONE_COLUMN
    assert style.width_beside(["a", "sam4avs-point-global-reference"]) == style.TWO_COLUMNS
