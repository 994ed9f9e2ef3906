"""The feature `boxes` apart from its networks: vocabularies, and boxes of several names and frames in one array."""

import hashlib

import numpy as np
import pytest

from avsbench.errors import AvsbenchError
from avsbench.features.boxes import NamedBoxes, class_names, stacked

AUDIOSET = "0b14c3a038e682627b9d4133084a7b63f805a7ab61896c5df8d3ec227af18c18"
"""sha256 of AudioSet's display names, joined by line feeds."""


def test_the_names_of_audioset_are_the_published_ones():
    names = class_names("audioset")
    assert hashlib.sha256("\n".join(names).encode()).hexdigest() == AUDIOSET
    assert (names[0], names[137], names[300], names[526]) == ("Speech", "Music", "Vehicle", "Field recording")
    assert len(set(names)) == 527


def test_the_categories_of_s4():
    names = class_names("s4")
    assert len(set(names)) == 23
    assert not [name for name in names if "_" in name]
    assert {"horse clip-clop", "cap gun shooting", "mynah bird singing"} < set(names)


def test_an_unknown_vocabulary_names_the_nearest():
    with pytest.raises(AvsbenchError, match="did you mean 'audioset'"):
        class_names("audioste")


def test_missing_boxes_stand_at_the_end():
    first, second = np.float32([[1, 2, 3, 4]]), np.float32([[5, 6, 7, 8], [9, 10, 11, 12]])
    found = stacked([first, np.zeros((0, 4), np.float32), second])
    assert found.dtype == np.float32
    assert found.shape == (3, 2, 4)
    assert np.array_equal(found[0, 0], first[0])
    assert np.array_equal(found[2], second)
    assert np.isnan(found[0, 1]).all()
    assert np.isnan(found[1]).all()


def test_a_clip_without_boxes():
    assert stacked([np.zeros((0, 4), np.float32)] * 5).shape == (5, 0, 4)


class Ear:
    front_end = "clap_wave"

    def names(self, waves, k):
        return [[f"{number}{rank}" for rank in range(k)] for number in waves[:, 0].astype(int).tolist()]


class Eye:
    def boxes(self, frames, names):
        assert len(frames) == len(names)
        return [np.float32([[0, 0, int(name) / 64, 1] for name in row]) for row in names]


@pytest.mark.parametrize("k", [1, 2])
def test_the_names_of_a_second_are_looked_for_in_its_frame(k):
    waves, frames = np.float32([[1, 0], [3, 0]]), np.zeros((2, 64, 64, 3), np.uint8)
    found = NamedBoxes(Ear(), Eye(), k).derive(frames, {"clap_wave": waves, "other": None})
    assert found.shape == (2, k, 4)
    # Pixels of a picture of 224 x 224, whatever the size of the frames: the name 31 says 31 / 64 of its width.
    assert found[1].tolist() == [[0, 0, 105, 224], [0, 0, 108.5, 224]][:k]
    assert found[0].tolist() == [[0, 0, 35, 224], [0, 0, 38.5, 224]][:k]
