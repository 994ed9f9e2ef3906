"""Semantic-SAM: clicks that see each other, what is saved, files of weights, and the generator's options."""

import logging
import re

import numpy as np
import pytest
import torch

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.features import generator
from avsbench.features.semantic_sam import build
from avsbench.features.semantic_sam.automatic import Settings, boxes_of, generate, grid, stable_masks
from avsbench.features.semantic_sam.decoder import inverse_sigmoid
from avsbench.features.semantic_sam.network import SemanticSam, rename_official
from avsbench.nn.weights import load_file
from tests.parity.test_semantic_sam import keys

EVERY = list(range(6))
LOOSE = {"points_per_side": 6, "points_per_batch": 20}
LOOSE |= {"score_threshold": -9.0, "stability_threshold": 0.0, "nms_threshold": 1.0}
"""All that random weights find passes."""


@pytest.fixture(scope="module")
def network():
    """Small, with weights that tell pictures and clicks apart."""
    torch.manual_seed(3)
    network = SemanticSam.of_size("swin_mini").eval()
    with torch.no_grad():
        for parameter in network.decoder.parameters():
            parameter.mul_(1.5)
    return network


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)


def pictures(frames):
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


# the network


@torch.inference_mode()
def test_clicks_of_a_call_see_each_other(network, frames):
    encoded, points = network.encode(pictures(frames)), grid(6)
    together, _ = network.click(encoded, network.prepare(points, (50, 70)), EVERY)
    apart = [network.click(encoded, network.prepare(part, (50, 70)), EVERY)[0] for part in points.split(20)]
    assert (together - torch.cat(apart, dim=1)).abs().max() > 1e-4
    mixed, _ = network.click(encoded, network.prepare(points.flip(0), (50, 70)), EVERY)
    torch.testing.assert_close(mixed.flip(1), together)


@torch.inference_mode()
def test_tokens_that_nobody_asks_for_are_saved_and_change_nothing(network, frames):
    encoded, clicks = network.encode(pictures(frames)), network.prepare(grid(4), (50, 70))
    scores, embeddings = network.click(encoded, clicks, EVERY)
    assert scores.shape == (3, 16, 6)
    assert embeddings.shape == (3, 16, 6, 32)
    for tokens in ([0], [3, 2], [5, 0, 1]):
        some = network.click(encoded, clicks, tokens)
        torch.testing.assert_close(some[0], scores[:, :, tokens])
        torch.testing.assert_close(some[1], embeddings[:, :, tokens])


@torch.inference_mode()
def test_pictures_together_and_alone(network, frames):
    images = pictures(frames)
    settings = Settings(levels=(3, 1), **LOOSE)
    together = generate(network, images, settings, together=3)
    for found, image in zip(together, images, strict=True):
        (alone,) = generate(network, image[None], settings)
        assert len(found.scores) == len(alone.scores) > 3
        torch.testing.assert_close(found.scores, alone.scores)
        assert (found.masks != alone.masks).float().mean() < 1e-3  # a logit of nearly 0 may fall to either side


@torch.inference_mode()
def test_clicks_count_on_the_picture_without_its_padding(network):
    clicks = network.prepare(torch.tensor([[0.5, 0.5]]), (48, 80))
    expected = torch.tensor([0.5 * 80 / 96, 0.5 * 48 / 64, 0.005 * 80 / 96, 0.005 * 48 / 64])
    torch.testing.assert_close(clicks.boxes[0], expected.expand(6, 4))
    assert inverse_sigmoid(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([-11.51293, 11.51293])


@torch.inference_mode()
def test_masks_have_the_size_of_the_picture(network, frames):
    encoded = network.encode(pictures(frames))
    assert encoded.padded == (64, 96)
    assert network.logits(encoded, 2, torch.randn(4, 32)).shape == (4, 50, 70)
    assert network.logits(encoded, 0, torch.zeros(0, 32)).shape == (0, 50, 70)


def test_pictures_with_channels_last_are_refused(network, frames):
    with pytest.raises(AvsbenchError, match="channels before height"):
        network.encode(torch.from_numpy(frames))
    with pytest.raises(AvsbenchError, match="float32"):
        network.encode(pictures(frames).float())


# the filters


def test_a_mask_must_be_stable():
    logits = torch.full((4, 10, 10), -8.0)
    logits[0, 2:5, 3:9] = 8
    logits[1, 2:5, 3:9] = 0.5  # vanishes at the upper cut
    logits[2, 2:5, 3:9] = 8
    logits[2, 5, 3] = 0.0  # 18 of 19 pixels
    found = stable_masks(logits, torch.arange(4.0), torch.zeros(4, 2), Settings(stability_threshold=18 / 19))
    assert found.scores.tolist() == [0, 2]  # the last one is empty at both cuts
    assert found.boxes.tolist() == [[3, 2, 8, 4]] * 2
    perfect = stable_masks(logits, torch.arange(4.0), torch.zeros(4, 2), Settings(stability_threshold=1.0))
    assert perfect.scores.tolist() == [0]
    assert boxes_of(torch.zeros(1, 4, 5, dtype=torch.bool)).tolist() == [[0, 0, 0, 0]]


class Fixed:
    """A network that finds given logits [K,H,W] with given scores, a click each."""

    def __init__(self, logits, scores):
        self.found, self.scores = logits, torch.tensor(scores)

    def prepare(self, points, size):
        return (points[:, 1] * 2).floor() * 2 + (points[:, 0] * 2).floor()  # number of the click in a grid of 2 x 2

    def encode(self, images):
        return len(images)

    def click(self, count, numbers, tokens):
        numbers = numbers.long()
        return self.scores[numbers].expand(count, 1, -1).mT, numbers.expand(count, 1, -1).mT

    def logits(self, count, image, numbers):
        return self.found[numbers]


BLACK = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)


