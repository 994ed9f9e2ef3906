"""A tiny COCO and a tiny VGGSound, rendered, so that the construction runs end to end at scale mini.

Some 60 pictures of coloured polygons over a plain ground, with annotations, captions and clips of each class's timbre.
They hold what the rules must cope with: several instances, crowds, specks, run lengths, people whom the captions tell
and people whom they do not, clips that are short, silent, broken or missing.
"""

import base64
import csv
import functools
import hashlib
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avsbench.atomic import atomic_folder
from avsbench.datasets.mini_kinds import Dice
from avsbench.datasets.mini_sound import LOUDNESS, TIMBRES, levelled
from avsbench.datasets.vpo import validation_picture
from avsbench.datasets.vpo_build.candidates import COCO_SPLITS
from avsbench.datasets.vpo_build.segments import polygon_mask
from avsbench.datasets.vpo_build.tables import PERSON, tables
from avsbench.datasets.workers import run

IMAGES = {"train": 48, "val": 16}
CLIPS = {"train": 4, "test": 3}
"""Sounding clips of one class."""
SIZES = ((160, 120), (120, 160), (160, 96))
RATES = (16000, 22050, 44100)
SECONDS = 4


@dataclass(frozen=True)
class Look:
    """How a class is drawn (a star of `corners` points, the inner ones at `waist` percent) and how it sounds."""

    colour: tuple[int, int, int]
    corners: int
    waist: int
    timbre: str


LOOKS = {
    "dog": Look((214, 66, 44), 4, 80, "barks"),
    "cat": Look((236, 200, 52), 3, 60, "meows"),
    "bird": Look((60, 200, 214), 6, 55, "chirps"),
    "airplane": Look((96, 52, 132), 4, 35, "rotor"),
    "car": Look((240, 240, 244), 5, 90, "siren"),
    "keyboard": Look((52, 92, 224), 4, 95, "chords"),
    "male": Look((54, 178, 66), 7, 85, "plucks"),
    "female": Look((206, 64, 200), 8, 70, "bowing"),
    "baby": Look((250, 150, 120), 9, 80, "chirps"),
}
PEOPLE = ("male", "female", "baby")
CAPTIONS = {
    "male": ("a man", "a guy outside", "an older gentleman", "a person and things", "a man looks"),
    "female": ("a woman", "a lady outside", "a young woman", "a person and things", "somebody"),
    "baby": ("a baby", "a baby boy", "a toddler sits", "a child", "a small person"),
    "unclear": ("a man", "a woman", "a person", "somebody", "people"),
}
"""Class of the one person in a picture -> its five captions."""


def render_sources(out: Path, seed: int = 0, workers: int = 1) -> None:
    """Write `coco/` and `vggsound/` into `out`, which appears whole or not at all."""
    with atomic_folder(out) as folder:
        for number, (split, count) in enumerate(IMAGES.items(), start=1):
            place = folder / "coco" / COCO_SPLITS[split]
            place.mkdir(parents=True)
            work = functools.partial(_picture, folder=place, seed=seed)
            shots = list(_shots(1000 * number, count))
            _write_annotations(folder / "coco", split, run(work, shots, workers, f"render {split}", "image"))
        _write_sounds(folder / "vggsound", seed)


# pictures


def _shots(first: int, count: int) -> Iterator[tuple[int, int]]:
    """(number of the image, kind of scene 0..7) of every picture; 2 of 16 will be in the reader's val split."""
    numbers = {
        chosen: filter(lambda n, c=chosen: validation_picture(n) == c, itertools.count(first)) for chosen in (0, 1)
    }
    for k in range(count):
        yield next(numbers[k % 16 in (3, 5)]), k % 8


