"""A few rendered clips of each data set, shared by the tests of readers and of the embedded data."""

import shutil
from dataclasses import replace

import pytest

from avsbench import cards
from avsbench.datasets.mini import render

SPLITS = {"train": 4, "val": 2, "test": 3}
AVSS_SPLITS = {"train": 6, "val": 4, "test": 4}


def small_card(name):
    """The data-set card with so few clips that rendering takes a second."""
    splits = {"mini": AVSS_SPLITS if name == "avss" else SPLITS, "full": SPLITS}
    return replace(cards.dataset(name), splits=splits)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """Function: name of a data set -> folder with its official layout, rendered once. Not to be changed."""
    done = {}

    def get(name):
        if name not in done:
            folder = tmp_path_factory.mktemp("mini") / name
            render(small_card(name), folder, 0, 1)
            done[name] = folder
        return done[name]

    return get


@pytest.fixture
def own(rendered, tmp_path):
    """Function: name of a data set -> a copy of its rendered folder to break."""

    def copy(name):
        return shutil.copytree(rendered(name), tmp_path / name)

    return copy
