"""Readers of VPO (and of sets built like it): one still picture a clip, and a sound for each object that is heard.

Picture and sounds were never recorded together: a row of the csv pairs an object in a picture with a clip of VGGSound.
In VPO-SS every row is a clip, `<img_Id>_<ann_Ids>`; in VPO-MS and VPO-MSMI all rows of a picture make one, `<img_Id>`.
The official `val` and `test` together are the test split; our val is 5 % of the official training pictures.
"""

import functools
import hashlib
import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench.cards import DatasetCard
from avsbench.datasets.avsbench_files import clip_sound, finish_table, read_csv, same_size
from avsbench.datasets.clip import Clip, ClipFiles, Reader
from avsbench.datasets.vpo_build.layout import AUDIOS, Kind, place_of_image, place_of_mask
from avsbench.datasets.vpo_build.tables import tables
from avsbench.errors import AvsbenchError
from avsbench.media.images import read_image, read_index_mask
from avsbench.media.sound import Sound

OFFICIAL = {"train": "train", "val": "test", "test": "test"}
"""Split in the csv -> official split, as the published loader has it."""
VALIDATION = 50
"""Of 1000 training pictures, how many become val."""
CENTRE = 0.5
"""Position of a source of which the csv gives none; all that a mono experiment needs."""
HEARD = 3
"""Seconds of a sound that the published front end cuts out; a shorter sound is repeated there."""
_LOG = logging.getLogger(__name__)


