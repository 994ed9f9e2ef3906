"""A test split in memory and on disk, and predictions of it in the ways that others write them."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from avsbench import cards
from avsbench.evaluation.score import stored_truth
from avsbench.media.images import voc_palette
from avsbench.paths import Paths
from avsbench.store.complete import check_split
from tests.unit import store_fakes


class Reader(store_fakes.FakeReader):
    """Clips whose frames all have ground truth, blocks of classes; of a binary task, one clip is silent."""

    def __init__(self, of, lengths):
        super().__init__(of, change=self._annotate)
        self.lengths = lengths

    def table(self):
        table = super().table()
        return table.assign(frames=[self.lengths[n % len(self.lengths)] for n in table["position"]])

    def _annotate(self, clip):
        clip.annotated[:] = True
        height, width = clip.masks.shape[1:]
        blocks = (np.arange(height)[:, None] // 4 + np.arange(width) // 4)[None] + np.arange(len(clip.masks))[
            :, None, None
        ]
        classes = max(2, self.card.num_classes)
        clip.masks[:] = (blocks + int(clip.frames[0, 0, 0, 0])) % min(classes, 5)
        if classes == 2 and clip.frames[0, 0, 0, 1] % 2:
            clip.masks[:] = 0
        return clip


def build(root: Path, name: str, ids=None) -> tuple[Paths, cards.DatasetCard]:
    """The store of a data set with four test clips of 16 x 16 pixels."""
    card = store_fakes.card(name)
    lengths = {1: [1], 5: [5], 10: [5, 10]}[card.frames]
    reader = Reader(card, lengths)
    if ids:
        plain = reader.table()
        reader.table = lambda: plain.assign(clip_id=[ids(split, n) for split, n in zip(plain.split, plain.position)])  # noqa: B905
    paths, _ = store_fakes.build(root / "data", card, reader, front_ends=())
    check_split(card=card, scale="mini", split="test", paths=paths)
    return dataclasses.replace(paths, results_root=str(root / "results"), weights_root=str(root / "weights")), card


def truth(paths, card) -> dict[str, np.ndarray]:
    """Clip -> ground truth [T,h,w]."""
    return {clip.clip_id: clip.masks for clip in stored_truth(paths, card)}


def save(file: Path, array: np.ndarray, mode: str = "grey") -> Path:
    """A frame [h,w] as a picture: `grey` as it is, `mask` 0/255, `web` the same with a palette, `bit`, `rgb` black and
    white, `colours` of the palette of AVSS, `indexed` with that palette."""
    file.parent.mkdir(parents=True, exist_ok=True)
    white = (array > 0).astype(np.uint8) * 255
    if mode == "rgb":
        image = Image.fromarray(np.stack([white] * 3, axis=-1))
    elif mode == "colours":
        image = Image.fromarray(voc_palette(71)[array])
    else:
        image = Image.fromarray(array.astype(np.uint8) if mode in ("grey", "indexed") else white)
        if mode == "indexed":
            image.putpalette(voc_palette(71).tobytes())
        elif mode in ("web", "bit"):
            image = image.convert({"web": "P", "bit": "1"}[mode])
    image.save(file)
    return file


def write(
    folder: Path, masks: dict[str, np.ndarray], name: str = "{clip}/{clip}_{n}.png", first=1, mode="mask"
) -> Path:
    """All frames as pictures called `name`, counted from `first`."""
    for clip, frames in masks.items():
        for n, frame in enumerate(frames, first):
            save(folder / name.format(clip=clip, n=n), frame, mode)
    return folder
