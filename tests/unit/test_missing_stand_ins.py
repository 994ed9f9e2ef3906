"""Encoders that have no stand-in at scale mini: nothing is loaded, trained or asked for in their place."""

from dataclasses import replace

import pytest

from avsbench import cards, registry
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths
from avsbench.plan import Plan

from .small_method import write_method

SEGMENTER = "sam_vit_h"


@pytest.fixture
def variant(monkeypatch):
    """A variant that sees by ResNet-50 and has a promptable segmenter."""
    found = replace(cards.variant("tpavi-r50"), name="mine", encoders={"visual": "resnet50", "masks": SEGMENTER})
    monkeypatch.setattr(cards, "variant", lambda name: found)
    return found


def planned(scale):
    return Plan({"scale": scale, "runs": {"s4": ["mine"]}, "seeds": [0]})


def test_every_encoder_is_of_a_known_kind():
    for card in cards.encoder_cards().values():
        assert card.exists_at("full")
        assert card.exists_at("mini") == (card.kind in ("visual", "audio", "audiovisual")), card.name


def test_only_full_asks_for_its_file(variant):
    assert planned("mini").encoder_files("s4", "mine") == ["weights/mini/resnet50.safetensors"]
    assert planned("full").encoder_files("s4", "mine") == [
        "weights/resnet50-19c8e357.pth",
        "weights/sam_vit_h_4b8939.pth",
    ]


def test_a_file_for_several_roles_is_asked_for_once(variant, monkeypatch):
    both = replace(variant, encoders={"visual": "audioclip", "audio": "audioclip"})
    monkeypatch.setattr(cards, "variant", lambda name: both)
    assert planned("mini").encoder_files("s4", "mine") == ["weights/mini/audioclip.safetensors"]


def test_mini_loads_no_weights_into_it(tmp_path):
    card = write_method(tmp_path)
    variant = replace(card.variants["small-small"], encoders={"masks": SEGMENTER})
    method = registry.build(variant, "s4", "mini", 64)
    registry.load_encoders(method, variant, "s4", "mini", Paths("mini"))
    with pytest.raises(AvsbenchError, match="a role that the network does not have"):
        registry.load_encoders(method, variant, "s4", "full", Paths("full"))
