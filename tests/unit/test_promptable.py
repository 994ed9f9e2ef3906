"""Segmenters under prompts: Segment Anything from stored embeddings against its package's predictor, and regions."""

import numpy as np
import pytest
import torch

from avsbench import features
from avsbench.errors import AvsbenchError
from avsbench.features.promptable import select
from avsbench.features.regions import Regions
from avsbench.features.settings import resolve
from avsbench.paths import Paths

from .test_features_sam import tiny

SIZE = (40, 56)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (3, *SIZE, 3), np.uint8)


def sam(**options):
    pytest.importorskip("segment_anything", reason="the extra `sam` is not installed")
    from avsbench.features.sam_prompts import SamPrompts

    return SamPrompts(tiny().eval(), **options)


def predictor(frame):
    pytest.importorskip("segment_anything", reason="the extra `sam` is not installed")
    from segment_anything import SamPredictor

    found = SamPredictor(tiny().eval())
    found.set_image(frame)
    return found


POINTS = torch.tensor([[[10.5, 20.0], [50.0, 3.0], [0.0, 0.0]], [[30.0, 30.0], [31.0, 12.5], [55.0, 39.0]]])
LABELS = torch.tensor([[1, 0, 0], [1, 1, 0]])
BOXES = torch.tensor([[4, 5, 30, 39], [0, 0, 55, 20]])


def test_points_are_prompted_as_the_package_does(frames):
    segmenter = sam()
    stored = torch.from_numpy(segmenter.embed(frames))
    assert stored.dtype == torch.float32
    for frame, embedding in zip(frames, stored, strict=True):
        masks, scores = segmenter.masks(embedding, SIZE, points=POINTS.double(), labels=LABELS)
        assert masks.shape == (2, 3, *SIZE)
        assert masks.dtype == torch.bool
        package = predictor(frame)
        for n in range(2):  # prompts of one call do not see each other
            wanted = package.predict(POINTS[n].double().numpy(), LABELS[n].numpy(), multimask_output=True)
            assert np.array_equal(masks[n], wanted[0])
            assert scores[n].numpy() == pytest.approx(wanted[1], abs=1e-6)
    assert masks.any()
    assert not masks.all()


def test_boxes_are_prompted_as_the_package_does(frames):
    segmenter = sam()
    (embedding,) = torch.from_numpy(segmenter.embed(frames[:1]))
    package = predictor(frames[0])
    masks, scores = segmenter.masks(embedding, SIZE, boxes=BOXES)
    for n, box in enumerate(BOXES.numpy()):
        wanted = package.predict(box=box, multimask_output=True)
        assert np.array_equal(masks[n], wanted[0])
        assert scores[n].numpy() == pytest.approx(wanted[1], abs=1e-6)
    own = package.transform.apply_boxes_torch(BOXES.float(), SIZE)
    wanted = package.predict_torch(None, None, boxes=own, multimask_output=False)
    masks, scores = segmenter.masks(embedding, SIZE, boxes=BOXES.float(), several=False)
    assert masks.shape == (2, 1, *SIZE)
    assert torch.equal(masks, wanted[0])
    assert torch.allclose(scores, wanted[1], atol=1e-6)


def test_frames_are_embedded_together_as_alone(frames):
    package = predictor(frames[1])
    whole = sam(at_once=2).embed(frames)
    assert whole.shape == (3, 32, 4, 4)
    assert np.allclose(whole[1], package.get_image_embedding()[0].numpy(), atol=1e-5)
    assert np.allclose(whole, np.concatenate([sam().embed(frame[None]) for frame in frames]), atol=1e-5)


