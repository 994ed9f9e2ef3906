"""The hand-made tables of the construction (`tables.yaml`): caps, sounds of each class, words for people."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

PERSON = 1
"""COCO's category "person", which VPO splits into three classes."""


@dataclass(frozen=True)
class Tables:
    """What `tables.yaml` says.

    Attributes:
        mask_ids: class -> number in the masks.
        caps: kind of set (single, several, instances) -> split -> class -> rows at most.
        sounds: class -> labels of VGGSound.
        person_words: class -> nouns.
        animals: nouns that make "baby …" no baby.
    """

    mask_ids: dict[str, int]
    caps: dict[str, dict[str, dict[str, int]]]
    sounds: dict[str, list[str]]
    person_words: dict[str, list[str]]
    animals: list[str]

    @property
    def coco_ids(self) -> dict[int, str]:
        """COCO's category -> class, without the person."""
        return {number: name for name, number in self.mask_ids.items() if name not in self.person_words}


@cache
def tables() -> Tables:
    content = yaml.safe_load(Path(__file__).with_name("tables.yaml").read_text())
    classes = content["classes"]
    whole = {kind: {name: entry[kind] for name, entry in classes.items()} for kind in ("single", "several")}
    whole["instances"] = {name: round(content["instances_share"] * cap) for name, cap in whole["several"].items()}
    caps = {}
    for kind, limits in whole.items():
        test = {name: round(content["test_share"][kind] * cap) for name, cap in limits.items()}
        caps[kind] = {"train": {name: cap - test[name] for name, cap in limits.items()}, "val": test}
    sounds = {name: entry["sounds"] for name, entry in classes.items()}
    mask_ids = {name: entry["id"] for name, entry in classes.items()}
    return Tables(mask_ids, caps, sounds, content["person_words"], content["animals"])
