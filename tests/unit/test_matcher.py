"""Matching against cases worked out by hand, and against every possible assignment."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsbench.engine.compute import set_tf32
from avsbench.nn import matcher
from avsbench.nn.matcher import Matcher, RandomPoints, Targets, assign, costs, sample
from avsbench.nn.precision import tf32_as_it_was

LABELS = torch.tensor([[[0, 255], [7, 7]], [[255, 255], [255, 255]], [[3, 3], [3, 3]]])
CENTRES = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
"""(x, y) of the four pixels of a map of 2 x 2."""


def at_centres(use, layer, count, points):
    return CENTRES.expand(count, -1, -1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(frames=3, queries=4, classes=3, seed=0):
    """Random predictions and labels in which no frame lacks a target."""
    generator = seeded(seed)
    logits = torch.randn(frames, queries, classes + 1, generator=generator)
    masks = 3 * torch.randn(frames, queries, 5, 5, generator=generator)
    return (logits, masks), torch.randint(0, classes, (frames, 6, 6), generator=generator)


# targets


def test_targets_are_the_labels_of_each_frame_in_order():
    targets = Targets.of(LABELS)
    assert targets.frames.tolist() == [0, 0, 2]
    assert targets.classes.tolist() == [0, 7, 3]
    assert targets.counts == [2, 0, 1]
    assert len(targets) == 3
    assert targets.masks(torch.tensor([1, 0])).tolist() == [[[0, 0], [1, 1]], [[1, 0], [0, 0]]]


def test_targets_by_frame_leave_empty_places():
    classes, masks = Targets.of(LABELS).by_frame
    assert classes.tolist() == [[0, 7], [0, 0], [3, 0]]
    assert masks.sum(dim=(2, 3)).tolist() == [[1, 2], [0, 0], [4, 0]]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([0, 1, 2, 70, 254, 255]), min_size=4, max_size=4), min_size=1, max_size=4))
def test_targets_cover_all_pixels_that_count_and_no_other(rows):
    labels = torch.tensor(rows).view(-1, 2, 2)
    targets = Targets.of(labels)
    assert targets.classes.tolist() == [value for row in rows for value in sorted(set(row) - {255})]
    covered = torch.zeros_like(labels).index_add(0, targets.frames, targets.masks(torch.arange(len(targets))).long())
    assert torch.equal(covered, (labels != 255).long())


# costs


def test_points_between_pixels_mix_them_and_the_border_mixes_with_zero():
    maps = torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]])
    points = torch.tensor([[[0.75, 0.25], [0.5, 0.5], [0.5, 0.25], [0.0, 0.0], [0.0, 0.75]]])
    assert sample(maps, points)[0, 0].tolist() == [2.0, 3.75, 1.5, 0.25, 2.0]


def test_costs_by_hand():
    # One query, whose mask has the probabilities 1/2, 1/2, 3/4, 3/4; class 1 covers the third pixel.
    targets = Targets.of(torch.tensor([[[0, 0], [1, 0]]]))
    masks = torch.tensor([[[[0.0, 0.0], [math.log(3), math.log(3)]]]])
    logits = torch.tensor([[[0.0, math.log(2), 0.0]]])  # probabilities 1/4, 1/2, 1/4
    found = [cost[0, 0].tolist() for cost in costs(logits, masks, *targets.by_frame, CENTRES[None])]
    half, three_quarters, quarter = -math.log(0.5), -math.log(0.75), -math.log(0.25)
    assert found[0] == pytest.approx([-0.25, -0.5])
    assert found[1] == pytest.approx([(2 * half + quarter + three_quarters) / 4] * 2)
    assert found[2] == pytest.approx([1 - (2 * 1.75 + 1) / (2.5 + 3 + 1), 1 - (2 * 0.75 + 1) / (2.5 + 1 + 1)])


def test_large_logits_cost_what_they_say():
    targets = Targets.of(torch.zeros(1, 2, 2, dtype=torch.long))
    masks = torch.stack([torch.full((2, 2), -200.0), torch.full((2, 2), 200.0)])[None]
    cost = costs(torch.zeros(1, 2, 2), masks, *targets.by_frame, CENTRES[None])[1]
    assert cost[0, :, 0].tolist() == [200.0, 0.0]


def test_weights_of_the_costs():
    prediction, labels = problem()
    targets, points = Targets.of(labels), torch.rand(3, 9, 2, generator=seeded())
    each = costs(*prediction, *targets.by_frame, points)
    for name, cost in zip(("class", "mask", "dice"), each, strict=True):
        weights = dict.fromkeys(("class_weight", "mask_weight", "dice_weight"), 0.0) | {f"{name}_weight": 3.0}
        torch.testing.assert_close(Matcher(**weights).cost(prediction, targets, points), 3 * cost)


# assignment


def test_assignment_by_hand():
    # The cheapest for target 0 is query 1, but query 1 is worth more to target 1.
    cost = np.array([[[2.0, 9.0], [1.0, 1.0], [5.0, 9.0]], [[3.0, 0.0], [1.0, 0.0], [2.0, 0.0]]])
    assert assign(cost, [2, 1]).tolist() == [[0, 0, 1], [0, 1, 1], [0, 1, 2]]


def test_more_targets_than_queries_leave_some_out():
    assert assign(np.array([[[4.0, 1.0, 2.0]]]), [3]).tolist() == [[0], [0], [1]]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 5))
def test_no_assignment_is_cheaper(seed, frames, queries):
    prediction, labels = problem(frames, queries, classes=2, seed=seed)
    targets = Targets.of(labels)
    points = torch.rand(frames, 16, 2, generator=seeded(seed))
    found = Matcher(points=16)([prediction], targets, lambda *_: points)[0]
    cost = Matcher().cost(prediction, targets, points)
    starts = [0, *itertools.accumulate(targets.counts)]
    for frame, count in enumerate(targets.counts):
        mine = found.frames == frame
        columns = found.targets[mine] - starts[frame]
        assert sorted(columns.tolist()) == list(range(count))
        assert found.queries[mine].tolist() == sorted(set(found.queries[mine].tolist()))
        best = min(
            sum(cost[frame, q, k].item() for k, q in enumerate(order))
            for order in itertools.permutations(range(queries), count)
        )
        assert cost[frame, found.queries[mine], columns].sum().item() == pytest.approx(best, abs=1e-5)


def test_frames_all_at_once_cost_as_one_by_one():
    prediction, labels = problem(frames=4)
    targets, points = Targets.of(labels), torch.rand(4, 9, 2, generator=seeded())
    each = costs(*prediction, *targets.by_frame, points)
    whole = 2 * each[0] + 5 * each[1] + 5 * each[2]
    torch.testing.assert_close(Matcher().cost(prediction, targets, points), whole, rtol=0, atol=1e-5)


def test_each_prediction_has_points_of_its_own():
    prediction, labels = problem()
    asked = []

    def draw(use, layer, count, points):
        asked.append((use, layer, count, points))
        return torch.rand(count, points, 2)

    assert len(Matcher(points=7)([prediction, prediction], Targets.of(labels), draw)) == 2
    assert asked == [("match", 0, 3, 7), ("match", 1, 3, 7)]


def test_costs_cross_to_the_processor_once(monkeypatch):
    prediction, labels = problem()
    crossed, stack = [], torch.stack

    def record(costs):
        crossed.append((len(costs), *costs[0].shape))
        return stack(costs)

    monkeypatch.setattr(torch, "stack", record)
    Matcher(points=4)([prediction] * 10, Targets.of(labels), at_centres)
    assert crossed == [(10, 3, 4, 3)]


def test_costs_are_exact_whatever_a_training_allows(monkeypatch):
    """On a GPU with TF32 products would be rounded to ten bits, which changes who answers for what."""
    prediction, labels = problem()
    during = []

    def record(*parts):
        during.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return costs(*parts)

    monkeypatch.setattr(matcher, "costs", record)
    with tf32_as_it_was():
        set_tf32(True)
        Matcher(points=4)([prediction], Targets.of(labels), at_centres)
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
    assert set(during) == {("highest", False)}


def test_nothing_to_match():
    prediction, _ = problem()
    (pairs,) = Matcher()([prediction], Targets.of(torch.full((3, 6, 6), 255)), at_centres)
    assert [len(rows) for rows in pairs] == [0, 0, 0]


def test_numbers_that_are_not_finite_are_left_to_the_loss():
    (logits, masks), labels = problem()
    (pairs,) = Matcher(points=4)([(logits, masks * math.nan)], Targets.of(labels), at_centres)
    assert len(pairs.queries) == len(Targets.of(labels))


def test_points_are_uniform_and_follow_their_generator():
    draw = RandomPoints(torch.device("cpu"), seeded(3))
    points = draw("match", 0, 2, 5000)
    assert points.shape == (2, 5000, 2)
    assert points.min() >= 0
    assert points.max() < 1
    assert points.mean(dim=(0, 1)).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert torch.equal(points, RandomPoints(torch.device("cpu"), seeded(3))("match", 0, 2, 5000))
    torch.manual_seed(5)
    first = RandomPoints(torch.device("cpu"))("match", 0, 1, 3)
    torch.manual_seed(5)
    assert torch.equal(first, torch.rand(1, 3, 2))
