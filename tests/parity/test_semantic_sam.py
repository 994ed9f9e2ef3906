"""Semantic-SAM against outputs of the authors' code, whose weights are drawn from key names, and its mask generator.

The vectors come from $AVSBENCH_PARITY; files missing there, from this folder.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from avsbench.features.semantic_sam.automatic import Settings, generate
from avsbench.features.semantic_sam.network import SemanticSam, rename_official

from .fill import array, fill

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE))


def file(name):
    path = ROOT / "semantic_sam" / name
    return path if path.is_file() else HERE / "semantic_sam" / name


FIXTURE = json.loads(file("fixture.json").read_text())
PARAMETERS = {"swin_t": (52_980_543, 27_520_698, 648), "swin_l": (222_799_161, 195_201_204, 816)}
"""Of the network, of its backbone, and entries of the published file; from semantic_sam.md, section 1."""


def keys(size):
    return json.loads(file(f"keys_{size.replace('_', '')}.json").read_text())


def official_state(size):
    """The published file, filled as the fixture says; aliases hold the value of the tensor that they stand for."""
    case, state = FIXTURE["network"], {}
    for key, shape, kind in keys(size):
        source = re.sub(r"predictor\.(_bbox_embed|(decoder\.)?bbox_embed\.\d)\.", "predictor.bbox_embed.8.", key)
        source = source.replace("predictor.decoder_norm.", "predictor.decoder.norm.")
        value = fill(source, tuple(shape), FIXTURE.get("weight_salt", 0)) * np.float32(case["scale"].get(key, 1))
        state[key] = torch.from_numpy(np.asarray(value)) if kind == "float32" else torch.zeros(shape, dtype=torch.int64)
    return state


@pytest.fixture(scope="module")
def network():
    network = SemanticSam.of_size("swin_t").eval()
    network.load_pretrained(official_state("swin_t"))
    return network


@pytest.fixture(scope="module")
def inputs():
    salt = FIXTURE.get("input_salt", 0)
    image = np.clip(np.round(128 + 50 * array("semantic_sam.image", (3, 150, 200), salt)), 0, 255).astype(np.uint8)
    points = np.clip(0.5 + 0.2 * array("semantic_sam.points", (7, 2), salt), 0.02, 0.98)
    return torch.from_numpy(image)[None], torch.from_numpy(points)


@pytest.fixture(scope="module")
def expected():
    with np.load(file("expected.npz")) as arrays:
        return dict(arrays)


def check(expected, name, found, steps=()):
    found = found[tuple(slice(None, None, step) for step in steps)].numpy()
    np.testing.assert_allclose(
        found, expected[name], rtol=0, atol=FIXTURE["network"]["tolerance"], err_msg=name, strict=True
    )


@torch.inference_mode()
def test_network(network, inputs, expected):
    image, points = inputs
    size, every = tuple(image.shape[2:]), list(range(6))
    seen, layers = {}, network.decoder.layers

    def watch(module, name):
        return module.register_forward_hook(lambda _, given, result: seen.update({name: result}))

    # A layer ends with this norm; in the last one only wanted tokens are left, here all.
    watched = {"backbone": network.backbone, "pixels": network.pixel_decoder}
    watched |= {"first": layers[0].feed_forward_norm, "last": layers[-1].feed_forward_norm}
    handles = [watch(module, name) for name, module in watched.items()]
    boxes = []
    refine = network.decoder.refine
    network.decoder.refine = lambda x, before: boxes.append(refine(x, before)) or boxes[-1]
    try:
        encoded = network.encode(image)
        scores, embeddings = network.click(encoded, network.prepare(points, size), every)
    finally:
        del network.decoder.refine
        for handle in handles:
            handle.remove()

    for index, (found, step) in enumerate(zip(seen["backbone"], (4, 2, 1, 1), strict=True)):
        check(expected, f"res{index + 2}", found, (1, 8, step, step))
    for index, found in enumerate(reversed(seen["pixels"][1])):
        check(expected, f"multi_scale_{index}", found, (1, 8))
    tokens = torch.cat([each.flatten(2) for each in reversed(seen["pixels"][1])], dim=2).transpose(1, 2)
    check(expected, "encoder_memory", tokens, (1, 16, 8))
    check(expected, "mask_features", encoded.features, (1, 8, 2, 2))
    check(expected, "hs_first", network.decoder.norm(seen["first"]))
    check(expected, "hs_last", network.decoder.norm(seen["last"]))
    check(expected, "ref_last", network.decoder.refine(seen["last"], boxes[-1]))
    check(expected, "ious", scores)
    masks = network.logits(encoded, 0, embeddings[0].flatten(0, 1))
    check(expected, "masks", masks, (1, 5, 5))
    check(expected, "masks_full_q0", masks[0])


@torch.inference_mode()
def test_one_level_and_one_click(network, inputs, expected):
    image, points = inputs
    size, encoded = tuple(image.shape[2:]), network.encode(image)
    scores, embeddings = network.click(encoded, network.prepare(points, size), [0])
    check(expected, "ious_level3", scores)
    check(expected, "masks_level3", network.logits(encoded, 0, embeddings[0, :, 0]), (1, 5, 5))
    alone, _ = network.click(encoded, network.prepare(points[:1], size), list(range(6)))
    check(expected, "ious_single_point", alone)
    assert abs(expected["ious_single_point"][:, 0] - expected["ious"][:, 0]).max() > 1e-3  # clicks see each other


@pytest.mark.parametrize("size", PARAMETERS)
def test_every_key_is_loaded_or_not_needed(size):
    with torch.device("meta"):
        network = SemanticSam.of_size(size)
    parameters, backbone, entries = PARAMETERS[size]
    listed = keys(size)
    assert len(listed) == entries
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found, unneeded = {}, {}
    for key, shape, _ in listed:
        name = rename_official(key)
        if name is None:
            unneeded[key] = shape
        else:
            assert own[name] == tuple(shape), key
            found.setdefault(name, []).append(key)
    assert set(found) == set(own)
    aliases = {name: len(keys) for name, keys in found.items() if len(keys) > 1}
    assert aliases == {f"decoder.box.{2 * i}.{kind}": 19 for i in range(3) for kind in ("weight", "bias")} | {
        f"decoder.norm.{kind}": 2 for kind in ("weight", "bias")
    }
    classes = {key: shape for key, shape in unneeded.items() if not key.endswith("relative_position_index")}
    assert {key.rsplit(".", 1)[1] for key in classes} == {"lang_mapper", "class_embed", "class_embed_part"}
    ours = sum(p.numel() for p in network.parameters())
    assert ours + sum(np.prod(shape, dtype=int) for shape in classes.values()) == parameters
    assert sum(p.numel() for p in network.backbone.parameters()) == backbone


def test_epsilons_and_groups():
    with torch.device("meta"):
        network = SemanticSam.of_size("swin_l")
    norms = [module for module in network.modules() if isinstance(module, (nn.LayerNorm, nn.GroupNorm))]
    assert {norm.eps for norm in norms} == {1e-5}
    assert {norm.num_groups for norm in norms if isinstance(norm, nn.GroupNorm)} == {32}


class StandIn:
    """The network of the generator's cases: ellipses in cells of 14 x 10 pixels around the clicks."""

    def prepare(self, points, size):
        return points

    def encode(self, images):
        return tuple(images.shape[2:])

    def click(self, size, points, tokens):
        height, width = size
        column = (points[:, :1] * width).floor()
        centre_x = 14 * (column / 14).floor() + 7
        centre_y = 10 * ((points[:, 1:] * height).floor() / 10).floor() + 5
        token = torch.tensor(tokens)
        scores = ((7 * centre_x + 13 * centre_y + column + 29 * token) % 64) / 256 + 0.78125
        ellipses = [each.expand_as(scores) for each in (centre_x, centre_y, token)]
        return scores[None], torch.stack(ellipses, dim=-1)[None]

    def logits(self, size, image, ellipses):
        height, width = size
        y, x = torch.arange(height)[:, None], torch.arange(width)
        found = torch.zeros(len(ellipses), height, width)
        for logits, (cx, cy, token) in zip(found, ellipses.int().tolist(), strict=True):
            blur = 2 if (cx + cy + token) % 3 else 16
            logits.copy_(((9 + 3 * token) ** 2 - (x - cx) ** 2 - 2 * (y - cy) ** 2) / blur)
            if token == 0:
                logits[cy, cx] = -3
                if cx // 14 % 2 == 0:
                    logits[(cy + 20) % height, (cx + 20) % width] = 4
        return found.clamp(-8, 8)


