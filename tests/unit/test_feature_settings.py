"""What makes a feature: resolved from configuration and scale, named in every path, and asked for by the plan."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from avsbench import cards, features
from avsbench.config import check_config
from avsbench.errors import AvsbenchError
from avsbench.features.settings import resolve
from avsbench.paths import Paths
from avsbench.plan import Plan, Run
from avsbench.report.leaderboard import write_leaderboard
from tests.unit.report_runs import make_run, paths_in
from tests.unit.small_method import write_method

NAME = "small-small"


@pytest.fixture
def seeing(tmp_path, monkeypatch):
    """A method that sees maskiges."""
    monkeypatch.setenv("AVSBENCH_MODELS", str(tmp_path / "models"))
    card = write_method(tmp_path / "models").path
    card.write_text(card.read_text().replace("front_ends: [vggish_mel]", "features: [maskige]"))
    cards._method_cards.cache_clear()
    yield
    cards._method_cards.cache_clear()


def planned(tmp_path, chosen=None, scale="mini", **more):
    config = {"scale": scale, "runs": {"ms3": [NAME, "saliency"]}, "seeds": [0], "data_root": str(tmp_path / "data")}
    config |= {"results_root": str(tmp_path / "results"), "weights_root": str(tmp_path / "weights"), **more}
    return Plan(check_config(config | ({"features": {"maskige": chosen}} if chosen else {})))


# settings


def test_scales_choose_and_the_configuration_is_laid_over(tmp_path):
    mini, full = Paths("mini"), Paths("full", weights_root=str(tmp_path))
    default = resolve("maskige", mini)
    assert default.generator == "felzenszwalb"
    finer = resolve("maskige", mini, {"options": {"min_size": 5}})
    assert finer.options == {**default.options, "min_size": 5}
    other = resolve("maskige", mini, {"generator": "none"})
    assert (other.generator, other.options) == ("none", {})  # the scale's options belong to its generator
    back = resolve("maskige", mini, {"generator": "none"}, {"generator": "felzenszwalb"})
    assert back.options == features.generator("felzenszwalb").options
    published = resolve("maskige", full)
    assert published.generator == "semantic_sam"
    assert published.weights == f"{tmp_path}/swinl_only_sam_many2many.pth"
    assert resolve("maskige", full, {"options": {"backbone": "swin_t"}}).weights.endswith(
        "/swint_only_sam_many2many.pth"
    )


def test_everything_that_decides_about_masks_is_in_the_name(tmp_path, monkeypatch):
    paths = Paths("mini")
    names = [resolve("maskige", paths, chosen).stored for chosen in ({}, {"generator": "none"}, {"pictures": "native"})]
    names += [resolve("maskige", paths, {"options": {"sigma": 0.25}}).stored]
    monkeypatch.setitem(features.generators(), "felzenszwalb", replace(features.generator("felzenszwalb"), version=2))
    names += [resolve("maskige", paths).stored]
    assert len(set(names)) == 5
    assert all(name.startswith(("maskige-felzenszwalb-", "maskige-none-")) for name in names)


def test_the_digest_of_named_weights_is_in_the_name(tmp_path):
    paths = Paths("mini", weights_root=str(tmp_path / "w"))
    file = tmp_path / "mine.pth"
    file.write_bytes(b"first")
    chosen = {"generator": "semantic_sam", "weights": str(file)}
    first = resolve("maskige", paths, chosen)
    assert first.weights_digest == hashlib.sha256(b"first").hexdigest()
    moved = tmp_path / "elsewhere.pth"
    moved.write_bytes(b"first")
    assert resolve("maskige", paths, {**chosen, "weights": str(moved)}).stored == first.stored
    noted = json.loads(Path(paths.weights("digests.json")).read_text())
    assert sorted(noted.values()) == [first.weights_digest] * 2
    file.write_bytes(b"second")
    assert resolve("maskige", paths, chosen).stored != first.stored
    file.unlink()
    message = r"mine.pth: the weights of semantic_sam(.|\n)*891 MB(.|\n)*UX-Decoder"
    with pytest.raises(AvsbenchError, match=message):
        resolve("maskige", paths, chosen)
    file.mkdir()  # such as the folder of an encoder of several files
    with pytest.raises(AvsbenchError, match=message.replace("891", "a folder(.|\n)*891")):
        resolve("maskige", paths, chosen)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"generator": "semantic-sam"}, "did you mean 'semantic_sam'"),
        ({"generator": "felzenszwalb", "options": {"sigmo": 1}}, "did you mean 'sigma'"),
        ({"generator": "felzenszwalb", "options": {"min_size": 1.5}}, r"min_size(.|\n)*1.5(.|\n)*int, such as 100"),
        ({"generator": "semantic_sam", "options": {"levels": 3}}, r"levels(.|\n)*list, such as"),
        ({"generator": "none", "weights": "x.pth"}, "none takes no weights"),
        ({"generater": "none"}, "generater"),
        ({"pictures": "originals"}, "originals"),
    ],
)
def test_what_does_not_exist_is_named(tmp_path, chosen, message):
    with pytest.raises(AvsbenchError, match=message):
        planned(tmp_path, chosen, runs={"ms3": ["saliency"]})


@pytest.mark.parametrize(
    ("chosen", "message"),
    [({"generater": "none"}, "unknown key 'generater'(.|\n)*did you mean 'generator'"), ({"pictures": "old"}, "'old'")],
)
def test_what_no_schema_has_seen_is_checked_as_well(chosen, message):
    """Options of verbs and of `avsbench.load` come without a configuration."""
    with pytest.raises(AvsbenchError, match=message):
        resolve("maskige", Paths("mini"), chosen)


def test_files_without_a_folder_are_refused_while_planning(tmp_path, seeing):
    with pytest.raises(AvsbenchError, match=r"options.root: files needs a folder(.|\n)*generator: files"):
        planned(tmp_path, {"generator": "files"}).data("ms3", NAME, ("train",))
    planned(tmp_path, {"generator": "files"}, runs={"ms3": ["saliency"]}).data("ms3", "saliency", ("train",))


def test_options_of_another_generator_are_named_when_a_run_wants_them(tmp_path, seeing):
    with pytest.raises(AvsbenchError, match="points_per_side"):
        planned(tmp_path, {"options": {"points_per_side": 8}}).data("ms3", NAME, ("train",))


# plan


def test_the_plan_derives_what_a_card_asks_for_and_nothing_else(tmp_path, seeing):
    plan = planned(tmp_path)
    name = plan.features(NAME)["maskige"].stored
    shards = plan.paths.features("ms3", name, "train", 0, plan.shard_count("ms3", "train"))
    assert shards in plan.data("ms3", NAME, ("train", "val"))
    assert not [file for file in plan.data("ms3", NAME, ("train", "val")) if "/test." in file]
    assert not [file for file in plan.data("ms3", "saliency", ("test",)) if "features" in file]
    assert list(plan.feature_settings) == [name]
    assert plan.feature_inputs(name, "ms3", "train", 0, 1) == [plan.paths.shard("ms3", "train", 0, 1)]
    assert plan.feature_gpus(name) == 0
    with pytest.raises(AvsbenchError, match="no run of this configuration sees"):
        plan.feature_setting("maskige-none-00000000")


def test_weights_and_originals_are_inputs_where_they_are_needed(tmp_path, seeing):
    plan = planned(tmp_path, {"pictures": "native"}, scale="full")
    name = plan.features(NAME)["maskige"].stored
    place = ("avss", "train", 0, 8)
    found = plan.feature_inputs(name, *place)
    weights = plan.paths.weights("swinl_only_sam_many2many.pth")
    assert found == [plan.paths.shard(*place), plan.paths.native(*place), weights]
    assert plan.feature_gpus(name) == 1
    assert planned(tmp_path, {"pictures": "native"}, scale="full", device="cpu").feature_gpus(name) == 0


def test_a_generator_without_a_network_waits_for_no_gpu(tmp_path, monkeypatch):
    import yaml

    from avsbench.cli import main
    from avsbench.store import features as stage

    file, devices = tmp_path / "config.yaml", []
    file.write_text(yaml.safe_dump({"scale": "mini", "runs": {"ms3": ["saliency"]}, "seeds": [0], "device": "cuda"}))
    monkeypatch.delenv("AVSBENCH_DEVICE", raising=False)
    monkeypatch.setattr(stage, "feature_shard", lambda **job: devices.append(job["device"]))
    where = ["--config", str(file), "--data-root", str(tmp_path / "data")]
    assert main(["features", "--dataset", "ms3", "--split", "val", "--shard", "0", *where]) == 0
    assert devices == ["cpu"]


def test_another_generator_makes_another_run(tmp_path, seeing):
    ours, none = planned(tmp_path), planned(tmp_path, {"generator": "none"})
    assert ours.run_settings("ms3", NAME) != none.run_settings("ms3", NAME)
    assert ours.run_settings("ms3", "saliency") == none.run_settings("ms3", "saliency")
    chosen = json.loads(none.features_option(NAME)[1])
    assert resolve("maskige", none.paths, chosen["maskige"]) == none.features(NAME)["maskige"]
    assert none.features_option("saliency") == []
    assert [run.label for run in none.runs] == [f"{NAME}+none", "saliency"]


def test_a_study_lays_its_generator_over_the_configuration(tmp_path, seeing, monkeypatch):
    monkeypatch.setenv("AVSBENCH_STUDIES", str(tmp_path))
    (tmp_path / "masks.yaml").write_text(
        f"title: masks\nquestion: do they help?\ndatasets: [ms3]\nvariants: [{NAME}]\n"
        "rows: {plain: , none: {features: {maskige: {generator: none}}}}\n"
    )
    study = (tmp_path / "masks.yaml").read_text()
    (tmp_path / "wrong.yaml").write_text(study.replace("generator: none", "options: {sigmo: 1}"))
    plan = planned(tmp_path, study="masks")
    assert [run.label for run in plan.runs] == [f"{NAME}+felzenszwalb", f"{NAME}@masks.none+none"]
    assert len(plan.feature_settings) == 2
    with pytest.raises(AvsbenchError, match=rf"{NAME}@wrong.none: (.|\n)*did you mean 'sigma'"):
        planned(tmp_path, study="wrong").data("ms3", f"{NAME}@wrong.none", ("train",))


# leaderboard


def test_rows_are_called_after_the_generator(tmp_path, seeing):
    paths = paths_in(tmp_path)
    setting = resolve("maskige", paths)
    run = Run("ms3", NAME, "0", features=(setting.stored,))
    made = {"maskige": {**setting.record, "stored": setting.stored}}
    make_run(paths, run, features=made)
    text = Path(write_leaderboard(runs=[run], paths=paths)).read_text()
    assert f"{NAME}+felzenszwalb" in text
    assert "maskige by felzenszwalb (scale 300.0, sigma 0.5, min_size 40)" in text
    for other in ({"generator": "none"}, {"options": {"min_size": 9}}):  # seeds of two are never one row
        plan = planned(tmp_path, other, runs={"ms3": [NAME]}, seeds=[0, 1])
        stored = plan.features(NAME)["maskige"].stored
        make_run(paths, plan.runs[1], features={"maskige": {**plan.features(NAME)["maskige"].record, "stored": stored}})
        with pytest.raises(AvsbenchError, match=rf"of another generator, or(.|\n)*{setting.stored}(.|\n)*{stored}"):
            write_leaderboard(runs=plan.runs, paths=paths)


def test_checkpoints_of_authors_are_judged_by_masks_as_published(tmp_path, capsys):
    from avsbench.report.verify import verify_runs

    def official(chosen):
        """The plan of COMBO's checkpoint on S4, scored."""
        runs = {"s4": ["combo-r50"]}
        plan = planned(tmp_path, chosen, "full", runs=runs, seeds=["official"])
        setting = plan.features("combo-r50")["maskige"]
        made = {"maskige": {**setting.record, "stored": setting.stored}}
        make_run(plan.paths, plan.runs[0], features=made, values={"miou": 0.817})
        return plan

    verify_runs(official({"generator": "semantic_sam"}), "s4", "combo-r50")
    assert "combo-r50+semantic_sam" in capsys.readouterr().out
    with pytest.raises(AvsbenchError, match=r"other masks than published(.|\n)*none(.|\n)*files or semantic_sam"):
        verify_runs(official({"generator": "none"}), "s4", "combo-r50")


