"""A stretch of a video, with its sound, at a constant frame rate: what a raw video of AVSBench or VGGSound is."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.media.video import OpenVideo, write_video

SHORT_SIDE = 360
"""Larger pictures are made smaller, to this short side; those of the release end up at 224."""
LACKING = 0.5
"""Seconds that may be missing at the end: the last picture is held, the sound is silent."""


@dataclass(frozen=True)
class Stretch:
    """`frames` uint8 [n,H,W,3] with even sides, `fps` of them a second; `samples` int16 [N,2], `rate` a second."""

    frames: np.ndarray
    fps: int
    samples: np.ndarray
    rate: int


def cut_video(source: str | Path, target: str | Path, start: float, seconds: int) -> None:
    """Write `seconds` of a video from second `start` on as an mp4 of exactly that length, with sound.

    Raises AvsbenchError if the source is broken, has no sound track, or ends more than half a second too early.
    """
    stretch = read_stretch(source, start, seconds)
    write_video(target, stretch.frames, stretch.fps, stretch.samples, stretch.rate)


def cut_sound(source: str | Path, target: str | Path, start: float, seconds: int) -> None:
    """Write the sound alone, as a wav of one channel and 16 bits at the rate of the video; raises as `cut_video`."""
    import soundfile

    with OpenVideo(source) as container:
        samples, rate = _samples(source, container, start, seconds)
    mono = np.rint(samples.mean(axis=1)).astype(np.int16)
    soundfile.write(str(target), mono, rate, subtype="PCM_16", format="WAV")


def read_stretch(path: str | Path, start: float, seconds: int) -> Stretch:
    """`seconds` of a video from second `start` on: fps * seconds pictures and rate * seconds samples."""
    with OpenVideo(path) as container:
        frames, fps = _pictures(path, container, start, seconds)
    with OpenVideo(path) as container:  # once more: streams are read one after the other
        samples, rate = _samples(path, container, start, seconds)
    return Stretch(frames, fps, samples, rate)


def _pictures(path, container, start: float, seconds: int) -> tuple[np.ndarray, int]:
    """The picture that a viewer sees at start + i / fps, for each i."""
    if not container.streams.video:
        raise AvsbenchError(f"{path}: the video file has no pictures", expected="a video stream")
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    fps = max(1, round(float(stream.average_rate or stream.base_rate or 25)))
    begin, count = _begin(container), fps * seconds
    frames: list[np.ndarray] = []
    shown, end = None, 0.0
    _seek(container, start)
    for frame in container.decode(stream):
        if frame.time is None:
            continue
        time = frame.time - begin - start
        # Half a millisecond: time bases round.
        while shown is not None and len(frames) < count and len(frames) / fps < time - 5e-4:
            frames.append(shown)
        if len(frames) == count:
            end = float(seconds)
            break
        shown, end = _shrunk(frame), time + 1 / fps
    _check_end(path, "pictures", end, seconds)
    frames += [shown] * (count - len(frames))
    return np.stack(frames), fps


def _samples(path, container, start: float, seconds: int) -> tuple[np.ndarray, int]:
    import av

    if not container.streams.audio:
        raise AvsbenchError(f"{path}: the video has no sound track", expected="a sound track")
    stream = container.streams.audio[0]
    rate, begin = stream.rate, _begin(container)
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=rate)
    samples = np.zeros((rate * seconds, 2), np.int16)
    place = None
    _seek(container, start)
    for frame in container.decode(stream):
        if place is None:
            place = round((float(frame.time or 0) - begin - start) * rate)
        for piece in resampler.resample(frame):
            content = piece.to_ndarray().reshape(-1, 2)
            low, high = max(0, place), min(len(samples), place + len(content))
            if low < high:
                samples[low:high] = content[low - place : high - place]
            place += len(content)
        if place >= len(samples):
            break
    _check_end(path, "sound", (place or 0) / rate, seconds)
    return samples, rate


def _begin(container) -> float:
    """The time that the file calls its beginning."""
    return float(Fraction(container.start_time or 0, 1_000_000))


def _seek(container, start: float) -> None:
    """To the key frame before, and a little earlier: sound has none, and decoders need a run-up."""
    if start > 1:
        container.seek(int((start - 1 + _begin(container)) * 1_000_000), backward=True)


def _shrunk(frame) -> np.ndarray:
    scale = min(1.0, SHORT_SIDE / min(frame.width, frame.height))
    width, height = (max(2, int(side * scale) // 2 * 2) for side in (frame.width, frame.height))
    return frame.to_ndarray(format="rgb24", width=width, height=height)


def _check_end(path, what: str, end: float, seconds: int) -> None:
    if end < seconds - LACKING:
        raise AvsbenchError(
            f"{path}: the {what} of the video end too early", found=f"{max(0.0, end):.2f} s of the clip",
            expected=f"{seconds} s",
        )  # fmt: skip
