"""Which runs are heard under which sounds, and why the others are not."""

import pytest

from avsbench.config import check_config
from avsbench.errors import AvsbenchError
from avsbench.plan import Plan

MATCHED = ["silence", "noise", "offscreen"]


def plan_of(tmp_path, scale="mini", **config):
    roots = {f"{name}_root": str(tmp_path / name) for name in ("data", "results", "weights")}
    runs = {"s4": ["saliency", "tpavi-r50"], "ms3": ["tpavi-r50"], "avss": ["tpavi-r50"]}
    return Plan(check_config({"scale": scale, "runs": runs, "seeds": [0, 1]} | roots | config))


def names(files):
    return sorted("/".join(file.removesuffix(".json").split("/")[-5:]).replace("/scores/", "/") for file in files)


def test_every_run_on_s4_and_ms3_is_heard_by_default(tmp_path):
    plan = plan_of(tmp_path)
    assert plan.condition_rules == [("s4", "s4", MATCHED), ("ms3", "ms3", MATCHED)]
    heard = ["s4/saliency/none", *(f"{d}/tpavi-r50/{seed}" for d in ("s4", "ms3") for seed in (0, 1))]
    assert names(plan.condition_scores) == sorted(f"{run}/{condition}" for run in heard for condition in MATCHED)
    assert plan.conditions(plan.run("avss", "tpavi-r50", "0")) == {}


def test_fewer_none_or_more_may_be_asked_for(tmp_path):
    assert plan_of(tmp_path, conditions=[]).condition_scores == []
    assert plan_of(tmp_path, conditions=[]).condition_rules == []
    plan = plan_of(tmp_path, conditions=["noise", "silence_reference"], runs={"s4": ["tpavi-r50"]})
    assert plan.condition_rules == [("s4", "s4", ["noise"]), ("s4_reference", "s4", ["silence_reference"])]
    with pytest.raises(AvsbenchError, match="conditions"):
        plan_of(tmp_path, conditions=["whispering"])


def test_a_study_has_none(tmp_path):
    plan = plan_of(tmp_path, study="maskige")
    assert plan.condition_scores == plan.condition_rules == []


def reasons(plan, dataset, variant):
    return plan.conditions(plan.run(dataset, variant, "0"))


def test_the_authors_features_are_for_vggish_alone(tmp_path):
    plan = plan_of(tmp_path, conditions=["silence", "silence_reference"], runs={"s4": ["tpavi-r50", "cavp-r50"]})
    assert reasons(plan, "s4", "tpavi-r50") == {"silence": None, "silence_reference": None}
    found = reasons(plan, "s4", "cavp-r50")
    assert found["silence"] is None
    assert "stand for VGGish's log-mel alone, and it hears cavp_mel" in found["silence_reference"]


def test_imported_arrays_have_no_negatives(tmp_path):
    plan = plan_of(tmp_path, arrays={"s4": {"vggish_mel": "released"}})
    assert all("imported" in reason for reason in reasons(plan, "s4", "tpavi-r50").values())
    assert set(reasons(plan, "ms3", "tpavi-r50").values()) == {None}


def test_what_is_derived_of_sound_is_not_heard(tmp_path):
    runs = {"s4": ["sam4avs-heatmap-box", "sam4avs-no-prompt", "combo-r50"]}
    plan = plan_of(tmp_path, runs=runs)
    heard = {name: set(plan.conditions(plan.run("s4", name, "none")).values()) for name in runs["s4"]}
    (reason,) = heard.pop("sam4avs-heatmap-box")
    assert reason == "it sees heatmap, made from the sound, and no feature is made again under another one"
    assert set.union(*heard.values()) == {None}


def test_an_ensemble_is_not_heard(tmp_path):
    plan = plan_of(tmp_path, overrides={"tpavi-r50": {"keep_best": 2}}, runs={"s4": ["tpavi-r50"]})
    assert [len(plan.conditions(run)) for run in plan.rows if run.seed == "0"] == [3, 0]


def test_objects_of_ms3_must_be_known(tmp_path):
    """AVSS's table says what sounds in MS3; without it nothing is known to be off-screen."""
    runs = {"ms3": ["tpavi-r50"]}
    plan = plan_of(tmp_path, "full", runs=runs, roots={"ms3": str(tmp_path)})
    assert plan.condition_rules == [("ms3", "ms3", ["silence", "noise"])]
    assert "stands in AVSS's metadata.csv" in reasons(plan, "ms3", "tpavi-r50")["offscreen"]
    plan = plan_of(tmp_path, "full", runs=runs, roots={"ms3": str(tmp_path), "avss": "/avss"})
    assert plan.negatives_inputs("ms3", "test")[1] == plan.paths.acquired("avss")
    (tmp_path / "metadata.csv").write_text("uid,a_obj,label\n")
    plan = plan_of(tmp_path, "full", runs=runs, roots={"ms3": str(tmp_path)})
    assert plan.condition_rules == [("ms3", "ms3", MATCHED)]
    assert plan.negatives_inputs("ms3", "test")[1] == plan.paths.acquired("ms3")
    assert plan.negatives_inputs("s4", "test") == [plan.paths.index("s4", "test")]


def test_only_a_recipe_with_negatives_waits_for_partners(tmp_path):
    plan = plan_of(tmp_path)
    assert plan.negatives("s4", "avsegformer-pvt") == []
    assert plan.negatives("s4", "avsegformer-robust-pvt") == [plan.paths.negatives("s4", "train")]


def test_an_edit_to_a_front_end_counts_for_those_who_hear_it(tmp_path):
    plan = plan_of(tmp_path)
    codes = {name: plan.conditions_code("s4", name) for name in ("tpavi-r50", "tpavi-pvt", "cavp-r50")}
    assert codes["tpavi-r50"] == codes["tpavi-pvt"] != codes["cavp-r50"]
