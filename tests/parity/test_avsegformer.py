"""AVSegFormer against outputs of the authors' code, which both sides fill with weights drawn from key names.

Runs over every fixture of `avsegformer` under $AVSBENCH_PARITY; files missing there come from this folder.
"""

import json
import os
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from avsbench import cards, registry
from avsbench.contract_checks.official import key_lists

from .fill import array, fill

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE))
CARD = cards.method_cards()["avsegformer"]
MODULE = registry.method_module(CARD)
FULL = ("r50_s4", "pvt_s4", "pvt_avss")


def fixtures(*names):
    found = {path.parent for path in ROOT.glob("avsegformer/*/fixture.json")} or {
        path.parent for path in HERE.glob("avsegformer/*/fixture.json")
    }
    return [pytest.param(f, id=f"avsegformer/{f.name}") for f in sorted(found) if f.name in names]


class Fixture:
    """What a folder holds: the description, the expected arrays, the reference's keys, the salts."""

    def __init__(self, folder):
        self.folder = folder
        self.about = json.loads(self.file("fixture.json").read_text())
        with np.load(self.file("expected.npz")) as arrays:
            self.expected = dict(arrays)

    def file(self, name):
        path = self.folder / name
        return path if path.is_file() else HERE / "avsegformer" / self.folder.name / name

    def state(self, prefix=""):
        """The reference's state dict, filled and scaled, under names that start with `prefix`."""
        salt, state = self.about.get("weight_salt", 0), {}
        scales = {key: value for key, value in self.about["scale"].items() if key != "rule"}
        for key, shape, kind in json.loads(self.file("keys.json").read_text()):
            if not kind.startswith("float"):
                state[prefix + key] = torch.zeros(shape, dtype=getattr(torch, kind))
                continue
            value = np.asarray(fill(key, tuple(shape), salt))
            scale = next((s for start, s in scales.items() if key.startswith(start)), 1.0) if len(shape) > 1 else 1.0
            state[prefix + key] = torch.from_numpy(value * np.float32(scale))
        return state

    def array(self, name, shape):
        return torch.from_numpy(np.asarray(array(name, tuple(shape), self.about.get("input_salt", 0))))

    def input(self, name):
        about = self.about["inputs"][name]
        value = self.array(about["array"], about["shape"])
        if about.get("then") == "multiplied by 0.3":
            return value * 0.3
        return value * self.flags.view(-1, 1, 1, 1) if about.get("then") else value

    @property
    def flags(self):
        """1 for real frames."""
        count = self.about["inputs"]["frames"]["shape"][0]
        return torch.tensor(self.about["inputs"].get("vid_temporal_mask_flag", [1.0] * count))

    def check(self, seen):
        """Compare with every expected array, which hold every so-manieth entry of each axis."""
        assert set(self.expected) <= set(seen)
        for name, wanted in self.expected.items():
            about = self.about["outputs"][name]
            found = seen[name][tuple(slice(None, None, step) for step in about["stride"])]
            np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=about["atol"], err_msg=name)


def full_size(folder):
    backbone, dataset = folder.name.split("_")
    with torch.device("meta"):
        return registry.build(f"avsegformer-{backbone}", dataset, "full", 224).eval()


def loaded(fixture):
    model = full_size(fixture.folder)
    model.load_state_dict(model.convert_official(fixture.state()), strict=True, assign=True)
    return model


def watch(head):
    """Intermediate results of a head, gathered while it runs."""
    seen = {}
    parts = {"query_init": head.generator, "encoder_layer0_deformable_attention": head.encoder[0].attention}
    parts |= {"encoder_memory": head.encoder[-1], "decoder_last": head.decoder[-1]}
    parts |= {"mask_feature_before_mixer": head.output, "query_mask_mlp": head.responses}
    for name, module in parts.items():
        module.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: output}))
    return seen


def whole(frames, flags):
    """What was computed for real frames, with zeros for the others."""
    result = frames.new_zeros(len(flags), *frames.shape[1:])
    result[flags.bool()] = frames
    return result


@pytest.mark.parametrize("folder", fixtures(*FULL))
def test_network(folder):
    fixture = Fixture(folder)
    model = loaded(fixture)
    flags, seen = fixture.flags, watch(model.head)
    real = flags.bool()
    with torch.no_grad():
        maps = model.visual(fixture.input("frames"))
        embedding = model.audio(fixture.input("audio"))
        token = model.sound(embedding)[:, None]
        logits, features, _ = model.head([x[real] for x in maps], token[real])
    seen |= {f"backbone{i}": x for i, x in enumerate(maps)} | {"audio_embedding": embedding, "audio_token": token}
    seen |= {"pred": whole(logits, flags), "mask_feature": whole(features, flags)}
    # Padded frames are not computed here; their intermediate results are no part of the comparison.
    for name in ("query_init", "encoder_memory", "decoder_last", "mask_feature_before_mixer", "query_mask_mlp"):
        fixture.expected[name] = fixture.expected[name][real.numpy()]
    fixture.check(seen)


@pytest.mark.parametrize("folder", fixtures(*FULL))
def test_loss_and_gradients(folder):
    """Only the first frame has a truth, and no operation mixes frames: it alone has to be computed."""
    fixture = Fixture(folder)
    about, model = fixture.about["gradients"], loaded(fixture)
    frame, sound = fixture.input("frames")[:1], fixture.input("audio")[:1]
    size = tuple(frame.shape[-2:])
    if model.channels == 1:
        masks = (fixture.array("mask", (1, 1, 1, *size)) > 0).long()[0, 0]
    else:
        masks = ((fixture.array("label", (10, *size)).abs() * 20).floor() % 71).long()[:1]
    with torch.set_grad_enabled(about["file"] is not None):
        with torch.no_grad():
            embedding = model.audio(sound)
        logits, features, _ = model.head(model.visual(frame), model.sound(embedding)[:, None])
        output = {"logits": logits, "auxiliary": [features.mean(1, keepdim=True)], "chosen": torch.ones(1, 1) > 0}
        batch = MODULE.Batch(frame[None], output["chosen"], ["a"], masks=masks[None], annotated=output["chosen"])
        terms = model.loss(output, batch, 0)
    parts = {"segmentation": about["parts"]["iou_loss"], "auxiliary": about["parts"]["mix_loss"]}
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(parts, rel=1e-4)
    if about["file"] is None:
        return
    sum(terms.values()).backward()
    norms = json.loads(fixture.file("grads.json").read_text())["l2_norm"]
    floor = 1e-6 * max(norms.values())
    parameters = dict(model.named_parameters())
    ours = {name: key for key in norms if (name := model.rename_official(key)) in parameters}
    assert set(ours) == {name for name, p in parameters.items() if p.requires_grad}
    for name, key in ours.items():
        found = parameters[name].grad.norm().item()
        assert found == pytest.approx(norms[key], rel=1e-3, abs=floor), key
