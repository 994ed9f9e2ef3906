"""Videos through PyAV: writing an mp4 with sound, and reading frames and sound by the rules of AVSBench."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from avsbench.errors import AvsbenchError
from avsbench.media.sound import Sound

SOUND_RATE = 16000
"""Rate of the released sound tracks, which were cut from the videos at 16 kHz, 16 bits, two channels."""


def write_video(
    path: str | Path, frames: np.ndarray, fps: int, samples: np.ndarray | None, rate: int, *, quality: int = 20
) -> None:
    """An mp4 with H.264 (or MPEG-4 where H.264 is not built in) and AAC sound.

    Args:
        frames: uint8 [n,H,W,3], H and W even.
        fps: frames a second.
        samples: int16 [N] or [N,channels] (at most 2), or None for a video without a sound track.
        rate: samples a second.
        quality: constant rate factor of H.264, lower is better.
    """
    import av

    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise AvsbenchError(f"{path}: H.264 needs even sides", found=f"{width} x {height}")
    with av.open(str(path), "w", format="mp4") as container:
        if "libx264" in av.codecs_available:
            video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": str(quality)})
        else:
            video = container.add_stream("mpeg4", rate=fps, options={"qscale": "3"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.thread_count = 1
        audio = None
        if samples is not None:
            samples = samples[:, None] if samples.ndim == 1 else samples
            layout = "stereo" if samples.shape[1] == 2 else "mono"
            audio = container.add_stream("aac", rate=rate, layout=layout, options={"aac_coder": "fast"})
        for image in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None:
            packed = np.ascontiguousarray(samples, dtype=np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))


def frame_indices(fps: float, seconds: int) -> list[int]:
    """Indices of the frames that stand for each second: the one at 15/16 of it (28, 58, 88 … at 30 frames a second).

    `fps` is rounded first, as the published script does; positions past the end are for the caller to clip.
    """
    whole = round(fps)
    return [int(second * whole + (15 / 16) * whole) for second in range(seconds)]


def read_video_frames(path: str | Path, seconds: int) -> np.ndarray:
    """One frame a second, taken at 15/16 of it: uint8 [seconds,H,W,3].

    A position past the end takes the last frame, as published. A video that lacks a whole second or more is an error.
    """
    with OpenVideo(path) as container:
        if not container.streams.video:
            raise AvsbenchError(f"{path}: the video file has no pictures", expected="a video stream")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        fps = float(stream.average_rate or stream.base_rate or 0)
        if fps <= 0:
            raise AvsbenchError(f"{path}: the video does not tell its frame rate", found=fps)
        wanted = frame_indices(fps, seconds)
        picked: dict[int, np.ndarray] = {}
        last, count = None, 0
        for frame in container.decode(stream):
            if count in wanted:
                picked[count] = frame.to_ndarray(format="rgb24")
            last, count = frame, count + 1
            if count > wanted[-1]:
                break
        if last is None or count <= (seconds - 1) * round(fps):
            raise AvsbenchError(
                f"{path}: the video is too short or truncated",
                found=f"{count} frames, {count / fps:.2f} s",
                expected=f"{seconds} s at {fps:g} frames a second",
                hint="copy or unpack the file again",
            )
        end = last.to_ndarray(format="rgb24")
    return np.stack([picked.get(index, end) for index in wanted])


def read_video_sound(path: str | Path) -> Sound:
    """The whole sound track at 16 kHz, 16 bits, two channels: what the released wav files hold."""
    import av

    with OpenVideo(path) as container:
        if not container.streams.audio:
            raise AvsbenchError(
                f"{path}: the video has no sound track", expected="a sound track, or a wav file beside it"
            )
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=SOUND_RATE)
        pieces = []
        for frame in container.decode(container.streams.audio[0]):
            pieces += [piece.to_ndarray() for piece in resampler.resample(frame)]
        pieces += [piece.to_ndarray() for piece in resampler.resample(None)]
    if not pieces:
        raise AvsbenchError(f"{path}: the sound track of the video is empty", expected="samples")
    samples = np.concatenate(pieces, axis=1).reshape(-1, 2)
    return Sound(samples, SOUND_RATE, "PCM_16")


def check_video(path: str | Path) -> None:
    """Raise AvsbenchError unless the file opens as a video with pictures; nothing is decoded."""
    with OpenVideo(path) as container:
        if not container.streams.video:
            raise AvsbenchError(f"{path}: the video file has no pictures", expected="a video stream")


class OpenVideo:
    """An open container; whatever the decoder objects to becomes one AvsbenchError that names the file."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __enter__(self):
        import av

        if not self.path.is_file():
            raise AvsbenchError(f"{self.path}: no such video", hint="unpack the release again")
        if self.path.stat().st_size == 0:
            raise AvsbenchError(f"{self.path}: the video file is empty", found="0 bytes", expected="an mp4 video")
        try:
            self.container = av.open(str(self.path))
        except (av.FFmpegError, ValueError) as error:
            raise self._broken(error) from None
        return self.container

    def __exit__(self, kind, value, trace):
        import av

        self.container.close()
        if kind is not None and issubclass(kind, av.FFmpegError):
            raise self._broken(value) from None
        return False

    def _broken(self, error: Exception) -> AvsbenchError:
        return AvsbenchError(
            f"{self.path}: the video cannot be read",
            found=f"{self.path.stat().st_size} bytes; {error}",
            expected="a complete mp4 video",
            hint="the file is truncated or of another kind; copy or unpack it again",
        )
