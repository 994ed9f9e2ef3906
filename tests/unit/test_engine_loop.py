"""The training loop: selection, errors that name the culprit, freezing."""

import json
import random

import numpy as np
import pytest
import torch

from avsbench.engine.seeds import rng_state, seed_everything, set_rng_state
from avsbench.engine.trainlog import draw_curves
from avsbench.errors import AvsbenchError
from avsbench.registry import read_weights
from tests.unit.engine_fakes import RECIPE, STEPS, TinyData, TinyValidator, make_trainer


def test_validation_chooses_the_epoch(tmp_path, monkeypatch):
    scores = iter([0.2, 0.9, 0.5])
    monkeypatch.setattr(TinyValidator, "compute", lambda self: {"miou": next(scores)})
    trainer = make_trainer(tmp_path)
    progress = trainer.run()
    assert progress.best["epoch"] == 1
    kept, _ = read_weights(trainer.best_state_file())
    assert set(kept) == trainer.keys
    assert any(not torch.equal(kept[key], value) for key, value in trainer.method.state_dict().items())


def test_ties_keep_the_earlier_epoch_and_nan_never_wins(tmp_path, monkeypatch):
    scores = iter([float("nan"), 0.5, 0.5])
    monkeypatch.setattr(TinyValidator, "compute", lambda self: {"miou": next(scores)})
    assert make_trainer(tmp_path).run().best["epoch"] == 1


def test_no_finite_score_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(TinyValidator, "compute", lambda self: {"miou": float("nan")})
    trainer = make_trainer(tmp_path)
    trainer.run()
    with pytest.raises(AvsbenchError, match="no validation gave a finite miou"):
        trainer.best_state_file()


def test_select_last_keeps_the_last_epoch(tmp_path, monkeypatch):
    scores = iter([0.9, 0.5, 0.1])
    monkeypatch.setattr(TinyValidator, "compute", lambda self: {"miou": next(scores)})
    assert make_trainer(tmp_path, recipe={**RECIPE, "select": "last"}).run().best["epoch"] == 2


def test_validation_follows_start_and_every(tmp_path):
    recipe = {**RECIPE, "epochs": 6, "validate": {"start": 1, "every": 2}}
    history = make_trainer(tmp_path, recipe=recipe).run().history
    assert [row["epoch"] for row in history] == [2, 4, 6]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_everything(tmp_path, monkeypatch, value):
    trainer = make_trainer(tmp_path)
    original = trainer.method.loss

    def loss(output, batch, step):
        terms = original(output, batch, step)
        return {**terms, "matching": terms["bce"] * value} if step == 5 else terms

    monkeypatch.setattr(trainer.method, "loss", loss)
    with pytest.raises(AvsbenchError) as caught:
        trainer.run()
    text = str(caught.value)
    for part in ("step 5", "epoch 2", "matching", "bce", "learning rate", "clip"):
        assert part in text
    kept = trainer.store.load()
    assert all(torch.isfinite(value).all() for value in kept["model"].values())


def test_a_gradient_that_is_not_finite_is_an_error(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    weight = trainer.method.head.weight
    calls = iter(range(100))
    weight.register_hook(lambda gradient: gradient * float("nan") if next(calls) == STEPS + 1 else gradient)
    with pytest.raises(AvsbenchError, match=f"epoch 2: the gradient is not finite at step {STEPS + 1}"):
        trainer.run()
    assert all(torch.isfinite(value).all() for value in trainer.store.load()["model"].values())


def test_an_encoder_frozen_for_an_epoch_is_still_in_the_weights(tmp_path):
    trainer = make_trainer(tmp_path, recipe={**RECIPE, "epochs": 1})
    start = trainer.method.encoder[0].weight.detach().clone()
    trainer.run()
    kept, _ = read_weights(trainer.best_state_file())
    assert torch.equal(kept["encoder.0.weight"], start)


def test_short_data_is_an_error(tmp_path):
    class Short(TinyData):
        steps_per_epoch = STEPS + 1

    with pytest.raises(AvsbenchError, match="ended early"):
        make_trainer(tmp_path, data=Short()).run()


def test_log_lines_and_curves(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.run()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"kind": "tr')  # a kill while writing
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()[:-1]]
    start, first = lines[:2]
    assert (start["kind"], start["batch"], start["world_size"], start["steps_per_epoch"]) == ("start", 2, 1, STEPS)
    assert set(first["terms"]) == {"bce", "drift"}
    assert first["loss"] == pytest.approx(sum(first["terms"].values()))
    assert 0 <= first["wait_share"] <= 1
    assert first["memory_mb"]["rss"] > 0
    draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png", title="tiny", select="miou", best_epoch=2)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_rng_states_survive_a_file(tmp_path):
    def draw():
        return random.random(), np.random.rand(3).tolist(), np.random.standard_normal(), torch.rand(3).tolist()

    seed_everything(3, "x")
    draw()
    torch.save(rng_state(), tmp_path / "rng.pt")
    expected = draw()
    seed_everything(4)
    set_rng_state(torch.load(tmp_path / "rng.pt", weights_only=True))
    assert draw() == expected


def test_seeds_of_neighbours_are_unrelated_and_stable():
    assert seed_everything(0, "epoch", 1) == seed_everything(0, "epoch", 1)
    assert len({seed_everything(seed, "epoch", epoch) for seed in range(4) for epoch in range(4)}) == 16
