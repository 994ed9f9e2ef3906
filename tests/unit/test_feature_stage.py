"""The stage `features`: shards of clips become shards of maskiges, and clips show them in colours."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench import features
from avsbench.errors import AvsbenchError
from avsbench.features import Generator, Proposals, maskige, sanity
from avsbench.features.settings import resolve
from avsbench.store import features as stage
from avsbench.store.build import build_index
from avsbench.store.clips import ClipDataset
from avsbench.store.loader import collate
from avsbench.store.masks import MaskReader
from avsbench.store.shards import ArrayReader, ShardReader
from tests.unit import store_fakes

FINE = {"generator": "felzenszwalb", "options": {"scale": 10.0, "sigma": 0.0, "min_size": 8}}


@pytest.fixture
def store(tmp_path):
    return store_fakes.build(tmp_path, store_fakes.card("avss"))


def derive(paths, card, chosen, split="train", shard=0, **more):
    """One shard of maskiges: its setting and report."""
    setting = resolve("maskige", paths, chosen)
    place = (card.name, split, shard, card.shards["mini"][split])
    report = stage.feature_shard(
        card=card,
        setting=setting,
        shard_path=paths.shard(*place),
        out=paths.features(card.name, setting.stored, *place[1:]),
        report_out=paths.feature_report(card.name, setting.stored, *place[1:]),
        masks_out=paths.feature_masks(card.name, setting.stored, *place[1:]),
        **more,
    )
    return setting, report


def test_clips_show_what_the_generator_finds(store):
    paths, card = store
    for shard in range(2):
        setting, _ = derive(paths, card, FINE, shard=shard)
    generator = features.build(setting.card, setting.options)
    with ClipDataset(paths, card, "train", features={"maskige": setting.stored}, cache=True) as clips:
        for number in (0, 1, 0):  # the second time from memory
            clip = clips[number]
            seen = clip["features"]["maskige"]
            assert (seen.dtype, seen.shape) == (torch.uint8, clip["frames"].shape)
            expected, _ = maskige.of_frames(generator, clip["frames"].numpy().transpose(0, 2, 3, 1))
            assert np.array_equal(seen.numpy(), maskige.coloured(expected))
        batch = collate([clips[0], clips[1]])  # 5 and 10 frames
    assert batch.features["maskige"].shape == batch.frames.shape == (2, 10, 3, 16, 16)
    assert not batch.features["maskige"][~batch.real].any()
    assert batch.features["maskige"][batch.real].any()


def test_the_report_says_what_made_a_shard_and_what_was_found(store):
    paths, card = store
    setting, report = derive(paths, card, FINE)
    place = (card.name, setting.stored, "train", 0, 2)
    assert json.loads(Path(paths.feature_report(*place)).read_text()) == report
    with ArrayReader(paths.features(*place), content=setting.stored) as arrays:
        indices = np.concatenate([arrays.array(clip_id) for clip_id in arrays.clip_ids()])
        assert report["clips"] == len(arrays)
    counts = [len(np.unique(image)) for image in indices]  # felzenszwalb leaves no pixel out
    assert report["frames"] == len(indices)
    assert report["masks"] == {
        "mean": pytest.approx(np.mean(counts), abs=1e-3),
        "least": min(counts),
        "median": np.median(counts),
        "most": max(counts),
    }
    assert report["covered"]["least"] == 1
    assert report["frames_without_mask"] == 0
    assert (report["generator"], report["options"]["min_size"], report["weights"]) == ("felzenszwalb", 8, None)
    assert not Path(paths.feature_masks(*place)).exists()  # nothing overlaps


def test_measures_of_an_index_image():
    image = np.array([[0, 1, 1, 3], [0, 0, 0, 3]], np.uint8)
    assert stage.measures(image[None]).tolist() == [[2, 0.5, 0.25]]
    assert stage.measures(np.zeros((1, 2, 2), np.uint8)).tolist() == [[0, 0, 0]]


def test_without_masks_a_maskige_is_grey_and_nobody_is_warned(store, caplog):
    paths, card = store
    setting, report = derive(paths, card, {"generator": "none"}, "val")
    assert report["frames_without_mask"] == report["frames"] > 0
    assert "have no mask" not in caplog.text
    with ClipDataset(paths, card, "val", features={"maskige": setting.stored}) as clips:
        assert (clips[0]["features"]["maskige"] == 120).all()


class Overlapping(Generator):
    """The upper half, and the whole but one pixel; nothing in pictures that begin dark."""

    def propose(self, image):
        masks = np.zeros((2, *image.shape[:2]), bool)
        masks[0, : len(image) // 2] = masks[1] = True
        masks[1, -1, -1] = False
        masks = masks[: 2 if image[0, 0, 0] >= 64 else 0]
        return Proposals(masks, np.arange(len(masks), dtype=np.float32))


@pytest.fixture
def overlapping(monkeypatch):
    """Stands in the place of felzenszwalb."""
    card = replace(features.generator("felzenszwalb"), partition=False)
    monkeypatch.setitem(features.generators(), "felzenszwalb", card)
    monkeypatch.setattr(stage, "build", lambda *_: Overlapping())


def test_masks_that_overlap_are_kept_beside(store, overlapping, caplog):
    paths, card = store
    setting, report = derive(paths, card, {})
    place = (card.name, setting.stored, "train", 0, 2)
    with (
        MaskReader(paths.feature_masks(*place), content=setting.stored) as kept,
        ArrayReader(paths.features(*place)) as arrays,
        ShardReader(paths.shard(card.name, "train", 0, 2)) as clips,
    ):
        assert kept.clip_ids() == arrays.clip_ids() != []
        for clip_id in kept.clip_ids():
            stacks, frames = kept.masks(clip_id), clips.clip(clip_id, masks=False).frames
            assert [len(stack) for stack in stacks] == [2 if frame[0, 0, 0] >= 64 else 0 for frame in frames]
            assert all(np.array_equal(s, Overlapping().propose(f).masks) for s, f in zip(stacks, frames, strict=True))
            again = np.stack([maskige.index_image(stack) for stack in stacks])
            assert np.array_equal(arrays.array(clip_id), again)
    without = report["frames_without_mask"]
    assert 0 < without < report["frames"]
    assert (f"{without} of {report['frames']} frames have no mask" in caplog.text) == (without > report["frames"] / 5)


def test_a_clip_of_another_size_is_refused(store):
    paths, card = store
    setting, _ = derive(paths, card, FINE, "val")
    store_fakes.extract(card, paths, store_fakes.FakeReader(card), "val", 0, size=24)
    build_index(card=card, scale="mini", split="val", paths=paths)
    clips = ClipDataset(paths, card, "val", features={"maskige": setting.stored})
    with clips, pytest.raises(AvsbenchError, match=r"another size than its frames(.|\n)*16, 16(.|\n)*24, 24"):
        clips[0]


# sanity


class Constant(Generator):
    def __init__(self, *masks):
        self.masks = masks

    def propose(self, image):
        masks = [np.broadcast_to(mask, image.shape[:2]) for mask in self.masks]
        return Proposals(np.array(masks, bool).reshape(-1, *image.shape[:2]), np.zeros(len(masks), np.float32))


def test_felzenszwalb_sees_the_objects():
    for side, options in ((224, {}), (64, resolve_mini().options)):
        generator = features.build(features.generator("felzenszwalb"), options)
        assert sanity.check_generator("felzenszwalb", generator, side) > 0.7


def resolve_mini():
    from avsbench.paths import Paths

    return resolve("maskige", Paths("mini"))


@pytest.mark.parametrize("masks", [(), (True,), (False,), (True, False)])
def test_a_generator_that_sees_nothing_stops_the_stage(store, monkeypatch, masks):
    paths, card = store
    monkeypatch.setattr(stage, "build", lambda *_: Constant(*masks))
    with pytest.raises(AvsbenchError, match=rf"felzenszwalb sees nothing(.|\n)*{len(masks)} masks"):
        derive(paths, card, FINE)
    assert not list(Path(paths.dataset(card.name)).glob("features/*/*"))


def test_masks_of_frames_will_do_where_a_drawn_picture_has_none(store, monkeypatch, caplog):
    class OfFrames(Generator):
        def propose(self, image):
            picture = len(np.unique(image.reshape(-1, 3), axis=0)) == 4  # three objects on their ground
            return Proposals(
                np.zeros((0 if picture else 1, *image.shape[:2]), bool) | (image[None, ..., 0] > 127),
                np.zeros(0 if picture else 1, np.float32),
            )

    paths, card = store
    monkeypatch.setattr(stage, "build", lambda *_: OfFrames())
    _, report = derive(paths, card, FINE)
    assert "none in a drawn picture" in caplog.text
    assert report["masks"]["most"] == 1


@pytest.mark.parametrize(
    "found",
    [
        Proposals(np.zeros((1, 3, 3), bool), np.zeros(1, np.float32)),
        Proposals(np.zeros((1, 4, 4), np.uint8), np.zeros(1, np.float32)),
        Proposals(np.zeros((1, 4, 4), bool), np.zeros(2, np.float32)),
    ],
    ids=["size", "type", "scores"],
)
def test_a_generator_that_breaks_its_promise_is_named(found):
    class Wrong(Generator):
        def propose(self, image):
            return found

    with pytest.raises(AvsbenchError, match="something else than masks and scores"):
        maskige.of_frames(Wrong(), np.zeros((2, 4, 4, 3), np.uint8))
