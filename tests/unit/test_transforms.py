"""Published augmentation against cases worked out by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from avsbench.contract import IGNORE
from avsbench.transforms import pictures
from avsbench.transforms.frames import MEAN_COLOUR, FrameAugmentation

STILL = {"scales": (1.0,), "mirror": 0.0}


def picture(rows):
    """A grey picture."""
    return Image.fromarray(np.repeat(np.array(rows, np.uint8)[..., None], 3, axis=2))


def mask(rows):
    return Image.fromarray(np.array(rows, np.uint8))


def rows(image):
    """The first channel."""
    array = np.asarray(image)
    return (array[..., 0] if array.ndim == 3 else array).tolist()


def colour(*values):
    return Image.fromarray(np.array([[values]], np.uint8))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def clip(frames=2, height=6, width=8, seed=0):
    generator = seeded(seed)
    return {
        "clip_id": "a",
        "position": 0,
        "frames": torch.randint(0, 256, (frames, 3, height, width), generator=generator, dtype=torch.uint8),
        "masks": torch.randint(0, 5, (frames, height, width), generator=generator),
        "real": torch.ones(frames, dtype=torch.bool),
        "annotated": torch.ones(frames, dtype=torch.bool),
        "audio": {"mono": torch.rand(frames, 1, 4, 3), "stereo": torch.rand(frames, 2, 4, 3)},
        "features": {},
    }


# one picture


def test_mirror():
    found = pictures.mirror(picture([[1, 2, 3], [4, 5, 6]]), mask([[0, 1, 2], [3, 4, 255]]))
    assert rows(found[0]) == [[3, 2, 1], [6, 5, 4]]
    assert rows(found[1]) == [[2, 1, 0], [255, 4, 3]]


def test_sides_are_rounded_down():
    found = pictures.scale(picture(np.zeros((333, 7))), mask(np.zeros((333, 7))), 0.75)
    assert [image.size for image in found] == [(5, 249)] * 2


def test_mask_takes_the_nearest_pixel():
    # The centres of two pixels, at 1 and 3 of four, lie on edges: the pixel on the right is taken.
    labels = mask([[7, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 255]])
    assert rows(pictures.scale(picture(np.zeros((4, 4))), labels, 0.5)[1]) == [[5, 7], [13, 255]]
    assert rows(pictures.resize(picture([[0, 0]]), mask([[3, 9]]), 4, 1)[1]) == [[3, 3, 9, 9]]


def cubic(x, a=-0.5):
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


@pytest.mark.parametrize("width", [4, 16])
def test_picture_is_bicubic_with_antialias(width):
    """Keys' cubic with a = -0.5, stretched by the factor of a reduction, over pixels that exist."""
    line = np.array([0, 0, 10, 200, 250, 255, 90, 30])
    stretch = max(1.0, len(line) / width)
    expected = []
    for place in range(width):
        centre = (place + 0.5) * len(line) / width
        first, last = max(0, int(centre - 2 * stretch + 0.5)), min(len(line), int(centre + 2 * stretch + 0.5))
        weights = np.array([cubic((x + 0.5 - centre) / stretch) for x in range(first, last)])
        expected.append(np.clip((weights / weights.sum()) @ line[first:last], 0, 255))
    found, _ = pictures.resize(picture([line]), mask([line]), width, 1)
    np.testing.assert_allclose(rows(found)[0], expected, atol=0.6)


def test_padding_is_on_the_right_and_below():
    found = pictures.pad(picture([[9, 9, 9]]), mask([[1, 2, 3]]), 2, (5, 6, 7), 255)
    assert np.asarray(found[0]).tolist() == [[[9] * 3] * 3, [[5, 6, 7]] * 3]
    assert rows(found[1]) == [[1, 2, 3], [255, 255, 255]]
    large = picture(np.ones((2, 3))), mask(np.ones((2, 3)))
    assert pictures.pad(*large, 2, (5, 6, 7), 255) == large


def test_crop():
    found = pictures.crop(picture(np.arange(12).reshape(3, 4)), mask(np.arange(12).reshape(3, 4)), 2, left=2, top=1)
    assert rows(found[0]) == rows(found[1]) == [[6, 7], [10, 11]]


# colours: (100, 50, 200) has a luminance of 0.299 * 100 + 0.587 * 50 + 0.114 * 200 = 82.05, rounded to 82


@pytest.mark.parametrize(
    ("number", "factor", "expected"),
    [
        (0, 1.5, (150, 75, 255)),
        (0, 0.5, (50, 25, 100)),
        (1, 0.5, (91, 66, 141)),  # half way to the mean luminance of the picture
        (1, 1.5, (109, 34, 255)),
        (2, 0.0, (82, 82, 82)),
        (2, 1.5, (109, 34, 255)),
    ],
)
def test_one_adjustment(number, factor, expected):
    factors = [1.0, 1.0, 1.0, 0.0]
    factors[number] = factor
    found = pictures.adjust_colours(colour(100, 50, 200), factors, [number])
    assert np.asarray(found)[0, 0].tolist() == list(expected)


def test_hue_turns_the_colour_wheel():
    # Half of 256 steps is 127 of 255 (rounded down): 2.988 of six sectors, so 0.988 of the way from green to cyan.
    assert np.asarray(pictures.adjust_colours(colour(255, 0, 0), [1, 1, 1, 0.5], [3]))[0, 0].tolist() == [0, 255, 252]
    unchanged = pictures.adjust_colours(colour(255, 0, 0), [1, 1, 1, 0.0], [3])
    assert np.asarray(unchanged)[0, 0].tolist() == [255, 0, 0]


