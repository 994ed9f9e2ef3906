"""Deformable attention, its reference points and the sine code against outputs of the authors' code.

Weights are drawn from key names on both sides. Files missing under $AVSBENCH_PARITY come from this folder.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench.nn.deformable import DeformableAttention, deformable_attention, reference_points
from avsbench.nn.positions import sine_positions

from .fill import array, fill

HERE = Path(__file__).resolve().parent / "ms_deform_attn"
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE.parent)) / "ms_deform_attn"


def file(name):
    return ROOT / name if (ROOT / name).is_file() else HERE / name


ABOUT = json.loads(file("fixture.json").read_text())
SIZES = [tuple(size) for size in ABOUT["levels"]]
HEADS, LEVELS, POINTS = 8, 3, 4


def numbers(name, shape):
    return torch.from_numpy(np.asarray(array(name, shape)))


def found_reference_points():
    return reference_points(SIZES)[:, None].expand(-1, LEVELS, -1)


def found_output():
    module = DeformableAttention(256, heads=HEADS, levels=LEVELS, points=POINTS)
    keys = json.loads(file("keys.json").read_text())
    salt = ABOUT["weights"]["salt"]
    state = {key: torch.from_numpy(np.asarray(fill(key, tuple(shape), salt))) for key, shape, _ in keys}
    module.load_state_dict(state, strict=True)
    shape = (2, 225, 256)
    return module(numbers("query", shape), reference_points(SIZES), numbers("source", shape), SIZES)[:, ::3, ::4]


def found_core():
    value = numbers("value", (2, 225, HEADS, 32)).permute(0, 2, 3, 1)
    locations = 0.5 + 0.4 * numbers("locations", (2, 7, HEADS, LEVELS, POINTS, 2))
    weights = numbers("weights", (2, 7, HEADS, LEVELS, POINTS)).flatten(3).softmax(dim=3)
    grid = (2 * locations - 1).permute(0, 2, 3, 4, 5, 1)
    weights = weights.unflatten(3, (LEVELS, POINTS)).permute(0, 2, 3, 4, 1)
    return deformable_attention(value, SIZES, grid, weights).flatten(1, 2).transpose(1, 2)


def found_position():
    return sine_positions((6, 8), normalized=True)[None]


FOUND = {
    "reference_points": found_reference_points,
    "output": found_output,
    "core": found_core,
    "position": found_position,
}


@pytest.mark.parametrize("name", ABOUT["outputs"])
@torch.no_grad()
def test_output(name):
    with np.load(file("expected.npz")) as arrays:
        expected = arrays[name]
    found = FOUND[name]().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=ABOUT["outputs"][name]["atol"])
