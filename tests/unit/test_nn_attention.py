"""Attention, deformable attention, sine codes and post-norm layers against torch's own layers and plain loops."""

import math

import pytest
import torch
from torch import nn

from avsbench.errors import AvsbenchError
from avsbench.nn.attention import Attention
from avsbench.nn.deformable import (
    DeformableAttention,
    deformable_attention,
    flatten_levels,
    reference_points,
    split_levels,
)
from avsbench.nn.positions import sine_code, sine_positions
from avsbench.nn.transformer import MLP, DecoderLayer, DeformableEncoderLayer

SIZES = [(3, 4), (2, 5)]
TOKENS = 22


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def close(found, wanted, atol=1e-6):
    torch.testing.assert_close(found, wanted, rtol=0, atol=atol)


# attention


def torch_twin(attention):
    """nn.MultiheadAttention with the same weights; biases are drawn, so that they count."""
    width = attention.out_proj.in_features
    bias = attention.in_proj.bias is not None
    twin = nn.MultiheadAttention(width, attention.heads, bias=bias, dropout=attention.dropout, batch_first=True).eval()
    if bias:
        nn.init.normal_(attention.in_proj.bias)
        nn.init.normal_(attention.out_proj.bias)
    names = {"in_proj.weight": "in_proj_weight", "in_proj.bias": "in_proj_bias"}
    twin.load_state_dict({names.get(key, key): value for key, value in attention.state_dict().items()}, strict=True)
    return twin


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", ["self", "query is key", "key is value", "all apart", "one key"])
def test_attention_equals_torchs(case, bias):
    attention = Attention(16, heads=4, bias=bias, dropout=0.3).eval()
    x, memory, other = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    query, key, value = {
        "self": (x, x, x),
        "query is key": (memory, memory, other),
        "key is value": (x, memory, memory),
        "all apart": (x, memory, other),
        "one key": (x, memory[:, :1], other[:, :1]),
    }[case]
    wanted, weights = torch_twin(attention)(query, key, value, average_attn_weights=True)
    close(attention(query, key, value), wanted)
    found = attention(query, key, value, with_weights=True)
    close(found[0], wanted)
    close(found[1], weights)
    if key is value:
        close(attention(query, key), wanted)


@pytest.mark.parametrize("with_weights", [False, True])
def test_a_mask_hides_keys(with_weights):
    attention = Attention(16, heads=4)
    query, key = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    allowed = torch.rand(2, 4, 5, 7) > 0.5
    allowed[..., 0] = True
    wanted, _ = torch_twin(attention)(query, key, key, attn_mask=~allowed.flatten(0, 1))
    found = attention(query, key, allowed=allowed, with_weights=with_weights)
    close(found[0] if with_weights else found, wanted)


@pytest.mark.parametrize(("queries", "keys"), [(1, 3), (3, 1)])
@pytest.mark.parametrize("count", [1, 6])
def test_one_image_serves_all_of_the_other_side(queries, keys, count):
    attention = Attention(16, heads=4)
    query, key = torch.randn(queries, 5, 16), torch.randn(keys, count, 16)
    wanted = attention(query.expand(3, -1, -1).clone(), key.expand(3, -1, -1).clone())
    close(attention(query, key), wanted)


def test_one_key_leaves_query_and_key_projections_without_gradient():
    attention = Attention(16, heads=4, bias=False)
    attention(torch.randn(2, 5, 16), torch.randn(2, 1, 16)).square().sum().backward()
    gradient = attention.in_proj.weight.grad
    assert gradient[:32].abs().max() == 0
    assert gradient[32:].abs().min() > 0


def test_weights_are_dropped_in_training_only():
    attention = Attention(16, heads=2, dropout=0.5)
    x = torch.randn(4, 8, 16)
    for with_weights in (False, True):
        first, second = (attention(x, x, with_weights=with_weights) for _ in range(2))
        assert not torch.equal(first[0], second[0])
    # A dropped weight is 0, a kept one doubles: sums over keys vary around 1.
    sums = attention(x, x, with_weights=True)[1].sum(dim=-1)
    assert sums.std() > 0.1
    assert attention(x, x[:, :1], with_weights=True)[1].unique().tolist() == [0.0, 1.0, 2.0]
    attention.eval()
    assert torch.equal(attention(x, x), attention(x, x))


def test_attention_starts_as_torchs():
    torch.manual_seed(1)
    attention = Attention(64, heads=4)
    bound = math.sqrt(6 / (64 + 3 * 64))
    assert 0.98 * bound < attention.in_proj.weight.abs().max() <= bound
    assert attention.in_proj.bias.abs().max() == attention.out_proj.bias.abs().max() == 0
    with pytest.raises(AvsbenchError, match="16 / 3"):
        Attention(16, heads=3)


