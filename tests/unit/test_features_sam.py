"""Segment Anything behind the interface of generators, as a tiny network with random weights."""

import builtins

import numpy as np
import pytest
import torch

from avsbench import features
from avsbench.errors import AvsbenchError
from avsbench.features.settings import resolve
from avsbench.paths import Paths

EVERYTHING = {"points_per_side": 4, "points_per_batch": 3, "score_threshold": -9.0, "stability_threshold": 0.0}


SMALLEST = {"generator": "sam", "options": {"model": "vit_b"}}


def tiny():
    """Sam for pictures of 64 pixels; 0.1 million weights."""
    modeling = pytest.importorskip("segment_anything.modeling", reason="the extra `sam` is not installed")
    torch.manual_seed(0)
    width = 32
    return modeling.Sam(
        image_encoder=modeling.ImageEncoderViT(
            img_size=64, patch_size=16, embed_dim=16, depth=1, num_heads=2, out_chans=width
        ),
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=width, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=4
        ),
        mask_decoder=modeling.MaskDecoder(
            num_multimask_outputs=3,
            transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=64, num_heads=4),
            transformer_dim=width,
            iou_head_depth=2,
            iou_head_hidden_dim=32,
        ),
    )


def generator(**options):
    from avsbench.features.sam import SegmentAnything

    return SegmentAnything(tiny(), **{**EVERYTHING, "nms_threshold": 1.0, **options})


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def test_masks_have_the_size_of_the_picture_and_fall_by_score(image):
    found = generator().propose(image)
    assert found.masks.dtype == bool
    assert found.masks.shape[1:] == (40, 56)
    assert 1 < len(found.masks) <= 48  # three of each of 16 clicks
    assert found.scores.dtype == np.float32
    assert (np.diff(found.scores) <= 0).all()
    again = generator(points_per_batch=16).propose(image)
    assert np.array_equal(again.masks, found.masks)  # clicks do not see each other
    assert np.allclose(again.scores, found.scores, atol=1e-5)


def test_thresholds_reach_the_package(image):
    every = generator().propose(image)
    least = float(every.scores[every.scores > 0].mean())  # the package takes thresholds above 0 alone
    kept = [score for score in every.scores.tolist() if score > least]
    assert 0 < len(kept) < len(every.scores)
    assert generator(score_threshold=least).propose(image).scores.tolist() == pytest.approx(kept)
    assert len(generator(nms_threshold=0.1).propose(image).masks) < len(every.masks)
    none = generator(score_threshold=9.0).propose(image)
    assert none.masks.shape == (0, 40, 56)
    assert none.scores.shape == (0,)


def test_missing_weights_are_named_with_source_and_size(tmp_path):
    pytest.importorskip("segment_anything", reason="the extra `sam` is not installed")
    setting = resolve("maskige", Paths("full", weights_root=str(tmp_path)), SMALLEST)
    with pytest.raises(AvsbenchError, match=r"vit_b_01ec64.pth: the pretrained(.|\n)*375 MB(.|\n)*fbaipublicfiles"):
        features.build(setting.card, setting.options, setting.weights)


def test_another_file_than_published_is_refused(tmp_path):
    pytest.importorskip("segment_anything", reason="the extra `sam` is not installed")
    torch.save({}, tmp_path / "sam_vit_b_01ec64.pth")
    setting = resolve("maskige", Paths("full", weights_root=str(tmp_path)), SMALLEST)
    with pytest.raises(AvsbenchError, match=r"not the published file of sam_vit_b(.|\n)*ec2df627"):
        features.build(setting.card, setting.options, setting.weights)


def test_a_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("segment_anything"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(AvsbenchError, match=r'segment-anything(.|\n)*pip install "avsbench\[sam\]"'):
        features.build(features.generator("sam"), {}, "nowhere.pth")
