"""One run from the store to its outputs: train, predict, official checkpoint, a method without training."""

import json
import math
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from avsbench import cards, provenance, registry
from avsbench.engine.official import describe_run, official_run
from avsbench.engine.predict import predict_run
from avsbench.engine.train import train_run
from avsbench.errors import AvsbenchError
from avsbench.evaluation.predictions import PredictionReader
from avsbench.paths import Paths
from avsbench.spec import RunSpec
from tests.unit import store_fakes
from tests.unit.small_method import CARD, MODEL, write_method

OFFICIAL = CARD + 'official: {{file: "{{variant}}_{{dataset}}.pth", note: from the authors}}\n'
SECOND = "  {name}-second: {{options: {{width: 16}}, init: 'run:s4'}}\nrecipes:"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Root and data-set card of a small store."""
    root = tmp_path_factory.mktemp("store")
    _, card = store_fakes.build(root)
    return root, card


@pytest.fixture
def world(tmp_path, monkeypatch, store):
    """Makes a RunSpec in a world where the small method and the small data set are the only ones."""
    data, card = store
    write_method(tmp_path / "models", card=OFFICIAL.replace("recipes:", SECOND, 1))
    monkeypatch.setenv("AVSBENCH_MODELS", str(tmp_path / "models"))
    known = {**cards.dataset_cards(), "avss": card}
    monkeypatch.setattr(cards, "dataset_cards", lambda: known)
    monkeypatch.setattr(cards, "method_folders", lambda: [tmp_path / "models"])
    paths = Paths("mini", str(data), str(tmp_path / "results"), str(tmp_path / "weights"))

    def make(variant="small-small", seed="0", code="c1", **recipe):
        recipe = {**cards.variant(variant).recipe("mini", "avss"), "epochs": 2, **recipe}
        return RunSpec(
            scale="mini",
            dataset="avss",
            variant=variant,
            seed=seed,
            recipe=recipe,
            image_size=store_fakes.SIZE,
            paths=paths,
            code=code,
            device="cpu",
        )

    return make


def outputs(spec):
    run = (spec.dataset, spec.variant, spec.seed)
    return [Path(p) for p in (spec.paths.run_weights(*run), spec.paths.run_json(*run), spec.paths.curves(*run))]


def test_a_run_leaves_checked_outputs_and_no_state(world):
    spec = world()
    record = train_run(spec)
    weights, run, curves = outputs(spec)
    assert json.loads(run.read_text()) == json.loads(json.dumps(provenance.finite(record)))
    assert curves.read_bytes().startswith(b"\x89PNG")
    assert not Path(spec.paths.state("avss", "small-small", "0")).exists()
    state, described = registry.read_weights(weights)
    assert described["variant"] == "small-small"
    assert "see.0.weight" in state
    assert record["selection"] == {"split": "val", "metric": "miou_avss"}
    assert record["best_epoch"] in (1, 2)
    assert record["effective_batch"] == 2
    assert record["clips"] == {"train": 7, "val": 3}
    assert record["steps"] == 8
    assert record["data"]["train"] != record["data"]["val"]
    assert record["parameters"]["total"] == record["parameters"]["trainable"] > 1000
    assert record["versions"]["torch"] == torch.__version__
    assert record["peak_memory_mb"]["rss"] > 10
    assert math.isfinite(record["validation"]["miou_avss"])
    assert not store_fakes.leftovers(weights.parent)


def test_the_test_split_is_out_of_reach(world, store, monkeypatch):
    from avsbench.engine import data

    seen = []
    original = data.ClipDataset

    def spy(paths, card, split, *arguments, **options):
        seen.append(split)
        return original(paths, card, split, *arguments, **options)

    monkeypatch.setattr(data, "ClipDataset", spy)
    train_run(world(epochs=1))
    assert sorted(seen) == ["train", "val"]


def test_same_seed_same_file_another_seed_another(world):
    def weights(seed):
        spec = world(seed=seed)
        train_run(spec)
        content = outputs(spec)[0].read_bytes()
        for file in outputs(spec):
            file.unlink()
        return content

    assert weights("3") == weights("3")
    assert registry_state(weights("3")) != registry_state(weights("4"))


def registry_state(content):
    from safetensors.torch import load

    return {key: value.numpy().tobytes() for key, value in load(content).items()}


def interrupt(monkeypatch, after):
    """The next training stops with KeyboardInterrupt in its `after`-th epoch's validation."""
    from avsbench.engine import train

    calls = [0]

    class Interrupting(train.Validator):
        def compute(self):
            calls[0] += 1
            # check_spec asks for the names of the metrics, which also computes.
            if calls[0] > after + 1:
                raise KeyboardInterrupt
            return super().compute()

        @property
        def metrics(self):
            calls[0] += 1
            return train_validator(self.card).metrics

    train_validator = train.Validator
    monkeypatch.setattr(train, "Validator", Interrupting)


