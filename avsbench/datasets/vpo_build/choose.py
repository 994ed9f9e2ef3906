"""Which annotations sound in which image, and with which clip. No files here.

Every choice is a function of (seed, what is chosen, image, annotation) by hashing, so it depends neither on the order
of the candidates nor on other images; a cap takes the rows that the hash puts first.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from avsbench.datasets.mini_kinds import Dice

MOST_INSTANCES = 4
"""Instances of one class in an image of VPO-MSMI, at most."""
ADDED = ["vgg_file", "vgg_label", "audio_pos", "multi_instance"]
Caps = dict[str, dict[str, int]]


@dataclass(frozen=True, eq=False)
class Chooser:
    """The three sets from the same candidates.

    Args:
        candidates: as `find_candidates` gives them.
        pool: as `find_sounds` gives it.
        seed: another seed, another set.

    Each method returns rows: the columns of the candidates, and vgg_file, vgg_label, audio_pos (0 = left … 1 = right)
    and multi_instance (0 or 1), sorted by split, image and annotation.
    """

    candidates: pd.DataFrame
    pool: pd.DataFrame
    seed: int = 0

    def single(self, caps: Caps) -> pd.DataFrame:
        """VPO-SS: annotations that are alone of their class in the image, up to `caps[split][class]`."""
        groups = defaultdict(list)
        for row in self._rows(self.candidates[self.candidates["instances"] == 1]):
            if self._clips(row):
                groups[row["split"], row["cateName"]].append(row)
        chosen = []
        for (split, name), rows in groups.items():
            rows.sort(key=lambda row: self._rank("single", row["img_Id"], row["ann_Id"]))
            chosen += [self._sounding([row], 0)[0] for row in rows[: caps[split][name]]]
        return self._table(chosen)

    def several(self, caps: Caps) -> pd.DataFrame:
        """VPO-MS: images of at least two eligible classes, each alone of its class; some of them sound."""
        images = {}
        for key, rows in self._images():
            if len(rows) > 1 and all(row["instances"] == 1 for row in rows):
                images[key] = self._subset([row for row in rows if self._clips(row)])
        return self._table(self._within(caps, "several", images, 0))

    def instances(self, caps: Caps, without: set[int]) -> pd.DataFrame:
        """The rows that VPO-MSMI adds: images with 2 to 4 instances of a class, all eligible; some of them sound.

        Args:
            caps: rows of one class at most.
            without: images that must not be used, those of VPO-MS.
        """
        images = {}
        for key, rows in self._images():
            classes = defaultdict(list)
            for row in rows:
                classes[row["cateName"]].append(row)
            crowds = [
                group
                for name, group in sorted(classes.items())
                if 2 <= len(group) == group[0]["instances"] <= MOST_INSTANCES and self._clips(group[0])
            ]
            if crowds and key[1] not in without:
                images[key] = self._subset(self._dice("class", key[1]).pick(crowds))
        return self._table(self._within(caps, "instances", images, 1))

    # parts

    def _within(self, caps: Caps, kind: str, images: dict[tuple, list[dict]], multi: int) -> list[dict]:
        """Rows of the images that the hash puts first and whose classes all have room."""
        chosen, used = [], Counter()
        for key in sorted(images, key=lambda key: (self._rank(kind, key[1]), key)):
            rows = images[key]
            asked = Counter((key[0], row["cateName"]) for row in rows)
            if rows and all(used[place] + count <= caps[place[0]][place[1]] for place, count in asked.items()):
                used += asked
                chosen += self._sounding(rows, multi)
        return chosen

    def _subset(self, rows: list[dict]) -> list[dict]:
        """A random non-empty subset; every subset is equally likely. No rows, no subset."""
        if not rows:
            return []
        number = self._dice("sounding", rows[0]["img_Id"]).between(1, 2 ** len(rows) - 1)
        return [row for place, row in enumerate(rows) if number >> place & 1]

    def _sounding(self, rows: list[dict], multi: int) -> list[dict]:
        """The rows with a clip each, no clip twice in an image where the pool allows, and their position."""
        taken, result = set(), []
        for row in rows:
            clips = self._clips(row)
            start = self._dice("clip", row["img_Id"], row["ann_Id"]).below(len(clips))
            turned = clips[start:] + clips[:start]
            clip = next((clip for clip in turned if clip not in taken), turned[0])
            taken.add(clip)
            position = min(max((row["x"] + row["w"] / 2) / row["width"], 0.0), 1.0)
            values = (*clip, round(position, 6), multi)
            result.append({**row, **dict(zip(ADDED, values, strict=True))})
        return result

    def _images(self) -> Iterator[tuple[tuple[str, int], list[dict]]]:
        """(split, image) and its candidates, by annotation."""
        images = defaultdict(list)
        for row in self._rows(self.candidates):
            images[row["split"], row["img_Id"]].append(row)
        yield from images.items()

    @staticmethod
    def _rows(table: pd.DataFrame) -> list[dict]:
        return table.sort_values(["split", "img_Id", "ann_Id"]).to_dict("records")

    def _clips(self, row: dict) -> list[tuple[str, str]]:
        return self.clips.get((row["split"], row["cateName"]), [])

    @cached_property
    def clips(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """(split, class) -> (clip, label), sorted; no entry where there is none."""
        known = defaultdict(list)
        for row in self.pool.sort_values("vgg_file").to_dict("records"):
            known[row["split"], row["cateName"]].append((row["vgg_file"], row["vgg_label"]))
        return dict(known)

    def _dice(self, *key: object) -> Dice:
        return Dice(self.seed, "vpo", *key)

    def _rank(self, *key: object) -> int:
        return self._dice("rank", *key).below(1 << 48)

    def _table(self, rows: list[dict]) -> pd.DataFrame:
        table = pd.DataFrame(rows, columns=[*self.candidates.columns, *ADDED])
        return table.sort_values(["split", "img_Id", "ann_Id"], ignore_index=True)
