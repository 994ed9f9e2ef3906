"""CLAP and Grounding DINO as tiny networks with random weights: what goes into them, and what is kept of what comes."""

import builtins
import dataclasses

import librosa
import numpy as np
import pytest
import torch

from avsbench import cards, features
from avsbench.errors import AvsbenchError
from avsbench.features import detector_boxes
from avsbench.features.clap import clap
from avsbench.features.detector_boxes import GroundingDino, caption
from avsbench.features.settings import resolve
from avsbench.features.transformers_folder import load
from avsbench.paths import Paths
from tests.unit.tiny_transformers import published_as, tiny_clap, tiny_grounding_dino, transformers

NAMES = ["Dog", "Male speech, man speaking", "Clip-clop", "Cat", "Bee, wasp, etc.", "Piano"]
CAPTIONS = ["dog.", "male speech, man speaking.", "clip-clop."]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Encoder -> (card, file) of the tiny networks; nothing is asked of the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        found = {}
        for name, make in (("clap", tiny_clap), ("grounding_dino", tiny_grounding_dino)):
            folder = tmp_path_factory.mktemp(name)
            make(folder)
            card = published_as(name, folder)
            found[name] = card, str(folder / card.file.rpartition("/")[2])
        known = cards.encoder
        patch.setattr(cards, "encoder", lambda name: found[name][0] if name in found else known(name))
        yield found


@pytest.fixture(scope="module")
def ear(published):
    return clap(published["clap"][1], "cpu", NAMES)


@pytest.fixture(scope="module")
def detector(published):
    return load("GroundingDinoForObjectDetection", "grounding_dino", published["grounding_dino"][1], "cpu")


@pytest.fixture(scope="module")
def waves():
    time = np.arange(48000) / 48000
    sounds = [np.random.default_rng(0).uniform(-1, 1, 48000), np.sin(2 * np.pi * 440 * time), np.zeros(48000)]
    return np.float32(sounds)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (3, 56, 56, 3), np.uint8)


# CLAP


def test_a_second_is_heard_ten_times_in_the_bands_of_the_model_without_fusion(ear, waves):
    heard = ear._mel(list(waves), sampling_rate=48000, return_tensors="np")["input_features"]
    assert heard.shape == (3, 1, 1001, 64)
    bands = librosa.filters.mel(sr=48000, n_fft=1024, n_mels=64, fmin=50, fmax=14000)
    for wave, found in zip(waves, heard[:, 0], strict=True):
        power = np.abs(librosa.stft(np.tile(wave, 10), n_fft=1024, hop_length=480, pad_mode="reflect")) ** 2
        np.testing.assert_allclose(found, 10 * np.log10(np.maximum(bands @ power, 1e-10)).T, rtol=0, atol=2e-3)
    assert (heard[2] == -100).all(), "silence is the floor"


def test_a_wave_of_any_length_up_to_ten_seconds(ear, waves):
    ten = ear.sounds(np.tile(waves, 10))
    assert torch.equal(ten, ear.sounds(waves))
    # 0.7 s fit 14 times, and 0.2 s of silence follow.
    part = waves[:2, :33600]
    padded = np.pad(np.tile(part, 14), ((0, 0), (0, 480000 - 14 * 33600)))
    assert torch.equal(ear.sounds(part), ear.sounds(padded))


def test_names_are_the_nearest_texts(ear, waves):
    tokens = ear.tokenizer(NAMES, padding=True, return_tensors="pt")
    mel = ear._mel(list(waves), sampling_rate=48000, return_tensors="pt")["input_features"]
    with torch.no_grad():
        order = ear.network(input_features=mel, **tokens).logits_per_audio.argsort(dim=1, descending=True)
    for k in (1, 2, 6):
        assert ear.names(waves, k) == [[NAMES[number] for number in row[:k]] for row in order.tolist()]
    assert len({names[0] for names in ear.names(waves, 1)}) > 1


def test_embeddings_are_normalised_and_see_no_padding(ear, waves):
    both = ear.texts(NAMES)
    torch.testing.assert_close(both, torch.cat([ear.texts([name]) for name in NAMES]))
    torch.testing.assert_close(both.norm(dim=1), torch.ones(len(NAMES)))
    torch.testing.assert_close(ear.sounds(waves).norm(dim=1), torch.ones(3))
    torch.testing.assert_close(ear.sounds(waves)[1:2], ear.sounds(waves[1:2]))


# Grounding DINO


@pytest.fixture
def small(monkeypatch):
    """Pictures of 128 pixels, for speed."""
    monkeypatch.setattr(detector_boxes, "SHORT_SIDE", 128)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Dog", "dog."), (" Bee, wasp, etc. ", "bee, wasp, etc."), ("Whimper (dog)", "whimper (dog)."), ("DTMF", "dtmf.")],
)
def test_captions(name, expected):
    assert caption(name) == expected


