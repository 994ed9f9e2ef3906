"""COMBO's training augmentation against what the authors' mapper makes with the same random draws.

Files missing under $AVSBENCH_PARITY come from this folder.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench.nn.matcher import Targets
from avsbench.transforms.clips import View, augmented
from avsbench.transforms.colours import Colours

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE))
SIDE = 224


def file(*names):
    return ROOT.joinpath(*names) if ROOT.joinpath(*names).is_file() else HERE.joinpath(*names)


ABOUT = json.loads(file("combo_mapper", "fixture.json").read_text())
PALETTE = np.array(json.loads(file("maskige", "palette.json").read_text()), np.uint8)
with np.load(file("combo_mapper", "expected.npz")) as arrays:
    EXPECTED = dict(arrays)
Y, X = np.mgrid[:SIDE, :SIDE]


def frame(f):
    return np.stack([(X + 20 * f) % 256, (Y + 10 * f) % 256, ((X + Y) // 2 + 30) % 256]).astype(np.uint8)


def maskige(f):
    return PALETTE[(X // 28 + Y // 32 + f) % 20].transpose(2, 0, 1)


def label(f, semantic):
    box = (40 + 5 * f <= X) & (X < 150) & (Y >= 60) & (170 + 5 * f > Y)
    if semantic:
        return np.where((X > 180) & (Y > 180), 70, np.where(box, 3 + f, 0))
    return box.astype(np.int64)


def tensor(pictures):
    return torch.from_numpy(np.stack(pictures))


def clip(case):
    frames, semantic = range(case["frames"]), case["name"].startswith("avss")
    return {
        "frames": tensor([frame(f) for f in frames]),
        "masks": tensor([label(f, semantic) for f in frames]).long(),
        "features": {"maskige": tensor([maskige(f) for f in frames])},
        "clip_id": case["name"],
    }


def colours(draws):
    """The recorded numbers of one picture, in the order in which the reference asks for them."""
    numbers = iter(value for _, value in draws)

    def step():
        return next(numbers) if next(numbers) else None

    brightness, contrast_first = step(), next(numbers)
    order = ("contrast", "saturation", "hue") if contrast_first else ("saturation", "hue", "contrast")
    steps = {name: step() for name in order}
    assert next(numbers, None) is None
    return Colours(brightness, **steps, contrast_last=not contrast_first)


def view(about):
    left, top = about.get("crop", [0, 0])[:2]
    return View(side=about.get("resize"), left=left, top=top, mirrored=about.get("flip", False))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in ABOUT["cases"]])
def test_mapper(case):
    changes = [colours(draws) for draws in case["colour_calls"]] or [Colours()] * (2 * case["frames"])
    found = augmented(clip(case), view(case["augmentation"]), changes)
    labels = found["masks"][: case["labels"]]
    for name, array in {
        "images": found["frames"],
        "pre_masks": found["features"]["maskige"],
        "sem_segs": labels[:, None],
    }.items():
        wanted = EXPECTED[f"{case['name']}.{name}"].astype(int)
        away = np.abs(array[..., ::8, ::8].numpy().astype(int) - wanted)
        assert away.max() <= ABOUT["tolerance"][name], name
    targets = Targets.of(labels)
    for number, about in enumerate(case["instances"]):
        assert targets.classes[targets.frames == number].tolist() == about["gt_classes"]
