"""The embedded VPO: still pictures of several objects, a sound for each that is heard, in the layout of the release.

**Sound decides** here too. Several clips show one picture and differ in the objects that are heard: in VPO-SS two rows
of one picture, in VPO-MS and VPO-MSMI pictures of several numbers with the same pixels. In five sixths of VPO-MSMI two
or three objects are of one class, and one of them is heard: nothing but the stereo position tells which. The other
sixth is VPO-MS.

All stand in warm light from the left and cold light from the right: what a network trained on ImageNet knows about
places in a picture, a small one would have to find out from the border alone.

Pixels, masks and samples are made of integers and equal everywhere; what a JPEG library makes of the pixels is not.
"""

import csv
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avsbench.cards import DatasetCard
from avsbench.datasets.clip import SPLITS
from avsbench.datasets.mini_kinds import VPO_BY_NAME, VPO_KINDS, Dice
from avsbench.datasets.mini_plan import choose_cast, video_name
from avsbench.datasets.mini_scene import FPS, HIGH, Scene, draw, place_thing, sounding_mask, surround
from avsbench.datasets.mini_sound import soundtrack
from avsbench.datasets.vpo import validation_picture
from avsbench.datasets.vpo_build.layout import AUDIOS, Kind, place_of_image, place_of_mask
from avsbench.datasets.vpo_build.tables import tables

TAKES = {Kind.SS: 2, Kind.MS: 3, Kind.MSMI: 2}
"""Clips that share a picture."""
SIZES = ((72, 54), (72, 54), (54, 72), (72, 48), (64, 60))
"""(width, height) of pictures."""
RATES = (16000, 16000, 16000, 22050, 44100)
SECONDS = (4, 4, 4, 5, 5, 7)
HEADER = ("img_Id", "ann_Ids", "cateName", "cateId", "vgg_file", "split", "audio_pos", "multi_instance")
COLUMNS = 3
"""Objects of a picture, each in a column of its own."""
GROWTH = (7, 5)
"""Things of a photograph fill more of it than those of a video do: numerator and denominator of their radius."""
LIGHT = 120
"""Added to red and taken from blue at the left border, the other way round at the right one."""
COCO_NUMBERS = 581929
"""The highest number of a picture in COCO 2017."""


@dataclass(frozen=True)
class Still:
    """One clip to render.

    Attributes:
        kind: the set that the picture was made for; its folder holds the files.
        image: number of the picture.
        split: in the csv, where `val` and `test` both mean test.
        scene: key of the picture.
        cast: classes of the objects.
        heard: numbers of the objects that sound.
    """

    kind: Kind
    image: int
    split: str
    scene: str
    cast: tuple[str, ...]
    heard: tuple[int, ...]

    def cells(self, number: int) -> dict:
        """What a row of the csv says about an object, but for its sound and position."""
        name = self.cast[number]
        return {
            "img_Id": self.image,
            "ann_Ids": 10 * self.image + number,
            "cateName": name,
            "cateId": tables().mask_ids[name],
            "vgg_file": self.sound(number),
            "split": self.split,
            "multi_instance": int(self.kind is Kind.MSMI),
        }

    def sound(self, number: int) -> str:
        """Name of the clip that an object is given, <video>_<second>."""
        start = Dice("vpo start", self.image, number).between(0, 250)
        return f"{video_name('vpo', self.image, number)}_{start:06d}"


# which clips there are


def plan(card: DatasetCard) -> Iterator[Still]:
    """The clips of a data set, in the order of its csv (by number of the picture, splits mixed)."""
    kind = Kind.of(card.name)
    stills = [still for split in SPLITS for still in _plan(kind, split, card.splits["mini"][split])]
    return iter(sorted(stills, key=lambda still: (still.image, still.heard)))


