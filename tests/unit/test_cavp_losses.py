"""Losses, optimiser groups and settings of CAVP at their edges."""

import math

import pytest
import torch

from avsbench import cards
from avsbench.contract import IGNORE
from avsbench.engine.optim import Optimizers
from avsbench.errors import AvsbenchError
from tests.unit.cavp_parts import MODEL, part

loss, Settings = part("loss"), part("settings").Settings


def maps(items=2, size=4, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(items, channels, size, size, generator=generator).requires_grad_()


def striped(items=2, size=4):
    """Rows 0 and 1 background, row 2 class 1, row 3 class 2."""
    rows = torch.tensor([0, 0, 1, 2])[:, None].expand(4, 4)
    return rows.repeat_interleave(size // 4, 0).repeat_interleave(size // 4, 1).expand(items, size, size).clone()


# contrast


def test_anchor_losses_by_hand():
    anchors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # Row 1: similarities 1, 1, 0 less their maximum; one of the own label, e^-1 against it. Row 3 is alone.
    expected = math.log(1 + math.exp(-1))
    found = loss.anchor_losses(anchors, torch.tensor([5, 5, 2]), 1.0)
    assert found.tolist() == pytest.approx([expected, expected, 0.0], abs=1e-6)
    hot = loss.anchor_losses(anchors, torch.tensor([5, 5, 2]), 0.5)
    assert hot.tolist() == pytest.approx([math.log(1 + math.exp(-2))] * 2 + [0.0], abs=1e-6)


def test_gradient_of_anchor_losses_flows_through_both_sides():
    anchors = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    assert torch.autograd.gradcheck(lambda x: loss.anchor_losses(x, labels, 0.1).mean(), anchors)


def test_anchors_in_order():
    own, foreign, labels = maps(), maps(seed=1), striped()
    silent = labels.clone()
    silent[1] = 0  # the second picture's foreign sound does not match
    anchors, kinds = loss.sample_anchors(own, labels, foreign, silent, views=6, permutation=torch.arange)
    # Of each class the first six of eight; background; then the first six foreground pixels, which are class 1's and
    # two of class 2's, all of the first picture.
    assert kinds.tolist() == [1] * 6 + [2] * 6 + [0] * 6 + [1, 1, 1, 1, 2, 2]
    unit = torch.nn.functional.normalize
    assert torch.allclose(anchors[0], unit(own[0, :, 2, 0], dim=0))
    assert torch.allclose(anchors[4], unit(own[1, :, 2, 0], dim=0))
    assert torch.allclose(anchors[12], unit(own[0, :, 0, 0], dim=0))
    assert torch.allclose(anchors[18], unit(foreign[0, :, 2, 0], dim=0))
    last = loss.sample_anchors(
        own, labels, foreign, silent, views=6, permutation=lambda n, device: torch.arange(n).flip(0)
    )
    assert last[1].tolist() == [1] * 6 + [2] * 6 + [0] * 12


def test_permutations_are_asked_for_in_the_published_order():
    asked = []

    def note(count, device):
        asked.append(count)
        return torch.arange(count)

    labels = striped()
    labels[0, 3] = 3  # class 2 keeps four pixels, class 3 gets four
    loss.contrastive_loss(maps(), labels, maps(), labels, views=5, permutation=note)
    assert asked == [8, 16, 16]  # class 1 alone is large enough; background; all of the foreground


def test_permutations_follow_the_seed():
    def found(seed):
        torch.manual_seed(seed)
        return loss.sample_anchors(maps(), striped(), maps(), striped(), views=4, permutation=torch.randperm)[0]

    assert torch.equal(found(1), found(1))
    assert not torch.equal(found(1), found(2))


@pytest.mark.parametrize("items", [1, 2])
def test_label_maps_are_resized_to_the_features(items):
    large = striped(items, size=16)
    found = [
        loss.contrastive_loss(maps(items), labels, maps(items, seed=1), labels, views=3, permutation=torch.arange)
        for labels in (striped(items), large)
    ]
    assert found[0] == found[1] > 0


@pytest.mark.parametrize(
    "labels",
    [torch.full((2, 4, 4), IGNORE), torch.zeros(2, 4, 4, dtype=torch.long), striped(), torch.empty(0, 4, 4).long()],
    ids=["all ignored", "background alone", "no class large enough", "no items"],
)
def test_contrast_is_zero_with_a_gradient_where_nothing_qualifies(labels):
    own, foreign = maps(len(labels)), maps(len(labels), seed=1)
    found = loss.contrastive_loss(own, labels, foreign, labels, views=9)
    assert found.item() == 0
    found.backward()
    assert not own.grad.any()
    assert not foreign.grad.any()


def test_without_background_no_foreign_pair_is_drawn():
    labels = torch.ones(1, 4, 4, dtype=torch.long)
    own, foreign = maps(1), maps(1, seed=1)
    loss.contrastive_loss(own, labels, foreign, labels, views=4).backward()
    assert torch.isfinite(own.grad).all()
    assert not foreign.grad.any()


def test_segmentation_loss_over_valid_pixels():
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 1, 0, 0] = 1.0
    masks = torch.tensor([[[1, 0], [IGNORE, IGNORE]]])
    expected = (math.log(1 + math.exp(-1)) + math.log(2)) / 2
    assert loss.segmentation_loss(logits, masks).item() == pytest.approx(expected)
    nothing = logits.clone().requires_grad_()
    found = loss.segmentation_loss(nothing, torch.full_like(masks, IGNORE))
    found.backward()
    assert found.item() == 0
    assert not nothing.grad.any()


# groups and settings

OBJECT = {
    "optimizer": {"name": "sgd", "lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4},
    "schedule": {"name": "poly", "power": 0.9, "delay": 1, "floor": 1e-5},
    "loss": {"contrast": 0.1},
    "method": {"backbone_rate": 0.5, "audio_lr": 1e-4},
}


def test_rates_of_the_object_setting():
    with torch.device("meta"):
        method = MODEL.build(dataset=cards.dataset("ms3"), scale="mini", image_size=64)
    optimizers = Optimizers(method, OBJECT, total_steps=100, steps_per_epoch=10)
    first = [1e-2] * 8 + [5e-4] * 2 + [1e-3] * 2 + [1e-4]
    assert optimizers.set_step(0) == pytest.approx(first)
    assert optimizers.set_step(1) == pytest.approx(first)
    later = [rate * 0.5**0.9 for rate in first[:-1]] + [1e-4]
    assert optimizers.set_step(51) == pytest.approx(later)
    assert optimizers.set_step(101) == pytest.approx([1e-5 * rate for rate in first[:-1]] + [1e-4])
    sgd, adam = optimizers._parts
    assert type(sgd) is torch.optim.SGD
    assert [group["weight_decay"] for group in sgd.param_groups] == [1e-4, 0] * 5 + [1e-4] * 2
    assert {(g["momentum"], g["dampening"], g["nesterov"]) for g in sgd.param_groups} == {(0.9, 0, False)}
    (audio,) = adam.param_groups
    assert (type(adam), audio["betas"], audio["eps"], audio["weight_decay"]) == (
        torch.optim.Adam,
        (0.9, 0.999),
        1e-8,
        0,
    )
    method.configure(OBJECT)
    assert method.settings.contrast == 0.1


def test_audio_rate_is_the_recipes_unless_said():
    with torch.device("meta"):
        method = MODEL.build(dataset=cards.dataset("avss"), scale="mini", image_size=64)
    assert method.parameter_groups({"optimizer": {"lr": 0.02}})[-1]["optimizer"]["lr"] == 0.02


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"method": {"bnak": "fixed"}}, "did you mean 'bank'"),
        ({"loss": {"bank": "fixed"}}, "unknown key 'bank'"),
        ({"method": {"bank": "references"}}, "label_only"),
        ({"method": {"fit": "stretch"}}, "squash"),
    ],
)
def test_settings_are_closed(recipe, message):
    with pytest.raises(AvsbenchError, match=message):
        Settings.of(recipe)


def test_settings_are_published_values_by_default():
    found = Settings.of({"method": {"scales": [0.5, 1.0]}})
    assert (found.contrast, found.temperature, found.views, found.overwrite, found.head_rate) == (
        1.0,
        0.1,
        512,
        0.5,
        10,
    )
    assert found.scales == (0.5, 1.0)
