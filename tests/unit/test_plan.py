"""From configuration to targets."""

import json

import pytest

from avsbench import plan
from avsbench.errors import AvsbenchError


def config(**changes):
    return {"scale": "mini", "runs": {"ms3": ["tpavi-r50", "saliency"]}, "seeds": [0, 1], **changes}


def planned(**changes):
    return plan.Plan(plan.check_config(config(**changes)))


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
        plan.load_config(file)


def test_missing_configuration_says_what_to_do(tmp_path):
    with pytest.raises(AvsbenchError, match="--config"):
        plan.load_config(tmp_path / "none.yaml")
