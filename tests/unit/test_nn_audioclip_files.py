"""AudioCLIP's towers out of the files that its authors publish, and out of a ResNet's: all that fits, nothing else."""

import dataclasses
import logging

import pytest
import torch
import torchvision

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.nn import weights
from avsbench.nn.audioclip import audioclip
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.clip_text import clip_text
from avsbench.nn.clip_visual import clip_visual
from avsbench.nn.esresnext import esresnext

from .audioclip_official import audioset, clip_alone, full_training

TOWERS = {"visual": clip_visual, "audio": esresnext, "text": clip_text}


@pytest.fixture(scope="module")
def source():
    """A network none of whose numbers is what it starts with."""
    torch.manual_seed(0)
    model = audioclip("mini")
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
    return model


def same(found, wanted, but=()):
    """Whether two modules hold the same numbers; the names that start with `but` must differ."""
    wanted = wanted.state_dict()
    assert found.state_dict().keys() == wanted.keys()
    for key, value in found.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, wanted[key]) != key.startswith(tuple(but)), key


def card(file):
    return dataclasses.replace(cards.encoder("resnet50"), name="audioclip", file=file.name, sha256=None)


# AudioCLIP-*.pt


@pytest.mark.parametrize("wrap", ["plain", "parallel", "checkpoint"])
def test_the_authors_file_fills_all_three_towers(source, wrap, tmp_path):
    state = full_training(source)
    if wrap != "plain":
        state = {f"module.{key}": value for key, value in state.items()}
    if wrap == "checkpoint":
        state = {"model": state, "epoch": 50, "optimizer": {"lr": 0.1}}
    torch.save(state, file := tmp_path / "AudioCLIP-Full-Training.pt")
    model = audioclip("mini")
    weights.load_file(model, card(file), str(file))
    same(model, source)
    for name, build in TOWERS.items():
        tower = build("mini")
        weights.load_file(tower, card(file), str(file))
        same(tower, getattr(source, name))


def test_our_own_file_fills_them_too(source):
    model = audioclip("mini")
    model.load_pretrained(source.state_dict())
    same(model, source)
    for name, build in TOWERS.items():
        for state in (source.state_dict(), getattr(source, name).state_dict()):
            tower = build("mini")
            tower.load_pretrained(state)
            same(tower, getattr(source, name))


@pytest.mark.parametrize("lost", ["visual.attnpool.c_proj.bias", "audio.fc.bias", "ln_final.bias", "logit_scale_at"])
def test_a_missing_tensor_is_named(source, lost):
    state = full_training(source)
    del state[lost]
    with pytest.raises(AvsbenchError, match=r"1 missing: ") as error:
        audioclip("mini").load_pretrained(state)
    assert audioclip("mini").rename_official(lost) in str(error.value)
    owner = {"visual.attnpool.c_proj.bias": "visual", "audio.fc.bias": "audio", "ln_final.bias": "text"}.get(lost)
    for name, build in TOWERS.items():
        if name == owner:
            with pytest.raises(AvsbenchError, match=r"1 missing: "):
                build("mini").load_pretrained(state)
        else:
            build("mini").load_pretrained(state)


@pytest.mark.parametrize("name", TOWERS)
def test_a_strange_tensor_is_named(source, name):
    state = full_training(source) | {"decoder.weight": torch.zeros(1)}
    with pytest.raises(AvsbenchError, match=r"decoder\.weight"):
        TOWERS[name]("mini").load_pretrained(state)
    with pytest.raises(AvsbenchError, match=r"1 unexpected: .*decoder\.weight"):
        audioclip("mini").load_pretrained(state)


@pytest.mark.parametrize(("name", "strange"), [("visual", "visual.layer9.w"), ("audio", "audio.fbsp.phase"),
                                               ("text", "transformer.resblocks.9.w")])  # fmt: skip
