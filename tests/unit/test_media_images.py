"""Images, resize rules, mask encodings and the palette."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from avsbench.errors import AvsbenchError
from avsbench.media.images import (
    crop_sides,
    labels_of_colours,
    read_binary_mask,
    read_colour_mask,
    read_image,
    resize_image,
    resize_mask,
    resize_plain,
    voc_palette,
)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (90, 160, 3)).astype(np.uint8)


def test_squash_is_pillows_bilinear_and_nearest(picture):
    squashed = np.asarray(Image.fromarray(picture).resize((64, 64), Image.BILINEAR))
    assert (resize_image(picture, 64, "squash") == squashed).all()
    mask = (picture[..., 0] > 99).astype(np.uint8) * 7
    assert set(np.unique(resize_mask(mask, 64, "squash"))) <= {0, 7}


@pytest.mark.parametrize(("shape", "sides"), [((90, 160), (113, 64)), ((160, 90), (64, 113)), ((80, 80), (64, 64))])
def test_crop_keeps_the_aspect_and_rounds_the_long_side_down(shape, sides):
    assert crop_sides(shape[1], shape[0], 64) == sides


def test_crop_takes_the_centre(picture):
    wide = np.asarray(Image.fromarray(picture).resize((113, 64), Image.BILINEAR))
    left = round((113 - 64) / 2)
    assert left == 24, "a half goes to the even side, as published"
    assert (resize_image(picture, 64, "crop") == wide[:, left : left + 64]).all()


def test_an_image_of_the_right_size_is_not_touched(picture):
    square = picture[:64, :64]
    assert resize_image(square, 64, "crop") is square


def test_an_unknown_rule_is_an_error(picture):
    with pytest.raises(AvsbenchError, match="stretch"):
        resize_image(picture, 64, "stretch")


@pytest.mark.parametrize("size", [(224, 224), (45, 80), (33, 47)])
def test_plain_bilinear_equals_torch_without_antialias(picture, size):
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(tensor, size=size, mode="bilinear", align_corners=False)
    difference = resize_plain(picture, *size).astype(float) - expected[0].permute(1, 2, 0).numpy()
    assert abs(difference).max() <= 0.51


# binary masks

SHAPE = np.zeros((6, 8), np.uint8)
SHAPE[2:4, 3:6] = 1


def palette_mask(colours):
    image = Image.fromarray(SHAPE, mode="P")
    image.putpalette([channel for colour in colours for channel in colour])
    return image


ENCODINGS = {
    "grey 0/255": lambda: Image.fromarray(SHAPE * 255),
    "grey 0/1": lambda: Image.fromarray(SHAPE),
    "1 bit": lambda: Image.fromarray(SHAPE * 255).convert("1"),
    "black and white RGB": lambda: Image.fromarray(np.repeat(SHAPE[..., None] * 255, 3, axis=2)),
    "RGBA": lambda: Image.fromarray(np.repeat(SHAPE[..., None] * 255, 3, axis=2)).convert("RGBA"),
    "palette, white at 1": lambda: palette_mask([(0, 0, 0), (255, 255, 255)]),
    "palette, dark red at 1": lambda: palette_mask([(0, 0, 0), (128, 0, 0)]),
    "palette, black at 1": lambda: palette_mask([(255, 255, 255), (0, 0, 0)]),
    "16 bits": lambda: Image.fromarray(SHAPE.astype(np.uint16) * 65535),
    "16 bits 0/1": lambda: Image.fromarray(SHAPE.astype(np.uint16)),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_of_a_mask_gives_the_same(name, tmp_path):
    ENCODINGS[name]().save(tmp_path / "mask.png")
    mask = read_binary_mask(tmp_path / "mask.png")
    expected = 1 - SHAPE if name == "palette, black at 1" else SHAPE  # there the foreground is what is white
    assert mask.dtype == np.uint8
    assert (mask == expected).all()


@pytest.mark.parametrize(("value", "foreground"), [(0, 0), (1, 1), (255, 1)])
def test_a_mask_of_one_value(value, foreground, tmp_path):
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / "mask.png")
    assert (read_binary_mask(tmp_path / "mask.png") == foreground).all()


@pytest.mark.parametrize("third", [1, 128, 254])
def test_a_third_value_is_an_error_that_names_it(third, tmp_path):
    grey = SHAPE * 255
    grey[0, 0] = third
    Image.fromarray(grey).save(tmp_path / "clip_3.png")
    with pytest.raises(AvsbenchError, match=rf"clip_3\.png: the mask holds more than two values(.|\n)*{third}"):
        read_binary_mask(tmp_path / "clip_3.png")


@pytest.mark.parametrize("values", [(0, 100), (200, 255)])
def test_two_values_on_one_side_are_an_error(values, tmp_path):
    Image.fromarray(np.array([values], np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(AvsbenchError, match="cannot be told apart"):
        read_binary_mask(tmp_path / "mask.png")


# palette


def test_palette_is_that_of_the_release():
    palette = voc_palette(71)
    known = {1: (128, 0, 0), 4: (0, 0, 128), 8: (64, 0, 0), 63: (192, 192, 192), 64: (32, 0, 0), 70: (32, 128, 128)}
    assert {index: tuple(palette[index].tolist()) for index in known} == known
    assert len(np.unique(palette, axis=0)) == 71


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 70), min_size=12, max_size=12))
def test_labels_survive_their_colours(values):
    labels = np.array(values, np.uint8).reshape(3, 4)
    assert (labels_of_colours(voc_palette(71)[labels], 71) == labels).all()


def test_a_colour_outside_the_palette_is_an_error_that_names_it(tmp_path):
    image = voc_palette(71)[np.full((5, 5), 3)]
    image[2, 4] = (1, 2, 3)
    Image.fromarray(image).save(tmp_path / "0.png")
    with pytest.raises(
        AvsbenchError, match=r"0\.png: a colour is not in the palette(.|\n)*\(1, 2, 3\) at row 2, column 4"
    ):
        read_colour_mask(tmp_path / "0.png", 71)


def test_a_class_beyond_the_palette_is_an_error():
    with pytest.raises(AvsbenchError, match="palette"):
        labels_of_colours(voc_palette(72)[[[71]]], 71)


# broken files


def test_missing_empty_and_truncated_images_are_named(tmp_path, picture):
    with pytest.raises(AvsbenchError, match=r"gone\.png: no such image"):
        read_image(tmp_path / "gone.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(AvsbenchError, match=r"empty\.png: the image file is empty"):
        read_image(tmp_path / "empty.png")
    for name in ("cut.png", "cut.jpg"):
        Image.fromarray(picture).save(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(AvsbenchError, match=rf"{name}: the image cannot be read"):
            read_image(tmp_path / name)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(AvsbenchError, match=r"text\.png: the image cannot be read"):
        read_image(tmp_path / "text.png")
