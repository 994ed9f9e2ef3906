"""Visual encoders: shapes, epsilons, names of published files."""

import pytest
import torch
from torch import nn

from avsbench.errors import AvsbenchError
from avsbench.nn.backbones import visual_encoder

PARAMETERS = {"r50": 23_508_032, "r50_deep": 23_631_808, "r18": 11_176_512, "pvt": 81_443_008}
CHANNELS = {
    "r50": (256, 512, 1024, 2048),
    "r50_deep": (256, 512, 1024, 2048),
    "r18": (64, 128, 256, 512),
    "pvt": (64, 128, 320, 512),
}


def full(family):
    with torch.device("meta"):
        return visual_encoder(family, "full")


@pytest.mark.parametrize("family", PARAMETERS)
def test_full_size_is_the_published_one(family):
    encoder = full(family)
    assert sum(p.numel() for p in encoder.parameters()) == PARAMETERS[family]
    assert encoder.channels == CHANNELS[family]


@pytest.mark.parametrize("family", PARAMETERS)
@pytest.mark.parametrize("size", [64, 96])
def test_mini_maps(family, size):
    encoder = visual_encoder(family, "mini").eval()
    maps = encoder(torch.randn(2, 3, size, size))
    expected = [(2, c, size // s, size // s) for c, s in zip(encoder.channels, encoder.strides, strict=True)]
    assert [tuple(each.shape) for each in maps] == expected


@pytest.mark.parametrize("family", PARAMETERS)
def test_stages_one_by_one(family):
    encoder = visual_encoder(family, "mini").eval()
    x = images = torch.randn(1, 3, 64, 64)
    for index, expected in enumerate(encoder(images)):
        x = encoder.stage(index, x)
        assert torch.equal(x, expected)
    assert not torch.equal(encoder.stage(3, 2 * encoder.stage(2, encoder.stage(1, encoder.stage(0, images)))), x)


def test_odd_sizes_round_up():
    maps = visual_encoder("pvt", "mini").eval()(torch.randn(1, 3, 50, 70))
    assert [tuple(each.shape[-2:]) for each in maps] == [(13, 18), (7, 9), (4, 5), (2, 3)]


@pytest.mark.parametrize(("stride", "sides"), [(32, (16, 8, 4, 2)), (16, (16, 8, 4, 4)), (8, (16, 8, 8, 8))])
def test_output_stride(stride, sides):
    encoder = visual_encoder("r50_deep", "mini", output_stride=stride, last_dilations=(2,)).eval()
    assert encoder.strides == tuple(64 // side for side in sides)
    assert [each.shape[-1] for each in encoder(torch.randn(1, 3, 64, 64))] == list(sides)
    assert {conv.dilation for conv in (encoder.layer4[0].conv1, encoder.layer4[0].conv2)} == {(2, 2)}


def test_dilations_of_every_block_are_asked_for():
    with pytest.raises(ValueError, match="shorter"):
        visual_encoder("r50_deep", "full", last_dilations=(2, 4))


def test_deep_stem_loads_in_both_namings():
    source, sequence, layers = (visual_encoder("r50_deep", "mini") for _ in range(3))
    state = source.state_dict()
    sequence.load_pretrained({**state, "fc.weight": torch.zeros(3, 64)})
    names = {
        "conv1.0": "conv1",
        "conv1.1": "bn1",
        "conv1.3": "conv2",
        "conv1.4": "bn2",
        "conv1.6": "conv3",
        "bn1": "bn3",
    }
    renamed = {}
    for key, value in state.items():
        stem, _, rest = key.rpartition(".")
        renamed[f"{names.get(stem, stem)}.{rest}"] = value
    assert set(renamed) != set(state)
    layers.load_pretrained(renamed)
    for loaded in (sequence, layers):
        assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


def test_pvt_has_three_epsilons():
    """The fixtures do not tell them apart, so they are looked up."""
    found = {name: module.eps for name, module in full("pvt").named_modules() if isinstance(module, nn.LayerNorm)}
    assert len(found) == 4 + 4 + 2 * 52 + 49  # patch embeddings, stages, blocks, reductions
    for name, eps in found.items():
        embedding = name == "patch_embed.norm" or name.endswith("downsample.norm")
        reduction = name.endswith("attn.norm")
        assert eps == (1e-5 if embedding or reduction else 1e-6), name


def test_resnet_epsilon_and_stride():
    encoder = full("r50")
    assert {m.eps for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-5}
    block = encoder.layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_pvt_drops_paths_linearly_over_all_blocks():
    blocks = [block for stage in full("pvt").stages for block in stage.blocks]
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.1 * i / 51 for i in range(52)])


def published_resnet():
    """Names of torchvision's file: no batch counters, a classifier."""
    own = visual_encoder("r50", "mini").state_dict()
    state = {key: torch.randn_like(value) for key, value in own.items() if value.is_floating_point()}
    return {**state, "fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)}


def test_resnet_file_loads_without_classifier_and_counters():
    encoder, state = visual_encoder("r50", "mini"), published_resnet()
    encoder.load_pretrained(state)
    assert torch.equal(encoder.layer3[0].conv1.weight, state["layer3.0.conv1.weight"])


def to_published_name(key):
    """The authors' name of one of timm's keys, written down independently of the code under test."""
    parts = key.split(".")
    if parts[0] == "patch_embed":
        parts[0] = "patch_embed1"
    elif parts[2] == "downsample":
        parts[:3] = [f"patch_embed{int(parts[1]) + 1}"]
    elif parts[2] == "norm":
        parts[:3] = [f"norm{int(parts[1]) + 1}"]
    else:
        parts[:3] = [f"block{int(parts[1]) + 1}"]
    return ".".join(parts).replace("dwconv.", "dwconv.dwconv.")


def test_pvt_file_loads_by_the_authors_names():
    encoder = visual_encoder("pvt", "mini")
    own = {key: torch.randn_like(value) for key, value in encoder.state_dict().items()}
    state = {to_published_name(key): value for key, value in own.items()}
    assert "block1.0.mlp.dwconv.dwconv.weight" in state
    assert "norm4.bias" in state
    encoder.load_pretrained({**state, "head.weight": torch.zeros(1000, 96), "head.bias": torch.zeros(1000)})
    assert all(torch.equal(value, own[key]) for key, value in encoder.state_dict().items())
    encoder.load_pretrained(own)  # our own names load as well


def test_what_does_not_fit_is_named():
    state = published_resnet()
    state.pop("layer1.0.conv1.weight")
    state["layer9.weight"] = torch.zeros(1)
    state["bn1.bias"] = torch.zeros(3)
    with pytest.raises(AvsbenchError) as error:
        visual_encoder("r50", "mini").load_pretrained(state)
    for part in ("1 missing: layer1.0.conv1.weight", "1 unexpected: layer9.weight", "bn1.bias [3] instead of [16]"):
        assert part in str(error.value)


def test_unknown_family():
    with pytest.raises(AvsbenchError, match="one of pvt, r18, r50, r50_deep"):
        visual_encoder("r34", "full")
