"""The augmentation of COMBO and NTAVS: colours against OpenCV's numbers, views by hand, what is drawn how often."""

import colorsys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from avsbench.contract import IGNORE
from avsbench.errors import AvsbenchError
from avsbench.store.clips import ClipDataset
from avsbench.store.loader import load_batches
from avsbench.store.shards import ArrayWriter, Header
from avsbench.transforms.choice import SomeFrames, Window
from avsbench.transforms.clips import GREY, SCALES, ClipAugmentation, View, augmented, resized, transforms
from avsbench.transforms.colours import Colours, to_hsv, to_rgb
from tests.unit.store_fakes import SIZE, build

STILL = {"resize": False, "colours": False, "mirror": 0.0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def clip(frames=2, height=6, width=6, seed=0, maskige=True):
    generator = seeded(seed)

    def pictures():
        return torch.randint(0, 256, (frames, 3, height, width), generator=generator, dtype=torch.uint8)

    return {
        "clip_id": "a",
        "position": 0,
        "frames": pictures(),
        "masks": torch.randint(0, 5, (frames, height, width), generator=generator),
        "real": torch.ones(frames, dtype=torch.bool),
        "annotated": torch.ones(frames, dtype=torch.bool),
        "audio": {"mel": torch.arange(frames)[:, None].float()},
        "features": {"maskige": pictures()} if maskige else {},
    }


def row(*pixels):
    """A picture of one row."""
    return np.array(pixels, np.uint8).T[:, None]


def pixels(picture):
    return [tuple(pixel) for pixel in picture[:, 0].T.tolist()]


# colours

HSV = {
    (0, 0, 0): (0, 0, 0),
    (255, 255, 255): (0, 0, 255),
    (255, 0, 0): (0, 255, 255),
    (0, 255, 0): (60, 255, 255),
    (0, 0, 255): (120, 255, 255),
    (255, 0, 1): (0, 255, 255),
    (255, 0, 128): (165, 255, 255),
    (125, 0, 128): (149, 255, 128),
    (10, 200, 100): (74, 242, 200),
    (200, 190, 10): (28, 242, 200),
}
"""RGB -> OpenCV's 8-bit HSV, by the formula of its manual; 16,777,216 colours were compared with the library itself."""


def test_hue_saturation_value():
    found = to_hsv(row(*HSV))
    assert [tuple(map(int, each)) for each in zip(*(part[0] for part in found), strict=True)] == list(HSV.values())


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=40))
def test_hsv_is_that_of_the_definition(colours):
    # 12 bits behind the point: a quotient is off by 1/8192, what is multiplied with it is 255 or 1275 at most.
    for *found, colour in zip(*(part[0].tolist() for part in to_hsv(row(*colours))), colours, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(number / 255 for number in colour))
        away = abs(found[0] - 180 * hue)
        assert min(away, 180 - away) <= 0.5 + 1275 / 8192
        assert abs(found[1] - 255 * saturation) <= 0.5 + 255 / 8192 + 1e-9
        assert found[2] == round(255 * value)


def test_way_back_by_hand():
    # 74, 242, 200: a sixth of the wheel is 30; hue 74 is 14/30 into the third one, where blue rises.
    hue, saturation, value = (np.array([[x] * 32]) for x in (74, 242, 200))
    assert pixels(to_rgb(hue, saturation, value))[0] == (10, 200, int(200 * (1 - 242 / 255 * (1 - 14 / 30))))


def test_pixels_that_do_not_fill_a_vector_are_rounded():
    hue, saturation, value = (np.full((1, 34), x) for x in (31, 64, 1))
    assert [green for _, green, _ in pixels(to_rgb(hue, saturation, value))] == [1] * 34
    assert [red for red, _, _ in pixels(to_rgb(hue, saturation, value))] == [0] * 32 + [1] * 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (Colours(), (10, 200, 100)),
        (Colours(brightness=20.9), (30, 220, 120)),
        (Colours(brightness=-20.9), (0, 179, 79)),
        (Colours(brightness=100.0), (110, 255, 200)),
        (Colours(contrast=1.5), (15, 255, 150)),
        (Colours(brightness=-30.0, contrast=0.5), (0, 85, 35)),
        (Colours(brightness=-30.0, contrast=0.5, contrast_last=True), (0, 85, 35)),
        (Colours(hue=0), (10, 200, 98)),
        (Colours(saturation=0.0), (200, 200, 200)),
        (Colours(saturation=1.5), (0, 200, 93)),
        (Colours(hue=60), (98, 10, 200)),
        (Colours(hue=-74), (200, 10, 10)),
    ],
)
def test_each_change(change, found):
    assert pixels(change(row(*[(10, 200, 100)] * 32)))[5] == found


