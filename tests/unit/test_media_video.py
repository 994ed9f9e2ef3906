"""Videos: the 15/16 rule, sound, and broken files."""

import numpy as np
import pytest

from avsbench.errors import AvsbenchError
from avsbench.media.video import frame_indices, read_video_frames, read_video_sound, write_video

FPS, SECONDS = 8, 3


@pytest.fixture
def pictures():
    """Frames whose grey tells their number."""
    shade = np.arange(FPS * SECONDS, dtype=np.uint8) * 10
    return np.broadcast_to(shade[:, None, None, None], (FPS * SECONDS, 48, 64, 3)).copy()


@pytest.fixture
def tune():
    t = np.arange(SECONDS * 16000) / 16000
    return np.stack([8000 * np.sin(2 * np.pi * 440 * t), 4000 * np.sin(2 * np.pi * 880 * t)], axis=1).astype(np.int16)


@pytest.fixture
def video(tmp_path, pictures, tune):
    write_video(tmp_path / "clip.mp4", pictures, FPS, tune, 16000)
    return tmp_path / "clip.mp4"


def test_frames_stand_at_15_16_of_each_second():
    assert frame_indices(30, 5) == [28, 58, 88, 118, 148]
    assert frame_indices(29.97, 2) == [28, 58]
    assert frame_indices(8, 3) == [7, 15, 23]


def test_one_frame_a_second(video):
    frames = read_video_frames(video, SECONDS)
    assert frames.shape == (SECONDS, 48, 64, 3)
    assert frames.dtype == np.uint8
    means = frames.mean(axis=(1, 2, 3))
    assert abs(means - [70, 150, 230]).max() < 4


def test_a_position_past_the_end_takes_the_last_frame(tmp_path, pictures):
    write_video(tmp_path / "clip.mp4", pictures[:20], FPS, None, 16000)
    assert abs(read_video_frames(tmp_path / "clip.mp4", 3)[2].mean() - 190) < 4


def test_a_missing_second_is_an_error(tmp_path, pictures):
    write_video(tmp_path / "clip.mp4", pictures[:16], FPS, None, 16000)
    with pytest.raises(AvsbenchError, match=r"clip\.mp4: the video is too short or truncated(.|\n)*16 frames, 2\.00 s"):
        read_video_frames(tmp_path / "clip.mp4", 3)


def test_sound_is_16_khz_stereo(video, tune):
    sound = read_video_sound(video)
    assert (sound.rate, sound.subtype, sound.samples.dtype) == (16000, "PCM_16", np.int16)
    assert abs(sound.seconds - SECONDS) < 0.1
    spectrum = abs(np.fft.rfft(sound.samples[:32000].astype(float), axis=0))
    assert (abs(spectrum.argmax(axis=0) / 2 - [440, 880]) < 3).all(), "each channel keeps its tone"


def test_mono_at_another_rate_becomes_16_khz_stereo(tmp_path, pictures):
    samples = np.random.default_rng(0).integers(-9999, 9999, 44100 * SECONDS).astype(np.int16)
    write_video(tmp_path / "clip.mp4", pictures, FPS, samples, 44100)
    sound = read_video_sound(tmp_path / "clip.mp4")
    assert sound.rate == 16000
    assert sound.samples.shape[1] == 2
    assert abs(sound.seconds - SECONDS) < 0.1


def test_a_video_without_sound_is_named(tmp_path, pictures):
    write_video(tmp_path / "mute.mp4", pictures, FPS, None, 16000)
    with pytest.raises(AvsbenchError, match=r"mute\.mp4: the video has no sound track"):
        read_video_sound(tmp_path / "mute.mp4")


@pytest.mark.parametrize("read", [lambda path: read_video_frames(path, 3), read_video_sound])
def test_missing_empty_and_truncated_videos_are_named(read, video, tmp_path):
    with pytest.raises(AvsbenchError, match=r"gone\.mp4: no such video"):
        read(tmp_path / "gone.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(AvsbenchError, match=r"empty\.mp4: the video file is empty"):
        read(tmp_path / "empty.mp4")
    data = video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(AvsbenchError, match=r"cut\.mp4: the video cannot be read"):
        read(tmp_path / "cut.mp4")


def test_odd_sides_are_an_error(tmp_path):
    with pytest.raises(AvsbenchError, match="even sides"):
        write_video(tmp_path / "a.mp4", np.zeros((2, 47, 64, 3), np.uint8), FPS, None, 16000)
