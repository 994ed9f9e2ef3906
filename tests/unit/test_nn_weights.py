"""VGGish, and files of pretrained encoders: found, checked, loaded, fetched."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.nn import weights
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.vggish import audio_encoder, embed_frames
from avsbench.paths import Paths

CARD = cards.encoder("resnet50")


def test_vggish_mini_has_the_published_interface():
    network = audio_encoder("vggish", "mini")
    embedding = network(torch.randn(3, 1, 96, 64))
    assert embedding.shape == (3, 128)
    assert (embedding >= 0).all()


def test_padded_frames_are_not_heard():
    network = audio_encoder("vggish", "mini")
    mel, real = torch.randn(2, 3, 1, 96, 64), torch.tensor([[True, True, False], [True, True, True]])
    embedding = embed_frames(network, mel, real)
    assert not embedding.requires_grad
    assert not embedding[0, 2].any()
    torch.testing.assert_close(embedding[1], network(mel[1]).detach())


def test_unknown_audio_family():
    with pytest.raises(AvsbenchError, match="vggish"):
        audio_encoder("panns", "mini")


def test_mini_takes_the_stand_in(tmp_path):
    paths = Paths("mini", weights_root=str(tmp_path))
    with pytest.raises(AvsbenchError, match=r"avsbench pretrain-mini --encoder resnet50"):
        weights.load_encoder(visual_encoder("r50", "mini"), CARD, "mini", paths)
    trained, fresh = visual_encoder("r50", "mini"), visual_encoder("r50", "mini")
    (tmp_path / "mini").mkdir()
    save_file(trained.state_dict(), tmp_path / "mini" / "resnet50.safetensors")
    assert weights.load_encoder(fresh, CARD, "mini", paths) == paths.stand_in("resnet50")
    assert torch.equal(fresh.layer4[0].conv2.weight, trained.layer4[0].conv2.weight)


def test_a_damaged_stand_in_says_what_to_do(tmp_path):
    paths = Paths("mini", weights_root=str(tmp_path))
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "resnet50.safetensors").write_bytes(b"half a file")
    with pytest.raises(AvsbenchError, match="damaged"):
        weights.load_encoder(visual_encoder("r50", "mini"), CARD, "mini", paths)
    save_file(visual_encoder("pvt", "mini").state_dict(), tmp_path / "mini" / "resnet50.safetensors")
    with pytest.raises(AvsbenchError, match=r"resnet50\.safetensors: the weights do not fit"):
        weights.load_encoder(visual_encoder("r50", "mini"), CARD, "mini", paths)


def test_full_names_address_size_and_place(tmp_path):
    paths = Paths("full", weights_root=str(tmp_path))
    with pytest.raises(AvsbenchError) as error:
        weights.load_encoder(visual_encoder("r50", "mini"), CARD, "full", paths)
    for part in (
        str(tmp_path / CARD.file),
        "98 MB",
        CARD.url,
        "sha256 19c8e357",
        "fetch-weights resnet50-19c8e357.pth",
    ):
        assert part in str(error.value)


def test_full_checks_the_digest(tmp_path):
    paths, file = Paths("full", weights_root=str(tmp_path)), tmp_path / CARD.file
    encoder = visual_encoder("r50", "mini")
    torch.save(encoder.state_dict(), file)
    with pytest.raises(AvsbenchError, match="not the published file of resnet50"):
        weights.load_encoder(encoder, CARD, "full", paths)
    card = dataclasses.replace(CARD, sha256=hashlib.sha256(file.read_bytes()).hexdigest()[:8])
    assert weights.load_encoder(encoder, card, "full", paths) == str(file)


def test_fetch(tmp_path, monkeypatch):
    paths = Paths("full", weights_root=str(tmp_path))
    with pytest.raises(AvsbenchError, match=r"did you mean 'pvt_v2_b5\.pth'"):
        weights.fetch("pvt_v2_b4.pth", paths)
    monkeypatch.setattr(weights, "_download", lambda card, target, temporary: temporary.write_bytes(b"an error page"))
    with pytest.raises(AvsbenchError, match="not the published file"):
        weights.fetch(CARD.file, paths)
    assert not list(tmp_path.iterdir())  # nothing half-done stays
    fetched = weights.fetch("pvt_v2_b5.pth", paths)  # its publisher names no digest
    monkeypatch.setattr(weights, "_download", lambda *_: pytest.fail("it is there"))
    assert weights.fetch("pvt_v2_b5.pth", paths) == fetched


def test_fetch_without_network(tmp_path, monkeypatch):
    import pooch
    import requests

    def refuse(*_, **__):
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", refuse)
    with pytest.raises(AvsbenchError) as error:
        weights.fetch(CARD.file, Paths("full", weights_root=str(tmp_path)))
    assert CARD.url in str(error.value)
    assert not list(tmp_path.iterdir())


def test_an_encoder_of_several_files(tmp_path, monkeypatch):
    card, paths = cards.encoder("grounding_dino"), Paths("full", weights_root=str(tmp_path))
    target = paths.weights(card.file)
    with pytest.raises(AvsbenchError) as error:
        weights.check_folder(card, target)
    for part in card.parts:
        assert part.url in str(error.value)
    for text in ("6 are missing", "model.safetensors, about 933 MB", "config.json, about 2 kB", f"weights {card.file}"):
        assert text in str(error.value)

    contents = {part.file: part.file.encode() for part in card.parts}
    small = {
        name: [size, hashlib.sha256(contents[f"grounding-dino-base/{name}"]).hexdigest()]
        for name, (size, _) in card.beside.items()
    }
    card = dataclasses.replace(card, sha256=hashlib.sha256(contents[card.file]).hexdigest(), beside=small)
    monkeypatch.setattr(cards, "encoder_cards", lambda: {card.name: card})
    fetched = []

    def download(part, target, temporary):
        assert part.url.startswith("https://huggingface.co/IDEA-Research/grounding-dino-base/resolve/")
        assert part.url.endswith(f"/{Path(part.file).name}")
        fetched.append(part.file)
        temporary.write_bytes(contents[part.file])

    monkeypatch.setattr(weights, "_download", download)
    assert weights.fetch(card.file, paths) == target
    assert fetched == [part.file for part in card.parts]
    assert fetched[-1] == card.file, "the large file says that all are there, so it comes last"
    assert weights.check_folder(card, target) == tmp_path / "grounding-dino-base"

    (tmp_path / "grounding-dino-base" / "vocab.txt").unlink()
    with pytest.raises(
        AvsbenchError, match=r"1 are missing(.|\n)*expected: grounding-dino-base/vocab\.txt, about 200 kB"
    ):
        weights.check_folder(card, target)
    weights.fetch(card.file, paths)
    assert fetched[-1] == "grounding-dino-base/vocab.txt"
    (tmp_path / "grounding-dino-base" / "config.json").write_text("{}")
    with pytest.raises(AvsbenchError, match=r"config\.json: not the published file of grounding_dino"):
        weights.check_folder(card, target)


def test_every_published_file_has_one_address_and_no_stand_ins_path():
    files = {}
    for card in cards.encoder_cards().values():
        for part in card.parts:
            assert files.setdefault(part.file, part.url) == part.url, part.file
            assert not part.file.startswith(("mini/", "smoke/", "official/"))
