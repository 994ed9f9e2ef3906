"""Male, female or baby: what the captions of an image say about its only person."""

import re
from collections.abc import Iterable
from functools import cache

from avsbench.datasets.vpo_build.tables import tables

VOTES = 2
"""Captions that must name the class."""


def person_class(captions: Iterable[str]) -> str | None:
    """The class that at least 2 captions name and none contradicts; None where they are silent or disagree.

    A caption that names two classes ("a woman holding her baby") votes for both. "Baby boy" and "baby girl" are babies.
    """
    votes = [named for caption in captions if (named := classes_named(caption))]
    classes = set().union(*votes)
    return classes.pop() if len(classes) == 1 and len(votes) >= VOTES else None


def classes_named(caption: str) -> set[str]:
    """The person classes that one caption names."""
    baby_animal, baby_child, nouns = _patterns()
    text = baby_animal.sub(" ", caption.lower())
    text = baby_child.sub("baby", text)
    return {nouns[word] for word in re.findall(r"[a-z]+", text) if word in nouns}


@cache
def _patterns() -> tuple[re.Pattern, re.Pattern, dict[str, str]]:
    words = tables().person_words
    baby = "|".join(words["baby"])
    animals = "|".join(tables().animals)
    child = "|".join(["boys?", "girls?"])
    nouns = {word: name for name, listed in words.items() for word in listed}
    return re.compile(rf"\b(?:{baby}) (?:{animals})s?\b"), re.compile(rf"\b(?:{baby}) (?:{child})\b"), nouns
