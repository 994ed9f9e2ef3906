"""docs/scale.md says what the cost model computes, and the model computes what the page's formulas say."""

import copy

import pytest

from avsbench import cards
from benchmarks import cost_model
from benchmarks.cost_model import Model

PAGE = cards.PROJECT / "docs/scale.md"


@pytest.fixture
def figures():
    return cost_model.read_figures()


def test_the_page_shows_what_the_figures_give(figures):
    text = PAGE.read_text()
    found = cost_model.fill(text, cost_model.tables(figures))
    assert found == text, "run: python -m benchmarks.cost_model --write docs/scale.md"


def test_every_figure_says_where_it_comes_from(figures):
    for name, entry in figures.items():
        assert entry["kind"] in ("measured", "published", "assumed"), name
        assert entry["meaning"], name
        assert entry["value"] > 0, name
        if entry["kind"] == "measured":
            assert (cards.PROJECT / f"benchmarks/{entry['source']}.py").is_file(), name


def test_every_figure_counts(figures):
    """A figure that changes no table but its own line would only look like an input."""
    before = cost_model.tables(figures)
    for name in figures:
        changed = copy.deepcopy(figures)
        for key in ("value", "mb", "jobs"):
            if key in changed[name]:
                changed[name][key] *= 3
        after = cost_model.tables(changed)
        assert [key for key in after if after[key] != before[key] and key != "inputs"], name


def test_gpu_hours_follow_the_formula(figures):
    model, recipe = Model(figures), cards.variant("tpavi-r50").recipe("full", "s4")
    rate = 1e12 * model["peak_bf16"] * model["share_of_peak"]
    operations = 1e12 * model["tpavi-r50.s4"] * 3452 * 5 * recipe["epochs"]
    assert model.gpu_hours("tpavi-r50", "s4")["train"] == pytest.approx(operations / rate / 3600)
    half = copy.deepcopy(figures)
    half["share_of_peak"]["value"] /= 2
    assert Model(half).gpu_hours("tpavi-r50", "avss")["predict"] == pytest.approx(
        2 * model.gpu_hours("tpavi-r50", "avss")["predict"]
    )


def test_validations_are_those_of_the_recipe(figures):
    # AVSS: every second epoch from 16 of 60.
    model = Model(figures)
    hours, seconds = model.gpu_hours("tpavi-r50", "avss"), 22 * model.frames("avss", "val")
    step = 1e12 * model[model.operations("tpavi-r50", "avss")]
    rate = 1e12 * model["peak_bf16"] * model["share_of_peak"]
    assert hours["validate"] == pytest.approx(seconds * step / 3 / rate / 3600)


def test_costs_grow_with_the_clips(figures):
    one, ten = Model(figures), Model(figures, 10)
    assert one.clips("avss") == 11356
    assert one.frames("avss") == pytest.approx(86780)
    for stage, size in one.data_bytes().items():
        assert ten.data_bytes()[stage] == pytest.approx(10 * size)
    assert one.data_bytes()["shards: frames and masks"] == pytest.approx((86780 + 5 * (4932 + 424)) * 224**2 * 4)
    few, many = one.run_bytes("tpavi-r50", "s4"), ten.run_bytes("tpavi-r50", "s4")
    assert many["predictions"] == pytest.approx(10 * few["predictions"])
    assert many["weights"] == few["weights"]


def test_a_variant_without_a_figure_has_no_row(figures):
    """So that a new method does not change the page until somebody counts it."""
    assert "tpavi-pvt, s4" in cost_model.gpu_table(figures)
    del figures["tpavi-pvt.s4"]
    assert "tpavi-pvt, s4" not in cost_model.gpu_table(figures)


def test_a_page_without_a_place_for_a_table_is_refused(figures):
    with pytest.raises(ValueError, match="0 places for the table 'inputs'"):
        cost_model.fill("nothing", cost_model.tables(figures))
