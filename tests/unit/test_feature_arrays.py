"""Features that are arrays: derived of frames and sound, checked, stored, and filled up in batches."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench import features
from avsbench.contract_checks import features as drawn
from avsbench.errors import AvsbenchError
from avsbench.features import FEATURES, Deriver, Generator, Proposals
from avsbench.features.settings import resolve
from avsbench.paths import Paths
from avsbench.store import feature_report
from avsbench.store import features as stage
from avsbench.store.clips import ClipDataset
from avsbench.store.loader import collate
from avsbench.store.masks import MaskReader, stacked
from avsbench.store.shards import ArrayReader, ShardReader
from tests.unit import store_fakes

HEARD = "vggish_mel"
"""What generators hear here: the front end that the fake store has."""


@pytest.fixture
def store(tmp_path):
    return store_fakes.build(tmp_path, store_fakes.card("avss"))


@pytest.fixture
def made_by(store, monkeypatch):
    """feature, deriver -> that feature of a shard, by this deriver in the place of the scale's; setting and report."""
    paths, card = store
    monkeypatch.setattr(paths.__class__, "stand_in", lambda self, name: f"{self.data_root}/{name}.safetensors")
    Path(paths.stand_in("audioclip")).write_bytes(b"weights")

    def made(feature, generator=None, split="train", shard=0, **options):
        setting = resolve(feature, paths, {"options": options} if options else {})
        if generator is not None:
            monkeypatch.setattr(stage, "build", lambda *_: generator)
        place = (card.name, split, shard, card.shards["mini"][split])
        report = stage.feature_shard(
            card=card,
            setting=setting,
            shard_path=paths.shard(*place),
            audio_paths={HEARD: paths.audio(card.name, HEARD, *place[1:])} if setting.card.front_ends else None,
            out=paths.features(card.name, setting.stored, *place[1:]),
            report_out=paths.feature_report(card.name, setting.stored, *place[1:]),
            masks_out=paths.feature_masks(card.name, setting.stored, *place[1:]),
        )
        return setting, report

    return made


class Listens(Deriver):
    """Maps of the mean colour plus the mean of the second's sound; `change` spoils them."""

    def __init__(self, change=lambda array: array):
        self.change = change

    def derive(self, frames, audio):
        assert list(audio) == [HEARD]
        values = frames.mean(axis=(1, 2, 3)) + audio[HEARD].mean(axis=(1, 2, 3))
        ramp = np.linspace(0, 1, 49).reshape(7, 7)
        return self.change((values[:, None, None] + ramp).astype(np.float32))


def box_counts(frames):
    """How many boxes each frame uint8 [T,...] has: its first byte says it, the first frame most."""
    said = frames.reshape(len(frames), -1)[:, 0] % 3
    return said.clip(max=said[0])


class Boxes(Deriver):
    """Boxes of 112 x 56 pixels."""

    def derive(self, frames, audio):
        counts = box_counts(frames)
        boxes = np.full((len(frames), counts.max(), 4), np.nan, np.float32)
        for row, count in zip(boxes, counts, strict=True):
            row[:count] = (0, 0, 112, 56)
        return boxes


