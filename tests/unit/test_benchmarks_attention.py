"""Benchmarks of deformable attention and of AVSegFormer's step, smallest form: their forms agree, or they say so."""

import pytest
import torch

from benchmarks import avsegformer_step, deformable_attention
from benchmarks.common import Alone


class Here(Alone):
    """As Alone, in this process."""

    def __init__(self, factory, *arguments):
        self._made = factory(*arguments)

    def call(self, name, *arguments):
        return getattr(self._made, name)(*arguments)

    def __exit__(self, *_):
        pass


@pytest.fixture(autouse=True)
def here(monkeypatch):
    for module in (deformable_attention, avsegformer_step):
        monkeypatch.setattr(module, "Alone", Here)


@pytest.mark.parametrize("other", ["direct", "loop"])
def test_forms_agree(other):
    found = deformable_attention.compare((1, [(3, 2), (2, 1), (1, 1)]), 1, 1, other)
    assert 0 < found["difference"] < 1e-5
    row = deformable_attention.row_of("case", found, other)
    assert f"× as fast as {other}" in row.note


def test_forms_that_differ_are_noticed(monkeypatch):
    monkeypatch.setattr(
        deformable_attention.Direct, "sample", lambda self, value, *_: torch.zeros_like(value.flatten(2))
    )
    with pytest.raises(RuntimeError, match="outputs of the two forms differ by"):
        deformable_attention.compare((1, [(3, 2), (2, 1), (1, 1)]), 1, 1)


# a training step of AVSegFormer


@pytest.mark.parametrize("lever", avsegformer_step.DIRECT)
def test_every_lever_keeps_loss_and_gradients(lever):
    step = avsegformer_step.Step(2, 1, "mini", 64)
    assert step.difference([(lever,)]) < 1e-4
    assert step.run((lever,)) > 0


def test_a_lever_that_changes_gradients_is_noticed(monkeypatch):
    name, (owner, attribute, form) = "mixer", avsegformer_step.DIRECT["mixer: no keys and values of pixels"][0]
    monkeypatch.setitem(avsegformer_step.DIRECT, name, [(owner, attribute, lambda *inputs: 1.01 * form(*inputs))])
    with pytest.raises(RuntimeError, match="of a gradient's norm"):
        avsegformer_step.Step(2, 1, "mini", 64).difference([(name,)])


def test_step_gives_the_lines_of_the_table():
    rows = list(avsegformer_step.rows(quick=True, network=("mini", 64)))
    assert [row.case for row in rows] == [
        f"{frames} with a truth, {form}" for frames in ("5 frames", "1 frame") for form in ("ours", "direct")
    ]
    assert all(row.value > 0 for row in rows)
    assert "times as long as ResNet-50" in rows[0].note
