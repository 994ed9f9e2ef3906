"""Which features there are, who makes each, and what a plan makes of cards and configuration."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from avsbench import cards, doctor, features
from avsbench.clean import find
from avsbench.closed_yaml import read_yaml
from avsbench.config import check_config
from avsbench.datasets import space
from avsbench.digest import stage
from avsbench.errors import AvsbenchError
from avsbench.features import FEATURES, GeneratorCard
from avsbench.features.settings import check_card, resolve, scale_defaults
from avsbench.media import front_ends
from avsbench.paths import Paths
from avsbench.plan import Plan
from avsbench.report.failures import find_failures
from avsbench.report.failures import stages as stages_of
from avsbench.report.verify import masks_as_published
from tests.unit.small_method import write_method

NAME = "small-small"


@pytest.fixture
def seeing(tmp_path, monkeypatch):
    """inputs, features of the variant, … -> the card of a method that sees features."""
    monkeypatch.setenv("AVSBENCH_MODELS", str(tmp_path / "models"))

    def write(names, said=None, **more):
        shutil.rmtree(tmp_path / "models", ignore_errors=True)
        path = write_method(tmp_path / "models").path
        content = yaml.safe_load(path.read_text())
        content["inputs"] = {"front_ends": [], "features": names}
        content["variants"][NAME]["features"] = said or {}
        path.write_text(yaml.safe_dump({**content, **more}))
        cards._method_cards.cache_clear()
        return path

    yield write
    cards._method_cards.cache_clear()


def planned(tmp_path, scale="mini", dataset="ms3", **more):
    roots = {f"{name}_root": str(tmp_path / name) for name in ("data", "results", "weights")}
    return Plan(check_config({"scale": scale, "runs": {dataset: [NAME, "saliency"]}, "seeds": [0], **roots, **more}))


# what there is


def test_schemas_scales_and_generators_know_the_same_features():
    schema = yaml.safe_load((cards.PACKAGE / "schemas/config.yaml").read_text())["$defs"]
    assert schema["feature"]["enum"] == list(schema["features"]["properties"]) == list(FEATURES)
    for scale in cards.SCALES:
        assert set(scale_defaults(scale)) == set(FEATURES)
        for name in FEATURES:
            assert resolve(name, Paths(scale)).feature == name


@pytest.mark.parametrize("feature", FEATURES)
def test_every_generator_can_be_planned(feature):
    assert features.generators(feature)
    for name, card in features.generators(feature).items():
        assert card.name == name
        if card.module is not None:
            assert len(stage("features", parts=(card.module,))) == 16  # the module exists
        assert all(map(front_ends.has_family, card.front_ends))
        for scale in ("mini", "full"):
            setting = resolve(feature, Paths(scale), {"generator": name})
            dtype, shape = setting.frame((224, 224))
            assert dtype in ("uint8", "float16", "float32")
            assert all(isinstance(length, int) for length in shape)
            assert all(encoder in cards.encoder_cards().values() for encoder in setting.files.values())


def test_maskiges_keep_their_names():
    """What was derived before there were other features is found again."""
    assert resolve("maskige", Paths("mini")).stored == "maskige-felzenszwalb-4eae7f83"
    assert resolve("maskige", Paths("full")).stored == "maskige-semantic_sam-dd2ed62f"
    assert resolve("maskige", Paths("mini"), {"generator": "none"}).stored == "maskige-none-9f725d62"


def test_a_generator_of_another_feature_is_no_generator():
    with pytest.raises(AvsbenchError, match=r"features.heatmap.generator(.|\n)*felzenszwalb(.|\n)*one of audioclip"):
        resolve("heatmap", Paths("mini"), {"generator": "felzenszwalb"})
    with pytest.raises(AvsbenchError, match="files"):  # index images do not hold what lies below
        resolve("proposals", Paths("mini"), {"generator": "files"})


def test_a_type_that_arrays_cannot_have_is_named():
    with pytest.raises(AvsbenchError, match=r"options.precision: unknown choice 'bfloat16'(.|\n)*mean 'float16'"):
        resolve("image_embedding", Paths("full"), {"options": {"precision": "bfloat16"}})
    setting = resolve("image_embedding", Paths("full"), {"options": {"precision": "float32"}})
    assert setting.frame((224, 224)) == ("float32", (256, 64, 64))


@pytest.mark.parametrize("scale", ["mini", "full"])
@pytest.mark.parametrize("feature", FEATURES)
def test_masks_alone_are_made_of_original_pictures(feature, scale):
    """They are cropped or squashed as the frames were; a prompt in pixels of a frame means nothing in the original."""
    if FEATURES[feature].of_masks:
        assert resolve(feature, Paths(scale), {"pictures": "native"}).pictures == "native"
        return
    with pytest.raises(AvsbenchError, match=rf"{feature}.pictures: what \w+ makes(.|\n)*expected: stored"):
        resolve(feature, Paths(scale), {"pictures": "native"})


# weights


def test_stand_ins_are_the_weights_at_mini_where_there_are_any():
    assert resolve("heatmap", Paths("mini")).weights == "weights/mini/audioclip.safetensors"
    assert resolve("heatmap", Paths("full")).weights == "weights/AudioCLIP-Full-Training.pt"
    assert resolve("maskige", Paths("mini"), {"generator": "sam"}).weights == "weights/sam_vit_h_4b8939.pth"
    gpus = {name: resolve("heatmap", Paths(name)).gpu(name) for name in ("mini", "full")}
    assert gpus == {"mini": False, "full": True}
    assert resolve("maskige", Paths("mini"), {"generator": "sam"}).gpu("mini")  # there is no small one


def test_an_option_of_every_data_set_is_said_whole():
    paths = Paths("mini")
    card = {"options": {"k": {"default": 1, "s4": 3, "ms3": 2}}}
    assert resolve("boxes", paths, card=card).options["k"] == card["options"]["k"]
    chosen = resolve("boxes", paths, {"options": {"k": {"default": 2}}}, card=card)
    assert chosen.options["k"] == {"default": 2}
    # What a job is told wins over a configuration file that says something else.
    file = {"options": {"k": {"default": 1, "avss": 5}}}
    assert resolve("boxes", paths, file, chosen.chosen).stored == chosen.stored


def test_weights_of_several_roles_are_named_one_by_one(tmp_path):
    paths = Paths("full", weights_root=str(tmp_path / "weights"))
    published = resolve("boxes", paths)
    assert isinstance(published.weights, dict)
    role = next(iter(published.weights))
    mine = tmp_path / "mine.bin"
    mine.write_bytes(b"mine")
    chosen = resolve("boxes", paths, {"weights": {role: str(mine)}})
    assert chosen.weights == {**published.weights, role: str(mine)}
    assert {
        name for name in chosen.weights_digest if chosen.weights_digest[name] != published.weights_digest[name]
    } == {role}
    assert chosen.stored != published.stored
    assert resolve("boxes", paths, json.loads(json.dumps(chosen.chosen))) == chosen  # what verbs are told
    for wrong, message in (
        ({"weights": str(mine)}, f"weights: not what(.|\n)*{role}: FILE"),
        ({"weights": {"x": "y"}}, "'x'"),
    ):
        with pytest.raises(AvsbenchError, match=message):
            resolve("boxes", paths, wrong)
    with pytest.raises(AvsbenchError, match=r"weights: not what audioclip takes(.|\n)*one file"):
        resolve("heatmap", paths, {"weights": {"visual": str(mine)}})


# options


def test_an_option_may_differ_between_data_sets(monkeypatch):
    import sys
    import types

    seen = []
    module = types.SimpleNamespace(build=lambda **given: seen.append(given))
    monkeypatch.setitem(sys.modules, "counting", module)
    card = GeneratorCard(
        "counting", "", 1, ("boxes",), module="counting", options={"k": {"default": 1, "ms3": 2}, "o": {"a": 1}}
    )
    monkeypatch.setitem(features.generators("boxes"), "counting", card)
    for chosen, expected in (({}, [1, 2]), ({"k": 4}, [4, 4]), ({"k": {"default": 3, "s4": 5}}, [5, 3])):
        setting = resolve("boxes", Paths("mini"), {"generator": "counting", "options": chosen})
        for dataset in ("s4", "ms3"):
            features.build(card, setting.options, None, "cpu", "mini", dataset)
        assert [given["k"] for given in seen[-2:]] == expected
        assert seen[-1] == {"weights": None, "device": "cpu", "scale": "mini", "k": expected[1], "o": {"a": 1}}
    with pytest.raises(AvsbenchError, match=r"k: not of the kind"):
        resolve("boxes", Paths("mini"), {"generator": "counting", "options": {"k": {"default": "many"}}})


def test_a_card_speaks_below_the_configuration_and_above_the_scale():
    said = {"options": {"amplitude": "reference", "precision": "float32"}}  # the latter of another generator
    paths = Paths("mini")
    assert resolve("heatmap", paths, card=said).options["amplitude"] == "reference"
    assert "precision" not in resolve("heatmap", paths, card=said).options
    louder = resolve("heatmap", paths, {"options": {"amplitude": "fixed"}}, card=said)
    assert louder == resolve("heatmap", paths, {"options": {"amplitude": "fixed"}})
    masks = {"options": {"min_size": 7, "points_per_side": 8}}
    assert resolve("proposals", paths, card=masks).options == {"scale": 300.0, "sigma": 0.5, "min_size": 7}
    other = resolve("proposals", paths, {"generator": "sam"}, card=masks)  # the card's options are of no one generator
    assert (other.options["points_per_side"], "min_size" in other.options) == (8, False)
    assert resolve("proposals", paths, card={"generator": "none"}).generator == "none"
    assert resolve("proposals", paths, {"generator": "felzenszwalb"}, card={"generator": "none"}).generator != "none"


def test_the_card_of_a_variant_is_part_of_its_settings(tmp_path, seeing):
    seeing(["heatmap"], {"heatmap": {"options": {"amplitude": "reference"}}})
    plan = planned(tmp_path)
    assert plan.features(NAME)["heatmap"].options["amplitude"] == "reference"
    assert [run.label for run in plan.runs] == [NAME, "saliency"]  # the variant's name says it
    assert plan.features(NAME)["heatmap"].stored in plan.run_settings("ms3", NAME)
    louder = planned(tmp_path, features={"heatmap": {"options": {"amplitude": "fixed"}}})
    assert louder.features(NAME)["heatmap"].options["amplitude"] == "fixed"


def line_of(path, word):
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if word in line)


@pytest.mark.parametrize(
    ("said", "word", "message"),
    [
        ({"heatmop": {}}, "heatmop", "unknown key 'heatmop' in variants.small-small.features(.|\n)*mean 'heatmap'"),
        ({"heatmap": {"option": {}}}, "option:", "unknown key 'option'(.|\n)*did you mean 'options'"),
    ],
)
def test_a_misspelt_key_of_a_card_is_named_with_its_line(seeing, said, word, message):
    path = seeing(["heatmap"], said)
    with pytest.raises(AvsbenchError, match=rf"method.yaml:{line_of(path, word)}: {message}"):
        read_yaml(path, "method")


@pytest.mark.parametrize(
    ("said", "word", "message"),
    [
        ({"heatmap": {"options": {"amplitud": "fixed"}}}, "amplitud", "unknown option 'amplitud'(.|\n)*'amplitude'"),
        ({"heatmap": {"options": {"side": "big"}}}, "side", r"side: not of the kind(.|\n)*int, such as 224"),
        ({"heatmap": {"generator": "audioclop"}}, "generator:", "audioclop(.|\n)*did you mean 'audioclip'"),
        ({"boxes": {"options": {}}}, "boxes", "unknown feature 'boxes'(.|\n)*one of heatmap"),  # it does not see them
    ],
)
def test_what_no_generator_has_is_named_with_its_line(tmp_path, seeing, said, word, message):
    path = seeing(["heatmap"], said)
    with pytest.raises(AvsbenchError, match=rf"method.yaml:{line_of(path, word)}: .*{message}"):
        check_card(cards.variant(NAME))
    with pytest.raises(AvsbenchError, match=message):
        planned(tmp_path).data("ms3", NAME, ("test",))


# plan


def test_sound_and_stand_ins_come_first(tmp_path, seeing):
    seeing(["heatmap"])
    plan = planned(tmp_path)
    setting = plan.features(NAME)["heatmap"]
    place = ("ms3", "test", 0, plan.shard_count("ms3", "test"))
    heard = plan.paths.audio("ms3", "audioclip_wave", *place[1:])
    inputs = plan.feature_inputs(setting.stored, *place)
    assert inputs == [plan.paths.shard(*place), heard, plan.paths.stand_in("audioclip")]
    assert "audioclip_wave" in plan.front_end_groups["ms3"][0]
    for dataset in ("s4", "avss"):  # what the stand-in learns from
        assert set(cards.encoder("audioclip").front_ends) <= set(plan.front_end_groups[dataset][0])
    assert heard not in plan.data("ms3", NAME, ("test",))  # the feature holds what was heard
    assert planned(tmp_path, runs={"ms3": ["saliency"]}).front_end_groups == {}


@pytest.mark.parametrize(
    ("trainable", "seeds", "splits"),
    [(True, [0], ["train", "val", "test"]), (True, ["official"], ["test"]), (False, [0], ["test"])],
)
def test_only_splits_that_a_run_reads_are_counted(tmp_path, seeing, trainable, seeds, splits):
    official = {"official": {"file": "x.pth"}}
    seeing(["image_embedding"], **({**official} if trainable else {"trainable": False}))
    plan = planned(tmp_path, seeds=seeds)
    stored = plan.features(NAME)["image_embedding"].stored
    assert plan.feature_splits("ms3", stored) == splits
    assert plan.feature_splits("s4", stored) == []


def test_the_disk_is_asked_for_the_type_and_the_splits_that_are_read(tmp_path, seeing, monkeypatch):
    seeing(["image_embedding"], trainable=False, datasets=["s4"])
    plan = planned(tmp_path, "full", "s4")
    setting = plan.features(NAME)["image_embedding"]
    asked = []
    monkeypatch.setattr(space, "free_bytes", lambda path: 5e9)
    with pytest.raises(
        AvsbenchError, match=r"image_embedding-sam-\w+ of s4 test \(float16 \[256, 64, 64\] a frame\)"
    ) as error:
        space.before_features(cards.dataset("s4"), plan, setting, "test")
    assert "about 7.8 GB" in str(error.value)
    monkeypatch.setattr(space, "require", lambda path, needed, what: asked.append((needed, what)))
    space.before_features(cards.dataset("s4"), plan, setting, "test")
    assert asked[0][0] == 740 * 5 * 256 * 64 * 64 * 2
    count = plan.shard_count("s4", "test")
    shard = Path(plan.paths.features("s4", setting.stored, "test", 0, count))
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"")
    space.before_features(cards.dataset("s4"), plan, setting, "test")
    assert asked[1][0] == pytest.approx(asked[0][0] * (count - 1) / count)
    space.before_features(cards.dataset("s4"), plan, setting, "val")  # by hand, although no run sees it
    assert asked[2][1].startswith(f"{setting.stored} of s4 val, test (")


def test_arrays_of_temporary_features_have_a_rule_of_their_own(tmp_path, seeing):
    every = "|".join(FEATURES)
    assert planned(tmp_path, runs={"ms3": ["saliency"]}).feature_rules == [("features", every, False)]
    kept = "maskige|proposals|heatmap|boxes"
    plan = planned(tmp_path, runs={"ms3": ["saliency"]}, temporary=["image_embedding"])
    assert plan.feature_rules == [("features", kept, False), ("features_temporary", "image_embedding", True)]
    every = planned(tmp_path, runs={"ms3": ["saliency"]}, temporary=list(FEATURES)).feature_rules
    assert [rule for rule, *_ in every] == ["features_temporary"]
    with pytest.raises(AvsbenchError, match=r"temporary.0: 'image_embeding' is not one of(.|\n)*image_embedding"):
        planned(tmp_path, runs={"ms3": ["saliency"]}, temporary=["image_embeding"])


def test_rows_name_a_generator_that_the_scale_does_not_choose(tmp_path, seeing):
    seeing(["maskige", "proposals", "image_embedding"])
    labels = {
        NAME + "+felzenszwalb": {},
        NAME + "+felzenszwalb+none": {"proposals": {"generator": "none"}},
        NAME + "+none": {"maskige": {"generator": "none"}, "proposals": {"options": {"min_size": 9}}},
        NAME + "+felzenszwalb+sam": {"image_embedding": {"generator": "sam"}},
    }
    for label, chosen in labels.items():
        run = planned(tmp_path, features=chosen).runs[0]
        assert (run.label, len(run.features)) == (label, 3)
        assert not masks_as_published(run)
    seeing(["proposals", "heatmap"])
    assert masks_as_published(planned(tmp_path, "full").runs[0])


def test_features_that_no_run_sees_can_go(tmp_path, seeing):
    seeing(["proposals"])
    plan = planned(tmp_path)
    seen = plan.features(NAME)["proposals"].stored
    gone = "image_embedding-sam-6c2e1cb6"
    for stored in (seen, gone, "maskige_released"):  # the last was imported
        file = Path(plan.paths.features("ms3", stored, "test", 0, 1))
        file.parent.mkdir(parents=True)
        file.write_bytes(b"1234")
    assert find(plan) == []
    (item,) = find(plan, features=True)
    assert (item.path.name, item.size) == (gone, 4)
    assert find(plan, features=True, dataset="s4") == []


# what is said about it


def write(file, text="{}"):
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(text)


@pytest.mark.parametrize(("scale", "of"), [("mini", "pretrain"), ("full", "weights")])
def test_weights_of_a_feature_are_named_where_they_failed(tmp_path, seeing, scale, of):
    seeing(["heatmap"], trainable=False)
    plan = planned(tmp_path, scale)
    stages = list(stages_of(plan, plan.runs[0]))
    names = [stage for stage, *_ in stages]
    assert names.index("audio") < names.index("pretrained encoder") < names.index("features")
    log = next(log for stage, _, log in stages if stage == "pretrained encoder")
    assert f"/{of}/" in log
    for _, outputs, _ in stages[: names.index("pretrained encoder")]:
        for file in outputs:
            write(file)
    write(log, "no route to host\n")
    failure = find_failures(plan)[plan.runs[0]]
    assert (failure.status, failure.reason) == ("failed", "pretrained encoder: no route to host")


def test_arrays_that_went_are_no_failure(tmp_path, seeing):
    seeing(["image_embedding"], trainable=False)
    plan = planned(tmp_path, temporary=["image_embedding"])
    stages = list(stages_of(plan, plan.runs[0]))
    for _, outputs, _ in stages[:-1]:
        for file in outputs:
            write(file)
    assert not list(tmp_path.glob("data/mini/ms3/features/*/*.h5"))
    write(stages[-1][2], "the disk is full\n")
    assert find_failures(plan)[plan.runs[0]].reason == "score: the disk is full"


def test_the_doctor_looks_for_sound_and_weights_of_features(tmp_path, seeing):
    seeing(["heatmap"])
    file = tmp_path / "config.yaml"
    for scale, text in (("mini", "the workflow trains this stand-in"), ("full", "the workflow downloads")):
        file.write_text(yaml.safe_dump(planned(tmp_path, scale).config))
        findings = doctor.diagnose(file)
        (weights,) = [found for found in findings if (found.section, found.name) == ("weights", "audioclip")]
        assert (weights.mark, text in weights.text) == ("to do", True)
        assert any("audioclip_wave 0 of" in found.text for found in findings if found.name == "ms3 test")
