"""The benchmark of matching, smallest form: both forms agree, or it says so; a share that is too large is an error."""

import pytest

from avsbench.nn.matcher import Pairs
from benchmarks import matching
from tests.unit.test_benchmarks_attention import Here


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(matching, "Alone", Here)
    for name, value in {"QUERIES": 4, "LAYERS": 2, "MAPS": 8, "LABELS": 16, "FRAMES": 2}.items():
        monkeypatch.setattr(matching, name, value)


def test_both_forms_match_alike():
    row = matching.against_loop(2, 1, 1)
    assert row.value > 0
    assert "× as fast as a loop over frames" in row.note


def test_other_pairs_are_noticed(monkeypatch):
    class Wrong(matching.FrameByFrame):
        def __call__(self, *arguments):
            return [Pairs(p.frames, 3 - p.queries, p.targets) for p in super().__call__(*arguments)]

    monkeypatch.setitem(matching.FORMS, "loop", Wrong)
    with pytest.raises(RuntimeError, match="other queries"):
        matching.against_loop(1, 1, 1)


def test_share_of_a_step(monkeypatch):
    monkeypatch.setattr(matching, "BAR", 1.0)
    monkeypatch.setattr(matching, "FRAMES", 5)  # the consistency loss takes groups of five
    step = matching.Step
    monkeypatch.setattr(matching, "Step", lambda threads: step(threads, "mini", 64))
    row = matching.share_of_step(1, 1)
    assert row.value > 0
    assert "of a step of" in row.note
    monkeypatch.setattr(matching, "BAR", 0.0)
    with pytest.raises(RuntimeError, match="matching takes"):
        matching.share_of_step(1, 1)