def test_contrast_comes_where_it_is_said_to():
    # First 150 255 150, of saturation 105, then 52; or first 150 200 150, of saturation 63 after 127.
    before = Colours(contrast=1.5, saturation=0.5)
    after = Colours(contrast=1.5, saturation=0.5, contrast_last=True)
    picture = row(*[(100, 200, 100)] * 32)
    assert pixels(before(picture))[0] == (203, 255, 203)
    assert pixels(after(picture))[0] == (225, 255, 225)


def test_pictures_are_not_changed_in_place():
    picture = row(*[(10, 200, 100)] * 32)
    before = picture.copy()
    Colours(brightness=5.0, contrast=0.9, saturation=0.9, hue=3)(picture)
    assert (picture == before).all()


def test_draws_have_the_published_ranges():
    drawn = [Colours.draw(seeded(n)) for n in range(2000)]
    for name, low, high in (("brightness", -32, 32), ("contrast", 0.5, 1.5), ("saturation", 0.5, 1.5)):
        values = [getattr(each, name) for each in drawn if getattr(each, name) is not None]
        assert len(values) / len(drawn) == pytest.approx(0.5, abs=0.05)
        assert low <= min(values) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(values) <= high
    hues = Counter(each.hue for each in drawn if each.hue is not None)
    assert set(hues) == set(range(-18, 19))
    assert sum(hues.values()) / len(drawn) == pytest.approx(0.5, abs=0.05)
    assert sum(each.contrast_last for each in drawn) / len(drawn) == pytest.approx(0.5, abs=0.05)


# views


def test_sides_are_the_published_ones():
    sides = [112, 134, 156, 179, 201, 224, 246, 268, 291, 313, 336, 358, 380, 403, 425, 448]
    assert [int(scale * 224) for scale in SCALES] == sides
    assert resized((300, 200), 134) == (201, 134)


def test_a_view_that_shows_all():
    item = clip()
    found = augmented(item, View(), [Colours()] * 4)
    for name in ("frames", "masks"):
        assert torch.equal(found[name], item[name])
    assert torch.equal(found["features"]["maskige"], item["features"]["maskige"])


def test_mirror_and_crop_by_hand():
    item = clip()
    found = augmented(item, View(mirrored=True), [Colours()] * 4)
    assert torch.equal(found["frames"], item["frames"].flip(3))
    assert torch.equal(found["features"]["maskige"], item["features"]["maskige"].flip(3))
    assert torch.equal(found["masks"], item["masks"].flip(2))


def test_a_large_picture_is_cut_and_a_small_one_padded_after_it_was_mirrored():
    masks = torch.arange(16).view(1, 4, 4)
    # Each pixel four times as large: columns 2 to 5 and rows 1 to 4 of 8 x 8.
    assert View(side=8, left=2, top=1).masks(masks)[0, :, 0].tolist() == [1, 5, 5, 9]
    assert View(side=8, left=2, top=1).masks(masks)[0, 0].tolist() == [1, 1, 2, 2]
    small = View(side=2, mirrored=True).masks(masks)[0]
    assert small[:2, :2].tolist() == [[7, 5], [15, 13]]
    assert (small[2:] == IGNORE).all()
    assert (small[:, 2:] == IGNORE).all()
    grey = View(side=2).pictures(torch.full((1, 3, 4, 4), 9, dtype=torch.uint8), [Colours(brightness=5.0)])
    assert (grey[..., :2, :2] == 14).all()
    assert (grey[..., 2:, :] == GREY).all()
    assert (grey[..., :, 2:] == GREY).all()


