"""Scenes of the embedded data: what is visible where and when, and who sounds in which second; and their pixels.

A scene lives on a canvas of 4096 x 3072 units and is drawn at any size. Time is counted in ticks of 1/8 s, the frame
rate of the videos. **Sound decides**: every scene shows silent objects of other sounding classes, and every scene is
used for several clips ("takes") that look the same and differ in who sounds. All arithmetic is integer.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from avsbench.datasets.mini_kinds import KINDS, Dice, Kind

WIDE, HIGH = 4096, 3072
FPS = 8
SINE = np.array([round(16384 * math.sin(2 * math.pi * k / 4096)) for k in range(4096)], np.int64)
"""One turn of a sine in 4096 steps, scaled by 2^14."""


@dataclass(frozen=True)
class Thing:
    """An object: class, look, path, and the seconds in which it sounds.

    Lengths are in canvas units, angles in 1/4096 turn.
    """

    kind: Kind
    centre: tuple[int, int]
    radius: int
    drift: tuple[int, int]
    sway: int
    sway_speed: int
    sway_start: int
    angle: int
    spin: int
    tint: tuple[int, int, int]
    grain: int
    sounding: tuple[bool, ...]

    def place(self, tick: int, ticks: int) -> tuple[int, int, int]:
        """(x, y, angle) at a tick; `drift` is the way over the whole clip."""
        turn = self.sway_start + self.sway_speed * tick
        x = self.centre[0] + self.drift[0] * (2 * tick - ticks) // (2 * ticks)
        y = self.centre[1] + self.drift[1] * (2 * tick - ticks) // (2 * ticks)
        x += self.sway * int(SINE[(turn + 1024) % 4096]) >> 14
        y += self.sway * int(SINE[turn % 4096]) >> 14
        return x, y, (self.angle + self.spin * tick) % 4096


@dataclass(frozen=True)
class Scene:
    """Things in painter's order over a cluttered background that pans slowly."""

    seconds: int
    things: tuple[Thing, ...]
    backdrop: tuple
    clutter: tuple
    pan: tuple[int, int]

    @property
    def ticks(self) -> int:
        return self.seconds * FPS

    def sounding(self, second: int) -> list[Thing]:
        return [thing for thing in self.things if thing.sounding[second]]


def frame_tick(second: int) -> int:
    """The tick that the rule "15/16 of a second" picks from a video of 8 frames a second."""
    return second * FPS + 15 * FPS // 16


# who sounds, and who is there


def lone_source(seconds: int, count: int) -> list[tuple[bool, ...]]:
    """The first of `count` objects sounds all the time, the others never (S4, v1s)."""
    return [(number == 0,) * seconds for number in range(count)]


