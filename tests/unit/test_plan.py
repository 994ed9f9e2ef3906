"""From configuration to targets."""

import json
from pathlib import Path

import pytest

from avsbench import cards, plan
from avsbench.config import check_config, load_config
from avsbench.errors import AvsbenchError
from avsbench.workflow import config_argument


def config(**changes):
    return {"scale": "mini", "runs": {"ms3": ["tpavi-r50", "saliency"]}, "seeds": [0, 1], **changes}


def planned(**changes):
    return plan.Plan(check_config(config(**changes)))


def test_runs_are_dataset_times_variant_times_seed():
    assert planned().runs == [
        plan.Run("ms3", "tpavi-r50", "0"),
        plan.Run("ms3", "tpavi-r50", "1"),
        plan.Run("ms3", "saliency", "none"),
    ]


def test_impossible_pairs_are_skipped_with_a_reason():
    skips = planned(runs={"avss": ["saliency", "tpavi-r50"]}).skips
    assert [s.run.variant for s in skips] == ["saliency"]
    assert "not defined for avss" in skips[0].reason


def test_official_seed():
    found = planned(seeds=["official"])
    assert plan.Run("ms3", "tpavi-r50", "official") in found.runs


def test_training_never_depends_on_the_test_split():
    files = planned().data("ms3", "tpavi-r50", ("train", "val"))
    assert files
    assert not any("test" in file for file in files)


def test_only_front_ends_of_the_card():
    assert any("vggish_mel" in file for file in planned().data("ms3", "tpavi-r50", ("test",)))
    assert not any("/audio/" in file for file in planned().data("ms3", "saliency", ("test",)))


def test_front_ends_that_are_wanted_form_one_group(tmp_path):
    found = planned(data_root=str(tmp_path), scale="full")
    assert found.front_end_groups == {"ms3": [["vggish_mel"]]}
    assert planned(data_root=str(tmp_path), scale="full", runs={"ms3": ["saliency"]}).front_end_groups == {}
    # Stand-ins of pretrained encoders hear too.
    assert set(planned(data_root=str(tmp_path)).front_end_groups) == {"s4", "ms3", "avss"}


def test_recorded_groups_stay(tmp_path):
    found = planned(data_root=str(tmp_path))
    record = Path(found.paths.front_end_groups("ms3"))
    record.parent.mkdir(parents=True)
    record.write_text('[["cavp_mel", "msai_256"]]')
    assert found.front_end_groups["ms3"] == [["cavp_mel", "msai_256"], ["vggish_mel"]]
    assert found.front_end_group("ms3", "vggish_mel") == 2
    found.record_front_ends()
    written = record.stat().st_mtime_ns
    again = planned(data_root=str(tmp_path))
    assert again.front_end_groups == found.front_end_groups
    again.record_front_ends()
    assert record.stat().st_mtime_ns == written


def test_a_record_of_a_front_end_that_is_gone_is_forgotten(tmp_path):
    record = Path(planned(data_root=str(tmp_path)).paths.front_end_groups("ms3"))
    record.parent.mkdir(parents=True)
    record.write_text('[["gone_mel", "vggish_mel"]]')
    assert planned(data_root=str(tmp_path)).front_end_groups["ms3"] == [["vggish_mel"]]


@pytest.mark.parametrize("text", ["", "[", "7", '["vggish_mel", 3]', "[[3]]"])
def test_a_damaged_record_is_an_error(tmp_path, text):
    record = Path(planned(data_root=str(tmp_path)).paths.front_end_groups("ms3"))
    record.parent.mkdir(parents=True)
    record.write_text(text)
    with pytest.raises(AvsbenchError, match=r"groups\.json: not a list of groups"):
        _ = planned(data_root=str(tmp_path)).front_end_groups


def test_code_of_a_group_is_that_of_its_families():
    found = planned()
    assert found.audio_code(["vggish_mel"]) != found.audio_code(["cavp_mel"])
    assert found.audio_code(["cavp_mel"]) == found.audio_code(["cavp_mel_stereo"])


def test_overrides_reach_the_recipe():
    found = planned(overrides={"tpavi-r50": {"epochs": 99}})
    assert json.loads(found.recipe_json("ms3", "tpavi-r50"))["epochs"] == 99