def _plan(kind: Kind, split: str, count: int) -> Iterator[Still]:
    """`count` clips of a split of ours."""
    if kind is Kind.MSMI:
        others = -(-count // 6)
        yield from _plan(Kind.MS, split, others)
        count -= others
    for number in range(count):
        scene, take = divmod(number, TAKES[kind])
        key = f"{kind.value}/{split}/{scene}"
        dice = Dice("vpo cast", key)
        if kind is Kind.MSMI:
            same = 3 if dice.chance(20) else 2
            other = VPO_KINDS[(scene + dice.between(1, len(VPO_KINDS) - 1)) % len(VPO_KINDS)]
            cast = (*[VPO_KINDS[scene % len(VPO_KINDS)].name] * same, other.name)[:COLUMNS]
        else:
            cast = choose_cast(kind.value, split, scene, VPO_KINDS, 70)
            same = len(cast)
        choices = [c for size in range(1, same + 1) for c in itertools.combinations(range(same), size)]
        # Of several of one class each is heard alone.
        heard = dice.sample(choices, TAKES[kind])[take] if kind is Kind.MS else choices[take]
        image = _image(split, key if kind is Kind.SS else f"{key}/{take}")
        official = ("val", "test")[scene % 2] if split == "test" else "train"
        yield Still(kind, image, official, key, cast, heard)


def _image(split: str, key: str) -> int:
    """A number for a picture, one that the rule of the validation split puts where it belongs."""
    dice = Dice("vpo image", key)
    while True:
        number = dice.between(1, COCO_NUMBERS)
        if split == "test" or validation_picture(number) == (split == "val"):
            return number


# what a clip shows


def scene_of(still: Still, seed: int) -> Scene:
    """The scene of a picture: up to three objects in columns of their own, about half way up."""
    dice = Dice(seed, "vpo scene", still.scene)
    # Of several of one class the first two stand apart, so that a position tells them apart.
    columns = [*dice.sample((0, 2), 2), 1] if still.kind is Kind.MSMI else dice.sample(range(COLUMNS), COLUMNS)
    rows = [dice.below(2) for _ in range(COLUMNS)]
    things = []
    for number, (name, *cell) in enumerate(zip(still.cast, columns, rows, strict=False)):
        thing = place_thing(dice, VPO_BY_NAME[name], tuple(cell), (number in still.heard,))
        x, y = thing.centre
        more, less = GROWTH
        things.append(
            replace(thing, centre=(x, (y + HIGH // 2) // 2), radius=thing.radius * more // less, drift=(0, 0))
        )
    return surround(dice, things, 1)


def picture_of(still: Still, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture uint8 [H,W,3]; mask of raw numbers uint8 [H,W]; and 1 + the number of the object of each pixel [H,W]."""
    scene = scene_of(still, seed)
    image, owner = draw(scene, FPS // 2, *Dice(seed, "vpo size", still.scene).pick(SIZES))
    return lit(image), sounding_mask(scene, 0, owner, tables().mask_ids), owner


def lit(image: np.ndarray) -> np.ndarray:
    """uint8 [H,W,3] in warm light from the left and cold light from the right."""
    width = image.shape[1]
    warmth = LIGHT - 2 * LIGHT * np.arange(width) // (width - 1)
    return np.clip(image + warmth[:, None] * np.array([1, 0, -1]), 0, 255).astype(np.uint8)


def position_of(owner: np.ndarray, number: int) -> str:
    """Centre of an object's bounding box, as a share of the width."""
    columns = np.flatnonzero((owner == number + 1).any(axis=0))
    return f"{(columns[0] + columns[-1] + 1) / (2 * owner.shape[1]):.4f}"


def sound_of(still: Still, number: int, seed: int) -> tuple[np.ndarray, int]:
    """Sound of one object, int16 [N,1], and its rate."""
    dice = Dice(seed, "vpo sound", still.image, number)
    rate, seconds = dice.pick(RATES), dice.pick(SECONDS)
    scene = scene_of(still, seed)
    alone = replace(scene.things[number], sounding=(True,) * seconds)
    return soundtrack(replace(scene, seconds=seconds, things=(alone,)), dice, rate, 1), rate


# files


def write(still: Still, folder: Path, seed: int) -> None:
    """Picture, mask and sounds of a clip."""
    import soundfile
    from PIL import Image

    image, mask, _ = picture_of(still, seed)
    cells = still.cells(still.heard[0])
    files = [folder / place(still.kind, cells) for place in (place_of_image, place_of_mask)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(files[0], quality=92)
    numbers = Image.fromarray(mask)
    numbers.putpalette(_palette())
    numbers.save(files[1])
    (folder / AUDIOS).mkdir(parents=True, exist_ok=True)
    for number in still.heard:
        samples, rate = sound_of(still, number, seed)
        soundfile.write(folder / AUDIOS / f"{still.sound(number)}.wav", samples, rate, subtype="PCM_16", format="WAV")


@functools.cache
def _palette() -> bytes:
    from avsbench.media.images import voc_palette

    return voc_palette(256).tobytes()


def write_tables(folder: Path, stills: list[Still], seed: int) -> None:
    """The csv of each set that has pictures here."""
    rows = []
    for still in stills:
        owner = picture_of(still, seed)[2]
        rows += [still.cells(number) | {"audio_pos": position_of(owner, number)} for number in still.heard]
    kinds = {still.kind for still in stills}
    for kind in kinds:
        own = [row for row in rows if kind is not Kind.MS or not row["multi_instance"]]
        header = HEADER if kind is Kind.MSMI else HEADER[:-1]
        with open(folder / kind.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, header, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(own)
