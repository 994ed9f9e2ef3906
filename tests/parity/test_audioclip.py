"""AudioCLIP and CLIP Surgery's pool against outputs of the authors' code, filled with weights drawn from key names.

Runs over every fixture under $AVSBENCH_PARITY; files missing there come from this folder.
"""

import json

import pytest
import torch
from torch import nn

from avsbench.nn.audioclip import AudioCLIP, audioclip, contrastive_loss, one_second
from avsbench.nn.clip_text import clip_text
from avsbench.nn.clip_visual import clip_visual
from avsbench.nn.esresnext import ESResNeXt, esresnext

from . import folders
from .audioclip_fill import Fixture, blocks, filled, wave

SOUNDS = {"int16": "wave", "unit": "wave", "repeat5": "wave_one_second", "s48k": "wave_48k"}
"""Case -> name of its sound."""


def full(build, **options):
    """A tower of the published size, ready to be filled and asked."""
    return build("full", **options).eval().requires_grad_(False)


def load(module, fixture):
    module.load_pretrained(fixture.state())
    return module


# visual


@pytest.mark.parametrize("folder", folders.fixtures("audioclip", "visual"))
def test_visual(folder):
    fixture = Fixture(folder)
    tower = load(full(clip_visual), fixture)
    assert sum(p.numel() for p in tower.parameters()) == fixture.about["parameters"]
    seen = {"stem": tower.stem(fixture.images)}
    for index in range(4):
        seen[f"x{index + 1}"] = tower.stage(index, fixture.images if index == 0 else seen[f"x{index}"])
    seen["x_final"], seen["last_feat"] = tower.pool(seen["x4"])
    steps = {"stem": (1, 8, 8, 8), "x1": (1, 32, 8, 8), "x2": (1, 64, 4, 4), "x3": (1, 64, 2, 2)}
    steps |= {"x4": (1, 64), "last_feat": (1, 16)}
    assert set(seen) == set(fixture.expected)
    assert max(fixture.check(name, x, steps.get(name, ())) for name, x in seen.items()) < 2e-5
    assert torch.equal(tower.embed(fixture.images), seen["x_final"])


@pytest.mark.parametrize("folder", folders.fixtures("clip_surgery", "attention_pool"))
def test_surgery(folder):
    fixture = Fixture(folder)
    tower = load(full(clip_visual), fixture)
    x = tower(fixture.images)[-1]
    fixture.check("x4", x, (1, 64))
    image, cells = tower.pool(x, surgery=True)
    assert fixture.check("x_final", image) < 2e-5
    assert fixture.check("last_feat", cells, (1, 8)) < 2e-5
    fixture.check("plain_last_feat", tower.pool(x)[1], (1, 32))
    assert set(fixture.expected) == {"x4", "x_final", "last_feat", "plain_last_feat"}


# audio


def sound_of(fixture, case):
    """What the authors' tower is fed in a case, and how ours is set up for that."""
    waves = wave(SOUNDS[case], fixture.about["inputs"][case]["shape"])
    if case == "repeat5":
        waves = one_second(waves[:, 0])
    return waves, "fixed" if case == "int16" else "reference"


@pytest.fixture(scope="module")
def towers():
    """Audio towers with the fixture's weights, by folder and amplitude."""
    return {}


def tower_of(towers, folder, amplitude):
    if (folder, amplitude) not in towers:
        towers[folder, amplitude] = load(full(esresnext, amplitude=amplitude), Fixture(folder))
    return towers[folder, amplitude]


@pytest.mark.parametrize("case", SOUNDS)
@pytest.mark.parametrize("folder", folders.fixtures("audioclip", "audio"))
def test_audio(folder, case, towers):
    fixture = Fixture(folder)
    waves, amplitude = sound_of(fixture, case)
    tower = tower_of(towers, folder, amplitude)
    assert sum(p.numel() for p in tower.parameters()) == fixture.about["parameters"]
    decibels, seen = tower.decibels(waves), {}
    assert list(decibels.shape) == fixture.about["spectrogram_shapes"][case]
    parts = {"layer1": tower.trunk.layer1, "layer4": tower.trunk.layer4}
    parts |= {"att1": tower.gates[0], "att5": tower.gates[4]}
    hooks = [
        part.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: output}))
        for name, part in parts.items()
    ]
    seen |= {"scaled": tower.spectrogram.scaled(waves), "db": decibels, "pooled": tower.pooled(decibels).sum(dim=1)}
    for hook in hooks:
        hook.remove()
    seen["features"] = tower.head(seen["pooled"])
    steps = {"scaled": (1, 1, 1000), "db": (1, 1, 1, 20, 28), "pooled": (1, 8), "layer1": (1, 32, 8, 8)}
    steps |= {"layer4": (1, 64, 2, 2), "att1": (1, 32, 8, 8), "att5": (1, 8)}
    names = {name.partition("_")[2] for name in fixture.expected if name.startswith(f"{case}_")}
    assert names == ({*seen} if case == "int16" else {"db", "pooled", "features"} | {"scaled"} & names)
    for name in names:
        found = seen[name][:, 0] if name in ("scaled", "db") else seen[name]
        kept = (steps[name][0], *steps[name][2:]) if name in ("scaled", "db") else steps.get(name, ())
        fixture.check(f"{case}_{name}", found, kept)
    assert torch.equal(tower(waves), seen["features"])