def test_pictures_are_resized_with_antialiasing():
    picture = torch.tensor([0, 100, 200, 200, 0, 0, 100, 100], dtype=torch.uint8).expand(1, 3, 8, 8)
    # Half the size: weights 1/8, 3/8, 3/8, 1/8 of four pixels around each centre; halves go up.
    found = View(side=4).pictures(picture, [Colours()])[0, 0, 0, :4].tolist()
    assert found[1:3] == [(100 + 3 * 200 + 3 * 200 + 0 + 4) // 8, (200 + 0 + 0 + 100 + 4) // 8]
    filtered = Image.fromarray(picture[0, 0].numpy()).resize((4, 4), Image.Resampling.BILINEAR)
    assert found == np.asarray(filtered)[0].tolist()


# the transform


def test_one_view_for_a_clip_and_colours_for_each_picture():
    item = clip(frames=3)
    for key in ("frames", "masks"):
        item[key][:] = item[key][:1].clone()
    item["features"]["maskige"] = item["frames"].clone()
    seen = ClipAugmentation(colours=False)(item, seeded(4))
    for array in (seen["frames"], seen["features"]["maskige"]):
        assert (array == seen["frames"][:1]).all()
    assert (seen["masks"] == seen["masks"][:1]).all()
    coloured = ClipAugmentation(resize=False, mirror=0.0)(item, seeded(4))
    pictures = [*coloured["frames"], *coloured["features"]["maskige"]]
    assert len({picture.numpy().tobytes() for picture in pictures}) == 6
    assert torch.equal(coloured["masks"], item["masks"])


def test_colours_come_in_the_order_frame_maskige():
    item, changes = clip(), [Colours(brightness=float(10 * n)) for n in range(4)]
    item["frames"][:], item["features"]["maskige"][:] = 1, 2
    found = augmented(item, View(), changes)
    assert found["frames"][:, 0, 0, 0].tolist() == [1, 21]
    assert found["features"]["maskige"][:, 0, 0, 0].tolist() == [12, 32]
    alone = augmented({**item, "features": {}}, View(), changes[:2])
    assert alone["frames"][:, 0, 0, 0].tolist() == [1, 11]


def test_views_are_uniform():
    draw = ClipAugmentation()
    views = [draw.view((40, 40), seeded(n)) for n in range(3000)]
    sides = Counter(view.side for view in views)
    assert sorted(sides) == [int(scale * 40) for scale in SCALES]
    assert min(sides.values()) > 120
    assert sum(view.mirrored for view in views) / len(views) == pytest.approx(0.5, abs=0.04)
    assert {(view.left, view.top) for view in views if view.side <= 40} == {(0, 0)}
    largest = [view for view in views if view.side == 80]
    for corner in ("left", "top"):
        values = [getattr(view, corner) for view in largest]
        assert min(values) >= 0
        assert max(values) <= 40
        assert np.mean(values) == pytest.approx(20, abs=3)
    assert {view.left for view in views if view.side == 44} == set(range(5))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_shapes_and_kinds_stay(seed, resize, colours):
    item = clip(seed=seed)
    before = {key: item[key].clone() for key in ("frames", "masks")}
    found = ClipAugmentation(resize=resize, colours=colours)(item, seeded(seed))
    for key, array in before.items():
        assert torch.equal(item[key], array), "the transform has changed what it was given"
        assert found[key].shape == array.shape
        assert found[key].dtype == array.dtype
    assert set(found["masks"].unique().tolist()) <= {0, 1, 2, 3, 4, IGNORE}
    assert found["audio"] is item["audio"]
    again = ClipAugmentation(resize=resize, colours=colours)(item, seeded(seed))
    assert torch.equal(found["frames"], again["frames"])
    assert torch.equal(found["features"]["maskige"], again["features"]["maskige"])


def test_switches():
    item = clip()
    found = ClipAugmentation(**STILL)(item, seeded())
    assert torch.equal(found["frames"], item["frames"])
    assert torch.equal(found["masks"], item["masks"])
    mirrored = ClipAugmentation(**STILL | {"mirror": 1.0})(item, seeded())
    assert torch.equal(mirrored["masks"], item["masks"].flip(2))


# seconds of a clip


def numbered(frames):
    """Every number of second k is k."""
    item = clip(frames)
    for array in (item["frames"], item["masks"], item["features"]["maskige"]):
        array[:] = torch.arange(frames).view(-1, *[1] * (array.ndim - 1))
    item["annotated"] = torch.arange(frames) % 3 == 0
    return item


def seconds(found):
    numbers = found["masks"][:, 0, 0].tolist()
    assert found["frames"][:, 0, 0, 0].tolist() == numbers
    assert found["features"]["maskige"][:, 2, 5, 5].tolist() == numbers
    assert found["audio"]["mel"][:, 0].tolist() == numbers
    assert found["annotated"].tolist() == [number % 3 == 0 for number in numbers]
    assert len(found["real"]) == len(numbers)
    return tuple(numbers)


def test_a_window_starts_anywhere():
    starts = Counter(seconds(Window(5)(numbered(10), seeded(n))) for n in range(600))
    assert set(starts) == {tuple(range(start, start + 5)) for start in range(6)}
    assert min(starts.values()) > 65


def test_a_window_takes_frames_without_a_mask_too_as_some_frames_does_not():
    item = numbered(5)
    item["annotated"][:] = torch.arange(5) == 0
    assert len(Window(5)(item, seeded())["frames"]) == 5
    assert len(SomeFrames(5)(item, seeded())["frames"]) == 1


def test_a_short_clip_is_its_own_window():
    assert seconds(Window(5)(numbered(5), seeded())) == (0, 1, 2, 3, 4)
    assert seconds(Window(5)(numbered(3), seeded())) == (0, 1, 2)


def test_from_shards_to_a_batch(tmp_path):
    """Every maskige is the negative of its frame, and stays it."""
    paths, of = build(tmp_path)
    for shard in range(2):
        path = Path(paths.features(of.name, "negative", "train", shard, 2))
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"dataset": of.name, "scale": "mini", "split": "train", "shard": shard, "shards": 2}
        with (
            ClipDataset(paths, of, "train") as clips,
            ArrayWriter(path, Header(**about, image_size=SIZE, content="negative")) as writer,
        ):
            rows = clips.index["shard"].tolist()
            for item in (clips[number] for number, place in enumerate(rows) if place == shard):
                writer.add(item["clip_id"], 255 - item["frames"].permute(0, 2, 3, 1).numpy())
    transform = Window(5, ClipAugmentation(resize=False, colours=False))
    features = {"maskige": "negative"}
    with ClipDataset(paths, of, "train", ("vggish_mel",), features, transform=transform) as clips:
        (batch,) = load_batches(clips, [list(range(7))], seed=3, pad_to=10)
    assert batch.real.sum(dim=1).tolist() == [5] * 7
    assert torch.equal(batch.features["maskige"][batch.real], 255 - batch.frames[batch.real])
    assert not batch.features["maskige"][~batch.real].any()
    assert batch.annotated.sum(dim=1).tolist() == [1, 5] * 3 + [1]
    assert not batch.audio["vggish_mel"][~batch.real].any()


def test_what_a_recipe_asks_for():
    assert transforms({}, "combo") is None
    assert transforms({"method": {"augment": {"resize": False}}}, "combo") == ClipAugmentation(resize=False)
    recipe = {"method": {"augment": STILL, "window": 5}}
    assert transforms(recipe, "ntavs") == Window(5, ClipAugmentation(**STILL))
    assert transforms({"method": {"window": 5}}, "ntavs") == Window(5)
    assert transforms({"method": {"window": None}}, "ntavs") is None, "an override may take the window away"
    assert len(transforms(recipe, "ntavs")(numbered(10), seeded())["frames"]) == 5
    with pytest.raises(AvsbenchError, match=r"recipe of combo: method\.augment") as raised:
        transforms({"method": {"augment": {"mirrored": 0.5}}}, "combo")
    assert "mirror" in str(raised.value)
