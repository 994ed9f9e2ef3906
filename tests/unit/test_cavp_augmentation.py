"""The augmentation of CAVP for each of its data sets, and the switches of what its loaders do by mistake."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench.contract import IGNORE
from avsbench.errors import AvsbenchError
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.sound import Sound
from avsbench.store.loader import collate
from tests.unit.cavp_parts import part

augmentation, cars_to_airplanes = part("augmentation").augmentation, part("augmentation").cars_to_airplanes
pairing, Settings = part("pairing"), part("settings").Settings
VPO = json.loads((Path(__file__).parents[1] / "parity" / "cavp" / "vpo_labels.json").read_text())


def transform(rule="shown", classes=22, **method):
    return augmentation(Settings.of({"method": method}), class_rule=rule, classes=classes)


def clip(masks, **audio):
    masks = torch.as_tensor(masks)
    frames = len(masks)
    return {
        "clip_id": "a",
        "position": 0,
        "frames": torch.zeros(frames, 3, *masks.shape[1:], dtype=torch.uint8),
        "masks": masks,
        "real": torch.ones(frames, dtype=torch.bool),
        "annotated": torch.ones(frames, dtype=torch.bool),
        "audio": audio,
        "features": {},
    }


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_recipe_without_a_size_leaves_pictures_alone():
    masks = torch.arange(24).view(2, 3, 4)
    item = clip(masks)
    out = transform()(item, seeded())
    assert torch.equal(out["masks"], masks)
    assert torch.equal(out["frames"], item["frames"])


def test_recipe_decides_the_view():
    view = transform(size=64, fit="squash", scales=[0.5, 2.0], flip=0.25, jitter=[0.5, 0.5, 0.5, 0.25]).view
    assert (view.size, view.fit, view.scales, view.mirror) == (64, "squash", (0.5, 2.0), 0.25)
    assert view.jitter == (0.5, 0.5, 0.5, 0.25)
    assert view.padding == IGNORE


@pytest.mark.parametrize(("padding", "label"), [("fixed", IGNORE), ("reference", 1)])
def test_padding_of_binary_masks(padding, label):
    """The published S4 loader reads masks as single bits, and 255 becomes 1."""
    out = transform("always", 2, size=4, flip=0.0, padding=padding)(clip(torch.zeros(1, 2, 4).long()), seeded())
    assert out["masks"].tolist() == [[[0] * 4] * 2 + [[label] * 4] * 2]


# classes of a picture


def test_single_source_picture_keeps_the_class_that_a_crop_loses():
    masks = torch.zeros(1, 4, 40, dtype=torch.long)
    masks[0, 0, 0] = 3
    told, shown = transform("told", size=4, flip=0.0), transform("shown", size=4, flip=0.0)
    items = [f(clip(masks), seeded()) for f in (told, shown)]
    assert all((item["masks"] == 0).all() for item in items)
    chosen = torch.ones(1, 1, dtype=torch.bool)
    found = [pairing.batch_classes(collate([item]), chosen, 22, "told").nonzero()[:, 1].tolist() for item in items]
    assert found == [[0, 3], [0]]


def test_classes_of_padded_frames_fit_into_a_batch():
    out = transform("told", size=2)(clip(torch.full((1, 2, 2), 5)), seeded())
    batch = collate([out], pad_to=3)
    assert batch.features["classes"].shape == (1, 3, 22)
    assert not batch.features["classes"][0, 1:].any()


# sound


@pytest.mark.parametrize("front_end", ["cavp_mel_stereo", "cavp_mel_stereo_reference"])
def test_mirrored_picture_hears_its_sources_at_the_other_side(front_end):
    """Swapping the channels of a mel is the same as panning every source to 1 - p, for any number of sources."""
    random = np.random.default_rng(0)
    waves = [(random.uniform(-0.5, 0.5, 48000) * 32767).astype(np.int16)[:, None] for _ in range(2)]

    def heard(*places):
        sounds = [Sound(wave, 16000, position=place) for wave, place in zip(waves, places, strict=True)]
        return torch.from_numpy(FRONT_ENDS[front_end].compute(ClipSound(sounds, 1, still=True)))

    item = clip(torch.zeros(1, 4, 4).long(), **{front_end: heard(0.25, 1.0)})
    mirrored = transform(size=4, flip=1.0)(item, seeded())
    assert torch.equal(mirrored["audio"][front_end], heard(0.75, 0.0))
    forgetful = transform(size=4, flip=1.0, swap_channels=False)(item, seeded())
    assert torch.equal(forgetful["audio"][front_end], heard(0.25, 1.0))
    assert not torch.equal(heard(0.25, 1.0), heard(0.75, 0.0))


# labels of VPO

CAR, AIRPLANE = VPO["index_table"].index("car"), VPO["index_table"].index("airplane")


def test_cars_become_airplanes_where_both_are_in_the_view():
    masks = torch.tensor([[[CAR, AIRPLANE], [0, IGNORE]], [[CAR, CAR], [0, 0]], [[AIRPLANE, 0], [0, 0]]])
    published = transform(size=2, flip=0.0, labels="reference")(clip(masks), seeded())["masks"]
    assert published[0].tolist() == [[AIRPLANE, AIRPLANE], [0, IGNORE]]
    assert torch.equal(published[1:], masks[1:])
    assert torch.equal(transform(size=2, flip=0.0)(clip(masks), seeded())["masks"], masks)


def in_place(numbers):
    """The published loader: numbers of a mask file to indices, one after the other."""
    table = VPO["mask_id_to_index"]
    for number in sorted(set(numbers)):
        numbers = [table[str(number)] if n == number else n for n in numbers]
    return numbers


def test_no_other_pair_of_classes_collides():
    for first, label in VPO["mask_id_to_index"].items():
        for second, other in VPO["mask_id_to_index"].items():
            assert cars_to_airplanes(torch.tensor([[label, other]])).tolist() == [in_place([int(first), int(second)])]
    for each in VPO["sequential_remap_collisions"]:
        assert cars_to_airplanes(torch.tensor([each["expected"]])).tolist() == [each["reference"]]
    assert len(VPO["index_table"]) == part("augmentation").VPO_CLASSES


def test_renaming_is_about_vpo():
    with pytest.raises(AvsbenchError, match="71 classes"):
        transform(classes=71, size=4, labels="reference")
