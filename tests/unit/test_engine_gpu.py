"""Training on GPUs: half precision, compilation, numbers that are read late, resuming, two devices."""

import os
import signal

import pytest
import torch

from avsbench.engine.checkpoint import StateStore
from avsbench.engine.data import Division, Share
from avsbench.engine.distributed import launch
from avsbench.engine.loop import Trainer
from avsbench.engine.seeds import seed_everything
from avsbench.errors import AvsbenchError
from avsbench.nn.precision import tf32_as_it_was
from tests.unit.engine_fakes import RECIPE, CalmMethod, SharedData, TinyData, TinyMethod, TinyValidator, tiny_batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, torch sees none"),
]
EXACT = {**RECIPE, "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}, "compute": {"precision": "float32"}}


@pytest.fixture(autouse=True)
def policy():
    with tf32_as_it_was():
        yield


def make(folder, recipe, data=None, method=CalmMethod, device=None, group=None):
    folder.mkdir(exist_ok=True)
    seed_everything(0, "weights")
    return Trainer(
        method=method(),
        recipe=recipe,
        seed=0,
        device=device or torch.device("cuda", 0),
        data=data or TinyData(),
        validator=TinyValidator,
        store=StateStore(folder / "state", "i" * 16),
        log_path=folder / "log.jsonl",
        name="tiny",
        description={"variant": "tiny"},
        save_every=1e9,
        group=group,
    )


def weights(trainer):
    trainer.run()
    return {key: value.cpu().contiguous() for key, value in trainer.method.state_dict().items()}


def assert_close(one, other, **tolerance):
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], msg=key, **tolerance)


@pytest.mark.parametrize("method", [TinyMethod, CalmMethod])
def test_half_precision_stays_near_float32(tmp_path, method):
    fast = {"precision": "bfloat16", "channels_last": True, "fused": True}
    trained = weights(make(tmp_path / "fast", {**RECIPE, "compute": fast}, method=method))
    assert all(torch.isfinite(value.float()).all() for value in trained.values())
    if method is CalmMethod:
        fast = weights(make(tmp_path / "sgd", {**EXACT, "compute": fast}))
        assert_close(fast, weights(make(tmp_path / "exact", EXACT)), rtol=0.05, atol=0.02)


def test_graphs_are_replayed_over_two_epochs(tmp_path):
    compiled = {**EXACT, "epochs": 2, "compute": {"precision": "float32", "compile": "reduce-overhead"}}
    plain = weights(make(tmp_path / "plain", {**EXACT, "epochs": 2}))
    assert_close(weights(make(tmp_path / "compiled", compiled)), plain, rtol=1e-3, atol=1e-5)


class Long(TinyData):
    """So many steps that not each has a line in the log."""

    steps_per_epoch = 40

    def train(self, epoch, skip):
        return ([Share(tiny_batch(1000 * epoch + index))] for index in range(skip, self.steps_per_epoch))


def test_divergence_that_is_read_late_names_its_step(tmp_path, monkeypatch):
    trainer = make(tmp_path, {**EXACT, "epochs": 1}, Long())
    original, seen = trainer.method.loss, []

    def loss(output, batch, step):
        seen.append(step)
        terms = original(output, batch, step)
        return {name: term * float("nan") for name, term in terms.items()} if step == 5 else terms

    monkeypatch.setattr(trainer.method, "loss", loss)
    with pytest.raises(AvsbenchError, match=r"not finite at step 5\b"):
        trainer.run()
    assert seen[-1] == 6  # the step after had been launched


def test_a_resumed_training_is_the_undisturbed_one(tmp_path):
    def strike(step):
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    calm = weights(make(tmp_path / "calm", EXACT, method=TinyMethod))
    with pytest.raises(SystemExit):
        make(tmp_path / "cut", EXACT, TinyData(strike), TinyMethod).run()
    assert_close(weights(make(tmp_path / "cut", EXACT, method=TinyMethod)), calm, rtol=1e-4, atol=1e-6)


def in_two(group, device, folder):
    recipe = {**EXACT, "batch": 4}
    trained = weights(make(folder, recipe, SharedData(Division(4, 2, 2), group.rank), device=device, group=group))
    torch.save(trained, folder / f"weights.{group.rank}.pt")
    group.wait()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second CUDA device")
def test_two_devices_equal_one(tmp_path):
    alone = weights(make(tmp_path / "alone", {**EXACT, "batch": 4}, SharedData(Division(4))))
    launch([torch.device("cuda", 0), torch.device("cuda", 1)], in_two, tmp_path)
    for rank in (0, 1):
        assert_close(torch.load(tmp_path / f"weights.{rank}.pt"), alone, rtol=1e-4, atol=1e-6)