class Halves(Generator):
    """The upper and the left half, or the upper one alone in pictures that begin dark."""

    def propose(self, image):
        masks = np.zeros((2, *image.shape[:2]), bool)
        masks[0, : len(image) // 2] = masks[1, :, : image.shape[1] // 2] = True
        masks = masks[: 2 if image[0, 0, 0] >= 64 else 1]
        return Proposals(masks, np.ones(len(masks), np.float32))


def test_frames_and_their_sound_reach_the_deriver_and_its_array_the_batch(store, made_by):
    paths, card = store
    for shard in range(2):
        setting, report = made_by("heatmap", Listens(), shard=shard)
    with ClipDataset(paths, card, "train", [HEARD], {"heatmap": setting.stored}, cache=True) as clips:
        for number in (0, 1, 0):  # the second time from memory
            clip = clips[number]
            sound = {HEARD: clip["audio"][HEARD].numpy()}
            expected = Listens().derive(clip["frames"].numpy().transpose(0, 2, 3, 1), sound)
            assert np.array_equal(clip["features"]["heatmap"].numpy(), expected)
        batch = collate([clips[0], clips[1]])  # 5 and 10 frames
    assert (batch.feature("heatmap").dtype, batch.feature("heatmap").shape) == (torch.float32, (2, 10, 7, 7))
    assert not batch.features["heatmap"][~batch.real].any()
    assert report["range"]["median"] == pytest.approx(1, abs=1e-3)
    assert report["frames_without_contrast"] == 0


def test_the_report_names_the_weights(store, made_by):
    paths, card = store
    setting, report = made_by("heatmap", Listens(), split="val")
    file = paths.feature_report(card.name, setting.stored, "val", 0, 1)
    assert json.loads(Path(file).read_text()) == report
    digest = hashlib.sha256(b"weights").hexdigest()
    assert report["weights"] == {"file": "audioclip.safetensors", "sha256": digest}
    _, boxes = made_by("boxes", Boxes(), split="val")
    assert boxes["weights"]["audioclip"]["sha256"] == digest  # by its role


def test_the_report_names_all_files_of_a_folder_and_the_package_that_read_them(tmp_path, monkeypatch):
    setting = resolve("boxes", Paths("full", weights_root=str(tmp_path)))
    digests = {}
    for number, (file, card) in enumerate(setting.files.items()):
        for part in card.parts:
            path = Path(file).with_name(Path(part.file).name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(part.file.encode())
            digests.setdefault(number, {})[path.name] = hashlib.sha256(part.file.encode()).hexdigest()
    monkeypatch.setattr(feature_report, "version", lambda package: f"version of {package}")
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    assert "transformers" not in feature_report.origin(setting, "cpu")["versions"]
    monkeypatch.setitem(sys.modules, "transformers", object())
    about = feature_report.origin(setting, "cpu")
    assert about["versions"]["transformers"] == "version of transformers"
    assert about["weights"] == {
        "ear": {"folder": "clap-htsat-unfused", "sha256": digests[0]},
        "eye": {"folder": "grounding-dino-base", "sha256": digests[1]},
    }
    assert all(len(found) > 2 for found in digests.values())


def test_boxes_are_filled_up_with_nan(store, made_by):
    paths, card = store
    for shard in range(2):
        setting, report = made_by("boxes", Boxes(), shard=shard)
    with ClipDataset(paths, card, "train", features={"boxes": setting.stored}) as clips:
        items = [clips[number] for number in range(len(clips))]
        counts = [box_counts(item["frames"].numpy()).tolist() for item in items]
        most = [max(frames) for frames in counts]
        assert len(set(most)) > 1
        batch = collate(items)
    boxes = batch.feature("boxes")
    assert boxes.shape == (len(items), 10, max(most), 4)
    there = torch.isfinite(boxes).all(dim=-1)
    assert there.sum(dim=-1)[batch.real].tolist() == [count for frames in counts for count in frames]
    assert torch.isnan(boxes[~there]).all()
    assert not there[~batch.real].any()
    assert report["covered"]["most"] == pytest.approx(report["boxes"]["most"] * 0.125, abs=1e-4)
    assert report["frames_without_box"] > 0


def test_proposals_are_packed_and_filled_up_with_zeros(store, made_by, caplog):
    paths, card = store
    for shard in range(2):
        setting, report = made_by("proposals", Halves(), shard=shard)
    assert (report["masks"]["least"], report["masks"]["most"], report["largest"]["median"]) == (1, 2, 0.5)
    with ClipDataset(paths, card, "train", features={"proposals": setting.stored}, cache=True) as clips:
        seen = clips[1]["features"]["proposals"]
        expected = [Halves().propose(frame.numpy().transpose(1, 2, 0)).masks for frame in clips[1]["frames"]]
        assert seen.dtype == torch.uint8
        assert np.array_equal(seen.numpy(), stacked(expected))
        batch = collate([clips[0], clips[1]])
    assert batch.feature("proposals").shape == (2, 10, 2, 16, 16)
    assert not batch.features["proposals"][~batch.real].any()
    place = (card.name, setting.stored, "train", 0, 2)
    with MaskReader(paths.features(*place), content=setting.stored) as kept:
        assert kept.shape(kept.clip_ids()[0])[1:] == (16, 16)
    assert not Path(paths.feature_masks(*place)).exists()  # they are the feature itself


def test_proposals_of_original_pictures_become_those_of_the_frames():
    setting = resolve("proposals", features_paths())
    frames = np.full((2, 32, 64, 3), 255, np.uint8)
    frames[1] = 0
    found, beside = stage.derived(setting, Halves(), frames, {}, 16, "squash")
    assert beside == []
    assert [masks.shape for masks in found] == [(2, 16, 16), (1, 16, 16)]
    assert np.array_equal(found[0][0], np.arange(16)[:, None].repeat(16, axis=1) < 8)
    nothing, _ = stage.derived(setting, features.build(features.generator("none"), {}), frames, {}, 16, "squash")
    assert [masks.shape for masks in nothing] == [(0, 16, 16)] * 2
    assert stacked(nothing).shape == (2, 0, 16, 16)


def features_paths():
    from avsbench.paths import Paths

    return Paths("mini")


def spoiled(array):
    array[0, 0, 0] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.astype(np.float64), r"float64(.|\n)*float32 \[\d+, 7, 7\]: float32 \[T,7,7\]"),
        (lambda a: a[:, :6], r"\[\d+, 6, 7\]"),
        (lambda a: a[1:], r"\[\d+, 7, 7\]"),
        (spoiled, "1 of 49\\d* not finite|1 of \\d+ not finite"),
    ],
    ids=["type", "shape", "frames", "nan"],
)
def test_arrays_of_another_kind_than_promised_are_refused(store, made_by, change, message):
    with pytest.raises(AvsbenchError, match=rf"heatmap: derive gives something else(.|\n)*{message}"):
        made_by("heatmap", Listens(change))
    paths, card = store
    assert not list(Path(paths.dataset(card.name)).glob("features/*/*"))


