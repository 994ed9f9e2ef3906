"""The stand-in for CLAP and Grounding DINO: the small AudioCLIP over regions of like colour."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from avsbench import features
from avsbench.datasets.mini_kinds import KINDS
from avsbench.errors import AvsbenchError
from avsbench.features.boxes import class_names
from avsbench.features.crops import masked_crops
from avsbench.features.region_boxes import NamingAudioCLIP
from avsbench.features.settings import resolve
from avsbench.nn.audioclip import audioclip
from avsbench.nn.clip_text import byte_tokens
from avsbench.paths import Paths

CARD = features.generator("regions", "boxes")
NAMES = ["dog barking", "playing piano", "helicopter"]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return audioclip("mini").eval()


@pytest.fixture(scope="module")
def waves():
    return np.random.default_rng(0).uniform(-1, 1, (4, 44100)).astype(np.float32) * np.float32([[1], [0.1], [0], [0.5]])


def naming(network, **options):
    return NamingAudioCLIP(network, NAMES, **{"scales": [300.0], "box_threshold": 0.3, "side": 64, **options})


def scene():
    """Grey, with a red thing in rows 10 to 29, columns 40 to 55, and a blue one in rows 36 to 59, columns 4 to 23."""
    picture = np.full((64, 64, 3), 128, np.uint8)
    picture[10:30, 40:56] = (230, 20, 20)
    picture[36:60, 4:24] = (20, 20, 230)
    return picture


def test_the_vocabulary_is_that_of_the_embedded_data():
    assert class_names(CARD.options["labels"]) == [kind.category.replace("_", " ") for kind in KINDS]


def test_names_are_the_nearest_texts(network, waves):
    with torch.no_grad():
        texts = F.normalize(network.text(byte_tokens(NAMES)), dim=1)
        sounds = F.normalize(network.audio(torch.from_numpy(waves)[:, None]), dim=1)
    order = (sounds @ texts.T).argsort(dim=1, descending=True).tolist()
    for k in (1, 3):
        assert naming(network).names(waves, k) == [[NAMES[number] for number in row[:k]] for row in order]


def test_how_likely_a_region_has_a_name(network):
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 10:30, 40:56] = masks[1, 36:60, 4:24] = True
    picture = torch.from_numpy(scene()).permute(2, 0, 1) / 255
    shares = naming(network)._shares(picture, masks)
    with torch.no_grad():
        crops = F.normalize(network.visual.embed(masked_crops(picture, masks, 64)[0]), dim=1)
        texts = F.normalize(network.text(byte_tokens(NAMES)), dim=1)
    torch.testing.assert_close(shares, (crops @ texts.T / 0.07).softmax(dim=1))


def test_boxes_reach_from_edge_to_edge_of_their_regions(network, monkeypatch):
    def colours(self, picture, masks):
        """Red is surely a dog, blue rather a piano than a dog, and the rest a helicopter."""
        mean = torch.stack([picture[:, mask].mean(dim=1) for mask in masks])
        red, blue = mean[:, 0] > 0.8, mean[:, 2] > 0.8
        shares = torch.zeros(len(masks), 3)
        shares[red, 0], shares[blue, 1], shares[blue, 0] = 1.0, 0.6, 0.4
        shares[~(red | blue), 2] = 1.0
        return shares

    monkeypatch.setattr(NamingAudioCLIP, "_shares", colours)
    red, blue = np.float32([40, 10, 56, 30]) / 64, np.float32([4, 36, 24, 60]) / 64

    def found(*names, **options):
        smoothed = naming(network, **options)
        for segmenter in smoothed._segmenters:
            segmenter.sigma = 0  # so that edges stay where they are
        return smoothed.boxes(scene()[None], [list(names)])[0].tolist()

    assert found("dog barking", box_threshold=0.5) == [red.tolist()]
    assert sorted(found("dog barking")) == sorted([red.tolist(), blue.tolist()])
    assert found("playing piano", "dog barking", box_threshold=0.5) == [blue.tolist(), red.tolist()]
    assert found("playing piano", box_threshold=0.6) == []
    assert found("playing piano", scales=[300.0, 500.0]) == [blue.tolist()] * 2  # of each scale, and none is dropped
    assert found() == []


def test_the_generator_takes_the_stand_in(network, waves, tmp_path):
    paths = Paths("mini", weights_root=str(tmp_path))
    setting = resolve("boxes", paths, {"options": {"box_threshold": 0.01}})  # random weights are sure of nothing
    assert setting.generator == "regions"

    def build(scale="mini"):
        return features.build(setting.card, setting.options, setting.weights, scale=scale, dataset="ms3")

    with pytest.raises(AvsbenchError, match="the stand-in for audioclip does not exist"):
        build()
    (tmp_path / "mini").mkdir()
    save_file(network.state_dict(), tmp_path / "mini" / "audioclip.safetensors")
    made = build()
    assert made.k == 2
    frames = np.stack([scene()] * 4)
    found = made.derive(frames, {"audioclip_wave": waves})
    assert found.dtype == np.float32
    assert found.shape[::2] == (4, 4)
    there = found[np.isfinite(found)]
    assert there.size
    assert there.min() >= 0
    assert there.max() <= 224
    with pytest.raises(AvsbenchError, match="at scale mini alone"):
        build("full")
