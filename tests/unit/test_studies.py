"""Studies: read, checked with the line of the fault, and planned as runs of their own."""

import json
import re

import pytest
import torch
import yaml

from avsbench import cards, cli, digest, plan, registry, studies, study_cards
from avsbench.config import check_config
from avsbench.engine.checkpoint import save_weights
from avsbench.errors import AvsbenchError
from avsbench.registry import build

STUDY = """\
title: Frozen encoders
question: What does it matter how frozen encoders are kept?
datasets: [ms3, s4]
variants: [etavs-r50]
seeds: [3, 4]
columns: [miou, fscore_b4]
rows:
  eval: {}
  train:
    title: in train mode
    options: {frozen_encoders: train}
  fast:
    recipe: {epochs: 2, optimizer: {lr: 0.01}}
  deaf: {encoders: {audio: null}, init: scratch}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSBENCH_STUDIES", str(tmp_path))
    return tmp_path


@pytest.fixture
def frozen(folder):
    (folder / "frozen.yaml").write_text(STUDY)
    return study_cards.study("frozen")


def planned(name="frozen", **changes):
    config = {"scale": "mini", "runs": {"avss": ["tpavi-r50"]}, "seeds": [0], "study": name, **changes}
    return plan.Plan(check_config(config))


# rows as variants


def test_a_row_is_a_variant_of_its_own(frozen):
    name = "etavs-r50@frozen.train"
    found = cards.variant(name)
    assert (found.name, found.base, found.rule) == (name, "etavs-r50", "etavs_r50__frozen__train")
    assert found.options == {"backbone": "r50", "frozen_encoders": "train"}
    assert found.encoders == cards.variant("etavs-r50").encoders
    assert build(found, "ms3", "mini", 64).frozen_encoders == "train"


def test_encoders_and_start_of_a_row(frozen):
    deaf = cards.variant("etavs-r50@frozen.deaf")
    assert deaf.encoders_on("ms3") == {"visual": "resnet50"}
    assert deaf.init == "scratch"
    assert cards.variant("etavs-r50").encoders_on("ms3") == {"visual": "resnet50", "audio": "vggish"}


def test_a_row_without_changes_is_the_plain_run(frozen):
    assert frozen.variant("eval", "etavs-r50") == "etavs-r50"
    assert plan.Run("ms3", "etavs-r50", "3") in planned().runs


def test_unknown_rows_and_studies_name_the_nearest(frozen):
    with pytest.raises(AvsbenchError, match=r"frozen\.yaml: rows: unknown row 'trian'[\s\S]*'train'"):
        cards.variant("etavs-r50@frozen.trian")
    with pytest.raises(AvsbenchError, match=r"unknown study 'frozn'[\s\S]*'frozen'"):
        cards.variant("etavs-r50@frozn.train")


def test_two_studies_of_one_name_are_an_error(folder, monkeypatch):
    other = folder / "other"
    other.mkdir()
    for place in (folder, other):
        (place / "frozen.yaml").write_text(STUDY)
    monkeypatch.setenv("AVSBENCH_STUDIES", f"{folder}:{other}")
    with pytest.raises(AvsbenchError, match="the name of a study is taken"):
        study_cards.study("frozen")


def test_list_shows_studies(frozen, capsys):
    assert cli.main(["list"]) == 0
    assert re.search(r"^studies\n(  .*\n)*  frozen +Frozen encoders$", capsys.readouterr().out, flags=re.M)


# planning


def test_runs_are_those_of_the_study(frozen):
    found = planned()
    assert {run.dataset for run in found.runs} == {"ms3", "s4"}
    assert {run.seed for run in found.runs} == {"3", "4"}
    assert len(found.runs) == len(set(found.runs)) == 2 * 2 * 4
    assert found.page("md") == "results/studies/frozen.md"
    assert "study frozen" in found.summary
    assert planned_without().page("md") == "results/leaderboard.md"


def planned_without():
    return plan.Plan(check_config({"scale": "mini", "runs": {"ms3": ["etavs-r50"]}, "seeds": [0]}))


def test_paths_settings_and_rules_of_rows_are_apart(frozen):
    found = planned()
    names = ["etavs-r50", *(f"etavs-r50@frozen.{row}" for row in ("train", "fast", "deaf"))]
    assert len({found.paths.run("ms3", name, "3") for name in names}) == 4
    rules = {variant: name for name, variant, *_ in found.train_rules}
    assert len({rules[name] for name in names}) == 4
    assert all(rules[name].isidentifier() for name in names)
    keys = [(found.run_settings("ms3", name), found.recipe_json("ms3", name)) for name in names]
    assert len(set(keys)) == 4
    assert found.recipe_json("ms3", names[1]) == found.recipe_json("ms3", names[0])


def test_the_plain_run_is_planned_as_without_a_study(frozen):
    for of in ("run_settings", "recipe_json", "encoder_files"):
        assert getattr(planned(), of)("ms3", "etavs-r50") == getattr(planned_without(), of)("ms3", "etavs-r50")
    assert planned().data("ms3", "etavs-r50", ("train",)) == planned_without().data("ms3", "etavs-r50", ("train",))


def test_the_row_wins_over_the_configuration_that_holds_for_all_rows(frozen):
    found = planned(overrides={"etavs-r50": {"epochs": 7, "batch": 2}})
    rows = ("", "@frozen.train", "@frozen.fast")
    assert [found.recipe("ms3", f"etavs-r50{row}")["epochs"] for row in rows] == [7, 7, 2]
    assert found.recipe("ms3", "etavs-r50@frozen.fast")["batch"] == 2
    optimizer = found.recipe("ms3", "etavs-r50@frozen.fast")["optimizer"]
    assert optimizer == {**found.recipe("ms3", "etavs-r50")["optimizer"], "lr": 0.01}


def test_smoke_stays_short(frozen):
    found = planned(scale="smoke")
    assert found.recipe("ms3", "etavs-r50@frozen.fast")["epochs"] == 1
    assert found.recipe("ms3", "etavs-r50@frozen.fast")["optimizer"]["lr"] == 0.01


def test_what_a_row_says_and_holds_anyway_is_no_run_of_its_own(folder):
    text = STUDY.replace("epochs: 2, optimizer: {lr: 0.01}", "epochs: 15").replace("seeds: [3, 4]\n", "")
    (folder / "same.yaml").write_text(text)
    found = planned("same")
    assert [line.variant for line in found.lines if line.row == "fast"] == ["etavs-r50"] * 2
    assert [run.seed for run in found.runs if run.variant == "etavs-r50"] == ["0", "0"]  # two data sets
    changed = planned("same", overrides={"etavs-r50": {"epochs": 7}})
    assert [line.variant for line in changed.lines if line.row == "fast"] == ["etavs-r50@same.fast"] * 2


def test_rows_may_name_variants_of_their_own(folder):
    text = "title: t\nquestion: q\ndatasets: [s4, avss]\n"
    (folder / "sound.yaml").write_text(
        f"{text}rows: {{with: {{variant: tpavi-r50}}, without: {{variant: saliency}}}}\n"
    )
    found = planned("sound")
    assert found.runs == [
        plan.Run("s4", "tpavi-r50", "0"),
        plan.Run("s4", "saliency", "none"),
        plan.Run("avss", "tpavi-r50", "0"),
    ]
    assert [(skip.run.dataset, skip.run.variant) for skip in found.skips] == [("avss", "saliency")]


def test_a_row_that_keeps_several_epochs_has_an_ensemble_beside_it(folder):
    (folder / "frozen.yaml").write_text(STUDY.replace("epochs: 2,", "keep_best: 3,"))
    members = [(run.variant, run.members) for run in planned().rows if (run.dataset, run.seed) == ("ms3", "3")]
    assert members == [
        ("etavs-r50", 1),
        ("etavs-r50@frozen.train", 1),
        ("etavs-r50@frozen.fast", 1),
        ("etavs-r50@frozen.fast", 3),
        ("etavs-r50@frozen.deaf", 1),
    ]


def test_arrays_of_a_row(folder):
    arrays = "arrays: {ms3: {vggish_mel: theirs}}"
    (folder / "heard.yaml").write_text(STUDY.replace("options: {", f"{arrays}\n    options: {{"))
    found = planned("heard")
    assert found.arrays("ms3", "etavs-r50@heard.train") == {"vggish_mel": "theirs"}
    assert found.arrays("ms3", "etavs-r50") == found.arrays("s4", "etavs-r50@heard.train") == {}
    assert found.arrays_option("ms3", "etavs-r50@heard.train") == "--array vggish_mel=theirs "
    with pytest.raises(AvsbenchError, match="puts theirs in the place of vggish_mel"):
        found.data("ms3", "etavs-r50@heard.train", ("train",))


def test_authors_checkpoints_are_those_of_the_variant(frozen):
    found = planned()
    assert found.official_file("etavs-r50@frozen.train", "ms3") == found.official_file("etavs-r50", "ms3")


def test_reading_a_study_decides_no_number(frozen):
    modules = digest.PLUMBING
    assert {"avsbench.studies", "avsbench.study_cards"} <= modules


def test_a_generator_of_a_row_makes_features_of_their_own():
    """The study of the suite that compares generators."""
    for scale, shared in (("mini", True), ("full", False)):
        found = planned("maskige", scale=scale)
        assert {line.base for line in found.lines} == {"combo-r50", "ntavs-r50"}
        rows = {line.row: line.variant for line in found.lines if (line.dataset, line.base) == ("ms3", "ntavs-r50")}
        assert rows["none"] == "ntavs-r50@maskige.none"
        assert (rows["felzenszwalb"] == "ntavs-r50") == shared  # what mini takes anyway
        stored = {row: found.features(variant)["maskige"].stored for row, variant in rows.items()}
        assert [name.split("-")[1] for name in stored.values()] == ["none", "felzenszwalb"]
        for row, variant in rows.items():
            shards = [file for file in found.data("ms3", variant, ("train",)) if "/features/" in file]
            assert shards
            assert all(f"/{stored[row]}/" in file for file in shards)


def test_the_example_of_the_documents_is_a_study(folder):
    page = (cards.PROJECT / "docs/configuration.md").read_text()
    text = page.split("## Studies")[1].split("```yaml\n")[1].split("```")[0]
    (folder / "frozen.yaml").write_text(text)
    found = planned(overrides={"etavs-r50": {"epochs": 4}})
    rows = {f"etavs-r50@frozen.{row}" for row in ("train", "slow", "deaf")}
    assert {run.variant for run in found.runs} == {"etavs-r50"} | rows
    for row in ("train", "deaf"):
        build(f"etavs-r50@frozen.{row}", "ms3", "mini", 64)
    table = page.split("## Studies")[1].split("## Training log")[0]
    schema = yaml.safe_load((cards.PACKAGE / "schemas/study.yaml").read_text())
    assert all(f"`{key}`" in table for key in schema["$defs"]["row"]["properties"])


# faults


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("question:", "qestion:", r":2: unknown key 'qestion' in top level[\s\S]*'question'"),
        ("options: {fr", "optoins: {fr", r":11: unknown key 'optoins' in rows\.train[\s\S]*'options'"),
        ("epochs: 2", "epoch: 2", r":13: unknown key 'epoch' in rows\.fast\.recipe[\s\S]*'epochs'"),
        ("{lr: 0.01}", "{rl: 0.01}", r":13: unknown key 'rl' in rows\.fast\.recipe\.optimizer[\s\S]*'lr'"),
        ("epochs: 2", "epochs: 0", r":13: rows\.fast\.recipe\.epochs: 0 is less"),
        ("  fast:", "  fast row:", r":7: rows: 'fast row' does not match"),
        ("frozen_e", "frozn_e", r":11: rows\.train\.options: unknown option of etavs-r50[\s\S]*'frozen_encoders'"),
        ("[ms3, s4]", "[ms3, s5]", r":3: datasets: unknown data set 's5'[\s\S]*'s4'"),
        ("[etavs-r50]", "[etavs-r5]", r":4: variants: unknown variant 'etavs-r5'[\s\S]*'etavs-r50'"),
        ("[miou, f", "[moiu, f", r":6: columns: unknown metric 'moiu'[\s\S]*'miou'"),
        ("audio: null", "audo: null", r":14: rows\.deaf\.encoders: unknown role[\s\S]*'audio'"),
        ("audio: null", "audio: vgish", r":14: rows\.deaf\.encoders\.audio: unknown encoder[\s\S]*'vggish'"),
        ("init: scratch", "init: scrach", r":14: rows\.deaf\.init: 'scrach' does not match"),
        ("deaf: {", "deaf: {inputs: {front_ends: [vgish_mel]}, ", r":14: rows\.deaf\.inputs\.front_ends: unknown"),
        (
            "deaf: {",
            "deaf: {inputs: {front_ends: {default: [vggish_mel], s4: [vgish_mel]}}, ",
            r":14: rows\.deaf\.inputs\.front_ends\.s4: unknown front end",
        ),
        ("deaf: {", "deaf: {arrays: {ms3: {vgish_mel: x}}, ", r":14: rows\.deaf\.arrays\.ms3: unknown front end"),
        ("deaf: {", "deaf: {features: {maskige: {generator: nome}}, ", r":14: rows\.deaf[\s\S]*mask generator 'nome'"),
        ("deaf: {", "deaf: {features: {maskige: {generater: none}}, ", r":14: unknown key 'generater' in rows\."),
        (
            "deaf: {",
            "deaf: {features: {maskige: {generator: felzenszwalb, options: {sgma: 1}}}, ",
            r":14: rows\.deaf\.features\.maskige\.options: unknown option of felzenszwalb[\s\S]*'sigma'",
        ),
        ("eval: {}", "eval: {variant: tpavi-r50}", r": which variant do the rows change\?[\s\S]*one: eval"),
        ("variants: [etavs-r50]\n", "", ": which variant do the rows change"),
    ],
)  # fmt: skip
def test_a_fault_names_file_line_and_nearest(folder, old, new, message):
    assert old in STUDY
    (folder / "frozen.yaml").write_text(STUDY.replace(old, new, 1))
    with pytest.raises(AvsbenchError, match=r"frozen\.yaml" + message):
        planned()


def test_a_fault_in_a_list_of_several_lines_names_its_line(folder):
    (folder / "frozen.yaml").write_text(STUDY.replace("[ms3, s4]", "\n  - ms3\n  - s5"))
    with pytest.raises(AvsbenchError, match=r"frozen\.yaml:5: datasets: unknown data set 's5'"):
        planned()


def test_an_unknown_study_is_said_while_planning(frozen):
    with pytest.raises(AvsbenchError, match=r"unknown study 'frozem'[\s\S]*'frozen'"):
        planned("frozem")


@pytest.mark.parametrize("name", study_cards.study_files())
def test_studies_of_the_suite_are_valid_and_compare_something(name):
    found = study_cards.study(name)
    studies.check(found)
    assert len(found.rows) > 1
    assert found.question.strip().endswith("?")
    for scale in ("mini", "full"):
        variants = {line.variant for line in planned(name, scale=scale).lines}
        assert len(variants) > 1
    assert json.dumps(found.rows)


# encoders without a file


def test_random_encoders_that_stay_frozen_are_stored_with_the_run(folder, tmp_path):
    """Nothing else knows them: a network built for prediction has other random numbers."""
    (folder / "frozen.yaml").write_text(STUDY.replace("{audio: null}", "{audio: null, visual: null}"))
    variant, paths = cards.variant("etavs-r50@frozen.deaf"), planned().paths
    trained = build(variant, "ms3", "mini", 64)
    assert sorted(trained.external_prefixes()) == ["audio.", "visual."]
    registry.load_encoders(trained, variant, "ms3", "mini", paths)
    assert trained.external_prefixes() == []
    file = tmp_path / "weights.safetensors"
    save_weights(file, trained.own_state(), {})
    loaded = registry.load_method(variant, "ms3", scale="mini", image_size=64, paths=paths, weights=file)
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in trained.state_dict().items())
