"""Which runs are heard under which sounds, and why the others are not."""

import re

import pytest

from avsbench import digest
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


def rules(plan):
    assert not any(rule.ensemble for rule in plan.condition_rules)
    return [(rule.name, rule.dataset, rule.conditions) for rule in plan.condition_rules]


def test_every_run_on_s4_and_ms3_is_heard_by_default(tmp_path):
    plan = plan_of(tmp_path)
    assert rules(plan) == [("s4", "s4", MATCHED), ("ms3", "ms3", MATCHED)]
    heard = ["s4/saliency/none", *(f"{d}/tpavi-r50/{seed}" for d in ("s4", "ms3") for seed in (0, 1))]
    assert names(plan.condition_scores) == sorted(f"{run}/{condition}" for run in heard for condition in MATCHED)
    assert plan.conditions(plan.run("avss", "tpavi-r50", "0")) == {}


def test_fewer_none_or_more_may_be_asked_for(tmp_path):
    assert plan_of(tmp_path, conditions=[]).condition_scores == []
    assert plan_of(tmp_path, conditions=[]).condition_rules == []
    plan = plan_of(tmp_path, conditions=["noise", "silence_reference"], runs={"s4": ["tpavi-r50"]})
    assert rules(plan) == [("s4", "s4", ["noise"]), ("s4_reference", "s4", ["silence_reference"])]
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


@pytest.mark.parametrize("scale", ["mini", "full"])
def test_what_is_derived_of_sound_is_heard_by_what_makes_it(tmp_path, scale):
    conditions = ["silence", "silence_reference"]
    runs = {"s4": ["sam4avs-heatmap-box", "sam4avs-detector-box", "sam4avs-no-prompt", "combo-r50", "saliency"]}
    plan = plan_of(tmp_path, scale, runs=runs, conditions=conditions, roots={"s4": str(tmp_path)})
    heard = {name: plan.conditions(plan.run("s4", name, "none")) for name in runs["s4"]}
    assert {found["silence"] for found in heard.values()} == {None}
    refused = {name for name, found in heard.items() if found["silence_reference"]}
    assert refused == {"sam4avs-heatmap-box", "sam4avs-detector-box", "sam4avs-no-prompt"}
    ear = "clap_wave" if scale == "full" else "audioclip_wave"
    assert heard["sam4avs-detector-box"]["silence_reference"].endswith(f"and it hears {ear}")
    assert list(plan.sounding("sam4avs-heatmap-box")) == ["heatmap"]
    assert plan.makers("combo-r50") == plan.makers("sam4avs-no-prompt") == []
    audioclip = (
        plan.paths.stand_in("audioclip") if scale == "mini" else plan.paths.weights("AudioCLIP-Full-Training.pt")
    )
    assert plan.makers("sam4avs-heatmap-box") == [audioclip]


def test_an_edit_to_what_makes_a_feature_counts_for_those_who_see_it(tmp_path, monkeypatch):
    plan = plan_of(tmp_path)
    names = ["sam4avs-heatmap-box", "sam4avs-detector-box", "sam4avs-no-prompt"]
    before = {name: plan.conditions_code("s4", name) for name in names}
    source = digest.source
    monkeypatch.setattr(digest, "source", lambda path: source(path) + "edited" * (path.name == "region_boxes.py"))
    digest.stage.cache_clear()
    after = {name: plan.conditions_code("s4", name) for name in names}
    digest.stage.cache_clear()
    assert [name for name in names if before[name] != after[name]] == ["sam4avs-detector-box"]


def test_an_ensemble_is_heard_with_the_best_of_its_members(tmp_path):
    """One job: rules for both kinds of runs, and Snakemake may find one of them for a file."""
    plan = plan_of(tmp_path, overrides={"tpavi-r50": {"keep_best": 2}}, seeds=[0, "official"])
    assert [len(plan.conditions(run)) for run in plan.rows if run.dataset == "s4"] == [3, 3, 3, 3]
    found = [file for file in plan.condition_scores if "/s4/tpavi-r50/" in file]
    assert found == [plan.paths.scores("s4", "tpavi-r50", seed, c, top)
                     for seed, top in (("0", False), ("0", True), ("official", False)) for c in MATCHED]  # fmt: skip
    single, both = (rule for rule in plan.condition_rules if rule.dataset == "s4")
    assert single.outputs == [(name, False) for name in MATCHED]
    assert both.outputs == [*single.outputs, *((name, True) for name in MATCHED)]
    runs = ["tpavi-r50/0/", "tpavi-r50/official/", "tpavi-pvt/0/", "saliency/none/"]
    matching = [
        [bool(re.match(rf"(?:{rule.variant})/(?:\d+|official|none)/$", run)) for run in runs] for rule in (single, both)
    ]
    assert matching == [[False, True, True, True], [True, False, False, False]]
    assert plan.conditions_minutes(single, "tpavi-r50") == 360
    assert plan.conditions_minutes(both, "tpavi-r50") == 3 * 360


