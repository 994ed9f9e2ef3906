"""Sam4AVS without training: masks from prompts and from crops, empty cases, and heatmaps of small towers."""

import dataclasses
import importlib
import logging

import numpy as np
import pytest
import torch

from avsbench import cards, features, registry
from avsbench.config import check_config
from avsbench.contract import Batch
from avsbench.errors import AvsbenchError
from avsbench.features.boxes import SIDE
from avsbench.features.crops import clip_pictures, masked_crops
from avsbench.features.heatmap import Heatmaps, heatmaps
from avsbench.features.promptable import Promptable
from avsbench.features.settings import check_readers, resolve
from avsbench.nn.audioclip import audioclip
from avsbench.nn.clip_visual import clip_visual
from avsbench.nn.esresnext import esresnext
from avsbench.paths import Paths
from avsbench.plan import Plan

CARD = cards.method_cards()["sam4avs"]
MODEL = registry.method_module(CARD)
PROMPTS = importlib.import_module(".prompts", MODEL.__package__)


class Recorder(Promptable):
    """Answers with three masks whose rows are the number of the mask, and keeps what it was asked."""

    def embed(self, frames):
        return frames

    def masks(self, embedding, size, *, points=None, labels=None, boxes=None, several=True):
        self.asked = {"points": points, "labels": labels, "boxes": boxes}
        count = len(points if boxes is None else boxes)
        masks = torch.zeros(count, 3 if several else 1, *size, dtype=torch.bool)
        for number in range(masks.shape[1]):
            masks[:, number, : number + 1] = True
        return masks, torch.tensor([[0.5, 0.9, 0.1]])[:, : masks.shape[1]].expand(count, -1)


def batch(real=((True, True, False),), **features):
    real = torch.tensor(real)
    frames = torch.zeros(*real.shape, 3, 16, 16, dtype=torch.uint8)
    embedding = torch.zeros(*real.shape, 3, 16, 16, dtype=torch.uint8)
    return Batch(frames, real, ["clip"], features={"image_embedding": embedding, **features})


def prompted(prompt, segmenter=None, **options):
    found = MODEL.build(dataset=cards.dataset("s4"), scale="mini", image_size=64, prompt=prompt, **options)
    found.segmenter = segmenter or Recorder()
    return found


def bump(row, column):
    """A cosine map with one high and one low cell."""
    cosine = torch.full((7, 7), 0.2)
    cosine[row, column], cosine[6 - row, 6 - column] = 0.8, -0.5
    return cosine


@torch.no_grad()
def test_the_mask_of_the_highest_score_counts_and_padding_stays_empty():
    cosine = torch.stack([bump(2, 3), bump(4, 2), torch.zeros(7, 7)])[None]
    method = prompted("top")
    output = method(batch(heatmap=cosine))
    masks = output["masks"]
    assert masks.shape == (1, 3, SIDE, SIDE)
    assert masks.sum(dim=(2, 3)).tolist() == [[2 * SIDE, 2 * SIDE, 0]]
    (points,), (labels,) = method.segmenter.asked["points"], method.segmenter.asked["labels"]
    assert labels.tolist() == [1, 0]
    assert points.div(32).long().tolist() == [[2, 4], [4, 2]]  # (x, y) of the cells of the second frame
    scores = method.scores(output, (64, 48))
    assert scores.shape == (1, 3, 1, 64, 48)
    assert scores.abs().unique().tolist() == [MODEL.CERTAIN]
    assert torch.equal(method.scores(output, (SIDE, SIDE))[:, :, 0] > 0, masks)
    largest = prompted("top", selection="max_area")(batch(heatmap=cosine))["masks"]
    assert largest.sum(dim=(2, 3)).tolist() == [[3 * SIDE, 3 * SIDE, 0]]


@torch.no_grad()
def test_points_lie_where_cosines_are_low_if_reversed():
    plain, reverse = (prompted("top", reverse=flag) for flag in (False, True))
    cosine = bump(2, 3).expand(1, 3, 7, 7)
    for method in (plain, reverse):
        method(batch(heatmap=cosine))
    swapped = plain.segmenter.asked["points"].flip(1)
    assert torch.equal(reverse.segmenter.asked["points"].div(32).long(), swapped.div(32).long())


