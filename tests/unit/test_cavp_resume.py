"""CAVP through the engine: an interrupted training ends with the weights of an undisturbed one, bank and all."""

import hashlib

import pytest
import torch

from avsbench import cards
from avsbench.contract import Batch
from avsbench.engine.data import Share
from tests.unit.cavp_parts import MODEL
from tests.unit.engine_fakes import make_trainer

STEPS = 3
RECIPE = {
    "epochs": 3,
    "batch": 4,
    "optimizer": {"name": "sgd", "lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4},
    "schedule": {"name": "poly", "power": 0.9, "delay": 1, "floor": 1e-5},
    "select": "miou",
    "loss": {"contrast": 0.1, "views": 20},
    "method": {"bank": "fixed", "overwrite": 1.0},
}


def method(bank="fixed"):
    model = MODEL.build(dataset=cards.dataset("ms3"), scale="mini", image_size=32)
    model.configure({**RECIPE, "method": {**RECIPE["method"], "bank": bank}})
    return model


def batch(seed):
    """Four pictures, half of them with an object that sounds."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(4, 1, 32, 32, dtype=torch.long)
    masks[::2, 0, 4:20, 8:28] = 1
    everywhere = torch.ones(4, 1, dtype=torch.bool)
    pictures = torch.randint(0, 256, (4, 1, 3, 32, 32), generator=generator, dtype=torch.uint8)
    mel = torch.rand(4, 1, 1, 96, 64, generator=generator) - 1
    return Batch(pictures, everywhere, list("abcd"), {"cavp_mel": mel}, {}, masks, everywhere)


class Data:
    """Three steps an epoch; fails before step `broken`."""

    steps_per_epoch = STEPS

    def __init__(self, broken=None):
        self.broken = broken

    def train(self, epoch, skip):
        for step in range(epoch * STEPS + skip, (epoch + 1) * STEPS):
            if step == self.broken:
                raise InterruptedError
            yield [Share(batch(step))]

    def validation(self):
        yield batch(100)


def digests(folder, data, **options):
    """Of the weights, and of the bank."""
    trainer = make_trainer(folder, data=data, recipe=RECIPE, method=lambda: method(**options))
    trainer.run()
    return [digest(state) for state in (trainer.method.state_dict(), trainer.method.extra_state())]


def digest(state):
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return digests(tmp_path_factory.mktemp("undisturbed"), Data())


@pytest.mark.parametrize("broken", [1, 3, 5], ids=["first epoch", "between epochs", "with overwriting"])
def test_resumed_training_has_the_same_weights(tmp_path, undisturbed, broken):
    with pytest.raises(InterruptedError):
        digests(tmp_path, Data(broken))
    assert digests(tmp_path, Data()) == undisturbed


def test_weights_depend_on_the_bank(tmp_path, undisturbed):
    assert digests(tmp_path, Data(), bank="none")[0] != undisturbed[0]
