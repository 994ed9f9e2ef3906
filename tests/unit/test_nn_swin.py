"""Swin: against timm's where that one agrees, and where it does not, against windows written out."""

import re

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer

from avsbench.errors import AvsbenchError
from avsbench.nn.swin import FAR, SIZES, Block, Swin, cut_windows, join_windows

SMALL = {"width": 8, "depths": (2, 1, 2, 2), "heads": (1, 2, 4, 8), "window": 7}


def to_official(network):
    """Our weights under the names of the authors' files."""
    names = {}
    for stage, depth in enumerate(SMALL["depths"]):
        for block in range(depth):
            for part in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
                names |= dict.fromkeys(f"layers.{stage}.blocks.{block}.{part}.{kind}" for kind in ("weight", "bias"))
            names[f"layers.{stage}.blocks.{block}.attn.relative_position_bias_table"] = None
        names |= dict.fromkeys(f"norm{stage}.{kind}" for kind in ("weight", "bias"))
        if stage < 3:
            names |= dict.fromkeys(f"layers.{stage}.downsample.{n}" for n in ("norm.weight", "norm.bias"))
            names[f"layers.{stage}.downsample.reduction.weight"] = None
    names |= dict.fromkeys(f"patch_embed.{n}.{kind}" for n in ("proj", "norm") for kind in ("weight", "bias"))
    own = network.state_dict()
    official = {key: own[network.rename_official(key)] for key in names}
    assert len(official) == len(own)
    return official


@torch.no_grad()
def test_equals_timm_where_no_map_needs_padding():
    torch.manual_seed(0)
    network = Swin(**SMALL).eval()
    for name, parameter in network.named_parameters():
        if "bias" in name:
            parameter.normal_()  # tables too
    theirs = SwinTransformer(
        embed_dim=8,
        depths=SMALL["depths"],
        num_heads=SMALL["heads"],
        window_size=7,
        num_classes=0,
        always_partition=True,
    ).eval()
    # timm keeps the reduction in front of the next stage.
    official = to_official(network).items()
    state = {re.sub(r"\d(?=\.downsample)", lambda found: str(int(found[0]) + 1), key): value for key, value in official}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert set(missing) == {"norm.weight", "norm.bias"}
    assert set(unexpected) == {f"norm{stage}.{kind}" for stage in range(4) for kind in ("weight", "bias")}
    images = torch.randn(2, 3, 224, 224)
    maps = network(images)
    x = theirs.patch_embed(images)
    for layer, norm, found in zip(theirs.layers, network.norms, maps, strict=True):
        x = layer(x)
        torch.testing.assert_close(found, norm(x).permute(0, 3, 1, 2), atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("size", [(5, 6), (3, 2), (8, 8), (9, 4)])
def test_a_shifted_block_pads_before_it_shifts(size):
    """Windows written out, query by query: zeros after the norm are keys, what the shift joins stays apart."""
    torch.manual_seed(0)
    window, shift, (height, width) = 4, 2, size
    block = Block(4, 1, window, shift=shift)
    torch.nn.init.normal_(block.attention.bias_table)
    x = torch.randn(1, height, width, 4)
    tall, wide = (length + -length % window for length in size)
    padded = torch.zeros(tall, wide, 4)
    padded[:height, :width] = block.attention_norm(x[0])
    q, k, v = block.attention.qkv(padded).chunk(3, dim=-1)

    def region(place, length):
        return (place >= length - window) + (place >= length - shift)

    expected = torch.empty(height, width, 4)
    for row in range(height):
        for column in range(width):
            r, c = (row - shift) % tall, (column - shift) % wide  # where the shift puts the query
            scores, values = [], []
            for i in range(r // window * window, r // window * window + window):
                for j in range(c // window * window, c // window * window + window):
                    key = ((i + shift) % tall, (j + shift) % wide)
                    offset = (r - i + window - 1) * (2 * window - 1) + c - j + window - 1
                    score = q[row, column] @ k[key] / 2 + block.attention.bias_table[offset, 0]
                    apart = (region(i, tall), region(j, wide)) != (region(r, tall), region(c, wide))
                    scores.append(score + FAR * apart)
                    values.append(v[key])
            expected[row, column] = torch.stack(scores).softmax(0) @ torch.stack(values)
    after = x[0] + block.attention.proj(expected)
    after = after + block.feed_forward(block.feed_forward_norm(after))
    torch.testing.assert_close(block(x)[0], after)


def test_windows_come_apart_and_together():
    x = torch.arange(2 * 6 * 9 * 5).view(2, 6, 9, 5)
    windows = cut_windows(x, 3)
    assert windows.shape == (2, 6, 9, 5)
    assert torch.equal(windows[1, 4], x[1, 3:6, 3:6].flatten(0, 1))
    assert torch.equal(join_windows(windows, 3, (6, 9)), x)


def test_maps_and_sizes():
    network = Swin(**SIZES["swin_mini"])
    maps = network(torch.randn(2, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [
        (2, c, 64 // s, 96 // s) for c, s in zip(network.channels, network.strides, strict=True)
    ]
    sum(x.sum() for x in maps).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    with pytest.raises(AvsbenchError, match="multiples of 32"):
        network(torch.randn(1, 3, 64, 90))
    with pytest.raises(AvsbenchError, match="width and heads"):
        Swin(width=10, depths=(1, 1, 1, 1), heads=(3, 3, 3, 3), window=4)


def test_names_that_are_not_loaded():
    assert Swin.rename_official("layers.0.blocks.1.attn.relative_position_index") is None
    assert Swin.rename_official("layers.0.blocks.1.attn_mask") is None
    assert Swin.rename_official("head.weight") is None
