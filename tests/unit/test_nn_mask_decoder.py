"""Pixel decoder, masked-attention decoder and siamese encoder in small sizes."""

import pytest
import torch
from torch import nn

from avsbench.nn.backbones import visual_encoder
from avsbench.nn.mask_decoder import MaskDecoder
from avsbench.nn.pixel_decoder import PixelDecoder
from avsbench.nn.siam import SiamEncoder

CHANNELS = (8, 12, 16, 24)
SIZES = (16, 8, 4, 2)
SMALL = {"width": 16, "depth": 1, "hidden": 32, "heads": 2, "groups": 4}


def maps(channels=CHANNELS, sizes=SIZES):
    torch.manual_seed(1)
    return [torch.randn(2, count, size, size) for count, size in zip(channels, sizes, strict=True)]


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("coarse_first", [False, True])
@pytest.mark.parametrize("project", [False, True])
def test_pixel_decoder_gives_levels_coarsest_first(extra, coarse_first, project):
    torch.manual_seed(0)
    channels = CHANNELS if project else (16,) * 4
    decoder = PixelDecoder(channels, **SMALL, project=project, extra=extra, coarse_first=coarse_first)
    features, levels = decoder(maps(channels))
    assert features.shape == (2, 16, 16, 16)
    assert [x.shape[-1] for x in levels] == ([1] if extra else []) + [2, 4, 8]
    kinds = {"Sequential"} if project else {"Identity", "Sequential"} if extra else {"Identity"}
    assert {type(layer).__name__ for layer in decoder.projections} == kinds


def test_order_of_levels_is_a_matter_of_names():
    """With codes and sampling points renumbered the two orders are one function."""
    torch.manual_seed(0)
    first, other = (PixelDecoder(CHANNELS, **SMALL, coarse_first=order) for order in (True, False))
    nn.init.normal_(first.encoder[0].attention.sampling_offsets.weight)
    nn.init.normal_(first.encoder[0].attention.attention_weights.weight)
    state = first.state_dict()
    turned = {}
    for key, value in state.items():
        if key.startswith("projections."):
            number, rest = key.removeprefix("projections.").split(".", 1)
            key = f"projections.{2 - int(number)}.{rest}"
        elif key == "levels":
            value = value.flip(0)
        elif "sampling_offsets" in key or "attention_weights" in key:
            shape = (2, 3, -1) if value.ndim == 1 else (2, 3, -1, value.shape[1])
            value = value.view(shape).flip(1).reshape(value.shape)
        turned[key] = value
    other.load_state_dict(turned)
    for one, two in zip((first(maps())[0], *first(maps())[1]), (other(maps())[0], *other(maps())[1]), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


def test_pixel_decoder_stays_exact_under_autocast():
    torch.manual_seed(0)
    decoder = PixelDecoder(CHANNELS, **SMALL)
    exact, _ = decoder(maps())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, levels = decoder([x.bfloat16().float() for x in maps()])
        rounded, _ = decoder([x.bfloat16() for x in maps()])
    assert {x.dtype for x in (features, rounded, *levels)} == {torch.float32}
    assert torch.equal(features, rounded)
    assert float((exact - features).detach().abs().max()) < 0.2


def test_first_weights_of_the_pixel_decoder():
    decoder = PixelDecoder(CHANNELS, **SMALL)
    for layer in decoder.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            assert not layer.bias.any()
    assert not decoder.encoder[0].attention.sampling_offsets.weight.any()
    assert not decoder.encoder[0].attention.attention_weights.weight.any()
    assert float(decoder.levels.detach().std()) > 0.5
    bound = (3 / (16 * 9)) ** 0.5  # Kaiming, a = 1
    assert 0.9 * bound < float(decoder.output[0].weight.detach().abs().max()) <= bound


def test_first_weights_of_the_decoder():
    """Xavier inside the layers; embeddings and the heads as torch makes them."""
    torch.manual_seed(0)
    decoder = MaskDecoder(classes=3, width=64, queries=40, depth=1, hidden=128, heads=4)
    for name, weight in decoder.layers.named_parameters():
        if weight.ndim == 2:
            bound = (6 / sum(weight.shape)) ** 0.5
            assert 0.98 * bound < float(weight.detach().abs().max()) <= bound, name
    for embedding in (decoder.queries, decoder.positions, decoder.levels):
        assert float(embedding.weight.std()) == pytest.approx(1, abs=0.2)
    for layer in (decoder.mask_embedding[0], decoder.classifier):
        assert 0.95 / 8 < float(layer.weight.detach().abs().max()) <= 1 / 8
        assert layer.bias.any()


@pytest.mark.parametrize(("threshold", "seen"), [(0.5, [0, 1]), (0.2, [0, 1, 2])])
def test_where_queries_look(threshold, seen):
    """From the threshold on; everywhere, where a mask is on nowhere."""
    decoder = MaskDecoder(classes=2, width=16, queries=2, depth=1, hidden=32, heads=2, threshold=threshold)
    masks = torch.tensor([[[[3.0, 0.0], [-1.0, -9.0]], [[-9.0, -8.0], [-7.0, -9.0]]]])
    allowed = decoder.look_at(masks, (2, 2))
    assert allowed[0, 0].nonzero().flatten().tolist() == seen
    assert allowed[0, 1].all()
    assert decoder.look_at(masks, (4, 6)).shape == (1, 2, 24)


def test_predictions_and_deep_supervision():
    torch.manual_seed(0)
    decoder = MaskDecoder(classes=3, width=16, queries=5, depth=4, hidden=32, heads=2)
    features, *levels = maps((16,) * 4)
    content = torch.randn(2, 5, 16, requires_grad=True)
    predictions = decoder(features, levels[::-1], content)
    assert [(x.shape, y.shape) for x, y in predictions] == [((2, 5, 4), (2, 5, 16, 16))] * 5
    logits, masks = predictions[0]
    x = decoder.norm(decoder.queries.weight + content)
    torch.testing.assert_close(logits, decoder.classifier(x))
    torch.testing.assert_close(masks, torch.einsum("nqc,nchw->nqhw", decoder.mask_embedding(x), features))
    predictions[-1][0].sum().backward()
    assert content.grad.any()
    # Images do not see each other.
    alone = decoder(features[:1], [level[:1] for level in levels[::-1]], content[:1])
    torch.testing.assert_close(alone[-1][1], predictions[-1][1][:1], rtol=0, atol=1e-4)


def test_siamese_encoder_adds_what_a_gate_lets_through():
    torch.manual_seed(0)
    siam = SiamEncoder(*(visual_encoder("r50", "mini", frozen_norms=True) for _ in range(2))).eval()
    frames, maskiges = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = siam(frames, maskiges)
        for level, (plain, drawn) in enumerate(zip(siam.frames(frames), siam.maskiges(maskiges), strict=True)):
            (*_, first, _, second, _, _) = siam.gates[level]
            gate = second(first(drawn.mean(dim=(2, 3))).relu()).sigmoid()
            torch.testing.assert_close(found[level], plain + gate[:, :, None, None] * drawn)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in siam.modules())
    before = {key: value.clone() for key, value in siam.state_dict().items()}
    siam.train()(frames, maskiges)
    assert all(torch.equal(value, before[key]) for key, value in siam.state_dict().items())


def test_frozen_norms_pass_something_at_the_start():
    """A residual branch that begins with a scale of 0 would stay silent for ever."""
    encoder = visual_encoder("r50", "mini", frozen_norms=True)
    encoder(torch.randn(1, 3, 64, 64))[-1].sum().backward()
    assert all(p.grad.any() for p in encoder.parameters())