@pytest.mark.parametrize("case", FIXTURE["generator"]["cases"], ids=lambda case: case["name"])
def test_generator(case):
    grid = {key: case[key] for key in ("points_per_side", "points_per_batch")}
    settings = Settings(levels=tuple(case["level"]), **grid)
    (found,) = generate(StandIn(), torch.zeros(1, 3, *case["size"], dtype=torch.uint8), settings)
    with np.load(file("generator.npz")) as arrays:
        expected = {key.split(".")[1]: arrays[key] for key in arrays if key.startswith(case["name"] + ".")}
    assert len(found.masks) == case["count"]
    packed = np.packbits(found.masks.flatten(1).numpy(), axis=1)
    np.testing.assert_array_equal(packed, expected["segmentation"], strict=True)
    np.testing.assert_array_equal(found.masks.sum((1, 2)), expected["area"])
    x0, y0, x1, y1 = found.boxes.unbind(1)
    np.testing.assert_array_equal(torch.stack([x0, y0, x1 - x0, y1 - y0], dim=1), expected["bbox"])
    np.testing.assert_array_equal(found.points, expected["point_coords"][:, :2])
    for values, name in ((found.scores, "predicted_iou"), (found.stability, "stability_score")):
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=FIXTURE["generator"]["tolerance"][name])
