"""Benchmark of Semantic-SAM, smallest form: what is saved changes no mask."""

from functools import partial

import pytest
import torch

from benchmarks import semantic_sam


@pytest.mark.parametrize("levels", semantic_sam.LEVELS.values())
def test_both_forms_find_the_same(levels, monkeypatch):
    loose = partial(semantic_sam.Settings, stability_threshold=0.0, nms_threshold=1.0, points_per_batch=30)
    monkeypatch.setattr(semantic_sam, "Settings", loose)
    ours, direct = (semantic_sam.Picture("swin_mini", form, 1, 64, 8) for form in semantic_sam.FORMS)
    direct.threshold = ours.threshold
    (found,), (expected,) = ours.masks(levels), direct.masks(levels)
    share = 64 * len(levels) * semantic_sam.PASSING
    assert 0.2 * share < len(found.scores) < 3 * share
    torch.testing.assert_close(found.scores.sort()[0], expected.scores.sort()[0])
    assert (found.masks != expected.masks).float().mean() < 1e-3


def test_every_second_is_of_a_part():
    picture = semantic_sam.Picture("swin_mini", "ours", 1, 64, 8)
    assert picture.run((3,)) > 0
    assert set(picture.parts) == {"backbone", "pixel decoder", "clicks", "rest"}
    assert picture.shares().count("%") == 4


def test_rows_compare_round_by_round(monkeypatch):
    class Fake:
        def __init__(self, factory, backbone, form, threads):
            self.form = form

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def call(self, name, *levels):
            return "backbone 9%" if name == "shares" else {"ours": 2.0, "direct": 3.0}[self.form]

    monkeypatch.setattr(semantic_sam, "Alone", Fake)
    ours, direct, cleaning = semantic_sam.rows(quick=True)
    assert (ours.value, direct.value) == (2.0, 3.0)
    assert ours.note == "backbone 9%"
    assert direct.note == "1.50× ours (1.50× at least); backbone 9%"
    assert cleaning.value > 0
