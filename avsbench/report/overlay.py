"""A video with its masks drawn on it: coloured areas with a contour, and a legend where classes have names."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from avsbench.atomic import atomic
from avsbench.media.images import read_labels, voc_palette
from avsbench.media.video import OpenVideo
from avsbench.media.video_stream import begin_of, picture_stream, second_of, time_of, upright
from avsbench.paths import VideoPaths

BINARY_COLOUR = (255, 64, 32)
"""Of what sounds, where classes have no names: rare in pictures."""
_SOUND_RATE = 48000


class Painter:
    """Draws one mask on any number of pictures of its size.

    Args:
        mask: uint8 [H,W], 0 = nothing.
        classes: names by class id; empty for a binary task.
        alpha: share of the colour in an area, 0 to 1; contours are always opaque.
    """

    def __init__(self, mask: np.ndarray, classes: list[str], alpha: float):
        palette = voc_palette(len(classes)) if classes else np.array([(0, 0, 0), BINARY_COLOUR], np.uint8)
        short = min(mask.shape)
        contour = edge(mask, max(1, round(short / 160)))
        share = np.where(contour, 1.0, alpha) * (mask > 0)
        colours = palette[mask].astype(np.float32)
        if classes:
            _legend(share, colours, [(classes[i], palette[i]) for i in np.unique(mask) if i], max(10, short // 24))
        self._where = share > 0
        self._add = colours[self._where] * share[self._where, None]
        self._keep = 1 - share[self._where, None].astype(np.float32)

    def draw(self, picture: np.ndarray) -> np.ndarray:
        """A painted copy of a picture uint8 [H,W,3]."""
        painted = picture.copy()
        painted[self._where] = np.rint(painted[self._where] * self._keep + self._add).astype(np.uint8)
        return painted


def edge(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels of a mask that lie within `width` of another value, bool [H,W]; the border of the picture is no edge."""
    from scipy.ndimage import grey_dilation, grey_erosion

    side = 2 * width + 1
    differs = grey_dilation(mask, (side, side), mode="nearest") != grey_erosion(mask, (side, side), mode="nearest")
    return differs & (mask > 0)


def _legend(share: np.ndarray, colours: np.ndarray, entries: list[tuple[str, np.ndarray]], size: int) -> None:
    """Put a box with colours and names into the upper left corner of what is painted, in place."""
    if not entries:
        return
    font = ImageFont.load_default(size)
    line, pad = round(size * 1.4), size // 2
    wide = max(math.ceil(font.getlength(name)) for name, _ in entries) + line + 2 * pad
    box = Image.new("RGB", (wide, line * len(entries) + pad), (16, 16, 16))
    draw = ImageDraw.Draw(box)
    for row, (name, colour) in enumerate(entries):
        top = row * line + pad // 2
        draw.rectangle((pad, top + size // 5, pad + size, top + size // 5 + size), tuple(map(int, colour)), "white")
        draw.text((pad + line, top + line / 2), name, "white", font, anchor="lm")
    drawn = np.asarray(box)[: share.shape[0], : share.shape[1]]
    place = (slice(drawn.shape[0]), slice(drawn.shape[1]))
    colours[place] = drawn
    share[place] = np.where((drawn == 16).all(axis=2), 0.7, 1.0)


def draw_overlay(video: str | Path, out: VideoPaths, seconds: int, classes: list[str], *, alpha: float = 0.5) -> None:
    """Write `out.overlay`: the video at its size and pace, with its sound, each second under its mask.

    Sides are made even by repeating the last row or column, as H.264 needs it.

    Args:
        seconds: how many masks there are; what lies behind the last one keeps it.
    """
    import av

    with (
        OpenVideo(video) as source,
        atomic(out.overlay) as temporary,
        av.open(str(temporary), "w", format="mp4") as target,
        tqdm(desc="overlay", unit="s", total=seconds, disable=None) as bar,
    ):
        shown = picture_stream(source, video)
        heard = source.streams.audio[0] if source.streams.audio else None
        encoder = _picture_encoder(target, shown, *read_labels(out.mask(0)).shape)
        speaker = _Speaker(target, begin_of(shown)) if heard is not None else None
        painter, second, count = None, -1, 0
        for packet in source.demux([stream for stream in (shown, heard) if stream is not None]):
            for frame in packet.decode():
                if packet.stream is heard:
                    speaker.say(frame)
                    continue
                time = time_of(frame, count, shown)
                count += 1
                if min(second_of(time), seconds - 1) != second:
                    second = min(second_of(time), seconds - 1)
                    painter = Painter(read_labels(out.mask(second)), classes, alpha)
                    bar.update(second + 1 - bar.n)
                picture = _even(painter.draw(upright(frame)))
                image = av.VideoFrame.from_ndarray(picture, format="rgb24")
                image.time_base = encoder.codec_context.time_base
                image.pts = round(time / image.time_base)
                target.mux(encoder.encode(image))
        target.mux(encoder.encode(None))
        if speaker is not None:
            speaker.end()


def _picture_encoder(target, shown, height: int, width: int):
    """A stream for pictures of at least this size, on a clock fine enough for a varying frame rate."""
    import av

    name, options = ("libx264", {"crf": "20", "preset": "veryfast"})
    if name not in av.codecs_available:
        name, options = "mpeg4", {"qscale": "3"}
    encoder = target.add_stream(name, rate=shown.average_rate or shown.base_rate or 25, options=options)
    encoder.height, encoder.width, encoder.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
    encoder.codec_context.time_base = Fraction(1, 90000) if name == "libx264" else Fraction(1, 60000)
    return encoder


class _Speaker:
    """The sound track of the overlay: what the source says, from its first picture on, as AAC."""

    def __init__(self, target, begin: Fraction):
        import av

        self._target, self._begin = target, begin
        self._stream = target.add_stream("aac", rate=_SOUND_RATE, layout="stereo")
        self._resampler = av.AudioResampler(format="fltp", layout="stereo", rate=_SOUND_RATE, frame_size=1024)

    def say(self, frame) -> None:
        if frame.pts is not None:
            time = frame.pts * frame.time_base - self._begin
            if time < 0:
                return
            frame.time_base = Fraction(1, frame.sample_rate)
            frame.pts = round(time * frame.sample_rate)
        self._write(self._resampler.resample(frame))

    def end(self) -> None:
        self._write(self._resampler.resample(None))
        self._target.mux(self._stream.encode(None))

    def _write(self, frames) -> None:
        for frame in frames:
            self._target.mux(self._stream.encode(frame))


def _even(picture: np.ndarray) -> np.ndarray:
    """Even sides, by repeating the last row or column."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