def test_scale_decides_the_encoder_file():
    assert planned().encoder_file("resnet50") == "weights/mini/resnet50.safetensors"
    assert planned(scale="full").encoder_file("resnet50") == "weights/resnet50-19c8e357.pth"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": [0]}, "did you mean 'seeds'"),
        ({"runs": {"mss3": ["tpavi-r50"]}}, "did you mean 'ms3'"),
        ({"runs": {"ms3": ["tpavi"]}}, "unknown variant 'tpavi'"),
        ({"scale": "tiny"}, "scale"),
        ({"seeds": ["oficial"]}, "seeds"),
        ({"roots": {"s5": "/data"}}, "did you mean 's4'"),
        ({"overrides": {"tpavi": {}}}, "unknown variant"),
    ],
)
def test_bad_configuration(change, message):
    with pytest.raises(AvsbenchError, match=message):
        planned(**change)


def test_configuration_file_errors_name_the_line(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("scale: mini\nruns: {s4: [saliency]}\nseedz: [0]\n")
    with pytest.raises(AvsbenchError, match=r"config\.yaml:3: unknown key 'seedz'"):
        load_config(file)


def test_missing_configuration_says_what_to_do(tmp_path):
    with pytest.raises(AvsbenchError, match="--config"):
        load_config(tmp_path / "none.yaml")


def test_overrides_are_checked_like_cards_and_may_come_as_text():
    with pytest.raises(AvsbenchError, match=r"overrides\.tpavi-r50: unknown key 'keep_bset'[\s\S]*'keep_best'"):
        planned(overrides={"tpavi-r50": {"keep_bset": 2}})
    with pytest.raises(AvsbenchError, match="keep_best: 0 is less than the minimum"):
        planned(overrides={"tpavi-r50": {"keep_best": 0}})
    text = {"keep_best": "3", "optimizer": {"lr": "1e-4", "betas": ["0.9", ".5"]}, "select": "miou"}
    recipe = planned(overrides={"tpavi-r50": text}).recipe("ms3", "tpavi-r50")
    assert (recipe["keep_best"], recipe["select"]) == (3, "miou")
    assert (recipe["optimizer"]["lr"], recipe["optimizer"]["betas"]) == (1e-4, [0.9, 0.5])


# runs that keep several epochs


def test_an_ensemble_follows_its_run():
    found = planned(overrides={"tpavi-r50": {"keep_best": 3}})
    assert len(found.runs) == 3
    assert found.rows == [
        plan.Run("ms3", "tpavi-r50", "0"),
        plan.Run("ms3", "tpavi-r50", "0", 3),
        plan.Run("ms3", "tpavi-r50", "1"),
        plan.Run("ms3", "tpavi-r50", "1", 3),
        plan.Run("ms3", "saliency", "none"),
    ]
    assert str(found.rows[1]) == "tpavi-r50 (top-3 ensemble) on ms3, seed 0"


@pytest.mark.parametrize("overrides", [{}, {"tpavi-r50": {"keep_best": 1}}])
def test_without_it_every_row_is_a_run(overrides):
    found = planned(overrides=overrides, seeds=[0, "official"])
    assert found.rows == found.runs
    assert not any(keeps for *_, keeps in found.train_rules)


def test_the_authors_checkpoint_has_no_epochs_to_keep():
    found = planned(overrides={"tpavi-r50": {"keep_best": 3}}, seeds=["official"])
    assert found.rows == found.runs


def test_a_variant_that_keeps_everywhere_has_one_train_rule():
    rules = {
        name: (sets, keeps) for name, _, sets, keeps in planned(overrides={"tpavi-r50": {"keep_best": 3}}).train_rules
    }
    assert rules["train_tpavi_r50"] == (["s4", "ms3", "avss"], True)
    assert not rules["train_tpavi_pvt"][1]
    assert not any(name.endswith("__top") for name in rules)


def test_a_variant_that_keeps_on_some_data_sets_has_two(monkeypatch):
    recipes = cards.variant("tpavi-r50").method.recipes
    monkeypatch.setitem(recipes["mini"], "ms3", {**recipes["mini"].get("ms3", {}), "keep_best": 2})
    rules = {name: (sets, keeps) for name, _, sets, keeps in planned().train_rules}
    assert rules["train_tpavi_r50"] == (["s4", "avss"], False)
    assert rules["train_tpavi_r50__top"] == (["ms3"], True)


def test_the_leaderboard_is_told_data_sets_in_the_order_of_the_configuration():
    runs = {"s4": ["saliency"], "ms3": ["saliency"], "avss": ["tpavi-r50"]}
    told = json.loads(config_argument(planned(runs=runs, device="cpu")))
    assert list(told["runs"]) == ["s4", "ms3", "avss"]
    assert "device" not in told
