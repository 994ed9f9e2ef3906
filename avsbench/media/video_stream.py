"""A video of any length and frame rate as a stream: its pictures and its sound, second by second, in constant memory.

Second k is what is on show from k to k + 1 seconds after the first picture, by presentation times.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.media.video import SOUND_RATE, OpenVideo

if TYPE_CHECKING:
    import av

_SLACK = 1e-3
"""Seconds by which containers round times."""
_GAP = 0.1
"""Seconds without samples that count as a gap in the sound; less is rounding, or the delay of a codec."""


def second_of(time: float) -> int:
    """The second that a moment belongs to."""
    return int(time + _SLACK)


def picture_stream(container: "av.container.InputContainer", path: object) -> "av.VideoStream":
    """The first stream of moving pictures; the cover of a sound file is none."""
    from av.stream import Disposition

    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        raise AvsbenchError(f"{path}: no pictures", found="no video stream", expected="a video, e.g. mp4")
    moving[0].thread_type = "AUTO"
    return moving[0]


def begin_of(stream: "av.VideoStream") -> Fraction:
    """When the first picture is shown, in seconds on the container's clock."""
    return Fraction(stream.start_time or 0) * stream.time_base


def time_of(frame: "av.VideoFrame", count: int, stream: "av.VideoStream") -> Fraction:
    """Seconds from the first picture to number `count`; by the frame rate where the file holds no times."""
    if frame.pts is None:
        return count / Fraction(stream.average_rate or stream.base_rate or 25)
    return max(Fraction(0), frame.pts * frame.time_base - begin_of(stream))


def upright(frame: "av.VideoFrame") -> np.ndarray:
    """The picture as players show it, turned as the file says: uint8 [H,W,3]."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4))


def duration(path: str | Path) -> float | None:
    """Seconds as the header tells them; None where it does not."""
    with OpenVideo(path) as container:
        picture_stream(container, path)
        return container.duration / 1e6 if container.duration else None


def has_sound(path: str | Path) -> bool:
    with OpenVideo(path) as container:
        return bool(container.streams.audio)


def pictures(path: str | Path) -> Iterator[np.ndarray]:
    """The picture that stands for each second that the video begins: the one on show at 15/16 of it, or its last.

    Yields:
        uint8 [H,W,3].
    """
    with OpenVideo(path) as container:
        stream = picture_stream(container, path)
        second, shown, time = 0, None, Fraction(0)
        for count, frame in enumerate(container.decode(stream)):
            time = time_of(frame, count, stream)
            while shown is not None and time > second + 15 / 16 + _SLACK:
                yield upright(shown)
                second += 1
            shown = frame
        if shown is None:
            raise AvsbenchError(f"{path}: no pictures", found="a video stream without frames", expected="a video")
        while second <= second_of(time):
            yield upright(shown)
            second += 1


def sound_seconds(path: str | Path) -> Iterator[np.ndarray]:
    """The sound from the first picture on, in pieces of a second (the last may be shorter).

    Yields:
        int16 [N,2] at 16 kHz, what the released wav files hold. Gaps are silent.
    """
    waiting = np.zeros((0, 2), np.int16)
    for piece in _sound_pieces(path):
        waiting = np.concatenate([waiting, piece])
        while len(waiting) >= SOUND_RATE:
            yield waiting[:SOUND_RATE]
            waiting = waiting[SOUND_RATE:]
    if len(waiting):
        yield waiting


def _sound_pieces(path: str | Path) -> Iterator[np.ndarray]:
    import av

    with OpenVideo(path) as container:
        begin = begin_of(picture_stream(container, path))
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=SOUND_RATE)
        given, surplus = 0, 0
        for frame in _and_end(container.decode(container.streams.audio[0])) if container.streams.audio else ():
            if frame is not None and frame.pts is not None:
                late = round((frame.pts * frame.time_base - begin) * SOUND_RATE) - given
                if late > _GAP * SOUND_RATE:
                    yield from _silence(late)
                    given += late
                elif given == 0 and late < 0:
                    surplus = -late  # sound from before the first picture
                    given -= surplus
                frame.pts = None
            for piece in resampler.resample(frame):
                samples = piece.to_ndarray().reshape(-1, 2)
                given += len(samples)
                cut = min(surplus, len(samples))
                surplus -= cut
                yield samples[cut:]


def _and_end(frames: Iterator) -> Iterator:
    """The frames, then None, which makes the resampler give what it still holds."""
    yield from frames
    yield None


def _silence(samples: int) -> Iterator[np.ndarray]:
    for start in range(0, samples, SOUND_RATE):
        yield np.zeros((min(SOUND_RATE, samples - start), 2), np.int16)