def test_objects_of_ms3_must_be_known(tmp_path):
    """AVSS's table says what sounds in MS3; without it nothing is known to be off-screen."""
    runs = {"ms3": ["tpavi-r50"]}
    plan = plan_of(tmp_path, "full", runs=runs, roots={"ms3": str(tmp_path)})
    assert rules(plan) == [("ms3", "ms3", ["silence", "noise"])]
    assert "stands in AVSS's metadata.csv" in reasons(plan, "ms3", "tpavi-r50")["offscreen"]
    plan = plan_of(tmp_path, "full", runs=runs, roots={"ms3": str(tmp_path), "avss": "/avss"})
    assert plan.negatives_inputs("ms3", "test")[1] == plan.paths.acquired("avss")
    (tmp_path / "metadata.csv").write_text("uid,a_obj,label\n")
    plan = plan_of(tmp_path, "full", runs=runs, roots={"ms3": str(tmp_path)})
    assert rules(plan) == [("ms3", "ms3", MATCHED)]
    assert plan.negatives_inputs("ms3", "test")[1] == plan.paths.acquired("ms3")
    assert plan.negatives_inputs("s4", "test") == [plan.paths.index("s4", "test")]


def test_only_a_recipe_with_negatives_waits_for_partners(tmp_path):
    plan = plan_of(tmp_path)
    assert plan.negatives("s4", "avsegformer-pvt") == []
    assert plan.negatives("s4", "avsegformer-robust-pvt") == [plan.paths.negatives("s4", "train")]


def test_a_training_with_negatives_that_are_not_known_is_skipped(tmp_path):
    """At full MS3 needs AVSS's table for them; where they are not defined at all, so it is said."""
    name = "avsegformer-robust-pvt"
    runs = {dataset: ["avsegformer-pvt", name] for dataset in ("s4", "ms3")}
    plan = plan_of(tmp_path, "full", runs=runs, roots={"ms3": str(tmp_path)}, seeds=[0, "official"])
    skipped = {(skip.run.dataset, skip.run.variant, skip.run.seed): skip.reason for skip in plan.skips}
    reason = skipped.pop(("ms3", name, "0"))
    assert reason.startswith("its recipe mixes negatives in, and what sounds in MS3 stands in AVSS's metadata.csv")
    assert not any(run.dataset == "ms3" and run.variant == name and run.seed == "0" for run in plan.runs)
    assert all("official" in reason for reason in skipped.values())  # what is not trained needs no negatives
    assert plan.run("s4", name, "0") in plan.runs
    plan = plan_of(tmp_path, "full", runs=runs, roots={"ms3": str(tmp_path), "avss": "/avss"})
    assert plan.skips == []
    plan = plan_of(tmp_path, overrides={"tpavi-r50": {"negatives": {"percent": 10}}})
    assert {(skip.run.dataset, skip.reason) for skip in plan.skips} == {
        ("avss", "its recipe mixes negatives in, which are defined for s4 and ms3")
    }


def test_what_makes_negatives_retrains_those_alone_whose_recipe_mixes_them_in(tmp_path, monkeypatch):
    plan = plan_of(tmp_path)

    def codes():
        digest.stage.cache_clear()
        trained = {name: plan.train_code("s4", name) for name in ("avsegformer-pvt", "avsegformer-robust-pvt")}
        stages = {name: digest.stage(name, "avsegformer") for name in ("predict", "official", "conditions")}
        return trained | stages | {"score": digest.stage("score"), "report": digest.stage("report")}

    before, source = codes(), digest.source
    for edited in ("store/negatives.py", "store/offscreen.py", "media/negatives.py"):
        monkeypatch.setattr(digest, "source", lambda path, e=edited: source(path) + "!" * path.as_posix().endswith(e))
        after = codes()
        assert [name for name in before if before[name] != after[name]] == ["avsegformer-robust-pvt", "conditions"]
    digest.stage.cache_clear()


def test_an_edit_to_a_front_end_counts_for_those_who_hear_it(tmp_path):
    plan = plan_of(tmp_path)
    codes = {name: plan.conditions_code("s4", name) for name in ("tpavi-r50", "tpavi-pvt", "cavp-r50")}
    assert codes["tpavi-r50"] == codes["tpavi-pvt"] != codes["cavp-r50"]
