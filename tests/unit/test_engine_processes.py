"""A whole run on two processes: data from the store, validation in parts, one set of outputs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from avsbench import cards, registry
from avsbench.engine.distributed import Group, launch
from avsbench.engine.train import train_process
from avsbench.paths import Paths
from avsbench.spec import RunSpec
from tests.unit import store_fakes
from tests.unit.small_method import CARD, write_method

CPU = torch.device("cpu")
RECIPE = {
    "epochs": 2,
    "batch": 3,
    "micro_batch": 2,
    "optimizer": {"name": "sgd", "lr": 0.1},
    "select": "miou_avss",
    "keep_best": 2,
}


def in_small_world(group, device, spec, card, models):
    """What a process of `train_run` does, where the small method and data set are the only ones."""
    known = {**cards.dataset_cards(), "avss": card}
    cards.dataset_cards = lambda: known
    cards.method_folders = lambda: [models]
    train_process(group, device, spec)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Makes a RunSpec; everything in one folder."""
    _, card = store_fakes.build(tmp_path / "data")
    write_method(tmp_path / "models", card=CARD)
    for name in ("dataset_cards", "method_folders"):  # put back what the work in this process replaces
        monkeypatch.setattr(cards, name, getattr(cards, name))

    def make(results, **recipe):
        return (
            RunSpec(
                scale="mini",
                dataset="avss",
                variant="small-small",
                seed="0",
                recipe={**RECIPE, **recipe},
                image_size=store_fakes.SIZE,
                paths=Paths("mini", str(tmp_path / "data"), str(tmp_path / results), str(tmp_path / "weights")),
                code="c1",
                device="cpu",
            ),
            card,
            tmp_path / "models",
        )

    return make


def outputs(spec):
    run = (spec.dataset, spec.variant, spec.seed)
    weights, _ = registry.read_weights(spec.paths.run_weights(*run))
    return weights, json.loads(Path(spec.paths.run_json(*run)).read_text())


def test_a_run_on_two_processes_is_the_run_on_one(world):
    alone, together = world("alone"), world("together")
    in_small_world(Group(), CPU, *alone)
    launch([CPU, CPU], in_small_world, *together)
    (weights, one), (others, two) = outputs(alone[0]), outputs(together[0])
    for key, value in weights.items():
        torch.testing.assert_close(value, others[key], rtol=1e-4, atol=1e-6, msg=key)
    assert (one["world_size"], one["micro_batch"], one["accumulation"]) == (1, 2, 2)
    assert (two["world_size"], two["micro_batch"], two["accumulation"]) == (2, 2, 1)
    assert one["effective_batch"] == two["effective_batch"] == 3
    assert one["deviations"] == two["deviations"] == ["batch statistics over 1.5 clips, 3 in the published set-up"]
    assert one["steps"] == two["steps"]
    for mine, theirs in zip(one["history"], two["history"], strict=True):
        defined = [key for key, value in mine.items() if value is not None]
        assert defined == [key for key, value in theirs.items() if value is not None]
        assert [mine[key] for key in defined] == pytest.approx([theirs[key] for key in defined], rel=1e-3)
    assert len(list(Path(together[0].paths.weights_top("avss", "small-small", "0")).iterdir())) == 2
    assert not Path(together[0].paths.state("avss", "small-small", "0")).exists()


def test_a_batch_of_one_uses_one_process(world, monkeypatch):
    from avsbench.engine import train

    seen = []
    monkeypatch.setattr(train, "train_process", lambda group, device, spec: seen.append(group.world))
    monkeypatch.setattr(train.provenance, "read_run", lambda path: {})
    spec, card, models = world("single", batch=1)
    known = {**cards.dataset_cards(), "avss": card}
    monkeypatch.setattr(cards, "dataset_cards", lambda: known)
    monkeypatch.setattr(cards, "method_folders", lambda: [models])
    train.train_run(replace(spec, processes=4))
    assert seen == [1]
