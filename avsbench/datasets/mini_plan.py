"""Which clips the embedded data hold, what each shows and how it sounds. No files here."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from avsbench.cards import DatasetCard
from avsbench.datasets.clip import SPLITS
from avsbench.datasets.mini_kinds import BY_NAME, KINDS, MULTI_KINDS, Dice, Kind
from avsbench.datasets.mini_scene import Scene, lone_source, several_sources, stage
from avsbench.datasets.mini_sound import soundtrack

TAKES = {"s4": 2, "ms3": 3, "avss": 3}
"""Clips that share a scene and differ in who sounds: pictures alone, even learnt by heart, do not tell them apart."""


@dataclass(frozen=True)
class Ticket:
    """One clip to render.

    Attributes:
        dataset: s4, ms3 or avss, which decides the files.
        origin: the data set that the scene was made for.
        scene: key of the scene within its origin.
        clip_id, split, part: as the tables name them.
        cast: classes in the scene; the first sounds first, the second is the one to join or follow it.
        lot: 0..99, the kind of sound (see `several_sources`); -1 for a lone source.
        start: second of the video that the clip was cut from.
        seconds: length.
    """

    dataset: str
    origin: str
    scene: str
    clip_id: str
    split: str
    part: str
    cast: tuple[str, ...]
    lot: int
    start: int
    seconds: int

    @property
    def category(self) -> str:
        """S4 category of the first sounding object."""
        return BY_NAME[self.cast[0]].category


# which clips there are


def plan(card: DatasetCard) -> Iterator[Ticket]:
    """The clips of a data set, in the order of its csv (by name, splits mixed)."""
    tickets = [t for split in SPLITS for t in _PLANS[card.name](split, card.splits["mini"][split])]
    return iter(sorted(tickets, key=lambda ticket: ticket.clip_id))


def _plan_s4(split: str, count: int) -> Iterator[Ticket]:
    for number in range(count):
        scene, take = divmod(number, TAKES["s4"])
        cast = choose_cast("s4", split, scene, KINDS, 50)
        start = Dice("s4", split, number).below(6)  # later starts would give fewer than 5 frames by the official rule
        clip_id = f"{video_name('s4', split, number)}_{start * 1000}_{start * 1000 + 5000}"
        key = f"{split}/{scene}"
        yield Ticket("s4", "s4", key, clip_id, split, "v1s", (cast[take], cast[1 - take], *cast[2:]), -1, start, 5)


def _plan_ms3(split: str, count: int) -> Iterator[Ticket]:
    for number, key, cast in _takes("ms3", split, count, MULTI_KINDS):
        clip_id = f"{video_name('ms3', split, number)}_{number % 3}"
        yield Ticket("ms3", "ms3", key, clip_id, split, "v1m", cast, _lot(number), 0, 5)


def _plan_avss(split: str, count: int) -> Iterator[Ticket]:
    """35 % v1s, 25 % v1m, 40 % v2."""
    single, multiple = count * 35 // 100, count * 25 // 100
    for ticket in [*_plan_s4(split, single), *_plan_ms3(split, multiple)]:
        yield replace(ticket, dataset="avss")
    for number, key, cast in _takes("avss", split, count - single - multiple, KINDS):
        start = Dice("v2", split, number).between(0, 90)
        clip_id = f"{video_name('v2', split, number)}_{start * 1000}_{start * 1000 + 10000}"
        yield Ticket("avss", "avss", key, clip_id, split, "v2", cast, _lot(number), start, 10)


def _takes(origin: str, split: str, count: int, pool: tuple[Kind, ...]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """(number, key of the scene, cast turned so that each take begins with another class) of `count` clips."""
    for number in range(count):
        scene, take = divmod(number, TAKES[origin])
        cast = choose_cast(origin, split, scene, pool, 70)
        turn = take % len(cast)
        yield number, f"{split}/{scene}", cast[turn:] + cast[:turn]


def choose_cast(origin: str, split: str, scene: int, pool: tuple[Kind, ...], three: int) -> tuple[str, ...]:
    """Two classes, or three in `three` % of the scenes; as many scenes as there are classes show each equally often."""
    steps = Dice(origin, split, "steps", scene // len(pool)).sample(range(1, len(pool)), 2)
    members = [0, *steps] if Dice(origin, split, "cast", scene).chance(three) else [0, steps[0]]
    return tuple(pool[(scene + step) % len(pool)].name for step in members)


def _lot(number: int) -> int:
    """Numbers 0, 1, 2 … spread evenly over 0..99 (steps of the golden section)."""
    return (30 + 62 * number + number // 50) % 100


def video_name(*key: object) -> str:
    """Eleven characters in the alphabet of video ids, which holds - and _."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=9).digest()
    return base64.urlsafe_b64encode(digest).decode()[:11]


_PLANS = {"s4": _plan_s4, "ms3": _plan_ms3, "avss": _plan_avss}


# what a clip shows


def scene_of(ticket: Ticket, seed: int) -> Scene:
    """The scene of a clip: pictures from the dice of the scene, sound from the dice of the clip."""
    if ticket.lot < 0:
        sounding = lone_source(ticket.seconds, len(ticket.cast))
    else:
        dice = Dice(seed, ticket.origin, ticket.clip_id, "sources")
        sounding = several_sources(dice, ticket.lot, ticket.seconds, len(ticket.cast))
    heard = {BY_NAME[name]: seconds for name, seconds in zip(ticket.cast, sounding, strict=True)}
    return stage(Dice(seed, ticket.origin, "scene", ticket.scene), heard, ticket.seconds)


def sound_of(ticket: Ticket, seed: int, rate: int = 16000, channels: int = 2) -> np.ndarray:
    """The sound track of a clip, int16 [N,channels]."""
    return soundtrack(scene_of(ticket, seed), Dice(seed, ticket.origin, ticket.clip_id, "sound"), rate, channels)
