"""Schedules against their formulas; parameter groups and what is wrong with them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avsbench.engine.optim import Optimizers, schedule_factor
from avsbench.errors import AvsbenchError
from tests.unit.engine_fakes import TinyMethod

RECIPE = {"optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 0.0}, "schedule": {"name": "constant"}}


def make(groups, recipe=RECIPE):
    method = TinyMethod()
    method.parameter_groups = lambda recipe: groups(method)
    return Optimizers(method, recipe, total_steps=10, steps_per_epoch=5)


def named(method, prefix):
    return [(name, p) for name, p in method.named_parameters() if name.startswith(prefix)]


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ({"name": "constant"}, 70, 1.0),
        ({"name": "poly", "power": 0.9}, 25, 0.75**0.9),
        ({"name": "cosine"}, 50, 0.5),
        ({"name": "cosine", "final": 0.2}, 100, 0.2),
        ({"name": "step", "milestones": [3, 6], "gamma": 0.1}, 29, 1.0),
        ({"name": "step", "milestones": [3, 6], "gamma": 0.1}, 30, 0.1),
        ({"name": "step", "milestones": [3, 6], "gamma": 0.1}, 99, 0.01),
        ({"name": "constant", "warmup_steps": 4}, 0, 0.25),
        ({"name": "constant", "warmup_steps": 4}, 3, 1.0),
        ({"name": "poly", "warmup_steps": 20, "power": 1.0}, 60, 0.5),
        ({"name": "poly", "power": 0.9, "delay": 1}, 0, 1.0),
        ({"name": "poly", "power": 0.9, "delay": 1}, 1, 1.0),
        ({"name": "poly", "power": 0.9, "delay": 1}, 26, 0.75**0.9),
        ({"name": "poly", "power": 0.9, "floor": 0.3}, 90, 0.3),
        ({"name": "poly", "power": 0.9, "floor": 1e-5}, 250, 1e-5),
    ],
)
def test_schedules(schedule, step, expected):
    assert schedule_factor(schedule, total_steps=100, steps_per_epoch=10)(step) == pytest.approx(expected)


@given(
    name=st.sampled_from(["constant", "cosine", "poly", "step"]),
    warmup=st.integers(0, 30),
    final=st.floats(0, 1),
    step=st.integers(0, 99),
)
def test_factors_stay_between_zero_and_one(name, warmup, final, step):
    schedule = {"name": name, "warmup_steps": warmup, "final": final, "milestones": [2]}
    assert 0 <= schedule_factor(schedule, 100, 10)(step) <= 1 + 1e-12


def test_groups_have_their_own_rate_optimiser_and_schedule():
    optimizers = make(
        lambda m: [
            {"params": named(m, "encoder"), "lr": 1e-4},
            {
                "params": named(m, "hear"),
                "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
                "schedule": {"name": "poly", "power": 1.0},
            },
            {"params": named(m, "head"), "weight_decay": 0.5},
        ]
    )
    assert optimizers.set_step(0) == [1e-4, 1e-3, 0.1]
    assert optimizers.set_step(5) == pytest.approx([1e-4, 1e-3, 0.05])
    kinds = [type(part).__name__ for part in optimizers._parts]
    assert kinds == ["Adam", "SGD"]
    assert [group["weight_decay"] for group in optimizers._parts[0].param_groups] == [0.0, 0.5]


def test_clipping_bounds_the_update():
    method = TinyMethod()
    recipe = {"optimizer": {"name": "sgd", "lr": 1.0}, "clip_norm": 0.1}
    optimizers = Optimizers(method, recipe, total_steps=1, steps_per_epoch=1)
    before = [p.detach().clone() for p in method.parameters()]
    for p in method.parameters():
        p.grad = torch.ones_like(p)
    norm = optimizers.step()
    squares = [(p.detach() - b).square().sum() for p, b in zip(method.parameters(), before, strict=True)]
    moved = math.sqrt(float(sum(squares)))
    assert norm == pytest.approx(math.sqrt(sum(p.numel() for p in method.parameters())), rel=1e-5)
    assert moved == pytest.approx(0.1, rel=1e-4)


def test_a_misspelt_group_key_names_the_right_one():
    with pytest.raises(AvsbenchError, match="did you mean 'weight_decay'"):
        make(lambda m: [{"params": named(m, ""), "weight_decy": 0.1}])


def test_a_parameter_in_two_groups_is_an_error():
    with pytest.raises(AvsbenchError, match="in two groups"):
        make(lambda m: [{"params": named(m, "")}, {"params": named(m, "head")}])


def test_a_forgotten_parameter_is_an_error():
    with pytest.raises(AvsbenchError, match=r"are in no group[\s\S]*head\.weight"):
        make(lambda m: [{"params": named(m, "encoder") + named(m, "hear")}])


def test_bare_parameters_are_an_error():
    with pytest.raises(AvsbenchError, match=r"\(name, parameter\) pairs"):
        make(lambda m: [{"params": list(m.parameters())}])
