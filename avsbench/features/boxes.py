"""The feature `boxes`: a second of sound is given names, and what has such a name is looked for in its frame.

As Sam4AVS does it (BMVC 2023). Two networks, one that hears and one that sees, meet in words alone. Letters in shapes:
F frames, S samples of a second, M boxes, H W pixels.
"""

import json
from pathlib import Path
from typing import Protocol

import numpy as np

from avsbench.closed_yaml import known
from avsbench.features import Deriver

SIDE = 224
"""Boxes are in pixels of a picture of this side."""
S4 = (
    "baby laughter", "female singing", "male speech", "dog barking", "cat meowing", "lions roaring", "horse clip-clop",
    "coyote howling", "mynah bird singing", "playing acoustic guitar", "playing tabla", "playing violin",
    "playing piano", "playing ukulele", "playing glockenspiel", "helicopter", "race car", "driving buses",
    "ambulance siren", "typing on computer keyboard", "chainsawing trees", "cap gun shooting", "lawn mowing",
)  # fmt: skip
"""The categories of S4."""
MINI = (
    "dog barking", "cat meowing", "playing acoustic guitar", "playing piano", "playing violin", "mynah bird singing",
    "ambulance siren", "helicopter",
)  # fmt: skip
"""Those that the embedded data show."""


def class_names(vocabulary: str) -> list[str]:
    """The names that a sound may get: the 527 of `audioset`, as its authors write them, the 23 of `s4`, 8 of `mini`."""
    lists = {"audioset": (), "s4": S4, "mini": MINI}
    names = known(vocabulary, lists, "features.boxes.options: labels", "vocabulary")
    return list(names) or json.loads(Path(__file__).with_name("audioset.json").read_text())["names"]


class Ear(Protocol):
    """Names sounds."""

    front_end: str

    def names(self, waves: np.ndarray, k: int) -> list[list[str]]:
        """The k names that fit each of the sounds [F,S] best, the best first."""


class Eye(Protocol):
    """Finds in pictures what has a name."""

    def boxes(self, frames: np.ndarray, names: list[list[str]]) -> list[np.ndarray]:
        """Of each frame, uint8 [F,H,W,3], the boxes of what has one of its names: float32 [m,4].

        x0, y0, x1, y1 as shares of width and height.
        """


class NamedBoxes(Deriver):
    """Boxes of what each second sounds like.

    Args:
        ear, eye: the two networks.
        k: names a second.
    """

    def __init__(self, ear: Ear, eye: Eye, k: int):
        self.ear, self.eye, self.k = ear, eye, k

    def derive(self, frames: np.ndarray, audio: dict[str, np.ndarray]) -> np.ndarray:
        names = self.ear.names(audio[self.ear.front_end], self.k)
        return stacked(self.eye.boxes(frames, names)) * SIDE


def stacked(boxes: list[np.ndarray]) -> np.ndarray:
    """Boxes of F frames, [m,4] each -> float32 [F,M,4], M the most of a frame, with NaN at the end of others."""
    array = np.full((len(boxes), max(map(len, boxes), default=0), 4), np.nan, np.float32)
    for row, found in zip(array, boxes, strict=True):
        row[: len(found)] = found
    return array