# deformable attention


def naive(value, sizes, grid, weights):
    """Head by head, point by point, pixel by pixel."""
    images, heads, depth, _ = value.shape
    queries = grid.shape[-1]
    result = value.new_zeros(images, heads, depth, queries)
    for n, m, q in torch.cartesian_prod(*map(torch.arange, (images, heads, queries))).tolist():
        start = 0
        for level, (height, width) in enumerate(sizes):
            for p in range(grid.shape[3]):
                x = (grid[n, m, level, p, 0, q].item() + 1) / 2 * width - 0.5
                y = (grid[n, m, level, p, 1, q].item() + 1) / 2 * height - 0.5
                for row in (math.floor(y), math.floor(y) + 1):
                    for column in (math.floor(x), math.floor(x) + 1):
                        if 0 <= row < height and 0 <= column < width:
                            share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[n, m, level, p, q]
                            result[n, m, :, q] += share * value[n, m, :, start + row * width + column]
            start += height * width
    return result


def samples(dtype=torch.float32, queries=4):
    value = torch.randn(2, 2, 3, TOKENS, dtype=dtype)
    grid = 1.5 * (2 * torch.rand(2, 2, 2, 3, 2, queries, dtype=dtype) - 1)  # a third lies outside
    return value, grid, torch.rand(2, 2, 2, 3, queries, dtype=dtype)


def test_sampling_equals_a_plain_loop():
    value, grid, weights = samples()
    close(deformable_attention(value, SIZES, grid, weights), naive(value, SIZES, grid, weights))


def test_sampling_has_exact_gradients():
    value, grid, weights = (each.requires_grad_() for each in samples(torch.float64, queries=2))
    core = lambda *inputs: deformable_attention(inputs[0], SIZES, *inputs[1:])  # noqa: E731
    torch.autograd.gradcheck(core, (value, grid, weights), eps=1e-7, atol=1e-5)


def test_sampling_stays_in_float32_under_autocast():
    value, grid, weights = samples()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = deformable_attention(value.bfloat16(), SIZES, grid, weights)
    assert found.dtype == torch.float32
    close(found, deformable_attention(value.bfloat16().float(), SIZES, grid, weights))


def test_sampling_refuses_maps_of_other_sizes():
    value, grid, weights = samples()
    with pytest.raises(AvsbenchError, match=r"(?s)22 tokens, points for 2 maps.*24 tokens of 2 maps"):
        deformable_attention(value, [(3, 4), (3, 4)], grid, weights)