def scores_and_boxes(detector, frame, text):
    """Of one picture and one caption, by the package's own processor, without a threshold."""
    network, tokenizer = detector
    size = {"shortest_edge": 800, "longest_edge": 1333}
    pictures = transformers.GroundingDinoImageProcessor(size=size)
    processor = transformers.GroundingDinoProcessor(pictures, tokenizer)
    inputs = processor(images=frame, text=text, return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 800, 800)
    with torch.no_grad():
        found = network(**inputs)
    (result,) = processor.post_process_grounded_object_detection(found, inputs.input_ids, threshold=-1.0)
    return result["scores"].numpy(), result["boxes"].numpy()


def test_boxes_are_those_of_the_package_picture_by_picture(detector, frames):
    single = [scores_and_boxes(detector, frame, text) for frame, text in zip(frames, CAPTIONS, strict=True)]
    threshold = float(np.median([score for scores, _ in single for score in scores]))
    eye = GroundingDino(*detector, box_threshold=threshold)
    found = eye.boxes(frames, [[text] for text in CAPTIONS])  # captions of different lengths in one batch
    for (scores, boxes), each in zip(single, found, strict=True):
        assert each.dtype == np.float32
        np.testing.assert_allclose(each, boxes[scores > threshold], rtol=0, atol=1e-4)
    assert 0 < sum(map(len, found)) < 3 * 20


def test_several_names_follow_each_other(detector, frames, small):
    eye = GroundingDino(*detector, box_threshold=0.0)
    both = eye.boxes(frames, [["dog", "cat"], [], ["cat"]])
    assert [len(boxes) for boxes in both] == [40, 0, 20]  # all queries: none is dropped for lying on another
    assert both[1].shape == (0, 4)
    dog, cat = (eye.boxes(frames[:1], [[name]])[0] for name in ("dog", "cat"))
    np.testing.assert_allclose(both[0], np.concatenate([dog, cat]), rtol=0, atol=1e-4)


def test_a_threshold_that_nothing_reaches(detector, frames, small):
    assert [len(boxes) for boxes in GroundingDino(*detector, box_threshold=1.0).boxes(frames, [["dog"]] * 3)] == [0] * 3


@pytest.mark.parametrize(
    ("size", "expected"), [((56, 56), (800, 800)), ((60, 90), (800, 1200)), ((30, 90), (444, 1333))]
)
def test_the_size_of_pictures(detector, size, expected):
    frame = np.zeros((*size, 3), np.uint8)
    assert GroundingDino(*detector)._pictures([frame], return_tensors="pt")["pixel_values"].shape[2:] == expected


# both, as a generator


def files(published):
    return {"ear": published["clap"][1], "eye": published["grounding_dino"][1]}


@pytest.mark.parametrize(("dataset", "k"), [("s4", 1), ("ms3", 2)])
def test_the_generator(published, frames, waves, small, dataset, k):
    card = features.generator("grounding_dino", "boxes")
    made = features.build(card, {"labels": "s4", "box_threshold": 0.0}, files(published), dataset=dataset)
    found = made.derive(frames, {"clap_wave": waves})
    assert found.dtype == np.float32
    assert found.shape == (3, 20 * k, 4)
    assert np.isfinite(found).all()
    assert 100 < np.abs(found).max() < 500, "pixels of 224 x 224"
    names = made.ear.names(waves, k)
    assert [len(row) for row in names] == [k] * 3
    np.testing.assert_allclose(found, np.array(made.eye.boxes(frames, names)) * 224, rtol=0, atol=0.02)


def test_missing_files_are_named_with_source_and_size(tmp_path):
    paths = Paths("full", weights_root=str(tmp_path))
    setting = resolve("boxes", paths, {"generator": "grounding_dino"})
    with pytest.raises(AvsbenchError) as error:
        features.build(setting.card, setting.options, setting.weights, dataset="s4")
    for text in ("clap-htsat-unfused", "about 615 MB", "https://huggingface.co/laion", "avsbench fetch-weights"):
        assert text in str(error.value)


def test_a_missing_package_is_named(published, monkeypatch):
    whole = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "transformers":
            raise ModuleNotFoundError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AvsbenchError, match=r'pip install "avsbench\[sam\]"'):
        clap(published["clap"][1], "cpu", NAMES)


def test_weights_that_are_not_all_there(published, tmp_path, monkeypatch):
    card, file = published["clap"]
    folder = tmp_path / "clap"
    folder.mkdir()
    for path in (folder.parent / file).parent.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del state["text_projection.linear1.weight"]
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(AvsbenchError, match="not the published file of clap"):
        load("ClapModel", "clap", str(folder / "pytorch_model.bin"), "cpu")
    monkeypatch.setattr(cards, "encoder", lambda name: dataclasses.replace(card, sha256=None))
    with pytest.raises(AvsbenchError, match=r"1 tensors are missing, text_projection\.linear1\.weight"):
        load("ClapModel", "clap", str(folder / "pytorch_model.bin"), "cpu")
