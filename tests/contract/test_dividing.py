"""The check of losses that are taken in parts: what it notices, and what it lets pass."""

import pytest
import torch
from torch import nn

from avsbench import registry
from avsbench.contract_checks import FAILED, PASSED, SKIPPED, run_check
from avsbench.contract_checks.batches import double, synthetic_batch
from tests.contract.test_explanations import subject
from tests.unit.small_method import write_method


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return write_method(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def summed(card):
    class Summed(registry.method_module(card).Small):
        def loss(self, output, batch, step):
            return {**super().loss(output, batch, step), "size": (output["logits"] ** 2).mean(dim=(1, 2, 3, 4)).sum()}

    return Summed


def test_a_sum_that_is_not_declared_is_noticed(card, summed):
    result = run_check(subject(card, summed), "divides")
    assert result.status == FAILED
    for part in ("'size'", "the same clip twice", "summed_terms", "accumulate: false"):
        assert part in result.message


def test_a_declared_sum_passes(card, summed):
    class Declared(summed):
        summed_terms = frozenset({"size"})

    assert run_check(subject(card, Declared), "divides").status == PASSED


def test_a_mean_declared_as_a_sum_and_a_wrong_name_are_noticed(card, summed):
    class Wrong(summed):
        summed_terms = frozenset({"size", "mask"})

    class Misspelt(summed):
        summed_terms = frozenset({"sice"})

    assert "'mask'" in run_check(subject(card, Wrong), "divides").message
    assert "summed_terms names sice" in run_check(subject(card, Misspelt), "divides").message


def test_batch_statistics_and_dropout_do_not_disturb(card):
    class Layered(registry.method_module(card).Small):
        def __init__(self, **options):
            super().__init__(**options)
            self.see = nn.Sequential(self.see[0], nn.BatchNorm2d(16), nn.Dropout(0.5), *self.see[1:])

    assert run_check(subject(card, Layered), "divides").status == PASSED


def test_a_recipe_that_does_not_accumulate_is_left_alone(card, summed):
    alone = subject(card, summed)
    alone.__dict__["recipe"] = {**alone.recipe, "accumulate": False}
    result = run_check(alone, "divides")
    assert result.status == SKIPPED
    assert "accumulate: false" in result.message


def test_double_repeats_every_clip(card):
    batch = synthetic_batch(subject(card).variant, subject(card).dataset, 32)
    twice = double(batch)
    assert torch.equal(twice.frames[2:], batch.frames)
    assert torch.equal(twice.masks[:2], batch.masks)
    assert len(twice) == 4
