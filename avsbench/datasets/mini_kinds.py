"""The object classes of the embedded data: how each looks and which timbre it has, and the dice that draw the scenes.

Everything is integer arithmetic over bytes of SHAKE-256, so a seed gives the same pixels and samples on every machine
and with every version of numpy: no library's random stream and no vectorised sine is involved.
"""

import hashlib
from dataclasses import dataclass, replace

import numpy as np


class Dice:
    """Random integers that depend on the parts of a key and on nothing else."""

    def __init__(self, *key: object):
        self.key = key
        self._key = "/".join(map(str, key)).encode()
        self._drawn = 0

    def below(self, end: int) -> int:
        """An integer from 0 to `end` - 1. (Modulo of 48 bits: the bias is beyond notice.)"""
        self._drawn += 1
        digest = hashlib.blake2b(self._key + b"#%d" % self._drawn, digest_size=6).digest()
        return int.from_bytes(digest, "little") % end

    def between(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def pick(self, items):
        return items[self.below(len(items))]

    def sample(self, items, count: int) -> list:
        """`count` different items in random order."""
        pool = list(items)
        return [pool.pop(self.below(len(pool))) for _ in range(count)]

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def noise(self, count: int) -> np.ndarray:
        """White noise, int64 [count], uniform in -32768..32767."""
        self._drawn += 1
        data = hashlib.shake_256(self._key + b"~%d" % self._drawn).digest(2 * count)
        return np.frombuffer(data, "<i2").astype(np.int64)


@dataclass(frozen=True)
class Kind:
    """A class of sounding objects.

    Attributes:
        name: class of AVSBench-semantic (or of VPO).
        category: the S4 category of the same meaning, "" for VPO.
        colour, accent: RGB of the body and of its texture.
        shape, texture: names of functions in `mini_scene`.
        timbre: name of a function in `mini_sound`.
    """

    name: str
    category: str
    colour: tuple[int, int, int]
    accent: tuple[int, int, int]
    shape: str
    texture: str
    timbre: str


KINDS = (
    Kind("dog", "dog_barking", (222, 62, 40), (150, 30, 22), "disc", "spots", "barks"),
    Kind("cat", "cat_meowing", (236, 204, 44), (186, 140, 22), "triangle", "stripes", "meows"),
    Kind("guitar", "playing_acoustic_guitar", (54, 184, 62), (24, 112, 36), "hourglass", "stripes", "plucks"),
    Kind("piano", "playing_piano", (48, 88, 226), (26, 44, 140), "box", "bars", "chords"),
    Kind("violin", "playing_violin", (206, 60, 204), (132, 28, 140), "diamond", "rings", "bowing"),
    Kind("bird", "mynah_bird_singing", (56, 206, 216), (24, 132, 150), "ellipse", "spots", "chirps"),
    Kind("emergency-car", "ambulance_siren", (244, 244, 246), (214, 40, 40), "box", "checks", "siren"),
    Kind("helicopter", "helicopter", (92, 46, 128), (44, 20, 66), "cross", "rings", "rotor"),
)
MULTI_KINDS = KINDS[:6]
"""Classes of the scenes with several sources (MS3, v1m): few, so that few clips teach them."""
BY_NAME = {kind.name: kind for kind in KINDS}

_IN_VPO = {
    "guitar": "horse",
    "piano": "keyboard",
    "violin": "female",
    "emergency-car": "car",
    "helicopter": "airplane",
}
VPO_KINDS = tuple(replace(kind, name=_IN_VPO.get(kind.name, kind.name), category="") for kind in KINDS)
"""The same looks and timbres under names of VPO, which shares three classes with `KINDS`."""
VPO_BY_NAME = {kind.name: kind for kind in VPO_KINDS}
