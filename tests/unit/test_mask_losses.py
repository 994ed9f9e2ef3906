"""Losses of masks and classes against cases worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional

from avsbench.errors import AvsbenchError
from avsbench.nn.mask_losses import MaskCriterion, class_loss, consistency_loss, mask_and_dice, uncertain_points
from avsbench.nn.matcher import Matcher, Pairs
from tests.unit.test_matcher import at_centres, problem


def pairs(*rows):
    return Pairs(*torch.tensor(rows))


def test_mask_and_dice_by_hand():
    bce, dice = mask_and_dice(torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    half = math.log(2)
    assert bce.tolist() == pytest.approx([(half + math.log(4)) / 2, half])
    assert dice.tolist() == pytest.approx([1 - (2 * 0.5 + 1) / (1.25 + 1 + 1), 1 - (2 * 0.5 + 1) / (1 + 1 + 1)])


def test_class_loss_by_hand():
    # Query 1 of the only frame has class 1; the other is "no object" and weighs a tenth.
    logits = torch.tensor([[[0.0, 0.0, math.log(2)], [0.0, math.log(6), 0.0]]])
    found = class_loss(logits, pairs([0], [1], [0]), torch.tensor([1]), 0.1)
    expected = (0.1 * -math.log(2 / 4) + -math.log(6 / 8)) / 1.1
    assert found.item() == pytest.approx(expected)
    weights = torch.tensor([1.0, 1.0, 0.1])
    assert found.item() == pytest.approx(functional.cross_entropy(logits[0], torch.tensor([2, 1]), weights).item())


def test_points_are_the_least_decided_candidates_and_then_fresh_ones():
    # From left to right the mask goes from -4 to 4; it is undecided in the middle.
    mask = torch.linspace(-4, 4, 9).expand(1, 1, 9, 9)
    candidates = torch.tensor([[[x / 12 + 1 / 24, 0.5] for x in range(12)]])
    fresh = torch.tensor([[[0.9, 0.9]]])
    found = uncertain_points(mask, 4, 0, lambda use, *_: {"candidate": candidates, "fresh": fresh}[use])
    columns = [round(12 * x - 0.5) for x in found[0, :3, 0].tolist()]
    assert {columns[0], columns[1]} == {5, 6}
    assert columns[2] in (4, 7)
    assert torch.equal(found[0, 3:], fresh[0])


def test_points_are_asked_for_in_published_numbers():
    asked = []

    def draw(use, layer, count, points):
        asked.append((use, layer, count, points))
        return torch.rand(count, points, 2)

    assert uncertain_points(torch.randn(2, 1, 4, 4), 12544, 3, draw).shape == (2, 12544, 2)
    assert asked == [("candidate", 3, 2, 37632), ("fresh", 3, 2, 3136)]


# consistency


def test_consistency_by_hand():
    # Neighbours: equal, at right angles, opposite.
    maps = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, -1.0]])
    expected = (0 + 1 * math.exp(-1) + 2 * math.exp(-2)) / 3
    assert consistency_loss(maps, group=4).item() == pytest.approx(expected, abs=1e-6)


def test_groups_do_not_see_each_other():
    maps = torch.randn(10, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    halves = [consistency_loss(half) for half in maps.split(5)]
    assert consistency_loss(maps).item() == pytest.approx(sum(halves).item() / 2)


def test_the_share_of_a_large_change_is_differentiated():
    x = torch.tensor([[1.0, 0.0], [0.3, 1.0]], requires_grad=True)
    consistency_loss(x, group=2).backward()
    c = 1 - 0.3 / math.sqrt(1.09)
    slope = (1 - c) * math.exp(-c)  # of c exp(-c)
    plain = torch.tensor([[1.0, 0.0], [0.3, 1.0]], requires_grad=True)
    (1 - functional.cosine_similarity(plain[:1], plain[1:])).sum().backward()
    torch.testing.assert_close(x.grad, slope * plain.grad, rtol=1e-4, atol=1e-6)


def test_frames_that_make_no_group():
    with pytest.raises(AvsbenchError, match="groups of 5") as raised:
        consistency_loss(torch.randn(7, 2))
    assert "7 frames" in str(raised.value)


# the criterion


def criterion(**settings):
    return MaskCriterion(matcher=Matcher(points=4), points=4, **settings)


def repeated(use, layer, count, points):
    """The same points for all, whatever else is in the batch."""
    return torch.rand(1, points, 2, generator=torch.Generator().manual_seed(layer)).expand(count, -1, -1)


def test_terms_are_weighted_and_those_of_auxiliary_predictions_summed():
    prediction, labels = problem()
    other = (prediction[0].flip(1), prediction[1].flip(1) + 1)
    each = criterion().losses([other, other, prediction], labels, repeated)
    terms = criterion(class_weight=3.0, mask_weight=7.0, dice_weight=11.0)([other, other, prediction], labels, repeated)
    assert set(terms) == {"class", "mask", "dice", "auxiliary_class", "auxiliary_mask", "auxiliary_dice"}
    for name, weight in {"class": 3.0, "mask": 7.0, "dice": 11.0}.items():
        assert terms[name].item() == pytest.approx(weight * each[2][name].item())
        auxiliary = weight * (each[0][name] + each[1][name])
        assert terms[f"auxiliary_{name}"].item() == pytest.approx(auxiliary.item())
    assert set(criterion()([prediction], labels)) == {"class", "mask", "dice"}


def test_a_batch_twice_costs_as_much():
    prediction, labels = problem()
    doubled = tuple(torch.cat([x, x]) for x in prediction)
    once = criterion()([prediction], labels, repeated)
    twice = criterion()([doubled], torch.cat([labels, labels]), repeated)
    assert {k: v.item() for k, v in twice.items()} == pytest.approx({k: v.item() for k, v in once.items()}, rel=1e-5)


def test_a_perfect_answer_costs_nearly_nothing():
    labels = torch.tensor([[[0, 0], [1, 0]]])
    masks = torch.stack([labels == 1, labels == 5, labels == 0], dim=1) * 60.0 - 30
    logits = 40.0 * functional.one_hot(torch.tensor([[1, 2, 0]]), 3)
    terms = criterion(oversample=1.0, importance=1.0)([(logits, masks)], labels, at_centres)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(dict.fromkeys(terms, 0.0), abs=1e-4)


def test_gradients_reach_all_queries_through_the_class_and_matched_ones_through_the_mask():
    (logits, masks), labels = problem(frames=2, queries=6, classes=2)
    logits.requires_grad_(), masks.requires_grad_()
    sum(criterion()([(logits, masks)], labels).values()).backward()
    assert (logits.grad != 0).any(dim=2).all()
    assert (masks.grad != 0).flatten(2).any(dim=2).sum(dim=1).tolist() == [2, 2]


@pytest.mark.parametrize("frames", [0, 2])
def test_nothing_annotated_costs_no_mask(frames):
    (logits, masks), labels = problem(frames=2)
    logits, masks = logits[:frames].requires_grad_(), masks[:frames].requires_grad_()
    terms = criterion()([(logits, masks)], torch.full_like(labels[:frames], 255))
    assert terms["mask"].item() == terms["dice"].item() == 0
    assert terms["class"].item() == pytest.approx(
        0 if not frames else 2 * -logits.log_softmax(2)[..., -1].mean().item()
    )
    sum(terms.values()).backward()
    assert torch.isfinite(logits.grad).all()
    assert torch.equal(masks.grad, torch.zeros_like(masks))


def test_masks_are_divided_by_the_targets_of_the_whole_batch():
    (logits, masks), labels = problem(frames=2)
    labels[0] = 1
    targets = [len(frame.unique()) for frame in labels]
    assert targets == [1, 3]
    whole = criterion().losses([(logits, masks)], labels, repeated)[0]
    parts = [
        criterion().losses([(logits[n : n + 1], masks[n : n + 1])], labels[n : n + 1], repeated)[0] for n in (0, 1)
    ]
    for name in ("mask", "dice"):
        expected = sum(count * part[name] for count, part in zip(targets, parts, strict=True)) / 4
        assert whole[name].item() == pytest.approx(expected.item(), rel=1e-5)
    weights = [count + 0.1 * (4 - count) for count in targets]
    expected = sum(weight * part["class"] for weight, part in zip(weights, parts, strict=True)) / sum(weights)
    assert whole["class"].item() == pytest.approx(expected.item(), rel=1e-5)