def test_adjustments_follow_their_order():
    # Brighter first: (200, 100, 255), luminance 147.57. Less contrast first: (91, 66, 141), then twice as bright.
    both = [2.0, 0.5, 1.0, 0.0]
    first = pictures.adjust_colours(colour(100, 50, 200), both, [0, 1])
    assert np.asarray(first)[0, 0].tolist() == [174, 124, 201]
    second = pictures.adjust_colours(colour(100, 50, 200), both, [1, 0])
    assert np.asarray(second)[0, 0].tolist() == [182, 132, 255]


def test_jitter_stays_within_its_strengths(monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "adjust_colours", lambda image, factors, order: drawn.append((factors, order)))
    for seed in range(300):
        pictures.colour_jitter(colour(1, 2, 3), (0.5, 0.25, 2.0, 0.1), seeded(seed))
    factors = np.array([each for each, _ in drawn])
    np.testing.assert_allclose(factors.min(axis=0), [0.5, 0.75, 0.0, -0.1], atol=0.03)
    np.testing.assert_allclose(factors.max(axis=0), [1.5, 1.25, 3.0, 0.1], atol=0.03)
    assert len({tuple(order) for _, order in drawn}) == 24


# a clip


def test_frames_and_masks_stay_together():
    item = clip(frames=1, height=9, width=11)
    item["masks"] = item["frames"][:, 0].long() % 200  # a mask that says what the picture shows
    seen = set()
    for seed in range(200):
        out = FrameAugmentation(size=8, mirror=0.5)(item, seeded(seed))
        assert out["frames"].shape == (1, 3, 8, 8)
        assert out["frames"].dtype == torch.uint8
        assert out["masks"].dtype == torch.int64
        assert torch.equal(out["frames"][:, 0].long() % 200, out["masks"])
        seen.add(out["masks"].numpy().tobytes())
    assert len(seen) == 2 * 2 * 4  # mirrored or not, 9 - 8 + 1 rows, 11 - 8 + 1 columns


def test_small_frames_are_padded_and_what_is_padded_does_not_count():
    out = FrameAugmentation(size=8, scales=(0.5,), mirror=0.0)(clip(height=8, width=12), seeded())
    for frame, labels in zip(out["frames"], out["masks"], strict=True):
        assert (frame[:, 4:] == torch.tensor(MEAN_COLOUR)[:, None, None]).all()
        assert (frame[:, :, 6:] == torch.tensor(MEAN_COLOUR)[:, None, None]).all()
        outside = labels == IGNORE
        assert outside[4:].all()
        assert outside[:, 6:].all()
        assert not outside[:4, :6].any()


def test_padding_may_be_foreground():
    out = FrameAugmentation(size=8, padding=1, **STILL)(clip(height=4), seeded())
    assert (out["masks"][:, 4:] == 1).all()


def test_squash_shows_the_whole_frame():
    item = clip(height=4, width=8)
    out = FrameAugmentation(size=4, fit="squash", **STILL)(item, seeded())
    assert torch.equal(out["masks"], item["masks"][:, :, 1::2])
    same = FrameAugmentation(size=6, fit="squash", **STILL)(clip(height=6, width=6), seeded())
    assert torch.equal(same["frames"], clip(height=6, width=6)["frames"])


def test_frames_of_a_clip_are_drawn_apart():
    item = clip(frames=1)
    for name in ("frames", "masks"):
        item[name] = item[name].expand(20, *item[name].shape[1:])
    item["audio"] = {}
    out = FrameAugmentation(size=6, mirror=0.5, scales=(1.0, 1.5))(item, seeded())
    assert len({labels.numpy().tobytes() for labels in out["masks"]}) > 5


def test_mirrored_frames_swap_their_stereo_channels():
    item = clip(frames=6)
    out = FrameAugmentation(size=6, fit="squash", stereo=("stereo", "other"))(item, seeded())
    plain = FrameAugmentation(size=6, fit="squash", mirror=0.0)(item, seeded())
    mirrored = [torch.equal(a, b.flip(1)) for a, b in zip(out["masks"], plain["masks"], strict=True)]
    assert 0 < sum(mirrored) < 6
    for frame, turned in enumerate(mirrored):
        sound = item["audio"]["stereo"][frame]
        assert torch.equal(out["audio"]["stereo"][frame], sound.flip(0) if turned else sound)
    assert out["audio"]["mono"] is item["audio"]["mono"]
    forgetful = FrameAugmentation(size=6, mirror=1.0)(item, seeded())
    assert forgetful["audio"]["stereo"] is item["audio"]["stereo"]


def test_the_clip_given_stays_as_it_was():
    item, twin = clip(), clip()
    item["audio"] = twin["audio"]
    before = twin["audio"]["stereo"].clone()
    FrameAugmentation(size=4, mirror=1.0, jitter=(0.5,) * 3 + (0.25,), stereo=("stereo",))(item, seeded())
    assert torch.equal(item["frames"], twin["frames"])
    assert torch.equal(item["masks"], twin["masks"])
    assert torch.equal(item["audio"]["stereo"], before)


def test_generator_decides_all():
    full = FrameAugmentation(size=5, scales=(0.5, 1.0, 2.0), jitter=(0.5, 0.5, 0.5, 0.25), stereo=("stereo",))
    torch.manual_seed(1)
    first = full(clip(), seeded(7))
    torch.manual_seed(2)
    again = full(clip(), seeded(7))
    assert torch.equal(first["frames"], again["frames"])
    assert torch.equal(first["masks"], again["masks"])
    assert not torch.equal(first["frames"], full(clip(), seeded(8))["frames"])
