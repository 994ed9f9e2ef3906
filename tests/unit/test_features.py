"""Mask generators and the colouring of what they propose."""

import numpy as np
import pytest

from avsbench import features
from avsbench.errors import AvsbenchError
from avsbench.features import maskige


def drawn(*rows):
    """Masks from text: a row of words a mask, each word a line of pixels."""
    return np.array([[[pixel == "#" for pixel in line] for line in mask.split()] for mask in rows])


def test_the_smaller_mask_lies_on_top():
    masks = drawn("#### ####", "##.. #...", "#... ....")  # areas 8, 3, 1
    assert maskige.index_image(masks).tolist() == [[1, 2, 3, 3], [2, 3, 3, 3]]


def test_hidden_and_empty_masks_leave_their_index_unused():
    hidden = drawn("##.", "#..", ".#.")  # the two pixels hide the pair; of equal areas the first is the smaller
    assert maskige.index_image(hidden).tolist() == [[1, 2, 0]]
    empty = drawn("...", "##.")
    assert maskige.index_image(empty).tolist() == [[2, 2, 0]]


def test_equal_areas_keep_the_order_of_the_masks():
    """Also beyond 16 masks, where an unstable sort loses it."""
    masks = np.eye(40, dtype=bool)[:, None]
    assert maskige.index_image(masks).tolist() == [list(range(1, 41))]


@pytest.mark.parametrize("none", [np.zeros((1, 2, 3)), np.zeros((0, 2, 3), bool)])
def test_no_mask_is_one_grey(none):
    indices = maskige.index_image(none)
    assert indices.dtype == np.uint8
    assert not indices.any()
    assert (maskige.coloured(indices[None]) == 120).all()


def test_more_masks_than_the_palette_has_colours_are_grey():
    indices = maskige.index_image(np.eye(160, dtype=bool)[:, None])
    colours = maskige.coloured(indices[None])[0, :, 0].T
    assert colours[148].tolist() == maskige.palette()[149].tolist()
    assert colours[149:].tolist() == [[i, i, i] for i in range(150, 161)]
    assert colours[5].tolist() == colours[47].tolist() == [140, 140, 140]  # the palette has it twice


def test_of_more_than_255_masks_the_largest_stay(caplog):
    masks = np.zeros((300, 1, 600), bool)
    for n in range(300):
        masks[n, 0, n : 2 * n + 1] = True  # areas 1, 2, …, 300
    indices = maskige.index_image(masks)
    assert "300 masks of a frame; the 255 largest are kept" in caplog.text
    assert indices[0, :45].tolist() == [0] * 45  # the 45 smallest are gone
    assert indices[0, 45] == 1
    assert indices.max() == 255
    assert indices[0, 598] == 255


def test_colours_stand_before_the_pixels():
    indices = np.array([[[0, 1], [2, 3]]], np.uint8)
    colours = maskige.coloured(indices)
    assert colours.shape == (1, 3, 2, 2)
    assert colours[0, :, 0, 1].tolist() == [180, 120, 120]
    assert colours[0, :, 1, 0].tolist() == [6, 230, 230]
    assert np.array_equal(maskige.coloured(maskige.palette()[indices]), colours)


def quarters():
    image = np.zeros((2, 32, 32, 3), np.uint8)
    image[:, :16, :16], image[:, :16, 16:], image[:, 16:, :16] = (250, 10, 10), (10, 250, 10), (10, 10, 250)
    return image


def test_felzenszwalb_finds_regions_and_tiles_the_picture():
    card = features.generator("felzenszwalb")
    assert (card.partition, card.needs_weights, card.needs_gpu) == (True, False, False)
    generator = features.build(card, {"min_size": 20, "sigma": 0.0})
    found = generator.propose_frames(quarters())
    assert len(found) == 2
    for proposals in found:
        assert proposals.masks.dtype == bool
        assert sorted(proposals.masks.sum(axis=(1, 2)).tolist()) == [256] * 4
        assert (proposals.masks.sum(axis=0) == 1).all()
        assert proposals.scores.dtype == np.float32
        assert proposals.scores.tolist() == [1.0] * 4
    again = features.build(card, {"min_size": 20, "sigma": 0.0}).propose(quarters()[0])
    assert np.array_equal(again.masks, found[0].masks)
    assert len(features.build(card, {"min_size": 2000, "sigma": 0.0}).propose(quarters()[0]).masks) == 1


def test_none_proposes_nothing():
    found = features.build(features.generator("none"), {}).propose(quarters()[0])
    assert found.masks.shape == (0, 32, 32)
    assert found.scores.shape == (0,)


def test_options_out_of_range_and_unknown_generators_are_named():
    with pytest.raises(AvsbenchError, match="scale -1"):
        features.build(features.generator("felzenszwalb"), {"scale": -1})
    with pytest.raises(AvsbenchError, match="did you mean 'felzenszwalb'"):
        features.generator("felzenswalb")
