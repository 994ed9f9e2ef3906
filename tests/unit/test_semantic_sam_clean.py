"""Clean-up of masks: small holes, then small islands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from avsbench.features.semantic_sam.clean import clean_mask


def mask(*parts, square=True):
    """20 x 20 pixels, a square of 10 x 10 in the middle, and changes of it: (rows, columns, value)."""
    found = np.zeros((20, 20), bool)
    found[5:15, 5:15] = square
    for rows, columns, value in parts:
        found[rows, columns] = value
    return found


s = slice
RING = [(s(1, 4), s(1, 4), True), (2, 2, False), (0, 0, True), (s(10, 14), s(10, 14), True)]
CASES = {
    # semantic_sam.md, section 7: what the authors' code gives
    "a hole of 9": (mask((s(7, 10), s(7, 10), False)), 91, 100),
    "a hole of 10": (mask((s(7, 9), s(7, 12), False)), 90, None),
    "holes of 6 and 4 that touch at a corner": (mask((s(6, 8), s(6, 9), False), (s(8, 10), s(9, 11), False)), 90, None),
    "an island of 9": (mask((s(0, 3), s(0, 3), True)), 109, 100),
    "a pixel at the corner": (mask((4, 4, True)), 101, None),
    "only small pieces": (mask((0, s(0, 6), True), (5, s(0, 6), True), (9, 9, True), square=False), 13, 6),
    "a ring that its hole makes large": (mask(*RING, square=False), 25, 26),
    # from the text alone
    "an island of 10": (mask((0, s(0, 10), True)), 110, None),
    "background of 9 in a corner, cut off": (mask((s(0, 4), 3, True), (3, s(0, 4), True)), 107, 116),
    "nothing": (mask(square=False), 0, None),
    "everything but a corner": (~mask((s(0, 3), s(0, 3), True), square=False), 391, 400),
    "everything but a strip": (~mask((s(0, 1), s(0, 10), True), square=False), 390, None),
}


@pytest.mark.parametrize(("found", "before", "after"), CASES.values(), ids=CASES)
def test_cases(found, before, after):
    assert found.sum() == before
    cleaned = clean_mask(found, 10)
    assert (cleaned is None) == (after is None)
    if after is not None:
        assert cleaned.dtype == bool
        assert cleaned.sum() == after


def test_of_equal_pieces_the_first_in_row_order_stays():
    cleaned = clean_mask(CASES["only small pieces"][0], 10)
    assert cleaned[0, :6].all()
    assert cleaned.sum() == 6


def plain(found, least):
    """Every piece of the whole picture, one after the other."""

    def pieces(of):
        labels, count = ndimage.label(of, np.ones((3, 3)))
        return [labels == number for number in range(1, count + 1)]

    new = found.copy()
    for hole in pieces(~found):
        if hole.sum() < least:
            new |= hole
    islands = pieces(new)
    large = [piece for piece in islands if piece.sum() >= least] or sorted(islands, key=lambda piece: -piece.sum())[:1]
    return np.any(large, axis=0) if large else new


@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.floats(0.02, 0.98), st.integers(1, 12))
def test_equals_the_plain_form(seed, height, width, share, least):
    rng = np.random.default_rng(seed)
    found = np.zeros((height, width), bool)
    top, left = rng.integers(height), rng.integers(width)  # a part of the picture, so that its surroundings matter
    part = found[top:, left:][: rng.integers(1, height + 1), : rng.integers(1, width + 1)]
    part[:] = rng.random(part.shape) < share
    before = found.copy()
    expected = plain(found, least)
    cleaned = clean_mask(found, least)
    np.testing.assert_array_equal(found, before)
    if cleaned is None:
        np.testing.assert_array_equal(expected, found)
    else:
        np.testing.assert_array_equal(cleaned, expected)
