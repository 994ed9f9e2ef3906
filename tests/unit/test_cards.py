"""Cards: closed schemas whose errors name the file, the line and the nearest key."""

import shutil

import pytest

from avsbench import cards
from avsbench.errors import AvsbenchError


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    """A folder of methods beside the project's, holding a copy of the saliency card under another name."""
    folder = tmp_path / "methods" / "mine"
    shutil.copytree(cards.PROJECT / "models" / "saliency", folder)
    card = folder / "method.yaml"
    card.write_text(card.read_text().replace("name: saliency", "name: mine").replace("  saliency: {", "  mine: {"))
    monkeypatch.setenv("AVSBENCH_MODELS", str(tmp_path / "methods"))
    return card


def edit(card, old, new):
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))


def test_extra_folder_is_discovered(own_models):
    assert "mine" in cards.method_cards()
    assert cards.variant("mine").method.path == own_models


def test_templates_are_not_methods():
    assert not any(name.startswith("_") for name in cards.method_cards())


def test_misspelt_key_names_file_line_and_nearest_key(own_models):
    edit(own_models, "fscore_batch:", "fscor_batch:")
    with pytest.raises(AvsbenchError) as error:
        cards.method_cards()
    line = next(n for n, text in enumerate(own_models.read_text().splitlines(), 1) if text.startswith("fscor_batch"))
    assert f"{own_models}:{line}" in str(error.value)
    assert "did you mean 'fscore_batch'" in str(error.value)


def test_nested_misspelt_key(own_models):
    edit(own_models, "inputs: {front_ends: []}", "inputs: {frontends: []}")
    with pytest.raises(AvsbenchError, match=r"unknown key 'frontends' in inputs(.|\n)*front_ends"):
        cards.method_cards()


def test_unknown_dataset_in_card(own_models):
    edit(own_models, "datasets: [s4, ms3]", "datasets: [s4, mss3]")
    with pytest.raises(AvsbenchError, match=r"unknown data set 'mss3'(.|\n)*did you mean 'ms3'"):
        cards.method_cards()


def test_name_and_folder_must_agree(own_models):
    edit(own_models, "name: mine", "name: yours")
    with pytest.raises(AvsbenchError, match="differs from the place"):
        cards.method_cards()


def test_taken_method_name(own_models):
    folder = own_models.parent.with_name("saliency")
    own_models.parent.rename(folder)
    edit(folder / "method.yaml", "name: mine", "name: saliency")
    with pytest.raises(AvsbenchError, match="is taken"):
        cards.method_cards()


def test_trainable_method_needs_recipes(own_models):
    edit(own_models, "trainable: false\n", "")
    with pytest.raises(AvsbenchError, match="needs recipes"):
        cards.method_cards()


def test_broken_yaml_names_the_line(own_models):
    own_models.write_text("name: mine\ntitle: [\n")
    with pytest.raises(AvsbenchError, match=r"method\.yaml:\d+: not valid YAML"):
        cards.method_cards()


def test_recipe_layers(own_models):
    recipe = cards.variant("tpavi-r50").recipe("full", "avss", {"optimizer": {"lr": 0.5}})
    assert recipe["epochs"] == 60
    assert recipe["optimizer"] == {"name": "adam", "lr": 0.5, "weight_decay": 0.0}
    assert cards.variant("tpavi-r50").recipe("full", "s4")["epochs"] == 15


def test_encoders_may_differ_between_data_sets(own_models):
    choice = "encoders: {visual: resnet50, audio: {default: vggish, ms3: resnet18}}"
    edit(own_models, "encoders: {}", choice)
    assert cards.variant("mine").encoders_on("s4") == {"visual": "resnet50", "audio": "vggish"}
    assert cards.variant("mine").encoders_on("ms3") == {"visual": "resnet50", "audio": "resnet18"}


def test_an_encoder_of_an_unknown_data_set(own_models):
    edit(own_models, "encoders: {}", "encoders: {visual: {default: resnet50, ms4: resnet18}}")
    with pytest.raises(AvsbenchError, match=r"encoders: unknown data set 'ms4'"):
        cards.method_cards()