def several_sources(dice: Dice, lot: int, seconds: int, count: int) -> list[tuple[bool, ...]]:
    """In which seconds each of `count` objects sounds: none, one or two at a time (MS3, v1m, v2).

    Of 100 lots, 60 give one source, 20 two at once, 12 a source that hands over to another, 8 none at all.

    Args:
        dice: of this clip.
        lot: 0..99; a caller spreads the lots evenly, so that few clips hold all kinds in these shares.
        seconds: length of the clip.
        count: objects in the scene, at least 2.
    """
    sounding = [(False,) * seconds] * count
    if lot < 60:
        sounding[0] = _stretch(dice, seconds)
    elif lot < 80:
        sounding[0], sounding[1] = _stretch(dice, seconds), _stretch(dice, seconds)
    elif lot < 92:
        turn = dice.between(2 * seconds // 5, 3 * seconds // 5)
        sounding[0] = tuple(second < turn for second in range(seconds))
        sounding[1] = tuple(second >= turn for second in range(seconds))
    return sounding


def _stretch(dice: Dice, seconds: int) -> tuple[bool, ...]:
    """An unbroken stretch of the clip: all of it in 60 of 100 cases, else it starts late or stops early."""
    lost = 0 if dice.chance(60) else dice.between(1, max(1, 2 * seconds // 5))
    start = dice.between(0, lost)
    return tuple(start <= second < seconds - lost + start for second in range(seconds))


def stage(dice: Dice, sounding: dict[Kind, tuple[bool, ...]], seconds: int) -> Scene:
    """A scene with one object of every class in `sounding`.

    `dice` decide all that can be seen and `sounding` changes none of it: the same dice and classes in another order
    give the same pictures with another sound.
    """
    cast = dice.sample(sorted(sounding, key=KINDS.index), len(sounding))
    cells = dice.sample([(column, row) for column in range(3) for row in range(2)], len(cast))
    things = [place_thing(dice, kind, cell, sounding[kind]) for kind, cell in zip(cast, cells, strict=True)]
    return surround(dice, things, seconds)


def place_thing(dice: Dice, kind: Kind, cell: tuple[int, int], sounding: tuple[bool, ...]) -> Thing:
    """An object about the middle of a cell (column, row) of the 3 x 2 into which the canvas is divided."""
    column, row = cell
    return Thing(
        kind=kind,
        centre=(
            WIDE * (2 * column + 1) // 6 + dice.between(-150, 150),
            HIGH * (2 * row + 1) // 4 + dice.between(-180, 180),
        ),
        radius=dice.between(460, 620),
        drift=(dice.between(-420, 420), dice.between(-420, 420)),
        sway=dice.between(20, 110),
        sway_speed=dice.between(60, 200),
        sway_start=dice.below(4096),
        angle=dice.between(-340, 340),
        spin=dice.between(-16, 16),
        tint=tuple(dice.between(-20, 20) for _ in range(3)),
        grain=dice.between(140, 220),
        sounding=sounding,
    )


def surround(dice: Dice, things: list[Thing], seconds: int) -> Scene:
    """A scene of `things` in front of clutter."""
    grey = dice.between(70, 150)
    backdrop = tuple(grey + dice.between(-18, 18) for _ in range(6))
    clutter = tuple(
        (
            dice.pick(("disc", "box", "diamond", "cross", "ellipse", "triangle")),
            (dice.below(WIDE), dice.below(HIGH)),
            dice.between(120, 760),
            dice.below(4096),
            tuple(min(max(dice.between(-36, 36) + grey + dice.between(-16, 16), 0), 255) for _ in range(3)),
        )
        for _ in range(dice.between(14, 22))
    )
    return Scene(seconds, tuple(things), backdrop, clutter, (dice.between(-200, 200), dice.between(-120, 120)))


# pixels

SHAPES = {
    "disc": lambda u, v, r: u * u + v * v < r * r,
    "ellipse": lambda u, v, r: u * u * 5 + v * v * 12 < r * r * 7,
    "box": lambda u, v, r: (abs(u) < r) & (abs(v) * 4 < r * 3),
    "diamond": lambda u, v, r: abs(u) * 5 + abs(v) * 4 < r * 5,
    "triangle": lambda u, v, r: (v * 5 < r * 4) & (abs(u) * 16 < (v + r) * 9),
    "hourglass": lambda u, v, r: (abs(v) < r) & (abs(u) * 10 < r * 4 + abs(v) * 5),
    "cross": lambda u, v, r: (abs(u) < r) & (abs(v) < r) & ((abs(u) * 5 < r * 2) | (abs(v) * 5 < r * 2)),
}
"""Shape -> whether the point (u, v), turned into the object's own axes, lies inside an object of radius r (< 1.5 r)."""

TEXTURES = {
    "stripes": lambda u, v, g: ((u + v) // g) % 2 == 0,
    "bars": lambda u, v, g: (u // g) % 2 == 0,
    "checks": lambda u, v, g: (u // g + v // g) % 2 == 0,
    "spots": lambda u, v, g: (u % (2 * g) - g) ** 2 + (v % (2 * g) - g) ** 2 < g * g * 4 // 9,
    "rings": lambda u, v, g: ((u * u + v * v) // (g * g * 2)) % 2 == 0,
}
"""Texture -> where the accent colour goes; g is the grain in canvas units."""


def draw(scene: Scene, tick: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """One picture of a scene.

    Returns:
        uint8 [H,W,3], and uint8 [H,W] with 1 + the number of the visible thing of each pixel, 0 for background.
    """
    image = _background(scene, width, height, tick).copy()
    owner = np.zeros((height, width), np.uint8)
    for number, thing in enumerate(scene.things, start=1):
        x, y, angle = thing.place(tick, scene.ticks)
        found = _inside(thing.kind.shape, x, y, thing.radius, angle, width, height)
        if found is None:
            continue
        window, inside, u, v = found
        accent = TEXTURES[thing.kind.texture](u, v, thing.grain)[..., None]
        colour = np.where(accent, _tinted(thing.kind.accent, thing.tint), _tinted(thing.kind.colour, thing.tint))
        image[window][inside] = colour[inside]
        owner[window][inside] = number
    return image, owner


def sounding_mask(scene: Scene, second: int, owner: np.ndarray, values: dict[str, int] | None = None) -> np.ndarray:
    """uint8 [H,W]: 1 (or the class's entry in `values`) where a thing that sounds in this second is visible."""
    table = np.zeros(len(scene.things) + 1, np.uint8)
    for number, thing in enumerate(scene.things, start=1):
        if thing.sounding[second]:
            table[number] = 1 if values is None else values[thing.kind.name]
    return table[owner]


def _tinted(colour: tuple, tint: tuple) -> np.ndarray:
    return np.clip(np.array(colour) + np.array(tint), 0, 255).astype(np.uint8)


def _inside(shape: str, x: int, y: int, radius: int, angle: int, width: int, height: int):
    """Window of the picture around an object, where it is inside there, and its own coordinates; None when outside."""
    reach = radius * 3 // 2
    left, right = max(0, (x - reach) * width // WIDE), min(width, (x + reach) * width // WIDE + 1)
    top, bottom = max(0, (y - reach) * height // HIGH), min(height, (y + reach) * height // HIGH + 1)
    if left >= right or top >= bottom:
        return None
    across = (2 * np.arange(left, right, dtype=np.int64) + 1) * WIDE // (2 * width) - x
    down = (2 * np.arange(top, bottom, dtype=np.int64) + 1) * HIGH // (2 * height) - y
    sine, cosine = int(SINE[angle % 4096]), int(SINE[(angle + 1024) % 4096])
    u = (across[None, :] * cosine + down[:, None] * sine) >> 14
    v = (down[:, None] * cosine - across[None, :] * sine) >> 14
    return (slice(top, bottom), slice(left, right)), SHAPES[shape](u, v, radius), u, v


def _background(scene: Scene, width: int, height: int, tick: int) -> np.ndarray:
    """The panned window of the backdrop, which is drawn once with a margin of 1/16 on each side."""
    whole = _backdrop(scene, width, height)
    margin_x, margin_y = width // 16, height // 16
    x = scene.pan[0] * (2 * tick - scene.ticks) // (2 * scene.ticks) * width // WIDE
    y = scene.pan[1] * (2 * tick - scene.ticks) // (2 * scene.ticks) * height // HIGH
    left, top = margin_x + min(max(x, -margin_x), margin_x), margin_y + min(max(y, -margin_y), margin_y)
    return whole[top : top + height, left : left + width]


@lru_cache(maxsize=4)
def _backdrop(scene: Scene, width: int, height: int) -> np.ndarray:
    """A gradient between two muted colours with muted shapes in front, uint8 with the margins of `_background`."""
    wide, high = width + 2 * (width // 16), height + 2 * (height // 16)
    ramp = np.arange(high, dtype=np.int64)[:, None, None] * 16 // high
    top, bottom = np.array(scene.backdrop[:3]), np.array(scene.backdrop[3:])
    image = np.broadcast_to(top + (bottom - top) * ramp // 16, (high, wide, 3)).astype(np.uint8)
    for shape, (x, y), radius, angle, colour in scene.clutter:
        found = _inside(shape, x, y, radius, angle, wide, high)
        if found is not None:
            window, inside, u, v = found
            stripe = TEXTURES["stripes"](u, v, 90 + radius // 4)[..., None]
            shade = np.where(stripe, np.array(colour), np.array(colour) * 7 // 8).astype(np.uint8)
            image[window][inside] = shade[inside]
    return image