def test_embeddings_round_as_float32_on_any_gpu(frames, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    segmenter, during = sam(), []
    encoder = segmenter.network.image_encoder
    encoder.register_forward_pre_hook(lambda *_: during.append(torch.backends.cudnn.allow_tf32))
    segmenter.embed(frames[:1])
    assert during == [False]


def test_half_precision_is_enough(frames):
    segmenter = sam(precision="float16")
    half = segmenter.derive(frames, {})
    assert half.dtype == np.float16
    whole = sam().embed(frames)
    assert abs(half - whole).max() < 4e-3
    given = [segmenter.masks(torch.from_numpy(array[0]), SIZE, boxes=BOXES) for array in (half, whole)]
    assert torch.allclose(given[0][1], given[1][1], atol=5e-3)
    assert (given[0][0] == given[1][0]).float().mean() > 0.99


def test_without_encoder_the_published_files_fit_alike():
    pytest.importorskip("segment_anything", reason="the extra `sam` is not installed")
    from avsbench.features.sam_prompts import sam_prompts

    with torch.device("meta"):
        whole = sam_prompts("vit_b").network.state_dict()
    state = {key: torch.full(value.shape, 0.25) for key, value in whole.items() if not key.startswith("image_encoder.")}
    alone = sam_prompts("vit_h", encoder=False)
    alone.load_pretrained({**state, "image_encoder.pos_embed": torch.zeros(1)})
    assert all((value == 0.25).all() for value in alone.network.state_dict().values())
    masks, _ = alone.masks(torch.zeros(256, 64, 64), (224, 224), boxes=BOXES[:1])
    assert masks.shape == (1, 3, 224, 224)
    state.pop("prompt_encoder.no_mask_embed.weight")
    with pytest.raises(AvsbenchError, match=r"1 missing: prompt_encoder.no_mask_embed\.weight"):
        alone.load_pretrained(state)


def test_missing_weights_of_embeddings_are_named(tmp_path):
    pytest.importorskip("segment_anything", reason="the extra `sam` is not installed")
    chosen = {"generator": "sam", "options": {"model": "vit_b"}}
    setting = resolve("image_embedding", Paths("full", weights_root=str(tmp_path)), chosen)
    with pytest.raises(AvsbenchError, match=r"vit_b_01ec64.pth: the pretrained(.|\n)*375 MB(.|\n)*fbaipublicfiles"):
        features.build(setting.card, setting.options, setting.weights)


def test_one_mask_of_each_prompt_is_chosen():
    masks = torch.zeros(2, 3, 2, 2, dtype=torch.bool)
    masks[0, 1], masks[0, 2, 0], masks[1, 0, 0, 0], masks[1, 2, 1, 1] = True, True, True, True
    scores = torch.tensor([[0.1, 0.2, 0.9], [0.7, 0.7, 0.1]])
    assert torch.equal(select(masks, scores, "max_score"), masks[[0, 1], [2, 0]])
    assert torch.equal(select(masks, scores, "max_area"), masks[[0, 1], [1, 0]])


def halves():
    """Regions of a picture of 4 x 4: quarters, halves, the whole."""
    rows, columns = np.mgrid[:4, :4] // 2
    return torch.from_numpy(np.stack([2 * rows + columns, columns, 0 * rows]).astype(np.uint8))


def test_regions_follow_points():
    masks, scores = Regions().masks(
        halves(), (8, 8), points=torch.tensor([[[1.0, 1.0], [1.0, 7.5]]]), labels=torch.tensor([[1, 0]])
    )
    assert masks[0, 0].nonzero().amax(dim=0).tolist() == [3, 3]
    assert not masks[0, 1:].any()  # as many against as for the larger ones
    assert scores.tolist() == [[1.0, 0.5, 0.5]]
    points = torch.tensor([[[1.0, 1.0], [1.0, 7.5], [9.0, -2.0]]])
    masks, scores = Regions().masks(halves(), (8, 8), points=points, labels=torch.tensor([[1, 1, 0]]))
    assert torch.equal(masks[0, 0], masks[0, 1])
    assert masks[0, 1].sum() == 32
    assert masks[0, 2].all()
    assert scores[0].tolist() == pytest.approx([1, 1, 2 / 3])


def test_regions_follow_boxes():
    boxes = torch.tensor([[0.0, 0.0, 3.0, 7.0], [0.0, 0.0, 7.0, 5.0]])
    masks, scores = Regions().masks(halves(), (8, 8), boxes=boxes)
    assert masks[0].sum(dim=(1, 2)).tolist() == [32, 32, 0]
    assert scores[0].tolist() == [1.0, 1.0, 0.0]
    assert masks[1].sum(dim=(1, 2)).tolist() == [32, 64, 64]
    assert scores[1].tolist() == pytest.approx([32 / 48, 48 / 64, 48 / 64])
    best, score = Regions().masks(halves(), (8, 8), boxes=boxes, several=False)
    assert best.shape == (2, 1, 8, 8)
    assert best.sum(dim=(2, 3)).flatten().tolist() == [32, 64]
    assert score.flatten().tolist() == pytest.approx([1.0, 0.75])


def test_regions_grow_with_the_scale():
    picture = np.zeros((1, 32, 48, 3), np.uint8)
    picture[:, :16], picture[:, 16:, :20] = (250, 10, 10), (10, 10, 250)
    picture = picture + np.random.default_rng(0).integers(0, 6, picture.shape, np.uint8)
    levels = Regions(least=0.001).derive(picture, {})
    assert levels.dtype == np.uint8
    assert levels.shape == (1, 3, 32, 48)
    counts = [len(np.unique(level)) for level in levels[0]]
    assert counts == sorted(counts, reverse=True)
    assert 3 <= counts[0] < 256
    assert np.array_equal(features.build(features.generator("regions", "image_embedding"), {}).embed(picture)[0, 2],
                          Regions().embed(picture)[0, 2])  # fmt: skip
