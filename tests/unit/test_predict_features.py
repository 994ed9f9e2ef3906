"""`avsbench.load` and `predict-video` derive features of one's own clips by the code of the workflow."""

import dataclasses

import numpy as np
import pytest
import torch
import yaml

from avsbench import cards, features, predictor, provenance
from avsbench.contract import Batch
from avsbench.engine import video
from avsbench.errors import AvsbenchError
from avsbench.features import Deriver, Generator, Proposals, maskige
from avsbench.features.settings import resolve
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.sound import Sound
from avsbench.paths import Paths
from avsbench.registry import build
from avsbench.store.masks import stacked
from tests.unit.small_method import write_method

RATE = 16000
HEARD = "vggish_mel"
SEEN = ["maskige", "proposals", "heatmap", "boxes"]


class Halves(Generator):
    def propose(self, image):
        masks = np.zeros((2, *image.shape[:2]), bool)
        masks[0, : len(image) // 2] = masks[1, :, : image.shape[1] // 2] = True
        return Proposals(masks[: 1 + image[0, 0, 0] % 2], np.ones(1 + image[0, 0, 0] % 2, np.float32))


class Maps(Deriver):
    def derive(self, frames, audio):
        values = frames.mean(axis=(1, 2, 3)) + audio[HEARD].mean(axis=(1, 2, 3))
        return np.broadcast_to(values[:, None, None], (len(frames), 7, 7)).astype(np.float32)


class Boxes(Deriver):
    def derive(self, frames, audio):
        boxes = np.full((len(frames), 2, 4), np.nan, np.float32)
        boxes[:, 0] = 0, 0, 112, 56
        return boxes


MAKERS = {"maskige": Halves(), "proposals": Halves(), "heatmap": Maps(), "boxes": Boxes()}


@pytest.fixture
def variant(tmp_path, monkeypatch):
    """Of a method that sees four features, and hears nothing itself."""
    monkeypatch.setenv("AVSBENCH_MODELS", str(tmp_path / "models"))
    card = write_method(tmp_path / "models").variants["small-small"]
    for name in ("heatmap", "boxes"):
        for known in features.generators(name).values():
            card_of = dataclasses.replace(known, front_ends=[HEARD] if name == "heatmap" else [])
            monkeypatch.setitem(features.generators(name), known.name, card_of)
    return dataclasses.replace(card, inputs={"front_ends": [], "features": SEEN})


def sound(seconds):
    samples = np.random.default_rng(3).integers(-9000, 9000, (RATE * seconds, 1)).astype(np.int16)
    return Sound(samples=samples, rate=RATE)


def seen_by(variant, frames, heard, monkeypatch) -> Batch:
    """The batch that the network gets of a clip."""
    settings = {name: resolve(name, Paths("mini")) for name in SEEN}
    makers = {name: (setting, MAKERS[name]) for name, setting in settings.items()}
    card = cards.dataset("ms3")
    model = predictor.Predictor(build(variant, "ms3", "mini", 32), variant, card, 32, torch.device("cpu"), makers)
    batches = []

    class SeenError(Exception):
        """Raised where the network would begin."""

    def forward(batch):
        batches.append(batch)
        raise SeenError

    monkeypatch.setattr(model.method, "forward", forward)
    with pytest.raises(SeenError):
        model.logits(frames, heard, frames.shape[1:3])
    return batches[0]


def test_features_are_those_that_the_store_would_hold(variant, monkeypatch):
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    batch = seen_by(variant, frames, sound(5), monkeypatch)
    assert batch.audio == {}  # only the generator hears
    audio = FRONT_ENDS[HEARD].compute(ClipSound.of(cards.dataset("ms3"), [sound(5)], 5))
    indices, found = maskige.of_frames(Halves(), frames)
    expected = {
        "maskige": maskige.coloured(indices),
        "proposals": stacked([each.masks for each in found]),
        "heatmap": Maps().derive(frames, {HEARD: audio}),
        "boxes": Boxes().derive(frames, {}),
    }
    assert list(batch.features) == SEEN
    for name, array in expected.items():
        assert np.array_equal(batch.feature(name)[0].numpy(), array, equal_nan=name == "boxes"), name


def test_frames_added_at_the_end_repeat_the_last_one(variant, monkeypatch):
    frames = np.random.default_rng(1).integers(0, 256, (3, 40, 24, 3)).astype(np.uint8)
    batch = seen_by(variant, frames, sound(3), monkeypatch)
    assert batch.frames.shape == (1, 5, 3, 32, 32)
    for name in SEEN:
        array = batch.feature(name)[0].numpy()
        assert len(array) == 5
        assert np.array_equal(array[3:], array[[2, 2]], equal_nan=True)


def test_a_front_end_that_nothing_computes_is_named(variant):
    setting = resolve("heatmap", Paths("mini"))
    features.generators("heatmap")["audioclip"].front_ends[:] = ["nothing_mel"]
    alone = dataclasses.replace(variant, inputs={"front_ends": [], "features": ["heatmap"]})
    network = build(variant, "ms3", "mini", 32)
    with pytest.raises(AvsbenchError, match="unknown front end nothing_mel"):
        predictor.Predictor(
            network, alone, cards.dataset("ms3"), 32, torch.device("cpu"), {"heatmap": (setting, Maps())}
        )


@pytest.mark.parametrize(("given", "amplitude"), [(None, "reference"), ({"heatmap": {"options": {}}}, "fixed")])
def test_what_nothing_trained_saw_stands_in_its_record(tmp_path, monkeypatch, given, amplitude):
    """`run.json` says how the features of a run without training were made; the card's choice is not asked again."""
    asked = {}
    monkeypatch.setattr(video, "load", lambda *names, **options: asked.update(options))
    made = resolve("heatmap", Paths("mini"), {"options": {"amplitude": "reference"}})
    named = {"variant": "sam4avs-point-local", "dataset": "s4", "scale": "mini", "image_size": 64, "seed": "none"}
    about = {**made.record, "stored": made.stored}
    record = {**named, "code": "", "versions": {}, "parameters": {}, "features": {"heatmap": about}}
    provenance.write_run(tmp_path / "run.json", record)
    video.load_run(tmp_path, features=given)
    assert resolve("heatmap", Paths("mini"), asked["features"]["heatmap"]).options["amplitude"] == amplitude


def test_weights_of_ones_own_must_be_named_again(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "load", lambda *names, **options: options["features"]["heatmap"])
    (tmp_path / "mine.pt").write_bytes(b"mine")
    mine = {"weights": str(tmp_path / "mine.pt")}
    made = resolve("heatmap", Paths("mini", weights_root=str(tmp_path)), mine)
    about = {**made.record, "stored": made.stored}
    named = {"variant": "sam4avs-point-local", "dataset": "s4", "scale": "mini", "image_size": 64, "seed": "none"}
    parts = {"code": "", "versions": {}, "parameters": {}, "features": {"heatmap": about}}
    provenance.write_run(tmp_path / "run.json", named | parts)
    with pytest.raises(AvsbenchError, match=r"heatmap that this run saw would now be made otherwise(.|\n)*stand-in"):
        video.load_run(tmp_path)
    assert video.load_run(tmp_path, features={"heatmap": mine}) == mine


STUDY = """\
title: Regions
question: How small?
datasets: [ms3]
variants: [small-small]
rows:
  smaller: {features: {proposals: {options: {min_size: 3}}}}
"""


@pytest.mark.parametrize(
    ("name", "given", "least"),
    [("small-small", None, 5), ("small-small@mine.smaller", None, 3),
     ("small-small@mine.smaller", {"proposals": {"options": {"min_size": 4}}}, 4)],
)  # fmt: skip
def test_card_and_study_choose_where_no_training_did(tmp_path, monkeypatch, name, given, least):
    card = write_method(tmp_path / "models").path
    content = yaml.safe_load(card.read_text()) | {"trainable": False}
    content["inputs"] = {"front_ends": [], "features": ["proposals"]}
    content["variants"]["small-small"]["features"] = {"proposals": {"options": {"min_size": 5}}}
    card.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("AVSBENCH_MODELS", str(tmp_path / "models"))
    (tmp_path / "mine.yaml").write_text(STUDY)
    monkeypatch.setenv("AVSBENCH_STUDIES", str(tmp_path))
    cards._method_cards.cache_clear()
    asked = []
    monkeypatch.setattr(predictor, "generators_of", lambda settings, *more: asked.append((settings, more)) or {})
    monkeypatch.setattr(predictor, "Predictor", lambda *parts: parts)
    predictor.load(name, "ms3", scale="mini", device="cpu", features=given)
    (settings, more) = asked[0]
    assert settings["proposals"].options["min_size"] == least
    assert more == ("cpu", "mini", "ms3")
    cards._method_cards.cache_clear()
