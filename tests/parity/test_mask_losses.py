"""Matching and mask losses against the published implementation, with its random points.

Files missing under $AVSBENCH_PARITY come from this folder.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench.nn.mask_losses import MaskCriterion, consistency_loss, mask_and_dice, uncertain_points
from avsbench.nn.matcher import Matcher, Targets, costs

from .fill import array

HERE = Path(__file__).resolve().parent / "mask_losses"
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE.parent)) / "mask_losses"


def file(name):
    return ROOT / name if (ROOT / name).is_file() else HERE / name


ABOUT = json.loads(file("fixture.json").read_text())
with np.load(file("expected.npz")) as arrays:
    EXPECTED = dict(arrays)
POINTS, QUERIES, SIZE = 64, 12, 56
LAYERS = 3


def numbers(name, shape):
    return torch.from_numpy(np.asarray(array(name, tuple(shape))))


def uniform(name, shape):
    z = np.asarray(array(name, tuple(shape))).astype(np.float64)
    return torch.from_numpy((z - np.floor(z)).astype(np.float32))


def boxes(name, count):
    masks = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    for mask, (y, x, high, wide) in zip(masks, uniform(name, (count, 4)).tolist(), strict=True):
        top, left = int(0.6 * SIZE * y), int(0.6 * SIZE * x)
        mask[top : top + 4 + int(0.4 * SIZE * high), left : left + 4 + int(0.4 * SIZE * wide)] = True
    return masks


class Recorded:
    """The reference's: of each prediction, the last one first, points of each frame, then the two draws of the loss."""

    def __init__(self, draws, frames):
        self.draws, self.frames = [(name, shape) for name, shape in draws], frames

    def __call__(self, use, layer, count, points):
        start = (layer + 1) % LAYERS * (self.frames + 2)
        if use == "match":
            assert count == self.frames
            found = torch.cat([uniform(*draw) for draw in self.draws[start : start + count]])
        else:
            found = uniform(*self.draws[start + self.frames + (use == "fresh")])
        assert found.shape == (count, points, 2)
        return found


def close(found, name, atol):
    np.testing.assert_allclose(found.detach().numpy(), EXPECTED[name], rtol=0, atol=atol, err_msg=name)


def test_matching():
    case = ABOUT["cases"]["matcher"]
    prediction = numbers("matcher_logits", (1, QUERIES, 3)), 3 * numbers("matcher_masks", (1, QUERIES, 14, 14))
    targets = Targets.of(boxes("matcher_boxes", 1).long())
    points = uniform(*case["points"][0])
    for name, cost in zip(("class", "mask", "dice"), costs(*prediction, *targets.by_frame, points), strict=True):
        close(cost[0], f"matcher_cost_{name}", case["atol"])
    weights = {f"{name}_weight": weight for name, weight in case["weights"].items()}
    (pairs,) = Matcher(points=POINTS, **weights)([prediction], targets, lambda *_: points)
    assert pairs.frames.tolist() == [0, 0]
    assert pairs.queries.tolist() == EXPECTED["matcher_query_index"].tolist()
    assert pairs.targets.tolist() == EXPECTED["matcher_target_index"].tolist()


def test_uncertain_points():
    case = ABOUT["cases"]["points"]
    draws = dict(zip(("candidate", "fresh"), case["draws"], strict=True))
    settings = {"oversample": case["oversample"], "importance": case["importance"]}
    logits = 3 * numbers("points_logits", (3, 1, 14, 14))
    found = uncertain_points(logits, case["num_points"], 0, lambda use, *_: uniform(*draws[use]), **settings)
    close(found, "points_coords", case["atol"])


def test_pair():
    case = ABOUT["cases"]["pair"]
    bce, dice = mask_and_dice(2 * numbers("pair_logits", (5, POINTS)), uniform("pair_labels", (5, POINTS)))
    close(bce.sum() / case["num_masks"], "pair_ce", case["atol"])
    close(dice.sum() / case["num_masks"], "pair_dice", case["atol"])


def binary_labels(name, count):
    return torch.stack([boxes(f"{name}_boxes_{i}", 1)[0] for i in range(count)]).long()


def semantic_labels(name, count):
    labels = torch.zeros(count, SIZE, SIZE, dtype=torch.long)
    for i, frame in enumerate(labels):
        for j, box in enumerate(boxes(f"{name}_boxes_{i}", 1 + i % 3)):
            frame[box] = 1 + (i + 2 * j) % 4
    return labels


CASES = {
    "s4": (binary_labels, [0, 5]),
    "ms3": (binary_labels, list(range(10))),
    "avss": (semantic_labels, [0, *range(5, 15)]),
}
"""Name -> how labels are made, frames that have them."""


@pytest.mark.parametrize("name", CASES)
def test_criterion(name):
    case, (make, kept) = ABOUT["cases"][name], CASES[name]
    frames, classes = case["frames"], case["classes"]
    masks = [
        3 * numbers(f"{name}_masks_{i}", (frames, QUERIES, 14, 14)) + 4 * numbers(f"{name}_base_{i}", (1, 12, 14, 14))
        for i in range(LAYERS)
    ]
    predictions = [
        (numbers(f"{name}_logits_{i}", (frames, QUERIES, classes + 1))[kept], masks[i][kept]) for i in range(LAYERS)
    ]
    criterion = MaskCriterion(matcher=Matcher(points=POINTS), points=POINTS)
    labels, draw = make(name, len(kept)), Recorded(case["draws"], len(kept))
    found = criterion.losses(predictions, labels, draw)
    values = {}
    for layer, each in enumerate(found):
        suffix = "" if layer == LAYERS - 1 else f"_{layer}"
        values |= {f"loss_ce{suffix}": each["class"]} | {f"loss_{k}{suffix}": each[k] for k in ("mask", "dice")}
    for layer in range(LAYERS - 1):
        values[f"loss_cosine_{layer}"] = consistency_loss(masks[layer])
    assert {f"{name}/{key}" for key in [*values, "total"]} == {key for key in EXPECTED if key.startswith(name)}
    for key, value in values.items():
        close(value, f"{name}/{key}", case["atol"])
    consistency = sum(case["weights"][f"loss_cosine_{i}"] * values[f"loss_cosine_{i}"] for i in range(LAYERS - 1))
    total = sum(criterion(predictions, labels, draw).values()) + consistency
    close(total, f"{name}/total", 10 * case["atol"])
