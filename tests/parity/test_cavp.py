"""The network of CAVP against outputs of the authors' code, which both sides fill with weights drawn from key names.

Runs over every fixture of `cavp` with a key list under $AVSBENCH_PARITY; files missing there come from this folder.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from avsbench import cards
from tests.unit.cavp_parts import MODEL

from .fill import array, fill

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE))

DATASETS = {"avss": "avss", "vpo_mono": "vpo_ms", "vpo_stereo": "vpo_ms"}
# The keys of the object setting are those of AVSS with two classes.
KEYS = {**DATASETS, "object": "s4"}
PARAMETERS = {("avss", False): 119_787_001, ("s4", False): 119_769_268, ("ms3", False): 119_769_268}
PARAMETERS |= {(name, stereo): 58_241_480 if stereo else 58_238_344 for name in ("vpo_ss", "vpo_ms", "vpo_msmi")
               for stereo in (False, True)}  # fmt: skip


def fixtures():
    found = {file.parent for file in ROOT.glob("cavp/*/fixture.json") if file.parent.name in DATASETS}
    found = found or {file.parent for file in HERE.glob("cavp/*/keys.json")}
    return [pytest.param(folder, id=f"cavp/{folder.name}") for folder in sorted(found)]


def file(name, part):
    path = ROOT / "cavp" / name / part
    return path if path.is_file() else HERE / "cavp" / name / part


class Fixture:
    """What a folder holds: the description, the expected arrays, the reference's keys, the salts."""

    def __init__(self, folder):
        self.about = json.loads(file(folder.name, "fixture.json").read_text())
        with np.load(file(folder.name, "expected.npz")) as arrays:
            self.expected = dict(arrays)
        self.keys = json.loads(file(folder.name, "keys.json").read_text())
        self.dataset, self.stereo = DATASETS[folder.name], folder.name.endswith("stereo")

    def state(self):
        """The reference's state dict, filled."""
        salt = self.about.get("weight_salt", 0)
        return {
            key: torch.from_numpy(np.asarray(fill(key, tuple(shape), salt)))
            if kind.startswith("float")
            else torch.zeros(shape, dtype=getattr(torch, kind))
            for key, shape, kind in self.keys
        }

    def input(self, name):
        about = next(each for each in self.about["inputs"] if each["name"] == name)
        salt = self.about.get("input_salt", about["salt"])
        return torch.from_numpy(np.asarray(array(name, tuple(about["shape"]), salt)))

    def check(self, name, found):
        """Compare `found` with an expected array that holds every so-manieth entry of each axis."""
        wanted = self.expected[name]
        steps = [-(-have // kept) for have, kept in zip(found.shape, wanted.shape, strict=True)]
        found = found[tuple(slice(None, None, step) for step in steps)].numpy()
        np.testing.assert_allclose(found, wanted, **self.about["tolerance"], err_msg=name)


def full_size(dataset, stereo):
    with torch.device("meta"):
        return MODEL.build(dataset=cards.dataset(dataset), scale="full", image_size=224, stereo=stereo).eval()


@pytest.mark.parametrize("folder", fixtures())
@torch.no_grad()
def test_network(folder):
    fixture = Fixture(folder)
    model = full_size(fixture.dataset, fixture.stereo)
    model.load_state_dict(model.convert_official(fixture.state()), strict=True, assign=True)
    seen = {}
    model.visual.register_forward_hook(lambda _, i, maps: seen.update(backbone_0=maps[0], backbone_3=maps[3]))
    model.pyramid.register_forward_hook(lambda _, i, output: seen.update(aspp=output))
    model.projector.register_forward_hook(lambda _, i, output: seen.update(pre_fusion=i[0], projected=output))
    model.fusion.register_forward_hook(lambda _, i, output: seen.update(attention=output[1]))
    images, mel = fixture.input("image"), fixture.input("mel")
    sounds = model.audio(mel)
    reverse = model.segment(images, sounds.flip(0))[0]  # before the run that the hooks shall remember
    low, fused = model.segment(images, sounds)
    for name in ("pre_fusion", "projected"):
        seen[name] = seen[name].transpose(1, 2).unflatten(2, low.shape[-2:])
    logits = model.scores({"logits": low[:, None]}, tuple(images.shape[-2:]))[:, 0]
    seen |= {"audio": sounds, "fused": fused, "logits": logits, "low_logits": reverse}
    for name, shape in fixture.about["full_shapes"].items():
        assert list(seen[name].shape) == (shape[:3] if name == "attention" else shape), name
    assert set(fixture.expected) == set(fixture.about["outputs"]) <= set(seen)
    for name in fixture.expected:
        fixture.check(name, seen[name])


@pytest.mark.parametrize("name", KEYS)
def test_every_key_is_loaded_or_dead(name):
    model = full_size(KEYS[name], name == "vpo_stereo")
    shapes = {key: shape for key, shape, _ in json.loads(file(name, "keys.json").read_text())}
    dead = [key for key in shapes if model.rename_official(key) is None]
    classifier = {"audio_backbone.cls_head.weight", "audio_backbone.cls_head.bias"}
    assert set(dead) == classifier | {"cross_att.pos_embed_a", "cross_att.pos_embed_v"}
    renamed = {model.rename_official(key): shapes[key] for key in shapes if key not in dead}
    assert len(renamed) == len(shapes) - len(dead)  # no two keys share a name
    assert renamed == {key: list(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.parametrize(("dataset", "stereo"), PARAMETERS, ids=str)
def test_parameters(dataset, stereo):
    """As many as published, with those that the authors store and never use."""
    dead = 304 * 2 + 2 + 16384 * 304 + 304
    model = full_size(dataset, stereo)
    assert sum(p.numel() for p in model.parameters()) + dead == PARAMETERS[dataset, stereo]


def test_epsilons_dilations_and_strides():
    """What the vectors do not tell apart is looked up."""
    for dataset, strides in (("avss", (4, 8, 16, 16)), ("vpo_ms", (4, 8, 8, 8))):
        model = full_size(dataset, False)
        norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm))]
        assert {norm.eps for norm in norms} == {1e-5}
        assert {norm.momentum for norm in norms if isinstance(norm, nn.BatchNorm2d)} == {0.1}
        assert model.visual.strides == strides
        still = dataset == "vpo_ms"
        third = [block.conv2.dilation[0] for block in model.visual.layer3]
        assert third == ([1] + 5 * [2] if still else 6 * [1])
        assert [block.conv2.dilation[0] for block in model.visual.layer4] == [2, 4, 8]
        assert [block.conv2.padding[0] for block in model.visual.layer4] == [2, 4, 8]
        assert [branch.dilation[0] for branch in model.pyramid.branches] == [1, 6, 12, 18]