# what is said about it


def test_the_stage_is_named_where_it_failed(tmp_path, seeing):
    from avsbench.report.failures import find_failures, stages

    plan = planned(tmp_path)
    run = plan.runs[0]
    for stage, outputs, log in stages(plan, run):
        if stage == "features":
            Path(log).parent.mkdir(parents=True, exist_ok=True)
            Path(log).write_text("the disk is full\n")
            break
        for file in outputs:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text("{}")
    failure = find_failures(plan)[run]
    assert (failure.status, failure.reason) == ("failed", "features: the disk is full")
    assert plan.features(NAME)["maskige"].stored in failure.log


@pytest.mark.parametrize(
    ("chosen", "mark", "text"),
    [
        ({"generator": "semantic_sam"}, "to do", "swinl_only_sam_many2many.pth: the workflow downloads 891 MB"),
        ({"generator": "files", "options": {"root": "nowhere"}}, "missing", "nowhere is no folder"),
    ],
)
def test_the_doctor_looks_for_weights_and_files(tmp_path, seeing, chosen, mark, text):
    import yaml

    from avsbench import doctor

    plan, file = planned(tmp_path, chosen), tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(plan.config))
    findings = doctor.diagnose(file)
    found = next(f for f in findings if f.section == "weights" and f.name == chosen["generator"])
    assert found.mark == mark
    assert text in found.text
    run = next(f for f in findings if f.section == "runs" and NAME in f.name)
    assert (run.mark == "missing") == (mark == "missing")