def validation_picture(image: int) -> bool:
    """Whether a training picture belongs to our val: by a hash of its COCO number, the same in all sets of VPO."""
    digest = hashlib.blake2b(f"validation {image}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % 1000 < VALIDATION


@functools.cache
def class_table(classes: tuple[str, ...]) -> np.ndarray:
    """Number in a mask file -> index of the class, uint8 [256]; 255 where no class has this number.

    All pixels are looked up at once. The published loader renames one number after the other in place, which turns cars
    (3, index 5) into airplanes (number 5) in pictures that show both.
    """
    table = np.full(256, 255, np.uint8)
    table[0] = 0
    for name, number in tables().mask_ids.items():
        table[number] = classes.index(name)
    return table


@dataclass(frozen=True)
class Source:
    """A row of the csv: an object of a picture, its sound and its place.

    Attributes:
        cells: what the places of files depend on: img_Id, ann_Ids, cateName, multi_instance.
        split: train, val or test of this suite.
        names: classes; more than one only where VPO-SS lists several, separated by commas.
        sound: name of the wav, without its ending.
        position: 0 = left … 1 = right.
    """

    cells: dict
    split: str
    names: tuple[str, ...]
    sound: str
    position: float


class VpoReader(Reader):
    """VPO-SS, VPO-MS or VPO-MSMI, by the name of the card.

    `root` holds `VPO/` and `vggsound_bench/`. VPO-MSMI finds the pictures of rows with `multi_instance` 0 in VPO-MS.
    """

    def __init__(self, card: DatasetCard, root: Path):
        super().__init__(card, root)
        self.kind = Kind.of(card.name)
        self.csv = root / self.kind.csv

    # table

    def _load_table(self) -> pd.DataFrame:
        single, several = self.kind is Kind.SS, self.kind is Kind.MSMI
        required = ["img_Id", *(["ann_Ids"] if single else []), "cateName", "vgg_file", "split"]
        raw = read_csv(self.csv, [*required, *(["multi_instance"] if several else [])])
        self._sources: dict[tuple[str, str], list[Source]] = {}
        for line, cells in enumerate(raw.to_dict("records"), start=2):
            source = self._source(f"{self.csv}:{line}", cells)
            image, annotation = source.cells["img_Id"], source.cells["ann_Ids"]
            clip_id = f"{image}_{annotation}" if single else str(image)
            known = self._sources.setdefault((source.split, clip_id), [])
            if known and single:
                raise AvsbenchError(
                    f"{self.csv}:{line}: the clip {clip_id} stands twice", hint="remove one of the rows"
                )
            if known and known[0].cells["multi_instance"] != source.cells["multi_instance"]:
                raise AvsbenchError(
                    f"{self.csv}:{line}: picture {image} has rows with multi_instance 0 and 1",
                    expected="one value a picture: it says in which folder picture and mask lie",
                    hint="remove the rows of one kind",
                )
            known.append(source)
        self._warn(raw)
        rows = [
            {
                "clip_id": clip_id,
                "split": split,
                "category": "+".join(_names(sources)),
                "part": "multi" if sources[0].cells["multi_instance"] else "",
                "frames": self.card.frames,
            }
            for (split, clip_id), sources in self._sources.items()
        ]
        return finish_table(self.csv, pd.DataFrame(rows, columns=["clip_id", "split", "category", "part", "frames"]))

    def _source(self, where: str, cells: dict[str, str]) -> Source:
        image = _number(where, cells, "img_Id")
        official = OFFICIAL.get(cells["split"])
        if official is None:
            raise AvsbenchError(f"{where}: unknown split {cells['split']!r}", expected=", ".join(OFFICIAL))
        names = tuple(cells["cateName"].split(",") if self.kind is Kind.SS else [cells["cateName"]])
        for name in names:
            if name not in self.card.classes[1:]:
                raise AvsbenchError(f"{where}: unknown class {name!r}", expected=", ".join(self.card.classes[1:]))
        sound = cells["vgg_file"]
        if not sound or not sound.isprintable() or "/" in sound or "\\" in sound:
            raise AvsbenchError(f"{where}: {sound!r} cannot be the name of a sound", expected="<video>_<second>")
        multi = _number(where, cells, "multi_instance") if self.kind is Kind.MSMI else 0
        if multi > 1:
            raise AvsbenchError(f"{where}: multi_instance {multi}", expected="0 or 1")
        place = {"img_Id": image, "cateName": cells["cateName"], "multi_instance": multi}
        place["ann_Ids"] = _number(where, cells, "ann_Ids") if self.kind is Kind.SS else 0
        split = "val" if official == "train" and validation_picture(image) else official
        return Source(place, split, names, sound, _position(where, cells.get("audio_pos", "")))

    def _warn(self, raw: pd.DataFrame) -> None:
        """Say once what is odd about the whole table."""
        unplaced = int((raw["audio_pos"] == "").sum()) if "audio_pos" in raw else len(raw)
        if unplaced:
            _LOG.warning("%s: %d rows without audio_pos; their sources stand in the centre", self.csv, unplaced)
        if "cateId" in raw:
            numbers = {name: str(number) for name, number in tables().mask_ids.items()}
            other = raw[raw["cateId"] != raw["cateName"].map(numbers)]
            if len(other):
                _LOG.warning(
                    "%s: in %d rows, first line %d, cateId is not the number of cateName; the masks decide",
                    self.csv,
                    len(other),
                    other.index[0] + 2,
                )

    # clips

    def _files(self, row: dict) -> ClipFiles:
        sources = self._sources[row["split"], row["clip_id"]]
        return ClipFiles(
            frames=[self.root / place_of_image(self.kind, sources[0].cells)],
            masks=[self.root / place_of_mask(self.kind, sources[0].cells)],
            sounds=[self.root / AUDIOS / f"{source.sound}.wav" for source in sources],
        )

    def read_mask(self, file: Path) -> np.ndarray:
        numbers = read_index_mask(file)
        labels = class_table(tuple(self.card.classes))[numbers]
        stray = np.unique(numbers[labels == 255])
        if len(stray):
            raise AvsbenchError(
                f"{file}: the mask holds a number that is no class",
                found=", ".join(map(str, stray[:6])),
                expected=", ".join(f"{number} {name}" for name, number in sorted(tables().mask_ids.items())),
                hint="a mask that was resized with smoothing or saved as JPEG mixes numbers; take the released file",
            )
        return labels

    def _read(self, row: dict, image_size: int) -> Clip:
        clip_id, files = row["clip_id"], self._files(row)
        sources = self._sources[row["split"], clip_id]
        picture, labels = read_image(files.frames[0]), self.read_mask(files.masks[0])
        same_size(clip_id, [picture, labels], [files.frames[0], files.masks[0]], "picture and mask")
        notes = []
        shown = {self.card.classes[index] for index in np.unique(labels)} - {"background"}
        if shown != set(_names(sources)):
            seen, told = ", ".join(sorted(shown)) or "nothing", ", ".join(_names(sources))
            notes.append(f"{files.masks[0].name}: the mask shows {seen}, the table says {told}")
        sounds = []
        for source, file in zip(sources, files.sounds, strict=True):
            sound, remarks = clip_sound(clip_id, file, None, HEARD, "+".join(source.names))
            sound.position = source.position
            notes += remarks + _mix_down(sound, file)
            sounds.append(sound)
        return Clip(picture[None], labels[None], np.ones(1, bool), sounds, notes)


def _names(sources: list[Source]) -> list[str]:
    """The classes of all sources, each once, in the order of the csv."""
    return list(dict.fromkeys(name for source in sources for name in source.names))


def _number(where: str, cells: dict[str, str], column: str) -> int:
    """A number, also as a float column spells it (`7.0`)."""
    match = re.fullmatch(r"(\d{1,18})(\.0*)?", cells[column], re.ASCII)
    if match is None:
        raise AvsbenchError(f"{where}: {column} {cells[column]!r} is no number", expected="digits")
    return int(match[1])


def _position(where: str, text: str) -> float:
    if not text:
        return CENTRE
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise AvsbenchError(f"{where}: audio_pos {text!r} is no place in the picture", expected="0 (left) … 1 (right)")
    return value


def _mix_down(sound: Sound, file: Path) -> list[str]:
    """Make a sound of several channels mono, the mean of them: a source is panned by its position, not by its file."""
    channels = sound.samples.shape[1]
    if channels == 1:
        return []
    mean = sound.samples.mean(axis=1, keepdims=True)
    sound.samples = (mean if mean.dtype == sound.samples.dtype else np.rint(mean)).astype(sound.samples.dtype)
    return [f"{file.name}: {channels} channels, averaged"]
