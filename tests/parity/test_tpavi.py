"""TPAVI and VGGish against outputs of the authors' code, which both sides fill with weights drawn from key names.

Runs over every fixture of `tpavi` under $AVSBENCH_PARITY; files missing there come from this folder.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench import cards, registry
from avsbench.nn.losses import bce_loss, semantic_loss
from avsbench.nn.vggish import audio_encoder

from .fill import array, fill

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE))
CARD = cards.method_cards()["tpavi"]
MODULE = registry.method_module(CARD)


def kind_of(variant):
    return variant if variant in ("losses", "vggish") else "model"


def fixtures(kind):
    folders = {path.parent for path in ROOT.glob("tpavi/*/fixture.json")} or {
        path.parent for path in HERE.glob("tpavi/*/fixture.json")
    }
    return [pytest.param(f, id=f"tpavi/{f.name}") for f in sorted(folders) if kind_of(f.name) == kind]


class Fixture:
    """What a folder holds: the description, the expected arrays, the reference's keys, the salts."""

    def __init__(self, folder):
        self.folder = folder
        self.about = json.loads(self.file("fixture.json").read_text())
        with np.load(self.file("expected.npz")) as arrays:
            self.expected = dict(arrays)
        self.weight_salt = self.about.get("weight_salt", self.about.get("weights", {}).get("salt", 0))
        self.input_salt = self.about.get("input_salt", 0)
        self.tolerance = {"rtol": 0, "atol": 0} | {
            k: v for k, v in self.about["tolerance"].items() if k in ("rtol", "atol")
        }

    def file(self, name):
        path = self.folder / name
        return path if path.is_file() else HERE / "tpavi" / self.folder.name / name

    def state(self):
        """The reference's state dict, filled."""
        return {
            key: torch.from_numpy(np.asarray(fill(key, tuple(shape), self.weight_salt)))
            if kind.startswith("float")
            else torch.zeros(shape, dtype=getattr(torch, kind))
            for key, shape, kind in json.loads(self.file("keys.json").read_text())
        }

    def input(self, name, shape):
        return torch.from_numpy(np.asarray(array(name, tuple(shape), self.input_salt)))

    def check(self, name, found):
        """Compare `found` with an expected array that holds every so-manieth entry of each axis."""
        wanted = self.expected[name]
        steps = [-(-have // kept) for have, kept in zip(found.shape, wanted.shape, strict=True)]
        found = found[tuple(slice(None, None, step) for step in steps)].numpy()
        np.testing.assert_allclose(found, wanted, **self.tolerance, err_msg=name)


def model_of(folder):
    """The network of a fixture, full size, without storage for what the fixture does not load."""
    backbone, dataset = re.fullmatch(r"(resnet50|pvt_v2_b5)_(s4|ms3|avss)", folder.name).groups()
    variant = CARD.variants["tpavi-r50" if backbone == "resnet50" else "tpavi-pvt"]
    with torch.device("meta"):
        return registry.build(variant, dataset, "full", 224).eval()


@pytest.mark.parametrize("folder", fixtures("model"))
@torch.no_grad()
def test_network(folder):
    fixture = Fixture(folder)
    model = model_of(folder)
    model.load_state_dict(model.convert_official(fixture.state()), strict=False, assign=True)
    assert not any(value.is_meta for value in model.own_state().values())
    seen = {}
    watched = {"backbone_stage4": model.visual, "aspp1": model.necks[0], "tpavi_stage4": model.attention[3]}
    watched |= {"path4": model.fusion[3], "path1": model.fusion[0]}
    for name, module in watched.items():
        module.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: output}))
    inputs = fixture.about["inputs"]
    images = fixture.input("images", inputs["images"]["shape"])
    sound = fixture.input("audio_features", inputs["audio_features"]["shape"])
    flags = torch.tensor(inputs.get("vid_temporal_mask_flag", {}).get("value", [1] * len(images)), dtype=torch.bool)
    sound = (sound * flags[:, None]).view(-1, 5, 128)
    logits, maps, sounds = model.segment(images, sound, None if flags.all() else flags)
    seen["backbone_stage4"] = seen["backbone_stage4"][3]
    seen["tpavi_stage4"] = seen["tpavi_stage4"].unflatten(0, (-1, 5)).transpose(1, 2)
    seen |= {"pred": logits, "feature_map1": maps[0], "audio_feature1": sounds[0]}
    assert set(fixture.expected) <= set(seen)
    for name in fixture.expected:
        fixture.check(name, seen[name])


