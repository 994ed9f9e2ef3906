"""ETAVS against outputs, losses and gradients of the authors' code; both sides' weights are drawn from key names.

Runs over every fixture of `etavs` under $AVSBENCH_PARITY; files missing there come from this folder.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from avsbench import cards, registry
from avsbench.contract_checks.official import read_keys

from .fill import array, fill

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE))
CARD = cards.method_cards()["etavs"]
MODULE = registry.method_module(CARD)
CLASSES = 71


def fixtures(kind):
    folders = {path.parent for path in ROOT.glob("etavs/*/fixture.json")} or {
        path.parent for path in HERE.glob("etavs/*/fixture.json")
    }
    kinds = {"losses": "losses", "messenger": "messenger"}
    return [pytest.param(f, id=f"etavs/{f.name}") for f in sorted(folders) if kinds.get(f.name, "model") == kind]


class Fixture:
    """What a folder holds: the description, the expected arrays, the reference's keys, the salts."""

    def __init__(self, folder):
        self.folder = folder
        self.about = json.loads(self.file("fixture.json").read_text())
        with np.load(self.file("expected.npz")) as arrays:
            self.expected = dict(arrays)
        self.weight_salt, self.input_salt = self.about.get("weight_salt", 0), self.about.get("input_salt", 0)

    def file(self, name):
        path = self.folder / name
        return path if path.is_file() else HERE / "etavs" / self.folder.name / name

    def weights(self, keys):
        """Reference name -> tensor, for (name, shape, kind)."""
        state = {}
        for key, shape, kind in keys:
            value = torch.from_numpy(np.asarray(fill(key, tuple(shape), self.weight_salt)))
            if len(shape) >= 2:
                for prefix, factor in self.about["scale"].items():
                    value *= factor if prefix != "rule" and key.startswith(prefix) else 1
            state[key] = value if kind.startswith("float") else torch.zeros(shape, dtype=getattr(torch, kind))
        return state

    def input(self, name, shape):
        return torch.from_numpy(np.asarray(array(name, tuple(shape), self.input_salt)))

    def check(self, name, found, rows=slice(None)):
        """Compare `found`, which holds `rows` of the first axis, with every so-manieth entry of each other axis."""
        about = self.about["outputs"][name]
        strides = about.get("stride", [1] * found.ndim)
        assert strides[0] == 1
        found = found[tuple(slice(None, None, step) for step in strides)].detach().numpy()
        wanted = self.expected[name][rows]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=about["atol"], err_msg=name)


def network_of(folder):
    """The network of a fixture, full size, without storage for what the fixture does not load."""
    backbone, dataset = re.match(r"(r50|pvt)_(s4|ms3|avss)", folder.name).groups()
    with torch.device("meta"):
        network = registry.build(CARD.variants[f"etavs-{backbone}"], dataset, "full", 224).eval()
    taps = network.decoder.mask
    taps.taps = type(taps)(1, taps.out_channels).taps  # no part of the state
    return network


def loaded(fixture):
    network = network_of(fixture.folder)
    state = fixture.weights(read_keys(fixture.file("keys.json")))
    network.load_state_dict(network.convert_official(state), strict=True, assign=True)
    for module in (network.visual, network.audio):
        module.requires_grad_(False)
    return network


def watch(network):
    """Name in the fixture -> what that part of the network puts out, filled by its next call."""
    seen = {}

    def record(module, name, select=lambda output: output):
        module.register_forward_hook(lambda _, inputs, output: seen.update({name: select(output)}))

    record(network.audio, "audio_embedding", torch.clone)
    for i in range(4):
        record(network.messengers[i].fuse, f"temporal_fusion{i}")
        record(network.messengers[i], f"messenger_audio{i}", lambda output: output[0])
        record(network.messengers[i], f"messenger_visual{i}", lambda output: output[1])
        record(network.decoder.fusion[i].spatial, f"decoder_spatial{i}")
        record(network.decoder.fusion[i], f"decoder_fusion{i}")
        record(network.decoder.layers[i], f"decoder_layer{i}", torch.relu)
    return seen


@pytest.mark.parametrize("folder", fixtures("model"))
def test_network(folder):
    fixture = Fixture(folder)
    network = loaded(fixture)
    seen = watch(network)
    inputs = fixture.about["inputs"]
    count = inputs["frames"]["shape"][0]
    real = torch.tensor(inputs.get("vid_temporal_mask_flag", [1.0] * count)).bool()
    # Groups that are padding are left out, as `forward` does: only the real frames are compared.
    assert real.view(-1, 5).all(dim=1).eq(real.view(-1, 5).any(dim=1)).all()
    frames, audio = (fixture.input(name, inputs[name]["shape"])[real] for name in ("frames", "audio"))
    with torch.no_grad():
        sound = network.audio(audio)
    logits = network.segment(frames, sound, torch.ones(len(frames), dtype=torch.bool))
    seen["pred"] = logits
    assert set(fixture.expected) == set(seen)
    for name in fixture.expected:
        groups = name.startswith("temporal_fusion")
        fixture.check(name, seen[name], real.view(-1, 5).any(dim=1).numpy() if groups else real.numpy())
    assert not fixture.expected["pred"][~real.numpy()].any()  # what `scores` gives padding
    check_gradients(fixture, network, logits, real)