def test_a_strange_tensor_within_a_tower_is_named(source, name, strange):
    state = full_training(source) | {strange: torch.zeros(1)}
    with pytest.raises(AvsbenchError, match=r"1 unexpected: "):
        TOWERS[name]("mini").load_pretrained(state)


# CLIP.pt


def test_clip_leaves_all_that_hears_as_it_was(source):
    state = clip_alone(source) | {"input_resolution": torch.tensor(224), "vocab_size": torch.tensor(257)}
    model, before = audioclip("mini"), audioclip("mini")
    before.load_state_dict(model.state_dict())
    model.load_pretrained(state)
    same(model.audio, before.audio)
    same(model.visual, source.visual)
    same(model.text, source.text)
    assert model.scales["image_text"] == source.scales["image_text"]
    assert all(model.scales[pair] == before.scales[pair] for pair in ("sound_image", "sound_text"))
    for name in ("visual", "text"):
        tower = TOWERS[name]("mini")
        tower.load_pretrained(state)
        same(tower, getattr(source, name))
    with pytest.raises(AvsbenchError, match="missing: spectrogram"):
        esresnext("mini").load_pretrained(state)


@pytest.mark.parametrize("lost", ["visual.bn2.bias", "logit_scale", "positional_embedding"])
def test_clip_must_be_whole(source, lost):
    state = clip_alone(source)
    del state[lost]
    with pytest.raises(AvsbenchError, match=r"1 missing: "):
        audioclip("mini").load_pretrained(state)


# ESRNXFBSP.pt


def test_the_classifier_of_audioset_is_left_out(source, caplog):
    tower = esresnext("mini")
    head = tower.head.weight.clone()
    with caplog.at_level(logging.INFO):
        tower.load_pretrained(audioset(source))
    same(tower, source.audio, but=["head."])
    assert torch.equal(tower.head.weight, head)
    assert "ours stays as it was" in caplog.text


def test_a_file_without_last_layer_leaves_ours(source):
    state = {key: value for key, value in audioset(source).items() if not key.startswith("fc.")}
    tower = esresnext("mini")
    tower.load_pretrained(state)
    same(tower, source.audio, but=["head."])


@pytest.mark.parametrize(("change", "message"), [
    ({"fbsp.m": None}, r"1 missing: spectrogram\.order"),
    ({"att3.bn.bias": None}, r"1 missing: gates\.2\.norm\.bias"),
    ({"att6.bn.bias": torch.zeros(1)}, "1 unexpected: att6"),
    ({"conv1.3.weight": torch.zeros(2)}, "1 of another shape: trunk"),
])  # fmt: skip
def test_all_else_of_it_must_fit(source, change, message):
    state = {key: value for key, value in (audioset(source) | change).items() if value is not None}
    with pytest.raises(AvsbenchError, match=message):
        esresnext("mini").load_pretrained(state)


# an ordinary ResNet


def test_torchvisions_resnet_fills_the_four_stages():
    state = torchvision.models.resnet50().state_dict()
    tower = clip_visual("full")
    before = {key: value.clone() for key, value in tower.state_dict().items() if not key.startswith("layer")}
    tower.load_pretrained(state)
    stages = {key for key in state if key.startswith("layer")}
    after = tower.state_dict()
    assert set(after) == stages | set(before)
    assert all(torch.equal(after[key], state[key]) for key in stages)
    assert all(torch.equal(after[key], before[key]) for key in before)
    del state["layer3.5.conv2.weight"]
    with pytest.raises(AvsbenchError, match=r"1 missing: layer3\.5\.conv2\.weight"):
        tower.load_pretrained(state)


def test_at_mini_the_small_resnet_does():
    resnet, tower = visual_encoder("r50", "mini"), clip_visual("mini")
    tower.load_pretrained(resnet.state_dict())
    assert torch.equal(tower.layer3[0].downsample[1].weight, resnet.layer3[0].downsample[0].weight)
    with pytest.raises(AvsbenchError, match="unexpected: features"):
        tower.load_pretrained(resnet.state_dict() | {"features.0.weight": torch.zeros(1)})
