"""The stand-in for AudioCLIP: it names what it sees and hears, repeats bit for bit, and fills all three towers."""

import dataclasses

import pytest
import torch

from avsbench import cards
from avsbench.engine import pretrain_contrastive as contrastive
from avsbench.engine.pretrain import pretrain_stand_in
from avsbench.nn.audioclip import audioclip
from avsbench.nn.clip_text import byte_tokens, clip_text
from avsbench.nn.clip_visual import clip_visual
from avsbench.nn.esresnext import esresnext
from avsbench.nn.weights import load_encoder
from avsbench.registry import read_weights
from avsbench.store.clips import ClipDataset

from . import store_fakes
from .test_pretrain import telling

ENCODER = cards.encoder("audioclip")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    card = store_fakes.card(splits={"train": 12, "val": 6, "test": 1}, shards={"train": 1, "val": 1, "test": 1})
    reader = store_fakes.FakeReader(card, change=telling)
    paths, _ = store_fakes.build(root, card, reader, ENCODER.front_ends)
    return dataclasses.replace(paths, weights_root=str(root / "weights")), card


@pytest.fixture(scope="module")
def trained(store):
    paths, card = store
    out = paths.stand_in(ENCODER.name)
    return pretrain_stand_in(encoder=ENCODER, paths=paths, datasets=[card], out=out, epochs=20)[card.name], out


@pytest.fixture(scope="module")
def unseen(store):
    paths, card = store
    with ClipDataset(paths, card, "val", front_ends=ENCODER.front_ends) as split:
        return contrastive.things(split, "audioclip_wave")


def test_names_what_it_never_saw(trained, unseen):
    accuracy, out = trained
    assert accuracy > 0.8
    network = audioclip("mini")
    network.load_pretrained(read_weights(out)[0])
    assert len(unseen.classes) == 3
    assert contrastive.named_rightly(network.eval(), unseen) > 0.8


def test_one_file_fills_three_towers(store, trained, unseen):
    paths, _ = store
    towers = {"visual": clip_visual("mini"), "audio": esresnext("mini"), "text": clip_text("mini")}
    whole = audioclip("mini")
    whole.load_pretrained(read_weights(trained[1])[0])
    for name, tower in towers.items():
        load_encoder(tower, ENCODER, "mini", paths)
        own = getattr(whole, name).state_dict()
        assert own.keys() == tower.state_dict().keys()
        assert all(torch.equal(value, own[key]) for key, value in tower.state_dict().items())


def test_cells_show_what_sounds(trained, unseen):
    network = audioclip("mini").eval()
    network.load_pretrained(read_weights(trained[1])[0])
    chosen = torch.stack([(unseen.seen == c).nonzero()[0, 0] for c in unseen.classes])
    crops = contrastive.crop(unseen.frames[chosen], unseen.masks[chosen], (0.8, 0.8))
    side_by_side = torch.cat(list(crops), dim=2)[None]
    with torch.no_grad():
        _, cells = network.visual.pool(network.visual(side_by_side)[-1], surgery=True)
        texts = network.text(byte_tokens([unseen.names[c] for c in unseen.classes]))
        cosine = torch.cosine_similarity(cells, texts[:, :, None, None], dim=1)
    middle = cosine[:, 1, 1::3]  # [name, place]: of each of the three crops the cell in the middle
    assert middle.argmax(dim=1).tolist() == [0, 1, 2]


def test_a_seed_decides_every_bit(store, tmp_path):
    paths, card = store
    states = []
    for i, seed in enumerate((0, 0, 1)):
        out = str(tmp_path / f"{i}.safetensors")
        pretrain_stand_in(encoder=ENCODER, paths=paths, datasets=[card], out=out, seed=seed, epochs=1)
        states.append(read_weights(out)[0])
    first, again, other = states
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_the_diagonal_alone_is_right(unseen):
    torch.manual_seed(0)
    crops, waves, names = contrastive.draw(unseen)
    assert len(set(names)) == len(names) == len(crops) == len(waves)
    assert crops.shape[1:] == (3, contrastive.SIDE, contrastive.SIDE)
    assert waves.abs().max() <= 1


def test_a_crop_holds_its_object(unseen):
    masks = torch.zeros(2, 40, 60, dtype=torch.bool)
    masks[0, 10:20, 40:50] = True
    masks[1, :6, :6] = True  # at the border: the crop stays inside
    frames = torch.zeros(2, 3, 40, 60, dtype=torch.uint8)
    frames[masks[:, None].expand(-1, 3, -1, -1)] = 255
    crops = contrastive.crop(frames, masks, (0.3, 0.3))
    white = (crops[:, 0] > 0.07).float().mean(dim=(1, 2))
    expected = torch.tensor([10 * 10, 6 * 6]) / (0.3 * 40 * 0.3 * 60)
    assert torch.allclose(white, expected, atol=0.03)
    alone = contrastive.crop(frames + 100, masks, (0.3, 0.3), on_black=1.0)
    assert alone.amin() == contrastive.crop(frames, masks, (0.3, 0.3)).amin()