def check_gradients(fixture, network, logits, real):
    """The loss of the fixture, and where it gives them the norms of all gradients."""
    about = fixture.about["gradients"]
    size = tuple(logits.shape[-2:])
    if logits.shape[1] == 1:
        masks, terms = (fixture.input("mask", (1, *size)) > 0).long(), {"dice": 1.0}
    else:
        label = fixture.input("label", (len(real), *size))
        masks, terms = ((label.abs() * 20).floor() % CLASSES).long()[:1], {"cross_entropy": 1.0}
    loss = sum(MODULE.mask_losses(terms, logits[:1], masks).values())
    np.testing.assert_allclose(loss.item(), about["value"], rtol=1e-4)
    if about["file"] is None:
        return
    loss.backward()
    norms = json.loads(fixture.file("grads.json").read_text())["l2_norm"]
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert {network.rename_official(key) for key in norms} == set(parameters)
    found = {key: parameters[network.rename_official(key)].grad.norm().item() for key in norms}
    small = 1e-6 * max(norms.values())
    for key, wanted in norms.items():
        if wanted > small:
            assert found[key] == pytest.approx(wanted, rel=1e-3), key


ROWS = {
    "pvt_s4": (165_456_193, 11_872_001, 1_524_224, 10_347_777, 1276),
    "pvt_avss": (165_617_543, 12_033_351, 1_524_224, 10_509_127, 1276),
    "r50_s4": (130_639_553, 12_927_233, 3_332_096, 9_595_137, 724),
    "r50_avss": (130_800_903, 13_088_583, 3_332_096, 9_756_487, 724),
}
"""Parameters: all, trainable, messengers, decoder; entries of the state dict. The last row is deduced."""


@pytest.mark.parametrize("name", ROWS)
def test_keys_and_parameters(name):
    total, trainable, messengers, decoder, entries = ROWS[name]
    keys = {key: shape for key, shape, _ in read_keys(HERE / "etavs" / name / "keys.json")}
    assert len(keys) == entries
    network = network_of(HERE / "etavs" / name)
    dead = [key for key in keys if any(re.fullmatch(pattern, key) for pattern in CARD.dead_parameters)]
    assert [key for key in keys if network.rename_official(key) is None] == dead
    renamed = {network.rename_official(key): tuple(keys[key]) for key in keys if key not in dead}
    assert renamed == {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert len(renamed) == len(keys) - len(dead)  # no two keys share a name

    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert sum(p.numel() for p in network.trainable_parameters()) == trainable
    assert (count(network.messengers), count(network.decoder)) == (messengers, decoder)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    extra = sum(np.prod(keys[key], dtype=int) for key in dead if not key.endswith(buffers))
    assert count(network) + extra == total


def test_epsilons():
    """Fixtures do not see them: 1e-5 in the method's own norms."""
    for name in ("r50_s4", "pvt_s4"):
        network = network_of(HERE / "etavs" / name)
        for part in (network.messengers, network.decoder):
            norms = [module for module in part.modules() if isinstance(module, nn.LayerNorm)]
            assert norms
            assert {norm.eps for norm in norms} == {1e-5}


@pytest.mark.parametrize("folder", fixtures("messenger"))
@torch.no_grad()
def test_messenger(folder):
    fixture = Fixture(folder)
    block = MODULE.MessengerBlock(fixture.about["config"]["d_model"]).eval()
    weights = fixture.weights(read_keys(fixture.file("keys.json")))
    begin = "messengers.0."
    names = {key: MODULE.rename(f"bridger.Fusers.0.{key}").removeprefix(begin) for key in weights}
    block.load_state_dict({names[key]: value for key, value in weights.items()}, strict=True)
    seen = {}
    block.fuse.register_forward_hook(lambda _, inputs, output: seen.update(temporal_fusion=output))
    inputs = {name: fixture.input(about["array"], about["shape"]) for name, about in fixture.about["inputs"].items()}
    seen["audio_out"], seen["visual_out"] = block(inputs["audio"], inputs["visual"])
    seen["audio_queries"] = seen["temporal_fusion"].view(len(inputs["audio"]), 10, -1)[:, :5]
    assert set(fixture.expected) == set(seen)
    for name in fixture.expected:
        fixture.check(name, seen[name])


@pytest.mark.parametrize("folder", fixtures("losses"))
def test_losses(folder):
    fixture = Fixture(folder)
    pred = fixture.input("pred", (10, 1, 24, 24))
    first = (fixture.input("gt_first", (2, 24, 24)) > 0.5).long()
    five = (fixture.input("gt_five", (10, 1, 24, 24)) > 0.5)[:, 0].long()
    label = ((fixture.input("label", (20, 12, 12)).abs() * 20).floor() % CLASSES).long()
    label[fixture.input("label_background", (20, 12, 12)).abs() < 0.7] = 0
    flagged = torch.tensor([0, *range(10, 15)])
    classes = fixture.input("pred_classes", (20, CLASSES, 12, 12))[flagged]
    cases = {
        "s4": ({"dice": 1.0, "focal": 0.0}, pred[::5], first),
        "s4_both": ({"dice": 1.0, "focal": 1.0}, pred[::5], first),
        "ms3_pvt": ({"dice": 1.0, "bce": 1.0}, pred, five),
        "ms3_r50": ({"dice": 1.0, "bce": 0.0}, pred, five),
        "avss": ({"cross_entropy": 1.0}, classes, label[flagged]),
    }
    for name, (weights, logits, masks) in cases.items():
        terms = MODULE.mask_losses(weights, logits, masks)
        rtol = fixture.about["rtol"]
        np.testing.assert_allclose(sum(terms.values()).item(), fixture.expected[name], rtol=rtol)
        theirs = {"dice": "dice_loss"}  # the others are all called focal there
        for term in terms:
            wanted = fixture.expected[f"{name}.{theirs.get(term, 'focal_loss')}"]
            np.testing.assert_allclose(terms[term].item(), wanted, rtol=rtol, err_msg=f"{name} {term}")
