"""ACLP-FPN against outputs and losses of the authors' code; both sides' weights are drawn from key names.

Runs over every supervised fixture of `sam4avs` under $AVSBENCH_PARITY; files missing there come from this folder.
"""

import dataclasses
import functools
import json
import re

import numpy as np
import pytest
import torch

from avsbench import cards, registry
from avsbench.contract import Batch
from avsbench.contract_checks.official import read_keys
from avsbench.nn.audioclip import one_second
from avsbench.nn.clip_text import clip_text

from .audioclip_fill import filled, wave
from .fill import array
from .folders import Fixture, fixtures

CARD = cards.method_cards()["aclp_fpn"]
MODULE = registry.method_module(CARD)
ALIASES = {r"^visual_encoder\.": "aclp.visual.", r"^audio_encoder\.(?!audio_backbone\.)": "aclp.audio."}
"""How a second name of a tower begins -> how the first does, from which its values are drawn."""
TEXT = 63_690_243
"""Parameters of AudioCLIP's text tower and of its three scales."""


def build(device=None, **options):
    """The network at full size, in eval mode."""
    variant = CARD.variants["aclp-fpn"]
    variant = dataclasses.replace(variant, options={"amplitude": "reference", **options})
    with torch.device(device or "cpu"):
        return registry.build(variant, "s4", "full", 224).eval()


def keys_of(fixture):
    return read_keys(fixture.file("keys.json"))


def state_of(keys, salt):
    """The reference's state dict, filled."""
    first = {key: functools.reduce(lambda k, pair: re.sub(*pair, k), ALIASES.items(), key) for key, *_ in keys}
    values = filled([[first[key], *rest] for key, *rest in keys], salt)
    return {key: values[name] for key, name in first.items()}


def images_of(fixture):
    """Uniform blocks of 16 x 16 pixels."""
    about = fixture.about["inputs"]["images"]
    name = re.match(r"name ([\w/]+)", about["rule"])[1]
    return torch.from_numpy(array(name, tuple(about["shape"])).repeat(16, -2).repeat(16, -1))


def waves_of(fixture):
    about = fixture.about["inputs"]["audio"]
    name = re.match(r"name ([\w/]+)", about["rule"])[1]
    return one_second(wave(name, tuple(about["shape"]))[:, 0], 5)