def test_inputs_may_differ_between_variants(own_models):
    edit(own_models, "inputs: {front_ends: []}", "inputs: {front_ends: [cavp_mel], grids: [native]}")
    edit(own_models, "  mine: {", "  mine-stereo: {inputs: {front_ends: [cavp_mel_stereo]}}\n  mine: {")
    plain, stereo = cards.variant("mine"), cards.variant("mine-stereo")
    assert (plain.front_ends_on("avss"), stereo.front_ends_on("vpo_ms")) == (["cavp_mel"], ["cavp_mel_stereo"])
    assert [v.grids_on(cards.dataset("avss")) for v in (plain, stereo)] == [["common", "native"]] * 2
    assert plain.inputs == plain.method.inputs


def test_front_ends_may_differ_between_data_sets(own_models):
    edit(own_models, "inputs: {front_ends: []}", "inputs: {front_ends: {default: [msai_512], ms3: [combo_mel]}}")
    mine = cards.variant("mine")
    assert (mine.front_ends_on("s4"), mine.front_ends_on("ms3")) == (["msai_512"], ["combo_mel"])
    assert mine.inputs_on("ms3") == {"front_ends": ["combo_mel"]}


def test_front_ends_of_an_unknown_data_set(own_models):
    edit(own_models, "inputs: {front_ends: []}", "inputs: {front_ends: {default: [msai_512], ms4: [combo_mel]}}")
    with pytest.raises(AvsbenchError, match=r"inputs.front_ends: unknown data set 'ms4'"):
        cards.method_cards()


def test_a_native_grid_only_where_it_differs(own_models):
    edit(own_models, "inputs: {front_ends: []}", 'inputs: {grids: ["512", native]}')
    variant = cards.variant("mine")
    assert variant.grids_on(cards.dataset("avss")) == ["common", "512", "native"]
    assert variant.grids_on(cards.dataset("vpo_ms")) == ["common", "512"]


def test_clips_per_call_of_f_may_differ_between_variants_and_data_sets(own_models):
    calls = {name: [v.fscore_batch_on(of) for of in ("s4", "ms3")] for name, v in cards.variants().items()}
    assert (calls["etavs-pvt"], calls["etavs-r50"], calls["mine"]) == ([4, 1], [4, 4], [1, 1])
    assert (calls["avsegformer-r50"], calls["avsegformer-first-r50"]) == ([2, 2], [4, 4])


def test_clips_per_call_of_f_on_an_unknown_data_set(own_models):
    edit(own_models, "  mine: {", "  mine: {fscore_batch: {default: 1, ms4: 2}, ")
    with pytest.raises(AvsbenchError, match=r"fscore_batch: unknown data set 'ms4'"):
        cards.method_cards()


def test_misspelt_input_of_a_variant(own_models):
    edit(own_models, "  mine: {", "  mine: {inputs: {nativ: true}, ")
    with pytest.raises(AvsbenchError, match=r"method\.yaml:\d+: unknown key 'nativ'(.|\n)*did you mean 'native'"):
        cards.method_cards()


def test_unknown_names_suggest():
    with pytest.raises(AvsbenchError, match="did you mean 'tpavi-r50'"):
        cards.variant("tpavi-r5")
    with pytest.raises(AvsbenchError, match="did you mean 'ms3'"):
        cards.dataset("ms33")


def test_merge_leaves_its_arguments_alone():
    base, over = {"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}, "c": [2]}
    assert cards.merge(base, over) == {"a": {"b": 1, "d": 2}, "c": [2]}
    assert base == {"a": {"b": 1}, "c": [1]}


def test_avss_has_the_71_official_classes():
    classes = cards.dataset("avss").classes
    assert len(classes) == len(set(classes)) == 71
    assert classes[0] == "background"
    assert classes[70] == "woman"
    assert classes[28] == "guitar"