def squares(*places, size=40):
    """Logits of squares (top, left, side)."""
    logits = torch.full((len(places), size, size), -8.0)
    for each, (top, left, side) in zip(logits, places, strict=True):
        each[top : top + side, left : left + side] = 8
    return logits


@pytest.mark.parametrize("per_batch", [1, 3, 4])
def test_overlapping_boxes_leave_the_best_of_all_calls(per_batch):
    logits = squares((0, 0, 20), (1, 1, 20), (20, 20, 12), (30, 0, 9))
    settings = Settings(levels=(3,), points_per_side=2, points_per_batch=per_batch)
    images = torch.zeros(2, 3, 40, 40, dtype=torch.uint8)
    for found in generate(Fixed(logits, [0.9, 0.95, 0.93, 0.88]), images, settings, together=2):
        assert found.scores.tolist() == pytest.approx([0.95, 0.93])  # 0.88 itself does not pass
        assert found.points.tolist() == [[0.75, 0.25], [0.25, 0.75]]
        assert torch.equal(found.masks, logits[1:3] > 0)


def test_cleaned_masks_come_last_and_give_way_to_unchanged_ones():
    logits = squares((0, 0, 10), (20, 20, 10), (20, 0, 10), (0, 20, 10))
    logits[0, 3:5, 3:5] = -8  # a hole
    logits[3, 18, 38] = 8  # an island, which made the box larger
    options = {"levels": (3,), "points_per_side": 2, "stability_threshold": 0.9}
    settings = Settings(**options)
    scores = [0.99, 0.91, 0.95, 0.97]
    (found,) = generate(Fixed(logits, scores), BLACK, settings)
    assert found.scores.tolist() == pytest.approx([0.95, 0.91, 0.99, 0.97])
    assert found.masks.sum((1, 2)).tolist() == [100] * 4
    assert found.boxes[3].tolist() == [20, 0, 29, 9]
    # Cleaned, the last one lies on an unchanged one and goes.
    logits[1] = squares((0, 21, 10))[0]
    (found,) = generate(Fixed(logits, scores), BLACK, settings)
    assert found.scores.tolist() == pytest.approx([0.95, 0.91, 0.99])
    (kept,) = generate(Fixed(logits, scores), BLACK, Settings(**options, min_area=0))
    assert kept.scores.tolist() == pytest.approx(sorted(scores, reverse=True))


def test_nothing_found():
    network = Fixed(squares(*[(0, 0, 5)] * 4), [0.1] * 4)
    (found,) = generate(network, BLACK, Settings(points_per_side=2))
    assert found.masks.shape == (0, 40, 40)
    assert found.masks.dtype == torch.bool


# the generator


def small(**options):
    return build(weights=None, device="cpu", backbone="swin_mini", **{**LOOSE, "levels": [3], **options})


def test_the_generator_is_deterministic_and_takes_pictures_one_by_one(frames):
    found = small().propose_frames(frames)
    again = small()
    for image, proposals in zip(frames, found, strict=True):
        alone = again.propose(image)
        assert proposals.masks.shape[1:] == (50, 70)
        assert proposals.masks.dtype == bool
        assert proposals.scores.dtype == np.float32
        assert len(proposals.masks) > 3
        np.testing.assert_array_equal(proposals.masks, alone.masks)
        np.testing.assert_array_equal(proposals.scores, alone.scores)
    assert not np.array_equal(found[0].masks[:4], found[1].masks[:4])