def _picture(shot: tuple[int, int], folder: Path, seed: int) -> dict:
    """One jpg; returns its entries in COCO's files."""
    from PIL import Image, ImageDraw

    number, scene = shot
    dice = Dice(seed, "vpo sources", number)
    width, height = dice.pick(SIZES)
    grey = dice.between(70, 150)
    canvas = Image.new("RGB", (width, height), tuple(grey + dice.between(-20, 20) for _ in range(3)))
    pen = ImageDraw.Draw(canvas)
    for _ in range(12):
        left, right = sorted(dice.below(width) for _ in range(2))
        top, bottom = sorted(dice.below(height) for _ in range(2))
        pen.rectangle([left, top, right, bottom], outline=tuple(grey + dice.between(-40, 40) for _ in range(3)))
    cast, captions = _cast(scene, dice)
    annotations = []
    for place, name in enumerate(cast):
        centre = (width * (2 * place + 1) // (2 * len(cast)), height // 2 + dice.between(-height // 8, height // 8))
        corners = _star(LOOKS[name], centre, min(width // (2 * len(cast)), height // 3), dice.below(360))
        pen.polygon(corners, fill=LOOKS[name].colour, outline=(20, 20, 20))
        annotations.append(_annotation(number, place, name, corners, (width, height)))
    if number % 5 == 0:  # a speck and a crowd of classes that are not in the picture
        stray = dice.sample([name for name in LOOKS if name not in (*cast, *PEOPLE)], 2)
        speck = [(2, 2), (5, 2), (5, 5), (2, 5)]
        annotations.append(_annotation(number, 8, stray[0], speck, (width, height)))
        crowd = _annotation(number, 9, stray[1], [(0, 0), (width, 0), (width, 9), (0, 9)], (width, height))
        annotations.append({**crowd, "iscrowd": 1})
    file = f"{number:012d}.jpg"
    canvas.save(folder / file, quality=90)
    image = {"id": number, "file_name": file, "width": width, "height": height}
    return {
        "image": image,
        "annotations": annotations,
        "captions": [{"image_id": number, "caption": c} for c in captions],
    }


def _cast(scene: int, dice: Dice) -> tuple[list[str], tuple[str, ...]]:
    """The objects of a picture, from left to right, and its captions."""
    things = [name for name in LOOKS if name not in PEOPLE]
    person = dice.pick(PEOPLE)
    if scene < 2:
        cast = [dice.pick(things)] if scene else [person]
    elif scene < 5:
        members = [*dice.sample(things, 2), person][: dice.between(2, 3)]
        cast = dice.sample(members, len(members))
    elif scene < 7:
        several, other = dice.sample(things, 2)
        cast = [several] * dice.between(2, 3) + [other] * dice.between(0, 1)
    else:
        cast = [person, person, dice.pick(things)] if dice.chance(50) else [person, dice.pick(things)]
    captions = CAPTIONS["unclear" if scene == 7 else person]
    return cast, captions if any(name in PEOPLE for name in cast) else ("a picture",) * 5


def _star(look: Look, centre: tuple[int, int], radius: int, turn: int) -> list[tuple[int, int]]:
    """Corners on whole pixels; outer and inner ones take turns."""
    points = []
    for k in range(2 * look.corners):
        length = radius * (look.waist if k % 2 else 100) / 100
        angle = math.radians(turn + 180 * k / look.corners)
        points.append((round(centre[0] + length * math.cos(angle)), round(centre[1] + length * math.sin(angle))))
    return points


def _annotation(number: int, place: int, name: str, corners: list[tuple[int, int]], size: tuple[int, int]) -> dict:
    """An entry of COCO's file: polygons, or run lengths for every fourth."""
    polygon = [value for corner in corners for value in corner]
    mask = polygon_mask(polygon, size[1], size[0])
    segmentation: list | dict = [polygon]
    if (number + place) % 4 == 0:
        edges = np.flatnonzero(np.diff(mask.T.ravel(), prepend=False))
        segmentation = {"size": [size[1], size[0]], "counts": np.diff([0, *edges, mask.size]).tolist()}
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
    return {
        "id": 100 * number + place,
        "image_id": number,
        "category_id": PERSON if name in PEOPLE else tables().mask_ids[name],
        "iscrowd": 0,
        "area": int(mask.sum()),
        "bbox": [float(value) for value in box],
        "segmentation": segmentation,
    }


def _write_annotations(coco: Path, split: str, pictures: list[dict]) -> None:
    folder = coco / "annotations"
    folder.mkdir(exist_ok=True)
    categories = [{"id": PERSON, "name": "person"}, *({"id": i, "name": n} for i, n in tables().coco_ids.items())]
    images = [picture["image"] for picture in pictures]
    annotations = [entry for picture in pictures for entry in picture["annotations"]]
    captions = [entry for picture in pictures for entry in picture["captions"]]
    contents = {
        "instances": {"images": images, "annotations": annotations, "categories": categories},
        "captions": {"images": images, "annotations": captions},
    }
    for kind, content in contents.items():
        (folder / f"{kind}_{COCO_SPLITS[split]}.json").write_text(json.dumps(content))


# sounds


def _write_sounds(folder: Path, seed: int) -> None:
    """vggsound.csv with every label of the table, and wavs of the classes that are drawn."""
    import soundfile

    audios = folder / "audios"
    audios.mkdir(parents=True)
    rows = []
    for name, labels in tables().sounds.items():
        for split, count in CLIPS.items():
            for k in range(max(count, len(labels))):
                dice = Dice(seed, "vpo sound", name, split, k)
                start, rate, channels = dice.between(0, 300), dice.pick(RATES), dice.between(1, 2)
                clip = f"{_video(name, split, k)}_{start:06d}"
                rows.append((clip[:11], start, labels[k % len(labels)], split))
                if name in LOOKS and k < count:
                    wave = levelled(TIMBRES[LOOKS[name].timbre](rate, SECONDS * rate, dice), LOUDNESS)
                    samples = np.clip(np.stack([wave] * channels, axis=1), -32768, 32767).astype(np.int16)
                    soundfile.write(audios / f"{clip}.wav", samples, rate, subtype="PCM_16", format="WAV")
    label = tables().sounds["dog"][0]
    for k, (count, broken) in enumerate(((2 * 16000, False), (5 * 16000, False), (0, True))):  # short, silent, broken
        clip = f"{_video('odd', 'train', k)}_{k:06d}"
        rows.append((clip[:11], k, label, "train"))
        soundfile.write(audios / f"{clip}.wav", np.zeros(count, np.int16), 16000, format="WAV")
        if broken:
            (audios / f"{clip}.wav").write_bytes(b"RIFF")
    with open(folder / "vggsound.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _video(*key: object) -> str:
    """Eleven characters in the alphabet of video ids."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=9).digest()
    return base64.urlsafe_b64encode(digest).decode()[:11]
