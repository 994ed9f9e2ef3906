"""VGGish, and files of pretrained encoders: found, checked, loaded, fetched."""

import dataclasses
import hashlib

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
