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


TINY = [(3, 2), (2, 1), (1, 1)]


@pytest.mark.parametrize(
    ("other", "gradients"), [("direct", True), ("direct", False), ("loop", True), ("loop", False), ("pixels", False)]
)
def test_forms_agree(other, gradients):
    found = deformable_attention.compare(deformable_attention.Case(2, TINY, gradients, (other,)), 1, 1)
    assert 0 < found["differences"][other] < 1e-5
    row = deformable_attention.row_of("case", found)
    assert f"× as fast as {other}" in row.note
    assert [line[0] for line in deformable_attention.lines(found)] == ["ours", other]


def test_forms_have_the_same_gradients():
    def gradients(form):
        block = deformable_attention.Block(form, deformable_attention.Case(2, [*TINY, (2, 2)]), 1)
        block.run()
        return {name: parameter.grad for name, parameter in block.block.named_parameters()}

    ours = gradients("ours")
    for form in ("direct", "loop"):
        torch.testing.assert_close(gradients(form), ours, rtol=1e-4, atol=1e-7)


def test_forms_that_differ_are_noticed(monkeypatch):
    monkeypatch.setattr(
        deformable_attention.Direct, "sample", lambda self, value, *_: torch.zeros_like(value.flatten(2))
    )
    with pytest.raises(RuntimeError, match="outputs of ours and direct differ by"):
        deformable_attention.compare(deformable_attention.Case(1, TINY, others=("direct",)), 1, 1)


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
