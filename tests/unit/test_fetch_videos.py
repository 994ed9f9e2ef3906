"""Raw videos by clip id, from a downloader that hands out a rendered video."""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from avsbench.cli import main
from avsbench.datasets import fetch_videos as videos
from avsbench.errors import AvsbenchError
from avsbench.media.cut import read_stretch
from avsbench.media.sound import read_wav
from avsbench.media.video import read_video_frames, read_video_sound, write_video

FPS, RATE, LONG = 10, 16000, 12


@pytest.fixture(scope="session")
def long_video(tmp_path_factory):
    """12 s: the grey of a picture is 20 x its second; the sound is a tone that begins with second 6."""
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    frames = np.repeat(np.arange(LONG, dtype=np.uint8) * 20, FPS)[:, None, None, None]
    time = np.arange(LONG * RATE) / RATE
    tone = (time >= 6) * np.sin(2 * np.pi * 440 * time) * 20000
    write_video(path, np.broadcast_to(frames, (LONG * FPS, 32, 48, 3)), FPS, tone.astype(np.int16), RATE)
    return path


class Fake:
    """A downloader that knows some videos, and counts."""

    def __init__(self, video, gone=(), busy=()):
        self.video, self.gone, self.busy, self.asked = video, gone, busy, []

    def __call__(self, video, folder):
        self.asked.append(video)
        if video in self.gone:
            raise videos.VideoError(f"ERROR: [youtube] {video}: Video unavailable. This video is private")
        if video in self.busy:
            raise videos.VideoError("HTTP Error 429: Too Many Requests")
        return Path(shutil.copy(self.video, folder / f"{video}.mp4"))


def table(path, rows, header=("name", "start", "category", "split")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)
    return path


A, B, C = "aaaaaaaaaaa", "b-bbb_bbbb_", "ccccccccccc"


def test_ids_of_both_tables(tmp_path):
    s4 = table(tmp_path / "s4.csv", [(f"{B}_4000_9000", 4, "dog_barking", "val"), (A, "2.5", "chainsawing", "train")])
    assert videos.wanted_clips("s4", s4) == [
        videos.Wanted(f"val/dog_barking/{B}_4000_9000", B, 4.0),
        videos.Wanted(f"train/chainsawing/{A}", A, 2.5),
    ]
    vgg = table(tmp_path / "vgg.csv", [(B, 30, "dog barking, howling", "train")], header=None)
    assert videos.wanted_clips("vggsound", vgg) == [videos.Wanted(f"{B}_000030", B, 30)]


@pytest.mark.parametrize("row", [("short_1_2", 1, "c", "val"), (f"{A}_1_2", 1, "../c", "val"), (A, "x", "c", "val")])
def test_a_row_that_names_no_clip(row, tmp_path):
    with pytest.raises(AvsbenchError, match=r"s4\.csv:2: not a clip"):
        videos.wanted_clips("s4", table(tmp_path / "s4.csv", [row]))
    with pytest.raises(AvsbenchError, match=r"v\.csv:1: not a clip"):
        videos.wanted_clips("vggsound", table(tmp_path / "v.csv", [("../../etc/x", 1)], header=None))


def test_a_stretch_is_cut_exactly(long_video):
    stretch = read_stretch(long_video, 4, 5)
    assert stretch.frames.shape == (5 * FPS, 32, 48, 3)
    seconds = stretch.frames[..., 0].mean((1, 2)).reshape(5, FPS) / 20
    assert np.abs(seconds - np.arange(4, 9)[:, None]).max() < 0.2
    assert stretch.samples.shape == (5 * stretch.rate, 2)
    loud = np.abs(stretch.samples[:, 0].astype(int)) > 2000
    assert loud.argmax() / stretch.rate == pytest.approx(2.0, abs=0.03), "the tone begins 2 s into the clip"
    half = read_stretch(long_video, 2.5, 2)
    assert np.abs(half.frames[..., 0].mean((1, 2)) / 20 - np.repeat([2, 3, 4], [5, 10, 5])).max() < 0.2


