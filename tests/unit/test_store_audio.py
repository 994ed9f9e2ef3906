"""The builder of front ends: one pass over a shard, a file each."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from avsbench.errors import AvsbenchError
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.sound import Sound
from avsbench.paths import Paths
from avsbench.store import shards
from avsbench.store.build import audio_shard
from avsbench.store.manifest import write_manifests
from avsbench.store.shards import ArrayReader, ArrayWriter, ShardReader
from tests.unit.store_fakes import FakeReader, card, extract, leftovers, table

NAMES = ("vggish_mel", "combo_mel", "cavp_mel", "audioclip_wave")


def shard(root, of, change=None):
    """(path of an extracted shard, front end -> where its file goes)."""
    paths = Paths("mini", data_root=str(root))
    write_manifests(of, "mini", table(of), paths)
    path = extract(of, paths, FakeReader(of, change=change), "val", 0)
    return path, {name: paths.audio(of.name, name, "val", 0, 1) for name in NAMES}


def with_sounds(*sounds):
    def change(clip):
        clip.sounds = list(sounds)
        return clip

    return change


@pytest.mark.parametrize("threads", [1, 2])
def test_one_pass_gives_what_each_front_end_gives_alone(tmp_path, threads):
    of = card()
    path, outs = shard(tmp_path, of)
    audio_shard(card=of, shard_path=path, outs=outs, threads=threads)
    with ShardReader(path) as clips:
        for name, out in outs.items():
            with ArrayReader(out, content=name) as arrays:
                assert arrays.clip_ids() == clips.clip_ids()
                for clip_id in clips.clip_ids():
                    clip = ClipSound.of(of, clips.sounds(clip_id), clips.row(clip_id)["frames"])
                    assert np.array_equal(arrays.array(clip_id), FRONT_ENDS[name].compute(clip)), (name, clip_id)


def test_bytes_depend_neither_on_threads_nor_on_company(tmp_path):
    of = card()
    path, outs = shard(tmp_path, of)
    audio_shard(card=of, shard_path=path, outs=outs, threads=2)
    together = {name: Path(out).read_bytes() for name, out in outs.items()}
    for name, out in outs.items():
        audio_shard(card=of, shard_path=path, outs={name: out})
        assert Path(out).read_bytes() == together[name], name


def test_a_clip_is_read_once_for_all_front_ends(tmp_path, monkeypatch):
    of = card()
    path, outs = shard(tmp_path, of)
    read, real = [], ShardReader.sounds
    monkeypatch.setattr(shards.ShardReader, "sounds", lambda self, clip: read.append(clip) or real(self, clip))
    audio_shard(card=of, shard_path=path, outs=outs)
    assert sorted(read) == sorted(set(read))


def test_an_unknown_front_end(tmp_path):
    of = card()
    path, _ = shard(tmp_path, of)
    with pytest.raises(AvsbenchError, match="unknown front end 'vgish_mel'") as caught:
        audio_shard(card=of, shard_path=path, outs={"vgish_mel": tmp_path / "out.h5"})
    assert "did you mean 'vggish_mel'" in caught.value.hint


def test_a_sound_that_a_front_end_cannot_take_names_the_clip_and_leaves_nothing(tmp_path):
    of = card("ms3")
    path, outs = shard(tmp_path, of, with_sounds(Sound(np.ones((1600, 1), np.int16), 16000)))
    with pytest.raises(AvsbenchError, match=r"clip -a\.val_0 of .*val\.0of1\.h5: the sound is too short for a single"):
        audio_shard(card=of, shard_path=path, outs=outs)
    assert not [out for out in outs.values() if Path(out).exists()]
    assert leftovers(tmp_path) == []


def test_an_unexpected_error_names_the_clip_too(tmp_path, monkeypatch):
    of = card()
    path, outs = shard(tmp_path, of)
    monkeypatch.setattr("avsbench.media.vggish_mel.fit_examples", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        audio_shard(card=of, shard_path=path, outs=outs)
    assert caught.value.__notes__ == [f"clip -a.val_0 of {path}"]


def test_what_was_cut_is_said_once_a_clip(tmp_path, caplog):
    of = card()
    path, outs = shard(tmp_path, of, with_sounds(Sound(np.ones((12 * 16000, 1), np.int16), 16000)))
    audio_shard(card=of, shard_path=path, outs=outs)
    said = [text for text in caplog.messages if "goes on after the" in text]
    assert len(said) == 3
    assert "clip -a.val_1" in said[1]
    assert "the 10 frames" in said[1]


def test_a_full_disk_keeps_all_older_files(tmp_path, monkeypatch):
    of = card()
    path, outs = shard(tmp_path, of)
    audio_shard(card=of, shard_path=path, outs=outs)
    before = {name: Path(out).read_bytes() for name, out in outs.items()}
    real = ArrayWriter.add

    def add(self, clip_id, array):
        if self.header.content == NAMES[-1]:
            raise OSError(28, "No space left on device")
        real(self, clip_id, array)

    monkeypatch.setattr(ArrayWriter, "add", add)
    with pytest.raises(OSError, match="No space"):
        audio_shard(card=of, shard_path=path, outs=outs)
    assert {name: Path(out).read_bytes() for name, out in outs.items()} == before
    assert leftovers(tmp_path) == []


KILLED = """
import sys, time
from avsbench import cards
from avsbench.media.clip_sound import ClipSound
from avsbench.store.build import audio_shard
real = ClipSound.of.__func__
def slow(*args):
    print("started", flush=True)
    time.sleep(60)
    return real(*args)
ClipSound.of = slow
audio_shard(card=cards.dataset("avss"), shard_path=sys.argv[1], outs={"vggish_mel": sys.argv[2]})
"""


def test_a_killed_job_leaves_no_output_and_its_successor_cleans_up(tmp_path):
    of = card()
    path, outs = shard(tmp_path, of)
    out = Path(outs["vggish_mel"])
    job = subprocess.Popen([sys.executable, "-c", KILLED, path, out], stdout=subprocess.PIPE, env=dict(os.environ))
    assert job.stdout.readline() == b"started\n"
    job.send_signal(signal.SIGKILL)
    job.wait()
    job.stdout.close()
    assert not out.exists()
    assert leftovers(tmp_path)
    audio_shard(card=of, shard_path=path, outs=outs)
    assert out.exists()
    assert leftovers(tmp_path) == []