def test_larger_pictures_give_masks_of_the_original_size(frames):
    found = small(short_side=100).propose_frames(frames[:1])[0]
    assert found.masks.shape[1:] == (50, 70)
    assert len(found.masks) == len(found.scores) > 3
    assert found.masks.any(axis=(1, 2)).all()
    same = small(short_side=50).propose_frames(frames[:1])[0]
    np.testing.assert_array_equal(same.masks, small().propose_frames(frames[:1])[0].masks)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("levels", [0]),
        ("levels", []),
        ("levels", [3, 3]),
        ("levels", 3),
        ("levels", [[3]]),
        ("points_per_side", 0),
        ("points_per_batch", 20.5),
        ("min_area", -1),
        ("short_side", 0),
    ],
)
def test_options_out_of_range(option, value):
    with pytest.raises(AvsbenchError, match=f"option {option} is out of range"):
        small(**{option: value})


def test_the_card_fits_the_code():
    card = generator("semantic_sam")
    options = dict(card.options)
    backbone, short_side = options.pop("backbone"), options.pop("short_side")
    published = Settings(levels=(3,))
    assert Settings(**{**options, "levels": tuple(options["levels"])}) == published
    assert (published.points_per_side, published.points_per_batch) == (32, 200)
    assert [len(part) for part in grid(32).split(200)] == [200] * 5 + [24]
    assert short_side is None
    assert set(card.weights) == {"swin_l", "swin_t"}
    assert backbone == "swin_l"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, torch sees none")
def test_a_gpu_finds_the_same(frames):
    found = build(weights=None, device="cuda", backbone="swin_mini", levels=[3], **LOOSE).propose_frames(frames)
    for ours, expected in zip(found, small().propose_frames(frames), strict=True):
        np.testing.assert_allclose(ours.scores[:3], expected.scores[:3], atol=1e-4)
        assert (ours.masks[:3] != expected.masks[:3]).mean() < 1e-2


# files of weights


def official_file(network, path, **changes):
    """The network's weights as the authors pack them, beside what their training leaves there."""
    own, state = network.state_dict(), {}
    for key, shape, _ in keys("swin_t"):
        name = rename_official(key)
        if name in own:
            state[key] = own[name]
        elif name is None:
            state[key] = torch.zeros(shape)
    state |= {"criterion.empty_weight": torch.ones(2), "model.criterion.empty_weight": torch.ones(2)} | changes
    torch.save({"model": {k: v for k, v in state.items() if v is not None}, "optimizer": {"lr": 1e-4}}, path)
    return path


CARD = cards.encoder("semantic_sam_swin_t")
PREDICTOR = "model.sem_seg_head.predictor"


def test_an_official_file_is_loaded(network, frames, tmp_path, caplog):
    file = official_file(network, tmp_path / "small.pth")
    other = SemanticSam.of_size("swin_mini")
    with caplog.at_level(logging.WARNING):
        load_file(other, CARD, str(file))
    assert not caplog.records
    for name, value in other.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_what_should_agree_and_does_not_is_said(network, tmp_path, caplog):
    file = official_file(
        network,
        tmp_path / "small.pth",
        **{f"{PREDICTOR}._bbox_embed.layers.2.bias": torch.ones(4), f"{PREDICTOR}.matcher.weight": torch.ones(1)},
    )
    other = SemanticSam.of_size("swin_mini")
    with caplog.at_level(logging.WARNING):
        load_file(other, CARD, str(file))
    assert len(caplog.records) == 2
    assert "matcher.weight" in caplog.text
    assert torch.equal(other.decoder.box[4].bias, network.decoder.box[4].bias)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({f"{PREDICTOR}.iou_prediction_head.layers.0.weight": None}, "1 missing: decoder.score.0.weight"),
        ({"model.backbone.norm0.weight": torch.ones(3)}, r"backbone.norms.0.weight [3] instead of [16]"),
        (
            {f"{PREDICTOR}.decoder.layers.2.norm1.bias": torch.ones(32)},
            "1 unexpected: decoder.layers.2.cross_norm.bias",
        ),
    ],
)
def test_a_file_of_another_network_is_refused(network, tmp_path, changes, said):
    file = official_file(network, tmp_path / "small.pth", **changes)
    with pytest.raises(AvsbenchError, match=re.escape(said)):
        load_file(SemanticSam.of_size("swin_mini"), CARD, str(file))


def test_missing_weights_are_named_with_file_source_and_size():
    with pytest.raises(AvsbenchError) as raised:
        build(weights="nowhere/swint_only_sam_many2many.pth", device="cpu", backbone="swin_t", levels=[3])
    for part in ("nowhere/swint_only_sam_many2many.pth", "MB", "github.com/UX-Decoder/Semantic-SAM", "fetch-weights"):
        assert part in str(raised.value)


def test_weights_of_another_backbone(network, tmp_path):
    file = official_file(network, tmp_path / "small.pth")
    with pytest.raises(AvsbenchError, match=r"do not fit(.|\n)*name the backbone that the file is of"):
        build(weights=str(file), device="cpu", backbone="swin_t", levels=[3])