def test_an_interrupted_run_continues_to_the_same_weights(world, monkeypatch):
    calm = world(seed="5")
    train_run(calm)
    expected = outputs(calm)[0].read_bytes()
    for file in outputs(calm):
        file.unlink()
    with monkeypatch.context() as patch:
        interrupt(patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            train_run(calm)
    assert not outputs(calm)[0].exists()
    record = train_run(calm)
    assert record["resumes"] == 1
    assert outputs(calm)[0].read_bytes() == expected


@pytest.mark.parametrize("what", ["code", "recipe", "data"])
def test_a_state_of_other_code_recipe_or_data_is_not_continued(world, monkeypatch, what):
    with monkeypatch.context() as patch:
        interrupt(patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            train_run(world())
    if what == "data":
        spec = world()
        shard = spec.paths.shard("avss", "train", 0, 2)
        os.utime(shard, (os.path.getmtime(shard) + 5,) * 2)
    else:
        spec = world(code="c2") if what == "code" else world(optimizer={"name": "adam", "lr": 2e-3})
    assert train_run(spec)["resumes"] == 0


def test_a_tracker_changes_nothing_but_its_own_files(world, monkeypatch):
    pytest.importorskip("tensorboard", reason="needs the package tensorboard (extra `tensorboard`)")
    plain = world(seed="6")
    train_run(plain)
    expected = outputs(plain)[0].read_bytes()
    for file in outputs(plain):
        file.unlink()
    with monkeypatch.context() as patch:
        interrupt(patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            train_run(plain)
    tracked = replace(plain, tracker="tensorboard")
    record = train_run(tracked)  # the state is that of the same run
    assert record["resumes"] == 1
    assert "tensorboard" not in json.dumps(record)
    assert outputs(plain)[0].read_bytes() == expected
    assert list(Path(tracked.paths.tracker("avss", "small-small", "6", "tensorboard")).glob("events.*"))


def test_a_tracker_that_is_not_installed_fails_before_training(world, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AvsbenchError, match=r'pip install "avsbench\[wandb\]"'):
        train_run(replace(world(), tracker="wandb"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"select": "miou_avs"}, "unknown validation metric 'miou_avs'[\\s\\S]*did you mean 'miou_avss'"),
        ({"validate": {"start": 9}}, "no epoch would be validated"),
    ],
)
def test_a_recipe_that_cannot_work_fails_before_training(world, change, message):
    with pytest.raises(AvsbenchError, match=message):
        train_run(world(**change))


def test_init_from_another_run(world):
    spec = world(variant="small-second")
    with pytest.raises(AvsbenchError, match=r"mini/s4/small-second/0/weights\.safetensors: no such weights"):
        train_run(spec)
    source = registry.build("small-small", "avss", "mini", 16)
    from avsbench.engine.checkpoint import save_weights

    file = spec.paths.run_weights("s4", "small-second", "0")
    narrow = {**source.own_state(), "head.weight": torch.zeros(1, 16, 1, 1)}
    save_weights(file, narrow, {})
    told = r"init: run:s4[\s\S]*head\.weight \[1, 16, 1, 1\] instead of \[71, 16, 1, 1\]"
    with pytest.raises(AvsbenchError, match=told):
        train_run(spec)
    save_weights(file, source.own_state(), {})
    record = train_run(world(variant="small-second", epochs=1))
    assert record["init"] == "run:s4"
    assert record["initial_weights"]["sha256"] == provenance.file_digest(file)


def test_predictions_cover_the_test_split(world):
    spec = world(epochs=1)
    train_run(spec)
    timing = predict_run(spec)
    assert timing.clips == 4
    with PredictionReader(spec.paths.predictions("avss", "small-small", "0")) as reader:
        assert len(reader.clips) == 4
        assert reader.info.seed == "0"
        assert reader.size("common", reader.clips[0]) == (5, 16, 16)


def test_predicting_before_training_says_what_is_missing(world):
    with pytest.raises(AvsbenchError, match=r"run\.json: no such run"):
        predict_run(world())


def test_the_official_checkpoint_becomes_a_run(world):
    spec = world(seed="official")
    with pytest.raises(AvsbenchError, match="the authors' checkpoint of small-small on avss is missing"):
        official_run(spec)
    file = Path(spec.paths.weights("official/small-small_avss.pth"))
    file.parent.mkdir(parents=True)
    source = registry.build("small-small", "avss", "mini", 16)
    torch.save({"net": {f"module.{k}": v for k, v in source.state_dict().items()}, "epoch": 1}, file)
    record = official_run(spec)
    assert record["official"]["sha256"] == provenance.file_digest(file)
    assert provenance.read_run(outputs(spec)[1])["seed"] == "official"
    loaded, _ = registry.read_weights(outputs(spec)[0])
    assert all(torch.equal(loaded[key], value) for key, value in source.own_state().items())
    assert predict_run(spec).clips == 4


def test_a_method_without_training_is_described(world, tmp_path):
    text = CARD[: CARD.index("recipes:")] + CARD[CARD.index("resources:") :] + "trainable: false\n"
    model = MODEL.replace("    def loss", "    def lost")
    write_method(tmp_path / "models", "still", card=text.replace("init: scratch", "init: none"), model=model)
    cards._method_cards.cache_clear()
    spec = world("still-small", seed="none")
    assert describe_run(spec)["parameters"]["trainable"] > 0
    assert predict_run(spec).clips == 4
    with pytest.raises(AvsbenchError, match="needs no training"):
        train_run(spec)


# provenance on its own


def test_run_json_is_checked(tmp_path):
    with pytest.raises(AvsbenchError, match="no such run"):
        provenance.read_run(tmp_path / "run.json")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(AvsbenchError, match="not valid JSON"):
        provenance.read_run(tmp_path / "run.json")
    with pytest.raises(AvsbenchError, match="keys are missing"):
        provenance.write_run(tmp_path / "run.json", {"variant": "x"})


def test_numbers_that_are_not_finite_become_null(tmp_path):
    record = {key: 0 for key in provenance.REQUIRED} | {"validation": {"a": math.nan, "b": [math.inf, 1.0]}}
    provenance.write_run(tmp_path / "run.json", record)
    assert provenance.read_run(tmp_path / "run.json")["validation"] == {"a": None, "b": [None, 1.0]}


@pytest.mark.parametrize(
    "error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git"), subprocess.TimeoutExpired("git", 10)]
)
def test_git_may_be_missing(monkeypatch, error):
    def run(*arguments, **options):
        raise error

    monkeypatch.setattr(provenance.subprocess, "run", run)
    assert provenance.git_commit() is None


def test_the_digest_of_settings_ignores_their_order():
    assert provenance.digest_of({"a": 1, "b": 2}) == provenance.digest_of({"b": 2, "a": 1})
    assert provenance.digest_of({"a": 1}) != provenance.digest_of({"a": 2})
