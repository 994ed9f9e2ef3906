"""Dropout keeps the mean, drops the share it says, and passes back exactly what it let through."""

import pytest
import torch
from torch.nn import functional

from avsbench.nn.dropout import Dropout, dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_share_and_scale(share):
    torch.manual_seed(0)
    dropped = dropout(torch.ones(400_003), share)  # no multiple of the numbers in a draw
    kept = dropped[dropped != 0]
    assert 1 - len(kept) / len(dropped) == pytest.approx(share, abs=4e-3)
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - share)), rtol=2e-4, atol=0)
    assert dropped.mean().item() == pytest.approx(1, abs=0.015)


def test_neighbours_are_dropped_apart():
    """Elements of one draw share no bits: at every distance the chance of both is the product of the chances."""
    torch.manual_seed(0)
    gone = (dropout(torch.ones(800_000), 0.5) == 0).float()
    for distance in (1, 2, 3, 4, 8):
        assert (gone[:-distance] * gone[distance:]).mean().item() == pytest.approx(0.25, abs=3e-3)


@pytest.mark.parametrize("inplace", [False, True])
def test_gradient_passes_where_values_did(inplace):
    torch.manual_seed(0)
    leaf = torch.randn(7, 33, requires_grad=True)
    x = functional.gelu(leaf)
    before = x.detach().clone()
    found = dropout(x, 0.3, inplace)
    assert (found.data_ptr() == x.data_ptr()) == inplace
    weight = torch.randn(7, 33)
    gate = (found / before).detach()
    (gradient,) = torch.autograd.grad((found * weight).sum(), leaf)
    (wanted,) = torch.autograd.grad((functional.gelu(leaf) * gate * weight).sum(), leaf)
    assert 0 < (gate == 0).sum() < gate.numel()
    torch.testing.assert_close(gradient, wanted)


def test_layer_rests_in_evaluation_and_repeats_with_its_seed():
    layer, x = Dropout(0.4), torch.randn(50)
    torch.manual_seed(1)
    first = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(layer(x), first)
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_half_precision_and_other_layouts():
    torch.manual_seed(0)
    x = torch.ones(8, 2, 300, dtype=torch.bfloat16).transpose(0, 2)
    found = dropout(x, 0.25)
    assert (found.dtype, found.shape) == (torch.bfloat16, (300, 2, 8))
    assert set(found.unique().tolist()) == {0.0, torch.tensor(4 / 3).bfloat16().item()}