@torch.no_grad()
def test_swapped_coordinates_are_mended_unless_asked_for():
    cosine = bump(2, 4).expand(1, 3, 7, 7)
    asked = {}
    for quirks in ("fixed", "reference"):
        method = prompted("peak", threshold=0.6, quirks=quirks)
        method(batch(heatmap=cosine))
        asked[quirks] = method.segmenter.asked["points"][0]
    assert asked["fixed"][0].div(32).long().tolist() == [4, 2]
    assert torch.equal(asked["reference"], asked["fixed"][:, [0, 0]])


@torch.no_grad()
def test_boxes_of_the_detector_are_united_and_none_is_an_empty_mask():
    nan = float("nan")
    boxes = torch.tensor([[[[1.0, 2, 30, 40], [nan] * 4], [[nan] * 4, [nan] * 4], [[0.0, 0, 9, 9], [1.0, 1, 2, 2]]]])
    method = prompted("detector")
    masks = method(batch(boxes=boxes))["masks"]
    assert method.segmenter.asked["boxes"].tolist() == [[1, 2, 30, 40]]
    assert masks.sum(dim=(2, 3)).tolist() == [[SIDE, 0, 0]]


@torch.no_grad()
@pytest.mark.parametrize("quirks", ["fixed", "reference"])
@pytest.mark.parametrize("prompt", [*PROMPTS.POINTS, *PROMPTS.BOXES])
def test_a_map_without_contrast_asks_nothing(prompt, quirks, caplog):
    method = prompted(prompt, threshold=0.5, quirks=quirks)
    with caplog.at_level(logging.WARNING):
        masks = method(batch(heatmap=torch.zeros(1, 3, 7, 7)))["masks"]
    assert not masks.any()
    assert not hasattr(method.segmenter, "asked")
    assert ("clip: the published program stops at 2 of the frames" in caplog.text) == (quirks == "reference")


def test_each_strategy_has_a_box():
    heatmap = np.zeros((SIDE, SIDE), np.float32)
    heatmap[10:20, 30:60], heatmap[100:103, 5:9], heatmap[101, 7], heatmap[20, 60] = 0.6, 0.7, 1.0, 0.6
    first, second = [30, 10, 60, 20], [5, 100, 8, 102]  # corners that touch belong together
    wanted = {"single_maxarea": [first], "single_maxscore": [second], "multi": [first, second]}
    for strategy, boxes in {**wanted, "total": [[5, 10, 60, 102]]}.items():
        assert PROMPTS.boxes(heatmap, strategy, 0.55).tolist() == boxes, strategy
        assert PROMPTS.boxes(heatmap, strategy, 1.5).shape == (0, 4), strategy


def test_a_heatmap_spans_0_to_1_before_it_is_enlarged():
    cosine = torch.stack([bump(3, 3), bump(0, 0)])
    plain, reverse = (heatmaps(cosine, reverse=flag) for flag in (False, True))
    assert plain.shape == (2, SIDE, SIDE)
    assert plain[1].max() == 1
    assert plain.min() == 0
    assert torch.allclose(plain + reverse, torch.ones(()), atol=1e-6)


def no_prompt(quirks="fixed", **options):
    torch.manual_seed(0)
    found = MODEL.build(
        dataset=cards.dataset("s4"), scale="mini", image_size=64, prompt="none", quirks=quirks, **options
    )
    return found.eval()


