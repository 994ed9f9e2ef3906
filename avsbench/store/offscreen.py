"""Whose sound stands for one from outside the picture: a clip of another kind, as AVSBench-Robust draws it.

Source: https://github.com/jiali-home/AVSBench-Robust. Our draw depends on the split, seed and clip alone, not on the
order of files in a folder, so that a clip has the same partner on every machine.
"""

import logging
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.datasets.avsbench_files import read_csv
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths
from avsbench.store.tables import read_index

SEED = 42
"""Of all negatives: scores of different runs must come from the same sounds."""

COLUMNS = ["clip_id", "kinds", "partner", "partner_kinds"]

_LOG = logging.getLogger(__name__)


def _kind_of(table: dict[str, str]) -> dict[str, str]:
    return {name: kind for kind, names in table.items() for name in names.split()}


CATEGORIES = _kind_of(
    {
        "music": "playing_acoustic_guitar playing_glockenspiel playing_piano playing_tabla playing_ukulele "
        "playing_violin",
        "human": "baby_laughter female_singing male_speech",
        "animal": "cat_meowing coyote_howling dog_barking horse_clip-clop lions_roaring mynah_bird_singing",
        "device": "driving_buses helicopter race_car ambulance_siren cap_gun_shooting chainsawing_trees lawn_mowing "
        "typing_on_computer_keyboard",
    }
)
"""Category of S4 -> kind."""

OBJECTS = _kind_of(
    {
        "music": "guitar tabla violin ukulele piano marimba",
        "human": "man woman baby",
        "animal": "dog cat lion bird wolf",
        "device": "mower background bus car gun saw emergency-car keyboard",
    }
)
"""Object of MS3 -> kind; others have none."""

FORBIDDEN = {
    "s4": {"music": "human", "human": "music", "animal": "human"},
    "ms3": {"music": "human", "human": "music", "animal": "human", "device": "music"},
}
"""Kind -> the kind that may not stand for it either, besides itself: people often sing to instruments."""


def write_negatives(card: DatasetCard, split: str, paths: Paths) -> pd.DataFrame:
    """Write whose sound each clip of a split gets from outside the picture; what the rule `negatives` calls.

    The table has the columns clip_id, kinds (of what sounds in it, joined by +), partner and partner_kinds; a clip of
    unknown kind has no partner.
    """
    index = read_index(paths.index(card.name, split))
    kinds, groups = _kinds_of(card, index, paths)
    partners = draw_partners(kinds, groups, FORBIDDEN[card.name])
    rows = [
        (clip, _joined(kinds[clip]), partners.get(clip, ""), _joined(kinds[partners[clip]]) if clip in partners else "")
        for clip in index["clip_id"]
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    with atomic(paths.negatives(card.name, split)) as temporary:
        table.to_csv(temporary, index=False)
    _LOG.info("%s %s: %d of %d clips have a sound from outside", card.name, split, len(partners), len(table))
    return table


def read_partners(path: str | Path) -> dict[str, str]:
    """Clip -> the clip whose sound it gets from outside the picture, of all that have one."""
    path = Path(path)
    if not path.is_file():
        raise AvsbenchError(f"{path}: no such list of negatives", hint="`avsbench negatives` writes it")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != COLUMNS:
        raise AvsbenchError(f"{path}: not a list of negatives", found=", ".join(table.columns), hint="delete it")
    return {row.clip_id: row.partner for row in table.itertuples() if row.partner}


def draw_partners(
    kinds: Mapping[str, frozenset[str]], groups: Mapping[str, str], forbidden: Mapping[str, str], seed: int = SEED
) -> dict[str, str]:
    """Clip -> partner, of every clip of a known kind.

    A group is drawn uniformly from those that hold a clip of allowed kinds, then such a clip of it. Where there is
    none, any other clip will do.

    Args:
        kinds: clip -> kinds of what sounds in it.
        groups: clip -> its group: the category in S4, the clip itself in MS3.
        forbidden: see `FORBIDDEN`.
    """
    partners = {}
    for clip in sorted(clip for clip in kinds if kinds[clip]):
        refused = kinds[clip] | {forbidden[kind] for kind in kinds[clip] if kind in forbidden}
        others = [other for other in sorted(kinds) if other != clip]
        allowed = [other for other in others if not kinds[other] & refused] or others
        if not allowed:
            raise AvsbenchError("a split of one clip has no sound from outside", found=clip)
        members: dict[str, list[str]] = {}
        for other in allowed:
            members.setdefault(groups[other], []).append(other)
        draw = generator_of(clip, seed)
        group = members[sorted(members)[draw.integers(len(members))]]
        partners[clip] = group[draw.integers(len(group))]
    return partners


def generator_of(clip: str, seed: int = SEED) -> np.random.Generator:
    """Random numbers that belong to a clip."""
    return np.random.default_rng([seed, zlib.crc32(clip.encode())])


def _kinds_of(card: DatasetCard, index: pd.DataFrame, paths: Paths) -> tuple[dict[str, frozenset[str]], dict[str, str]]:
    """Clip -> kinds, clip -> group."""
    if card.name not in FORBIDDEN:
        raise AvsbenchError(f"{card.name}: no kinds of sound are defined", expected=" or ".join(FORBIDDEN))
    clips = list(index["clip_id"])
    if card.name == "ms3":
        objects = _objects(paths)
        kinds = {clip: frozenset(OBJECTS[o] for o in objects.get(clip, ()) if o in OBJECTS) for clip in clips}
        return kinds, {clip: clip for clip in clips}
    categories = dict(zip(clips, index["category"], strict=True))
    strange = sorted(set(categories.values()) - set(CATEGORIES))
    if strange:
        raise AvsbenchError(
            f"{paths.index(card.name, index.attrs['split'])}: categories of unknown kind",
            found=", ".join(strange),
            expected="the 23 categories of S4",
        )
    return {clip: frozenset([CATEGORIES[category]]) for clip, category in categories.items()}, categories


def _objects(paths: Paths) -> dict[str, list[str]]:
    """Clip of MS3 -> what sounds in it, from AVSS's table, which may also lie in the folder of MS3."""
    files = [Path(paths.official(name)) / "metadata.csv" for name in ("ms3", "avss")]
    for file in files:
        if file.is_file():
            table = read_csv(file, ["uid", "a_obj", "label"])
            of_ms3 = table[table["label"] == "v1m"]
            return {row.uid: row.a_obj.split("_") for row in of_ms3.itertuples()}
    raise AvsbenchError(
        "MS3 does not say what sounds in its clips; AVSS's table does, and it is not there",
        expected=" or ".join(map(str, files)),
        hint="name AVSS under roots, or leave offscreen out of `conditions`",
    )


def _joined(kinds: frozenset[str]) -> str:
    return "+".join(sorted(kinds))