def test_the_end_of_a_video(long_video):
    held = read_stretch(long_video, 7.4, 5)
    assert len(held.frames) == 50
    assert len(held.samples) == 5 * held.rate
    with pytest.raises(AvsbenchError, match=r"end too early(.|\n)*found: +4\.\d+ s of the clip"):
        read_stretch(long_video, 8, 5)
    with pytest.raises(AvsbenchError, match="end too early"):
        read_stretch(long_video, 60, 5)


def test_fetched_cut_listed_and_gone_on_with(long_video, tmp_path):
    rows = [(f"{A}_4000_9000", 4, "dog", "train"), (f"{A}_0_5000", 0, "dog", "val"), (f"{B}_0_5000", 0, "cat", "val"),
            (f"{C}_1000_6000", 1, "cat", "test"), (f"{C}_9000_14000", 9, "cat", "test")]  # fmt: skip
    clips = videos.wanted_clips("s4", table(tmp_path / "s4.csv", rows))
    out = tmp_path / "raw_videos"
    fake = Fake(long_video, gone=[B], busy=[C])
    there, lost = videos.fetch(clips, out, 5, fake, jobs=2)
    assert there == 2
    assert sorted(fake.asked) == sorted([A, B, C]), "one download for both clips of a video"
    assert [(row["video"], row["status"]) for row in lost] == [(C, "failed"), (C, "failed"), (B, "vanished")]
    assert "private" in lost[2]["reason"]
    clip = out / f"train/dog/{A}_4000_9000.mp4"
    assert np.abs(read_video_frames(clip, 5)[:, 0, 0, 0] / 20 - np.arange(4, 9)).max() < 0.3
    assert read_video_sound(clip).seconds == pytest.approx(5, abs=0.1)
    clip.write_bytes(b"cut off")
    second = Fake(long_video)
    there, lost = videos.fetch(clips, out, 5, second)
    assert sorted(second.asked) == [A, C], "vanished ones are not asked for again, failed and broken ones are"
    assert there == 3
    assert {row["clip"]: row["status"] for row in lost} == {
        f"val/cat/{B}_0_5000": "vanished", f"test/cat/{C}_9000_14000": "short"}  # fmt: skip
    with open(out / "not_fetched.csv", newline="") as file:
        assert list(csv.DictReader(file)) == lost
    again = Fake(long_video)
    assert videos.fetch(clips, out, 5, again, again=True)[0] == 4
    assert sorted(again.asked) == [B, C]
    assert not [path for path in out.rglob(".*")], "nothing half-done stays"
    videos.fetch(clips[:1], out, 5, again)
    assert len((out / "not_fetched.csv").read_text().splitlines()) == 2, "what other tables miss stays listed"


def test_sound_alone_as_vpo_reads_it(long_video, tmp_path):
    clips = videos.wanted_clips("vggsound", table(tmp_path / "v.csv", [(A, 2, "x", "train")], header=None))
    fake = Fake(long_video)
    assert videos.fetch(clips, tmp_path / "audios", 10, fake, sound_only=True) == (1, [])
    sound = read_wav(tmp_path / f"audios/{A}_000002.wav")
    assert sound.samples.shape == (10 * sound.rate, 1)
    assert (np.abs(sound.samples[:, 0].astype(int)) > 2000).argmax() / sound.rate == pytest.approx(4.0, abs=0.03)
    videos.fetch(clips, tmp_path / "audios", 10, fake, sound_only=True)
    assert len(fake.asked) == 1


def test_without_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    s4 = table(tmp_path / "s4.csv", [(f"{A}_0_5000", 0, "dog", "val")])
    assert main(["fetch-videos", "--dataset", "s4", "--csv", str(s4), "--out", str(tmp_path / "out")]) == 2
    assert 'pip install "avsbench[videos]"' in capsys.readouterr().err


def test_the_verb(long_video, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(videos, "youtube", lambda: Fake(long_video, gone=[B]))
    vgg = table(tmp_path / "vgg.csv", [(A, 1, "x", "train"), (B, 2, "x", "test")], header=None)
    assert main(["fetch-videos", "--dataset", "vggsound", "--csv", str(vgg), "--out", str(tmp_path / "out")]) == 1
    assert "1 of 2 clips" in capsys.readouterr().out
    assert read_video_sound(tmp_path / f"out/{A}_000001.mp4").seconds == pytest.approx(10, abs=0.1)