def test_missing_boxes_stand_at_the_end_and_are_missing_in_whole(made_by):
    class Holes(Boxes):
        def derive(self, frames, audio):
            boxes = np.zeros((len(frames), 3, 4), np.float32)
            boxes[self.where] = np.nan
            return boxes

    generator = Holes()
    for where in ((0, 1), (0, 2, 3)):  # one between others, part of one
        generator.where = where
        with pytest.raises(AvsbenchError, match="not finite"):
            made_by("boxes", generator)
    generator.where = (0, slice(1, 3))
    made_by("boxes", generator)


def test_a_damaged_shard_is_found_before_the_rule_ends(store, made_by, monkeypatch):
    from avsbench.store import shards

    paths, card = store
    add = shards.ArrayWriter.add
    monkeypatch.setattr(shards.ArrayWriter, "add", lambda self, clip, array: add(self, clip, array[:-1]))
    with pytest.raises(AvsbenchError, match=r"is not what was written(.|\n)*\[\d+, 7, 7\]"):
        made_by("heatmap", Listens())
    assert not list(Path(paths.dataset(card.name)).glob("features/*/*"))


def test_flat_heatmaps_are_a_warning(made_by, caplog):
    _, report = made_by("heatmap", Listens(np.ones_like))
    assert report["frames_without_contrast"] == report["frames"] > 0
    assert f"{report['frames']} of {report['frames']} frames have no contrast" in caplog.text


def test_embeddings_of_regions_are_stored_by_the_code_that_makes_them(store, made_by):
    paths, card = store
    setting, report = made_by("image_embedding", split="val")
    place = (card.name, setting.stored, "val", 0, 1)
    with ArrayReader(paths.features(*place)) as arrays, ShardReader(paths.shard(card.name, "val", 0, 1)) as clips:
        for clip_id in arrays.clip_ids():
            frames = clips.clip(clip_id, masks=False).frames
            expected = features.build(setting.card, setting.options, scale="mini").derive(frames, {})
            assert np.array_equal(arrays.array(clip_id), expected)
    assert report["weights"] is None


def test_measures_count_what_is_there():
    stacks = [np.zeros((0, 2, 4), bool), np.array([[[1, 1, 0, 0]] * 2, [[0, 1, 0, 0]] * 2], bool)]
    assert feature_report.mask_measures(stacks).tolist() == [[0, 0, 0], [2, 0.5, 0.5]]
    boxes = np.array([[[0, 0, 224, 112], [0, 0, 112, 112]], [[np.nan] * 4] * 2], np.float32)
    assert feature_report.box_measures(boxes).tolist() == [[2, 0.75], [0, 0]]
    values = np.array([[[1, 3], [2, 2]], [[4, 4], [4, 4]]], np.float16)
    assert feature_report.value_measures(values).tolist() == [[2, 2, 1, 3], [0, 4, 4, 4]]


@pytest.mark.parametrize("name", FEATURES)
def test_drawn_features_are_of_the_kind_that_a_generator_gives(name):
    discs = np.zeros((3, 32, 64), bool)
    discs[:, 8:24, 16:32] = True
    frames = np.where(discs[..., None], 200, 30).astype(np.uint8).repeat(3, axis=-1)
    array = drawn.draw(name, frames, discs, [True, False, True])
    assert len(array) == 3
    whole = drawn.padded(name, [array, array[:2]], 4)
    assert whole.shape == (2, 4, *array.shape[1:])
    assert np.array_equal(whole[1, 2:], np.full_like(whole[1, 2:], FEATURES[name].fill), equal_nan=True)
    if name not in ("maskige", "proposals"):
        stage._check(resolve(name, features_paths()), array, (3, 32, 64), name)
    if name == "heatmap":  # high where the disc sounds
        assert np.unravel_index(array[0].argmax(), (7, 7)) in [(r, c) for r in (2, 3, 4) for c in (2, 3)]
        assert np.ptp(array[1]) == 0
    if name == "boxes":
        assert array[0, 0].tolist() == [56, 56, 112, 168]
        assert np.isnan(array[1]).all()
