"""The embedded data: deterministic, in the official layouts, and made so that sound decides."""

import hashlib
import json
import os
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from avsbench import cards
from avsbench.atomic import temporary_of
from avsbench.datasets.mini import RELEASED, render
from avsbench.datasets.mini_kinds import KINDS, MULTI_KINDS, Dice
from avsbench.datasets.mini_plan import plan, scene_of, sound_of
from avsbench.datasets.mini_scene import draw, frame_tick, sounding_mask
from avsbench.errors import AvsbenchError
from avsbench.media.vggish_mel import vggish_mel

from .rendered import SPLITS, rendered, small_card  # noqa: F401 - fixtures

# ruff: noqa: F811

DATASETS = ("s4", "ms3", "avss")


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# determinism


def pinned(name):
    ticket = next(t for t in plan(small_card(name)) if t.split == "test" and (name != "avss" or t.part == "v2"))
    scene = scene_of(ticket, 0)
    image, owner = draw(scene, frame_tick(3), *RELEASED)
    return {
        "clip": ticket.clip_id,
        "frame": digest(image),
        "mask": digest(sounding_mask(scene, 3, owner)),
        "sound": digest(sound_of(ticket, 0)),
        "sound at 44.1 kHz": digest(sound_of(ticket, 0, 44100, 1)),
    }


PINS = {
    "s4": {
        "clip": "FzMJITvuKEb_4000_9000",
        "frame": "c2a23d4d03e6ae92",
        "mask": "6809688dc8afdff4",
        "sound": "4f1ec2cf28311627",
        "sound at 44.1 kHz": "1ecec18072834107",
    },
    "ms3": {
        "clip": "O3mBqAVLxis_2",
        "frame": "be08e1c0de782ece",
        "mask": "44b81ea146327b0c",
        "sound": "0fae0a22c6c0fa1a",
        "sound at 44.1 kHz": "8748bb2cb2544448",
    },
    "avss": {
        "clip": "JkPaurNJNgu_86000_96000",
        "frame": "69826b22fca857f0",
        "mask": "6182ba8a831d4fd5",
        "sound": "fe22f379cc43a5a8",
        "sound at 44.1 kHz": "082085f17125e960",
    },
}


@pytest.mark.parametrize("name", DATASETS)
def test_pixels_masks_and_samples_are_the_same_everywhere(name):
    assert pinned(name) == PINS[name]