@pytest.mark.parametrize("folder", folders.fixtures("audioclip", "audio"))
def test_analysis_matrix(folder, towers):
    fixture = Fixture(folder)
    spectrogram = tower_of(towers, folder, "fixed").spectrogram
    fixture.check("fbsp_weights", torch.view_as_real(spectrogram.current_matrix()), (64, 16))
    fixture.check("loss_ttf", spectrogram.norm_loss()[None])
    sounds = {name for name in fixture.expected if name.startswith(tuple(SOUNDS))}
    assert set(fixture.expected) == sounds | {"fbsp_weights", "loss_ttf"}


# text, and all three


@pytest.mark.parametrize("folder", folders.fixtures("audioclip", "text"))
def test_text(folder):
    fixture = Fixture(folder)
    tower, seen = load(full(clip_text), fixture), {}
    tower.blocks[0].register_forward_hook(lambda _, inputs, output: seen.update(block0=output))
    embedding = tower(torch.from_numpy(fixture.expected["tokens"]))
    assert fixture.check("block0", seen["block0"], (1, 8, 8)) < 1e-5
    assert fixture.check("text_features", embedding) < 1e-5


@pytest.mark.parametrize("folder", folders.fixtures("audioclip", "text"))
def test_joint(folder):
    fixture = Fixture(folder)
    keys = json.loads((folders.HERE / "audioclip" / "keys.json").read_text())
    model = full(audioclip, amplitude="reference")
    model.load_pretrained(filled(keys))
    embeddings = {
        "sound": model.audio(one_second(wave("wave_one_second", (2, 1, 44100))[:, 0])),
        "image": model.visual.embed(blocks((2, 3, 14, 14))),
        "text": model.text(torch.from_numpy(fixture.expected["tokens"])),
    }
    found = model.similarities(**embeddings)
    for ours, theirs in {"sound_image": "audio_image", "sound_text": "audio_text", "image_text": "image_text"}.items():
        fixture.check(f"logits_{theirs}", found[ours])
    terms = model.loss(**embeddings)
    fixture.check("loss_contrastive", terms["contrastive"][None])
    fixture.check("loss", sum(terms.values())[None])
    assert contrastive_loss(found) == terms["contrastive"]


# what vectors do not see


def test_every_key_is_loaded():
    """All 861 of the published file; the one that we have no place for is empty."""
    keys = json.loads((folders.HERE / "audioclip" / "keys.json").read_text())
    with torch.device("meta"):
        model = audioclip("full")
    assert sum(p.numel() for p in model.parameters()) == 134_111_910
    own = {key: list(value.shape) for key, value in model.state_dict().items()}
    renamed = {model.rename_official(key): shape for key, shape, _ in keys}
    assert len(keys) == len(renamed) == 861
    assert renamed.pop(None) == [0]
    assert renamed == own


def test_epsilons():
    with torch.device("meta"):
        model = audioclip("full")
    batch = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in batch} == {(1e-5, 0.1)}
    layer = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
    assert ({m.eps for m in layer}, len(layer)) == ({1e-5}, 25)
    assert {m.dropout for m in model.text.blocks.modules() if isinstance(m, nn.MultiheadAttention)} == {0}


def test_names_without_prefix_are_the_towers():
    assert AudioCLIP.rename_official("audio.att2.conv_point.weight") == "audio.gates.1.point.weight"
    assert ESResNeXt.rename_official("att5.bn.running_var") == "gates.4.norm.running_var"
    assert ESResNeXt.rename_official("layer4.0.downsample.1.weight") == "trunk.layer4.0.downsample.1.weight"
