"""Rows of a study whose recipe differs between scales or data sets, and the studies of ACLP-FPN."""

from pathlib import Path

import pytest

from avsbench import cards, plan, registry, study_cards
from avsbench.config import check_config
from avsbench.errors import AvsbenchError
from avsbench.report.stage import render
from tests.unit.report_runs import make_run, row_of

STUDY = """\
title: Rates
question: Which rate?
datasets: [ms3, s4]
variants: [etavs-r50]
rows:
  plain:
  long:
    recipe: {batch: 2, epochs: 3}
    recipes:
      full: {default: {epochs: 40}, ms3: {epochs: 80}}
      mini: {default: {}, s4: {optimizer: {lr: 0.5}}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSBENCH_STUDIES", str(tmp_path))
    (tmp_path / "rates.yaml").write_text(STUDY)
    return tmp_path


def planned(name="rates", scale="mini", **changes):
    return plan.Plan(
        check_config({"scale": scale, "runs": {"s4": ["saliency"]}, "seeds": [0], "study": name, **changes})
    )


LONG = "etavs-r50@rates.long"


def test_scale_and_data_set_lie_over_the_row(folder):
    found = {scale: planned(scale=scale) for scale in ("mini", "full", "smoke")}
    epochs = {scale: {name: found[scale].recipe(name, LONG)["epochs"] for name in ("s4", "ms3")} for scale in found}
    assert epochs["full"] == {"s4": 40, "ms3": 80}
    assert epochs["mini"] == {"s4": 3, "ms3": 3}
    assert epochs["smoke"] == {"s4": 1, "ms3": 1}  # stays short
    assert {found["full"].recipe(name, LONG)["batch"] for name in ("s4", "ms3")} == {2}
    rates = {name: found["mini"].recipe(name, LONG)["optimizer"]["lr"] for name in ("s4", "ms3")}
    assert rates == {"s4": 0.5, "ms3": 1e-3}
    assert planned(overrides={"etavs-r50": {"epochs": 9}}).recipe("s4", LONG)["epochs"] == 3


def test_a_row_that_differs_on_one_data_set_is_the_plain_run_on_the_other(folder):
    text = STUDY.replace("    recipe: {batch: 2, epochs: 3}\n", "")
    (folder / "rates.yaml").write_text(text)
    variants = {line.dataset: line.variant for line in planned().lines if line.row == "long"}
    assert variants == {"ms3": "etavs-r50", "s4": LONG}


def test_the_page_shows_what_holds_on_the_data_set(folder, tmp_path):
    roots = {f"{name}_root": f"{tmp_path}/{name}" for name in ("data", "results", "weights")}
    found = planned(**roots)
    for run in found.rows:
        make_run(found.paths, run)
    ms3, s4 = Path(render(found)).read_text().split("\n## ")[1:3]
    assert row_of(ms3, "long")[1] == "batch: 2, epochs: 3"
    assert row_of(s4, "long")[1] == "batch: 2, epochs: 3, optimizer.lr: 0.5"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "ms3: {epochs: 80}",
            "ms4: {epochs: 80}",
            r"rates\.yaml:10: rows\.long\.recipes\.full: unknown data set 'ms4'",
        ),
        ("epochs: 80", "epoch: 80", r"rates\.yaml:10: unknown key 'epoch' in rows\.long\.recipes\.full\.ms3"),
        ("mini: {default: {}, ", "mini: {", r"rates\.yaml:11: rows\.long\.recipes\.mini: 'default' is a required"),
        ("      full:", "      fulll:", r"rates\.yaml:10: unknown key 'fulll' in rows\.long\.recipes"),
    ],
)
def test_a_fault_names_file_line_and_nearest(folder, old, new, message):
    assert old in STUDY
    (folder / "rates.yaml").write_text(STUDY.replace(old, new))
    with pytest.raises(AvsbenchError, match=message):
        planned()


# the studies of ACLP-FPN

ORIGINS = {  # row -> weights of the visual and of the audio tower, what trains of the latter, rate of the towers
    "audioclip-audioclip": ("audioclip", "audioclip", "none", 0.1),
    "audioclip-trained": ("audioclip", "audioclip", "all", 0.1),
    "clip-audioclip": ("clip_rn50", "audioclip", "none", 0.1),
    "clip-audioset": ("clip_rn50", "esresnext_audioset", "projection", 0.1),
    "audioclip-audioset": ("audioclip", "esresnext_audioset", "projection", 0.1),
    "audioclip-random": ("audioclip", None, "all", 0.1),
    "imagenet-audioclip": ("resnet50_stages", "audioclip", "none", 0.1),
    "imagenet-audioclip-1": ("resnet50_stages", "audioclip", "none", 1.0),
    "imagenet-audioset": ("resnet50_stages", "esresnext_audioset", "projection", 0.1),
    "imagenet-audioset-1": ("resnet50_stages", "esresnext_audioset", "projection", 1.0),
    "imagenet-vggish": ("resnet50_stages", "vggish", "none", 0.1),
    "imagenet-vggish-1": ("resnet50_stages", "vggish", "none", 1.0),
    "audioclip-vggish": ("audioclip", "vggish", "none", {"s4": 0.1, "ms3": 1.0}),
}
"""The rows of the paper's scripts."""


@pytest.mark.parametrize("dataset", ["s4", "ms3"])
def test_the_ablation_has_a_row_for_each_published_pair_of_weights(dataset):
    found = planned("sam4avs_ablation", "full")
    shown = {}
    for row in study_cards.study("sam4avs_ablation").rows:
        (line,) = [line for line in found.lines if (line.dataset, line.row) == (dataset, row)]
        variant, recipe = cards.variant(line.variant), found.recipe(dataset, line.variant)
        encoders, rate = variant.encoders_on(dataset), recipe["method"]["backbone_rate"]
        trained = variant.options.get("audio_training", "none")
        shown[row] = (encoders["visual"], encoders.get("audio"), trained, rate)
        vggish = encoders.get("audio") == "vggish"
        assert variant.options.get("audio") == ("vggish" if vggish else None)
        assert variant.front_ends_on(dataset) == ["vggish_mel" if vggish else "audioclip_wave"]
        assert (recipe["epochs"], recipe["batch"], recipe["optimizer"]["lr"]) == (
            70 if dataset == "s4" else 200,
            4,
            5e-5,
        )
    wanted = {
        row: (*head, rate if isinstance(rate, float) else rate[dataset]) for row, (*head, rate) in ORIGINS.items()
    }
    assert shown == wanted


@pytest.mark.parametrize("name", ["sam4avs_ablation", "sam4avs_fusion", "sam4avs_data"])
def test_every_row_builds_and_takes_the_weights_that_it_names(name):
    found = planned(name)
    assert not found.skips
    for line in found.lines:
        network = registry.build(line.variant, line.dataset, "mini", 64)
        network.configure(found.recipe(line.dataset, line.variant))
        assert set(cards.variant(line.variant).encoders_on(line.dataset)) <= set(network.encoders())


def test_half_and_fifth_of_tpavi_train_longer_at_full_scale():
    found = planned("sam4avs_data", "full")
    epochs = {
        (line.dataset, line.row): found.recipe(line.dataset, line.variant)["epochs"]
        for line in found.lines
        if line.base == "tpavi-r50"
    }
    assert epochs == {
        ("s4", "tpavi-all"): 15, ("s4", "tpavi-half"): 30, ("s4", "tpavi-fifth"): 50,
        ("ms3", "tpavi-all"): 30, ("ms3", "tpavi-half"): 50, ("ms3", "tpavi-fifth"): 80,
    }  # fmt: skip
