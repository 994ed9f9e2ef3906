"""Colouring of masks and the fixed size of AVSS against arrays of the published scripts."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from avsbench.features import maskige
from avsbench.media.images import resize_image, resize_mask

ROOT = Path(os.environ.get("AVSBENCH_PARITY", Path(__file__).resolve().parent)) / "maskige"
FIXTURE = ROOT / "fixture.json"
ABOUT = (
    json.loads(FIXTURE.read_text()) if FIXTURE.is_file() else {"maskige": {"cases": []}, "fixed_size": {"cases": []}}
)
CASES = {case["name"]: case for case in ABOUT["maskige"]["cases"]}
SIZES = {case["name"]: case for case in ABOUT["fixed_size"]["cases"]}


@pytest.fixture(scope="module")
def expected():
    with np.load(ROOT / "expected.npz") as stored:
        return dict(stored)


def test_the_fixture_is_there():
    assert len(CASES) == 8, f"no vectors in {ROOT}"
    assert len(SIZES) == 5


def test_the_palette_is_the_published_one():
    file = ROOT / "palette.json"
    listed = json.loads((file if file.is_file() else Path(__file__).with_name("maskige") / file.name).read_text())
    assert maskige.palette()[:150].tolist() == listed
    assert maskige.palette()[150:].tolist() == [[i, i, i] for i in range(150, 256)]


@pytest.mark.parametrize("name", CASES)
def test_indices_and_colours(name, expected):
    count, height, width = CASES[name]["masks"]
    packed = expected[f"{name}.masks"]
    masks = np.stack([np.unpackbits(row, count=height * width).reshape(height, width) for row in packed])
    assert len(masks) == count
    indices = maskige.index_image(masks.astype(CASES[name]["mask_dtype"]))
    assert np.array_equal(indices, expected[f"{name}.index_native"])
    assert np.array_equal(indices, maskige.index_image(masks.astype(bool)))
    large = resize_mask(indices, 224, "squash")
    assert np.array_equal(large, expected[f"{name}.index_224"])
    if f"{name}.rgb_224" in expected:
        colours = maskige.coloured(large[None])[0]
        assert np.array_equal(colours.transpose(1, 2, 0)[::2, ::2], expected[f"{name}.rgb_224"])


@pytest.mark.parametrize("name", SIZES)
def test_fixed_size(name, expected):
    """Maskiges at the original size become the size of the frames as labels do: nearest pixel, cropped in training."""
    case = SIZES[name]
    height, width = case["input"]
    y, x = np.mgrid[:height, :width]
    image = np.stack([(3 * x + y) % 256, (x + 5 * y) % 256, (x * y // 7) % 256], axis=-1).astype(np.uint8)
    label = ((x // 23 + y // 17) % 71).astype(np.uint8)
    step, size = case["subsample"], case["target"]
    for split, rule in (("train", "crop"), ("eval", "squash")):
        picture, mask = (
            f(array, size, rule)[::step, ::step] for f, array in ((resize_image, image), (resize_mask, label))
        )
        close = np.abs(picture.astype(int) - expected[f"fix.{name}.{split}_image"])
        assert close.max() <= ABOUT["fixed_size"]["tolerance_image"], split
        assert np.array_equal(mask, expected[f"fix.{name}.{split}_label"]), split