def test_two_renders_are_equal_whatever_the_workers(rendered, tmp_path):
    render(small_card("ms3"), tmp_path / "again", 0, 2)
    first, second = rendered("ms3"), tmp_path / "again"
    assert files(first) == files(second)
    for name in files(first):
        if not name.endswith(".mp4"):
            assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_another_seed_is_other_data_under_the_same_names(rendered, tmp_path):
    render(small_card("ms3"), tmp_path / "other", 1, 1)
    assert files(rendered("ms3")) == files(tmp_path / "other")
    name = next(name for name in files(tmp_path / "other") if name.endswith(".wav"))
    assert (rendered("ms3") / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_a_new_render_replaces_the_old_one_whole(tmp_path):
    folder = tmp_path / "official"
    folder.mkdir()
    (folder / "old.txt").write_text("x")
    own = temporary_of(folder)  # and the same of a process that cannot exist
    own.with_name(own.name.replace(f".{os.getpid()}@", ".4194999@")).mkdir()
    render(small_card("s4"), folder, 0, 1)
    assert not (folder / "old.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["official"]


def test_a_failed_render_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("avsbench.datasets.mini.draw", fail)
    with pytest.raises(OSError, match="No space"):
        render(small_card("s4"), tmp_path / "official", 0, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_without_an_embedded_version(tmp_path):
    from dataclasses import replace

    with pytest.raises(AvsbenchError, match="'vpo' has no embedded version"):
        render(replace(small_card("s4"), name="vpo"), tmp_path / "x", 0, 1)


# layouts


def test_layout_of_s4(rendered):
    root = rendered("s4")
    table = pd.read_csv(root / "s4_meta_data.csv", dtype=str)
    assert list(table.columns) == ["name", "start", "category", "split"]
    expected = {"s4_meta_data.csv"}
    for row in table.itertuples():
        middle, name = f"{row.split}/{row.category}", row.name
        expected |= {f"s4_data/raw_videos/{middle}/{name}.mp4", f"s4_data/audio_wav/{middle}/{name}.wav"}
        expected |= {f"s4_data/visual_frames/{middle}/{name}/{name}_{n}.png" for n in range(1, 6)}
        masks = range(1, 2) if row.split == "train" else range(1, 6)
        expected |= {f"s4_data/gt_masks/{middle}/{name}/{name}_{n}.png" for n in masks}
        assert name.endswith(f"_{int(row.start) * 1000}_{int(row.start) * 1000 + 5000}")
    assert set(files(root)) == expected


def test_layout_of_ms3(rendered):
    root = rendered("ms3")
    table = pd.read_csv(root / "ms3_meta_data.csv", dtype=str)
    expected = {"ms3_meta_data.csv", "metadata.csv"}
    for row in table.itertuples():
        name = row.name
        expected |= {f"ms3_data/raw_videos/{name}.mp4", f"ms3_data/audio_wav/{row.split}/{name}.wav"}
        expected |= {f"ms3_data/visual_frames/{name}/{name}.mp4_{n}.png" for n in range(1, 6)}
        expected |= {f"ms3_data/gt_masks/{row.split}/{name}/{name}_{n}.png" for n in range(1, 6)}
    assert set(files(root)) == expected
    image = Image.open(root / next(f for f in files(root) if "visual_frames" in f))
    mask = Image.open(root / next(f for f in files(root) if "gt_masks" in f))
    assert (image.size, image.mode, mask.size, mask.mode) == (RELEASED, "RGB", RELEASED, "L")
    info = soundfile.info(root / next(f for f in files(root) if f.endswith(".wav")))
    assert (info.samplerate, info.channels, info.subtype, info.duration) == (16000, 2, "PCM_16", 5.0)


def test_layout_of_avss(rendered):
    root = rendered("avss")
    table = pd.read_csv(root / "metadata.csv", dtype=str)
    assert list(table.columns) == ["vid", "uid", "s_min", "s_sec", "a_obj", "split", "label"]
    expected = {"metadata.csv", "label2idx.json"}
    for row in table.itertuples():
        top, count = f"{row.label}/{row.uid}", 10 if row.label == "v2" else 5
        masks = 1 if (row.label, row.split) == ("v1s", "train") else count
        expected |= {f"{top}/audio.wav"} | {f"{top}/frames/{n}.jpg" for n in range(count)}
        expected |= {f"{top}/{kind}/{n}.png" for kind in ("labels_rgb", "labels_semantic") for n in range(masks)}
        start = 60000 * int(row.s_min) + 1000 * int(row.s_sec)
        end = {"v1s": f"_{start}_{start + 5000}", "v2": f"_{start}_{start + 10000}", "v1m": ""}[row.label]
        assert row.uid == row.vid + end
    assert set(files(root)) == expected
    values = json.loads((root / "label2idx.json").read_text())
    assert list(values.values()) == list(range(1, 72))
    assert list(values) == cards.dataset("avss").classes


def test_avss_frames_are_not_square_and_some_wavs_need_resampling():
    from avsbench.datasets.mini import ORIGINALS, WAVS

    assert all(width != height for width, height in ORIGINALS)
    assert {rate for rate, _ in WAVS} == {16000, 44100, 48000}


def test_clips_of_avss_part_one_are_those_of_s4_and_ms3():
    names = {name: {(t.clip_id, t.split) for t in plan(cards.dataset(name))} for name in ("s4", "ms3")}
    for ticket in plan(cards.dataset("avss")):
        if ticket.part != "v2":
            assert (ticket.clip_id, ticket.split) in names[ticket.origin]


def test_a_released_frame_is_the_one_that_the_rule_picks_from_the_video():
    from avsbench.datasets.mini_scene import FPS
    from avsbench.media.video import frame_indices

    assert [frame_tick(second) for second in range(10)] == frame_indices(FPS, 10)


# sound decides


@pytest.fixture(scope="module")
def scenes():
    """Every clip of mini MS3 with its scene."""
    return [(ticket, scene_of(ticket, 0)) for ticket in plan(cards.dataset("ms3"))]


def test_takes_look_the_same_and_differ_in_who_sounds(scenes):
    takes = {}
    for ticket, scene in scenes:
        takes.setdefault(ticket.scene, []).append((ticket, scene))
    full = [group for group in takes.values() if len(group) == 3]
    assert len(full) >= 36
    for group in full[:3]:
        pictures = [draw(scene, 0, 64, 64) for _, scene in group]
        assert all((image == pictures[0][0]).all() and (owner == pictures[0][1]).all() for image, owner in pictures)
    different = [len({tuple(t.sounding for t in scene.things) for _, scene in group}) for group in full]
    assert min(different) >= 2


def test_silent_objects_stand_in_every_frame_that_sounds(scenes):
    shares = Counter()
    for _, scene in scenes:
        kinds = [thing.kind for thing in scene.things]
        assert len(set(kinds)) == len(kinds)
        assert len(kinds) in (2, 3)
        for second in range(scene.seconds):
            shares[len(scene.sounding(second))] += 1
    total = sum(shares.values())
    assert set(shares) == {0, 1, 2}
    assert 0.12 < shares[0] / total < 0.25, "frames in which nothing sounds"
    assert 0.10 < shares[2] / total < 0.30, "frames with two sources"
    quiet = [len(scene.sounding(s)) < len(scene.things) for _, scene in scenes for s in range(5) if scene.sounding(s)]
    assert np.mean(quiet) > 0.85


def test_sources_start_and_stop_inside_clips(scenes):
    changes = [any(len(set(thing.sounding)) == 2 for thing in scene.things) for _, scene in scenes]
    assert 0.25 < np.mean(changes) < 0.6


def test_every_class_is_seen_and_heard_about_equally(scenes):
    heard, seen = Counter(), Counter()
    for ticket, scene in scenes:
        if ticket.split == "train":
            for thing in scene.things:
                seen[thing.kind.name] += 1
                heard[thing.kind.name] += sum(thing.sounding)
    for counter in (heard, seen):
        assert set(counter) == {kind.name for kind in MULTI_KINDS}
        assert max(counter.values()) < 2.2 * min(counter.values())


def test_objects_are_large_enough_for_64_pixels(scenes):
    shares = []
    for _, scene in scenes[:20]:
        _, owner = draw(scene, frame_tick(2), 64, 64)
        shares += [(owner == number).mean() for number in range(1, len(scene.things) + 1)]
    assert 0.03 < np.median(shares) < 0.09
    assert np.quantile(shares, 0.1) > 0.01


def test_mask_and_sound_agree_second_by_second(scenes):
    for ticket, scene in scenes[:12]:
        wave = sound_of(ticket, 0).astype(float)
        for second in range(scene.seconds):
            loud = np.abs(wave[second * 16000 + 400 : (second + 1) * 16000 - 400]).max() > 500
            assert loud == bool(scene.sounding(second))


def test_timbres_tell_classes_apart():
    """A nearest-centroid rule on the mean spectrum of single examples is right nearly always."""
    tickets = [t for t in plan(cards.dataset("s4")) if t.split == "train"]
    tickets += [t for t in plan(cards.dataset("s4")) if t.split == "test"]
    spectra, names = [], []
    for ticket in tickets:
        mel = vggish_mel(sound_of(ticket, 0), 16000)[:, 0].mean(axis=1)
        spectra.append(mel)
        names.append(ticket.cast[0])
    names, spectra = np.array(names), np.stack(spectra)
    train = 40
    kinds = sorted({kind.name for kind in KINDS})
    centres = np.stack([spectra[:train][names[:train] == kind].mean(axis=(0, 1)) for kind in kinds])
    guesses = ((spectra[train:, :, None] - centres) ** 2).sum(-1).argmin(-1)
    truth = np.array([[kinds.index(name)] * 5 for name in names[train:]])
    assert (guesses == truth).mean() > 0.97


def test_sources_are_about_equally_loud():
    levels = {}
    for ticket in plan(cards.dataset("s4")):
        if ticket.split == "train":
            wave = sound_of(ticket, 0, channels=1).astype(float)
            levels.setdefault(ticket.cast[0], []).append(np.sqrt((wave**2).mean()))
    means = [np.mean(values) for values in levels.values()]
    assert len(means) == len(KINDS)
    assert max(means) < 1.4 * min(means)
    assert min(means) > 1800
    assert max(means) < 4500


def test_dice_depend_on_their_key_alone():
    assert [Dice(0, "a").below(1000) for _ in range(2)] == [Dice(0, "a").below(1000)] * 2
    assert Dice(0, "a").noise(4).tolist() != Dice(0, "b").noise(4).tolist()
    one = Dice("x")
    assert sorted(one.sample(range(9), 9)) == list(range(9))
    assert {one.between(2, 4) for _ in range(60)} == {2, 3, 4}


def test_numbers_of_clips_are_those_of_the_cards():
    for name in DATASETS:
        card = cards.dataset(name)
        tickets = list(plan(card))
        assert Counter(t.split for t in tickets) == card.splits["mini"]
        assert len({t.clip_id for t in tickets}) == len(tickets)
    assert Counter(t.split for t in plan(small_card("s4"))) == SPLITS