def check(fixture, seen):
    """Compare each expected array, which holds every so-manieth entry of each axis."""
    tolerance = fixture.about["tolerance"]
    assert set(seen) == set(fixture.expected)
    for name, wanted in fixture.expected.items():
        steps = [-(-have // kept) for have, kept in zip(seen[name].shape, wanted.shape, strict=True)]
        found = seen[name][tuple(slice(None, None, step) for step in steps)].numpy()
        np.testing.assert_allclose(found, wanted, rtol=tolerance["rtol"], atol=tolerance["atol"], err_msg=name)


def watch(network):
    """The neck's four outputs of the next call."""
    seen = {}
    network.neck.register_forward_hook(
        lambda _, inputs, output: seen.update({f"fpn{level}": x for level, x in enumerate(output)})
    )
    return seen


@pytest.mark.parametrize("folder", fixtures("sam4avs", "supervised_s4", "supervised_ms3"))
@torch.no_grad()
def test_network(folder):
    fixture, network = Fixture(folder), build()
    state = network.convert_official(state_of(keys_of(fixture), fixture.about["weights"]["salt"]))
    network.load_state_dict(state, strict=True, assign=True)
    seen = watch(network)
    maps = network.visual(images_of(fixture))
    seen["audio_feature"] = network.audio(waves_of(fixture))
    seen["pred"] = network.decode(maps, seen["audio_feature"])
    seen["last_feat"] = network.visual.pool(maps[-1])[1]
    check(fixture, seen)


@pytest.mark.parametrize("folder", fixtures("sam4avs", "fusions"))
@torch.no_grad()
def test_fusions(folder):
    fixture = Fixture(folder)
    towers = Fixture(folder.parent / fixture.about["inputs"]["same as"])
    keys = [entry for entry in keys_of(towers) if not entry[0].startswith("neck.")]
    shared = state_of(keys, towers.about["weights"]["salt"])
    maps = sound = None
    seen = {}
    for case, keys in json.loads(fixture.file("keys.json").read_text()).items():
        fusion = case.removesuffix("_nearest")
        network = build("meta" if maps else None, fusion=fusion, upsample="bilinear" if case == fusion else "nearest")
        state = network.convert_official(shared | state_of(keys, fixture.about["weights"]["salt"]))
        if network.audio is None:
            state = {key: value for key, value in state.items() if not key.startswith("audio.")}
        network.load_state_dict(state, strict=True, assign=True)
        if maps is None:  # towers of one fusion do for all; on "meta" they cannot hear
            maps, sound = network.visual(images_of(towers)), network.audio(waves_of(towers))
        outputs = watch(network)
        seen[f"{case}_pred"] = network.decode(maps, None if network.audio is None else sound)
        seen[f"{case}_fpn3"] = outputs["fpn3"]
        channels = fixture.about["fusion_in_channels_of_the_last_lateral"][fusion]
        assert network.neck.lateral[3].in_channels == channels
    check(fixture, seen)


@pytest.mark.parametrize("folder", fixtures("sam4avs", "vggish_ablation"))
@torch.no_grad()
def test_vggish(folder):
    fixture, network = Fixture(folder), build("meta", audio="vggish")
    state = network.convert_official(state_of(keys_of(fixture), fixture.about["weights"]["salt"]))
    network.load_state_dict(state, strict=True, assign=True)
    seen = watch(network)
    log_mel = fixture.numbers("vggish/log_mel", fixture.about["inputs"]["log_mel"]["shape"]) - 2
    seen["vggish"] = network.audio(log_mel)
    seen["audio_feature"] = network.projector(seen["vggish"])
    seen["pred"] = network.decode(network.visual(images_of(fixture)), seen["audio_feature"])
    check(fixture, seen)


@pytest.mark.parametrize("folder", fixtures("sam4avs", "losses"))
def test_losses(folder):
    fixture = Fixture(folder)
    shape = fixture.about["inputs"]["logits"]["shape"]
    logits = (2 * fixture.numbers("loss/logits", shape)).requires_grad_()
    masks = (fixture.numbers("loss/masks", shape) > 0.5)[:, 0].long().unflatten(0, (2, 5))
    network, real, found = build("meta"), torch.ones(2, 5, dtype=torch.bool), {}
    for name, annotated in {"s4": real & (torch.arange(5) == 0), "ms3": real}.items():
        batch = Batch(torch.zeros(2, 5, 3, 1, 1), real, ["a", "b"], masks=masks, annotated=annotated)
        output = {"logits": logits[annotated.flatten()], "chosen": annotated}
        (found[name],) = network.loss(output, batch, 0).values()
    (gradient,) = torch.autograd.grad(found["s4"], logits)
    found = {name: value.detach()[None] for name, value in found.items()} | {"s4_grad": gradient}
    check(fixture, found)


@pytest.mark.parametrize("folder", fixtures("sam4avs", "supervised_s4", "supervised_ms3", "vggish_ablation"))
def test_every_key_is_loaded_or_listed_as_dead(folder):
    fixture = Fixture(folder)
    keys = {key: shape for key, shape, _ in keys_of(fixture)}
    vggish = folder.name == "vggish_ablation"
    network = build("meta", audio="vggish" if vggish else "esresnext")
    renamed = {key: network.rename_official(key) for key in keys}
    dead = {key for key in keys if any(re.fullmatch(pattern, key) for pattern in CARD.dead_parameters)}
    assert {key for key, name in renamed.items() if name is None} == dead
    converted = network.convert_official({key: torch.empty(shape, device="meta") for key, shape in keys.items()})
    assert {key: value.shape for key, value in converted.items()} == {
        key: value.shape for key, value in network.state_dict().items()
    }
    if not vggish:
        assert len(keys) == 1616
        assert len([key for key in keys if re.match(r"(visual|audio)_encoder\.", key)]) == 339 + 370
        own = sum(p.numel() for p in network.parameters())
        text = sum(p.numel() for p in clip_text("full").parameters()) + 3
        assert (text, own + text) == (TEXT, fixture.about["parameters"])
        assert sum(p.numel() for part in (network.neck, network.head) for p in part.parameters()) == 3_789_569


def test_epsilons():
    network = build("meta")
    assert {m.eps for m in network.head.modules() if isinstance(m, torch.nn.GroupNorm)} == {1e-5}
    assert {m.eps for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-5}
