"""Stand-ins: they learn the classes of a small store, repeat bit for bit, and load as encoders."""

import dataclasses

import numpy as np
import pytest
import torch

from avsbench import cards
from avsbench.engine.pretrain import pretrain_stand_in
from avsbench.engine.pretrain_parts import mix_sounds
from avsbench.errors import AvsbenchError
from avsbench.media.sound import Sound
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.ced import ced
from avsbench.nn.clip_visual import clip_visual
from avsbench.nn.esresnext import esresnext
from avsbench.nn.vggish import audio_encoder
from avsbench.nn.weights import load_encoder
from avsbench.registry import read_weights

from . import store_fakes

TONES = (300.0, 900.0, 2700.0)


def telling(clip):
    """Turns a random clip into one whose colour and tone give its class away: 1, 2 or 3."""
    kind = int(clip.frames[0, 0, 0, 0]) % 3
    frames = len(clip.frames)
    clip.masks[:] = 0
    clip.masks[:, 4:12, 4:12] = kind + 1
    clip.masks[~clip.annotated] = 255
    clip.frames[:, 4:12, 4:12] = np.eye(3, dtype=np.uint8)[kind] * 200
    wave = np.sin(2 * np.pi * TONES[kind] * np.arange(16000 * frames) / 16000) * 9000
    return dataclasses.replace(clip, sounds=[Sound(wave.astype(np.int16)[:, None], 16000)])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    card = store_fakes.card(splits={"train": 12, "val": 1, "test": 1}, shards={"train": 1, "val": 1, "test": 1})
    ends = {end for name in ("vggish", "ced_mini", "esresnext_audioset") for end in cards.encoder(name).front_ends}
    paths, _ = store_fakes.build(root, card, store_fakes.FakeReader(card, change=telling), ends)
    return dataclasses.replace(paths, weights_root=str(root / "weights")), card


def train(store, name, seed=0, epochs=8, out=None):
    paths, card = store
    encoder = cards.encoder(name)
    out = out or paths.stand_in(name)
    accuracy = pretrain_stand_in(encoder=encoder, paths=paths, datasets=[card], out=out, seed=seed, epochs=epochs)
    return encoder, accuracy[card.name], out


@pytest.mark.parametrize(
    ("name", "epochs"),
    [
        ("resnet50", 8),
        ("pvt_v2_b5", 8),
        ("clip_rn50", 8),
        ("resnet50_stages", 8),
        ("vggish", 8),
        ("ced_mini", 24),
        ("esresnext_audioset", 6),
    ],
)
def test_learns_and_loads(store, name, epochs):
    encoder, accuracy, out = train(store, name, epochs=epochs)
    assert accuracy > 0.8  # chance is a third
    families = {
        "vggish": lambda: audio_encoder("vggish", "mini"),
        "ced": lambda: ced("mini"),
        "clip_visual": lambda: clip_visual("mini"),
        "clip_stages": lambda: clip_visual("mini"),
        "esresnext": lambda: esresnext("mini"),
    }
    network = families.get(encoder.family, lambda: visual_encoder(encoder.family, "mini"))()
    load_encoder(network, encoder, "mini", store[0])
    assert read_weights(out)[1]["encoder"] == name


@pytest.mark.parametrize(
    ("name", "random"), [("resnet50_stages", ("pool.", "conv1.", "bn1.")), ("esresnext_audioset", ("head.",))]
)
def test_what_no_published_file_holds_stays_random(store, name, random):
    encoder, _, _ = train(store, name, epochs=1)
    network = (clip_visual if encoder.kind == "visual" else esresnext)("mini")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_encoder(network, encoder, "mini", store[0])
    after = network.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in after if key.startswith(random))
    weights = [key for key in after if key.endswith("conv1.weight") and not key.startswith(random)]
    assert weights
    assert not any(torch.equal(after[key], before[key]) for key in weights)


def test_a_seed_decides_every_bit(store, tmp_path):
    files = [
        train(store, "resnet50", seed, epochs=1, out=str(tmp_path / f"{i}"))[2] for i, seed in enumerate((0, 0, 1))
    ]
    first, again, other = (read_weights(file)[0] for file in files)
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_stand_ins_are_for_mini(store):
    paths, card = store
    full = dataclasses.replace(paths, scale="full")
    with pytest.raises(AvsbenchError, match="published file"):
        pretrain_stand_in(encoder=cards.encoder("vggish"), paths=full, datasets=[card], out="x", epochs=1)


@pytest.mark.parametrize("shape", [(1, 96, 64), (4410,)])
def test_mixed_sounds_hold_the_classes_of_both(shape):
    torch.manual_seed(0)
    targets = torch.eye(6)
    _, mixed = mix_sounds(torch.zeros(6, *shape), targets)
    assert (mixed >= targets).all()
    assert mixed.sum() > targets.sum()


def test_waves_are_added():
    torch.manual_seed(0)
    waves = torch.eye(6)  # each sound is one sample
    mixed, targets = mix_sounds(waves, torch.eye(6))
    assert torch.equal(mixed > 0, targets > 0)
    assert 0.5 <= mixed[mixed > 0].min() < mixed.max() <= 2
