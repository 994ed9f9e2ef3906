"""The benchmark of deformable attention in its smallest form: its forms agree, and it notices when they do not."""

import pytest
import torch

from benchmarks import deformable_attention
from benchmarks.common import Alone


class Here(Alone):
    """As Alone, in this process."""

    def __init__(self, factory, *arguments):
        self._made = factory(*arguments)

    def call(self, name, *arguments):
        return getattr(self._made, name)(*arguments)

    def __exit__(self, *_):
        pass


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(deformable_attention, "Alone", Here)


@pytest.mark.parametrize("other", ["direct", "loop"])
def test_forms_agree(other):
    found = deformable_attention.compare((1, [(3, 2), (2, 1), (1, 1)]), 1, 1, other)
    assert 0 < found["difference"] < 1e-5
    row = deformable_attention.row_of("case", found, other)
    assert f"× as fast as {other}" in row.note


def test_forms_that_differ_are_noticed(monkeypatch):
    monkeypatch.setattr(
        deformable_attention.Direct, "sample", lambda self, value, *_: torch.zeros_like(value.flatten(2))
    )
    with pytest.raises(RuntimeError, match="outputs of the two forms differ by"):
        deformable_attention.compare((1, [(3, 2), (2, 1), (1, 1)]), 1, 1)