@pytest.mark.parametrize("folder", fixtures("model"))
def test_every_key_is_loaded_or_listed_as_dead(folder):
    fixture = Fixture(folder)
    keys = {key: shape for key, shape, _ in json.loads(fixture.file("keys.json").read_text())}
    model = model_of(folder)
    dead = [key for key in keys if any(re.fullmatch(pattern, key) for pattern in CARD.dead_parameters)]
    assert [key for key in keys if model.rename_official(key) is None] == dead
    renamed = {model.rename_official(key): key for key in keys if key not in dead}
    own = model.own_state()
    assert set(renamed) == set(own)
    assert len(renamed) == len(keys) - len(dead)  # no two keys share a name
    for name, key in renamed.items():
        assert own[name].numel() == np.prod(keys[key], dtype=int), name
    # What the published count adds to ours: every dead tensor that is a parameter.
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    extra = sum(np.prod(keys[key], dtype=int) for key in dead if not key.endswith(buffers))
    assert sum(p.numel() for p in model.trainable_parameters()) + extra == fixture.about["parameters"]


@pytest.mark.parametrize("folder", fixtures("vggish"))
@torch.no_grad()
def test_vggish(folder):
    fixture = Fixture(folder)
    with torch.device("meta"):
        network = audio_encoder("vggish", "full").eval()
    assert sum(p.numel() for p in network.parameters()) == fixture.about["parameters"]
    network.load_state_dict(fixture.state(), strict=True, assign=True)
    seen = {}
    network.features.register_forward_hook(lambda _, inputs, output: seen.update(features=output))
    # The last ReLU works in place.
    network.embeddings[4].register_forward_hook(lambda _, i, output: seen.update(embedding_before_relu=output.clone()))
    seen["embedding"] = network(fixture.input("log_mel", fixture.about["inputs"]["log_mel"]["shape"]))
    for name in fixture.expected:
        fixture.check(name, seen[name])


SIDES = (56, 28, 14, 7)


def loss_inputs(fixture, task):
    maps = [
        (fixture.input(f"v_map.{i}", (10, 256, s, s)) + fixture.input(f"v_offset.{i}", (10, 256, 1, 1))).clamp_min(0)
        for i, s in enumerate(SIDES)
    ]
    sounds = [fixture.input(f"a_fea.{i}", (2, 5, 256)) for i in range(4)]
    if task == "avss":
        logits = fixture.input("avss_pred", (10, 71, 56, 56)).requires_grad_()
        masks = ((fixture.input("avss_gt", (10, 56, 56)).abs() * 1000).floor() % 71).long()
        annotated = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 1, 0, 0]], dtype=torch.bool)
    else:
        logits = fixture.input("pred", (10, 1, 224, 224)).requires_grad_()
        masks = (fixture.input("gt", (10, 1, 224, 224)) > 0.5)[:, 0].long()
        annotated = torch.ones(2, 5, dtype=torch.bool)
        if task == "s4":
            annotated[:, 1:] = False
    return maps, sounds, logits, masks.unflatten(0, (2, 5)), annotated


FORMS = {"s4": "cosine", "ms3": "binary", "avss": "semantic"}


def loss_cases():
    for parameter in fixtures("losses"):
        fixture = Fixture(parameter.values[0])
        for case, expected in fixture.about["expected"].items():
            yield pytest.param(parameter.values[0], case, expected, id=f"{parameter.id}/{case}")


@pytest.mark.parametrize(("folder", "case", "expected"), loss_cases())
def test_losses(folder, case, expected):
    fixture = Fixture(folder)
    task = case.split("_")[0]
    maps, sounds, logits, masks, annotated = loss_inputs(fixture, task)
    options = expected.get("options", {})
    matching = MODULE.Matching(
        form=FORMS[task],
        weight=expected["lambda_1"],
        divergence="euclidean" if options.get("euclidean_flag") else "kl",
        normalise=options.get("norm_fea", False),
        threshold=options.get("threshold", False),
        closer=options.get("closer_flag", False),
        reference=True,
    )
    video = logits.unflatten(0, (2, 5))
    function = semantic_loss if task == "avss" else bce_loss
    segmentation = function(video[annotated], masks[annotated])
    term = torch.zeros(())
    if matching.weight:
        flags = annotated.flatten() if task == "avss" else torch.ones(10, dtype=torch.bool)
        term = MODULE.matching_term(matching, logits, maps, sounds, flags)
    total = segmentation + matching.weight * term
    (gradient,) = torch.autograd.grad(total, logits)
    rtol = fixture.tolerance["rtol"]
    found = [segmentation.item(), term.item(), total.item(), gradient.norm().item()]
    # The stored matching term of this case is the rounding residue of an exact 0.
    np.testing.assert_allclose(found, fixture.expected[case], rtol=rtol, atol=1e-6 if case == "ms3_closer_kl" else 0)
    np.testing.assert_allclose(gradient.abs().mean().item(), expected["grad_mean_abs"], rtol=rtol)