def drawn(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def test_module_looks_around_points_and_inside_boxes():
    module = drawn(DeformableAttention(8, heads=2, levels=2, points=3))
    query, source = torch.randn(2, 4, 8), torch.randn(2, TOKENS, 8)
    boxes = torch.rand(2, 4, 4)
    seen = {}

    def spied(reference):
        offsets = module.sampling_offsets(query).unflatten(2, (2, 2, 3, 2))  # [N,Q,M,L,P,2]
        weights = module.attention_weights(query).unflatten(2, (2, 6)).softmax(dim=3).unflatten(3, (2, 3))
        value = module.value_proj(source).unflatten(2, (2, 4)).permute(0, 2, 3, 1)
        centre = reference[:, :, None, None, None, :2]
        if reference.shape[-1] == 4:
            places = centre + offsets / 3 * reference[:, :, None, None, None, 2:] * 0.5
        else:
            places = centre + offsets / torch.tensor([[w, h] for h, w in SIZES])[:, None]
        grid = (2 * places - 1).permute(0, 2, 3, 4, 5, 1)
        seen["attended"] = deformable_attention(value, SIZES, grid, weights.permute(0, 2, 3, 4, 1))
        return module.output_proj(seen["attended"].flatten(1, 2).transpose(1, 2))

    for reference in (boxes[..., :2], boxes):
        close(module(query, reference, source, SIZES), spied(reference))
    # One set of points for all images.
    close(module(query, boxes[0, :, :2], source, SIZES), spied(boxes[:1, :, :2].expand(2, -1, -1)))


def test_module_starts_with_directions_and_equal_weights():
    module = DeformableAttention(16, heads=8, levels=3, points=4)
    offsets = module.sampling_offsets.bias.view(8, 3, 4, 2)
    wanted = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    for point in range(4):
        for level in range(3):
            close(offsets[:, level, point], (point + 1) * torch.tensor(wanted, dtype=torch.float32), atol=1e-5)
    zero = [module.sampling_offsets.weight, *module.attention_weights.parameters()]
    zero += [module.value_proj.bias, module.output_proj.bias]
    assert all(parameter.abs().max() == 0 for parameter in zero)
    assert module.value_proj.weight.std() > 0.1


def test_levels_flatten_and_split():
    maps = [torch.randn(2, 3, *size) for size in SIZES]
    tokens, sizes = flatten_levels(maps)
    assert sizes == SIZES
    assert torch.equal(tokens[:, 4 + 1], maps[0][:, :, 1, 1])  # row by row
    for one, back in zip(maps, split_levels(tokens, sizes), strict=True):
        assert torch.equal(one, back)


def test_reference_points_are_pixel_centres():
    points = reference_points(SIZES)
    assert points.shape == (TOKENS, 2)
    close(points[[0, 3, 4, 12]], torch.tensor([[1 / 8, 1 / 6], [7 / 8, 1 / 6], [1 / 8, 1 / 2], [1 / 10, 1 / 4]]))


# sine codes


@pytest.mark.parametrize("normalized", [False, True])
def test_sine_code_by_hand(normalized):
    code = sine_positions((3, 5), 8, temperature=100.0, normalized=normalized)
    assert code.shape == (16, 3, 5)
    for y in range(3):
        for x in range(5):
            for j in range(8):
                for place, length, channel in ((y, 3, j), (x, 5, 8 + j)):
                    at = (place + 1) / (length + 1e-6) * 2 * math.pi if normalized else place + 1
                    angle = at / 100 ** (2 * (j // 2) / 8)
                    wanted = math.cos(angle) if j % 2 else math.sin(angle)
                    assert code[channel, y, x].item() == pytest.approx(wanted, abs=1e-5)


def test_sine_code_of_single_coordinates():
    code = sine_code(torch.tensor([[1.0, 2.0]]), 4)
    assert code.shape == (1, 2, 4)
    close(code[0, 1], torch.tensor([math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]))


# layers


def test_norms_have_the_published_epsilon():
    for layer in (DeformableEncoderLayer(16, 8), DecoderLayer(16, 8)):
        norms = [module for module in layer.modules() if isinstance(module, nn.LayerNorm)]
        assert len(norms) in (2, 3)
        assert {norm.eps for norm in norms} == {1e-5}


def test_decoder_layer_equals_torchs():
    layer = DecoderLayer(16, 24, activation=nn.GELU, heads=4, dropout=0.2).eval()
    twin = nn.TransformerDecoderLayer(16, 4, 24, 0.2, "gelu", batch_first=True).eval()
    twin.self_attn, twin.multihead_attn = torch_twin(layer.self_attention), torch_twin(layer.cross_attention)
    twin.linear1, twin.linear2 = layer.feed_forward[0], layer.feed_forward[3]
    twin.norm1, twin.norm2, twin.norm3 = drawn(layer.self_norm), drawn(layer.cross_norm), layer.feed_forward_norm
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    found, weights = layer(x, memory, with_weights=True)
    close(found, twin(x, memory), atol=1e-5)
    close(layer(x, memory), found)
    close(weights.sum(dim=-1), torch.ones(2, 5))


def test_decoder_layer_adds_positions_to_queries_and_keys_alone():
    layer = drawn(DecoderLayer(16, 24, heads=4, cross_first=True))
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    places, others = torch.randn(5, 16), torch.randn(7, 16)
    allowed = torch.rand(2, 1, 5, 7) > 0.3
    allowed[..., 0] = True
    y = layer.cross_norm(x + layer.cross_attention(x + places, memory + others, memory, allowed=allowed))
    y = layer.self_norm(y + layer.self_attention(y + places, y + places, y))
    y = layer.feed_forward_norm(y + layer.feed_forward(y))
    close(layer(x, memory, positions=places, memory_positions=others, allowed=allowed), y)


def test_encoder_layer_normalises_after_each_sum():
    layer = drawn(DeformableEncoderLayer(8, 12, heads=2, levels=2, points=3, dropout=0.5)).eval()
    x, places, points = torch.randn(2, TOKENS, 8), torch.randn(TOKENS, 8), reference_points(SIZES)
    y = layer.attention_norm(x + layer.attention(x + places, points, x, SIZES))
    close(layer(x, places, points, SIZES), layer.feed_forward_norm(y + layer.feed_forward(y)))
    layer.train()
    assert not torch.equal(layer(x, places, points, SIZES), layer(x, places, points, SIZES))


def test_mlp_ends_without_activation():
    mlp = MLP(4, 8, 8, 3)
    assert [type(layer).__name__ for layer in mlp] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert mlp(torch.randn(50, 4)).min() < 0