def scene():
    """A frame with four things: a block, a line of one row, another block, and nothing."""
    masks = torch.zeros(4, 16, 16, dtype=torch.uint8)
    masks[0, 2:6, 2:6], masks[1, 8, 1:9], masks[2, 10:15, 4:12] = 1, 1, 1
    frames = torch.randint(0, 256, (1, 1, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return frames, masks


def heard(method, chosen):
    """What a method says that is sure of the crop of this number."""
    frames, masks = scene()
    method.shares = lambda crops, sound: torch.eye(len(crops))[chosen]
    waves = {"audioclip_wave": torch.zeros(1, 1, 44100), "clap_wave": torch.zeros(1, 1, 48000)}
    real = torch.ones(1, 1, dtype=torch.bool)
    proposals = masks[None, None]
    with torch.no_grad():
        output = method(Batch(frames, real, ["clip"], audio=waves, features={"proposals": proposals}))
    return output["masks"][0, 0]


def test_a_mask_without_a_crop_shifts_the_later_ones_as_published():
    _, masks = scene()
    assert torch.equal(heard(no_prompt(), 2), masks[2].bool())
    assert torch.equal(heard(no_prompt("reference"), 0), masks[0].bool())
    assert torch.equal(heard(no_prompt("reference"), 1), masks[1].bool())  # the crop is that of masks[2]


def test_the_mask_that_sounds_most_is_taken_if_the_method_is_sure():
    method = no_prompt()
    frames, masks = scene()
    crops, numbers = masked_crops(frames[0, 0].float() / 255, masks.bool(), method.side)
    assert numbers.tolist() == [0, 1, 2]
    with torch.no_grad():
        sound = method.visual.embed(crops[1:2])[0]
        shares = method.shares(crops, sound)
    assert shares.sum() == pytest.approx(1)
    assert shares.argmax() == 1
    method.threshold = 1.0
    assert not heard(method, 0).any()


@pytest.mark.parametrize("quirks", ["fixed", "reference"])
@pytest.mark.parametrize("count", [0, 1])
def test_no_masks_are_an_empty_mask(quirks, count, caplog):
    method, (frames, masks) = no_prompt(quirks), scene()
    waves = {"audioclip_wave": torch.zeros(1, 1, 44100), "clap_wave": torch.zeros(1, 1, 48000)}
    proposals = masks[3:][:count][None, None]  # none at all, or an empty one
    with caplog.at_level(logging.WARNING), torch.no_grad():
        found = method(Batch(frames, torch.ones(1, 1).bool(), ["clip"], audio=waves, features={"proposals": proposals}))
    assert found["masks"].shape == (1, 1, 16, 16)
    assert not found["masks"].any()
    assert ("clip: the published program stops at 1 of the frames" in caplog.text) == (quirks == "reference")


def test_a_crop_holds_all_of_its_mask():
    picture, mask = torch.ones(3, 20, 20), torch.zeros(1, 20, 20, dtype=torch.bool)
    mask[0, 4:12, 4:12] = True
    mask[0, 11, 11] = False
    black = clip_pictures(torch.zeros(1, 3, 8, 8), 8).min()
    for edges, dark in {"fixed": 1, "reference": 0}.items():
        (crop,), _ = masked_crops(picture, mask, 8 if edges == "fixed" else 7, edges)
        assert (crop[0] == black).sum() == dark


def test_of_a_long_picture_the_middle_is_seen():
    picture = torch.zeros(1, 3, 4, 12)
    picture[..., 4:8] = 1
    assert (clip_pictures(picture, 4).amax(dim=(2, 3)) == clip_pictures(picture, 4).amin(dim=(2, 3))).all()


@pytest.fixture(scope="module")
def towers():
    torch.manual_seed(0)
    return clip_visual("mini"), esresnext("mini")


def test_heatmaps_are_cosines_of_cells_with_their_second(towers):
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, 32, 32, 3), np.uint8)
    waves = {"audioclip_wave": random.standard_normal((2, 44100)).astype(np.float32) / 9}
    found = Heatmaps(*towers).derive(frames, waves)
    assert (found.shape, found.dtype) == ((2, 7, 7), np.float32)
    assert abs(found).max() <= 1
    assert not np.allclose(found, Heatmaps(*towers, pool="plain").derive(frames, waves))
    alone = Heatmaps(*towers).derive(frames[1:], {"audioclip_wave": waves["audioclip_wave"][1:]})
    assert np.allclose(found[1:], alone, atol=1e-5)
    assert Heatmaps(*towers, side=64).derive(frames, waves).shape == (2, 2, 2)
    with pytest.raises(AvsbenchError, match="did you mean 'surgery'"):
        Heatmaps(*towers, pool="surgry")


def test_heatmaps_round_as_float32_on_any_gpu(towers, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    during = []
    hooks = [each.register_forward_pre_hook(lambda *_: during.append(exactly())) for each in towers]
    Heatmaps(*towers).derive(np.zeros((1, 32, 32, 3), np.uint8), {"audioclip_wave": np.zeros((1, 4410), np.float32)})
    for hook in hooks:
        hook.remove()
    assert during == [True, True]
    assert torch.backends.cudnn.allow_tf32


def exactly():
    """Neither products nor convolutions may use TF32."""
    return torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.allow_tf32


def test_the_generator_takes_both_towers_from_one_file(tmp_path):
    torch.manual_seed(0)
    torch.save(audioclip("mini").state_dict(), tmp_path / "audioclip.pt")
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, 32, 32, 3), np.uint8)
    waves = {"audioclip_wave": random.standard_normal((2, 44100)).astype(np.float32) / 9}

    def derived(**options):
        card = features.generator("audioclip", "heatmap")
        found = features.build(card, options, str(tmp_path / "audioclip.pt"), scale="mini")
        return found.derive(frames, waves)

    assert np.array_equal(derived(), derived())
    assert not np.allclose(derived(), derived(amplitude="reference"))
    assert not np.allclose(derived(), derived(pool="plain"))


def at_full(variant, dataset):
    """The network of published size, without memory."""
    with torch.device("meta"):
        return registry.build(cards.variant(variant), cards.dataset(dataset), "full", SIDE)


@pytest.mark.parametrize(
    ("name", "strategy", "thresholds"),
    [
        ("point-local", "peak", {"s4": 0.6, "ms3": 0.65}),
        ("point-global", "top", {"s4": 0.5, "ms3": 0.5}),  # which does nothing
        ("point-dense", "dense", {"s4": 0.85, "ms3": 0.7}),
        ("heatmap-box", "single_maxarea", {"s4": 0.55, "ms3": 0.55}),
    ],
)
@pytest.mark.parametrize("quirks", ["fixed", "reference"])
def test_prompts_are_asked_as_published(name, strategy, thresholds, quirks):
    pytest.importorskip("segment_anything", reason="the extra `sam` is not installed")
    variant = f"sam4avs-{name}" + "-reference" * (quirks == "reference")
    for dataset, threshold in thresholds.items():
        network = at_full(variant, dataset)
        assert network.selection == "max_score"
        asked = {"strategy": strategy, "threshold": threshold, "reverse": True, "quirks": quirks}
        assert network.ask.keywords == asked


@pytest.mark.parametrize(
    ("variant", "wave", "repeats", "gain"),
    [("sam4avs-no-prompt", "audioclip_wave", 5, 32768), ("sam4avs-no-prompt-reference", "clap_wave", 1, 1)],
)
def test_what_is_heard_without_prompts(variant, wave, repeats, gain):
    """As published one second from another loader, and too quiet."""
    network = at_full(variant, "ms3")
    heard = network.front_end, network.repeats, network.audio.spectrogram.gain
    assert heard == (wave, repeats, gain)
    assert (network.side, network.threshold) == (SIDE, 0.5)
    assert list(cards.variant(variant).front_ends_on("ms3")) == [wave]


def test_an_unknown_prompt_is_named():
    with pytest.raises(AvsbenchError, match=r"options of sam4avs: prompt(.|\n)*did you mean 'dense'"):
        prompted("denser")


@pytest.mark.parametrize(
    ("scale", "chosen", "message"),
    [
        (
            "full",
            {"options": {"model": "vit_b"}},
            r"found:\s+sam_vit_b\s+expected:\s+sam_vit_h(.|\n)*segmenter: sam_vit_b",
        ),
        ("full", {"generator": "regions"}, r"found:\s+no weights\s+expected:\s+sam_vit_h"),
        ("mini", {"generator": "sam"}, r"found:\s+sam_vit_h\s+expected:\s+no weights, at scale mini"),
    ],
)
def test_embeddings_of_one_network_are_not_prompted_by_another(scale, chosen, message):
    """The decoders of Segment Anything take them, and make nonsense of them."""
    config = {
        "scale": scale,
        "runs": {"s4": ["sam4avs-point-local"]},
        "seeds": [0],
        "features": {"image_embedding": chosen},
    }
    with pytest.raises(AvsbenchError, match=rf"sam4avs-point-local cannot read the image_embedding(.|\n)*{message}"):
        Plan(check_config(config)).features("sam4avs-point-local")


def test_a_row_of_a_study_may_take_another_network_for_both_steps():
    variant, paths = cards.variant("sam4avs-point-local"), Paths("full")
    settings = {"image_embedding": resolve("image_embedding", paths, {"options": {"model": "vit_b"}})}
    check_readers(dataclasses.replace(variant, encoders={"segmenter": "sam_vit_b"}), settings, "full")
    with pytest.raises(AvsbenchError, match="cannot read"):
        check_readers(variant, settings, "full")
