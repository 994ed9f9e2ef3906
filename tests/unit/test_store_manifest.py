"""Manifests: every clip in one shard, and an added clip changes one file."""

import dataclasses
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths
from avsbench.store.manifest import read_manifest, shard_of, write_manifests
from tests.unit.store_fakes import card, table

IDS = st.text(
    st.characters(exclude_characters="/\0\r\n", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
).filter(lambda text: text != ".")


def manifests(paths, of, split="train"):
    shards = of.shards["mini"][split]
    return [Path(paths.manifest(of.name, split, shard, shards)) for shard in range(shards)]


def one_split(ids):
    rows = [
        {"clip_id": clip_id, "split": "train", "position": n, "category": "", "part": "", "frames": 5}
        for n, clip_id in enumerate(ids)
    ]
    return pd.DataFrame(rows)


@given(IDS, st.integers(1, 100))
def test_a_shard_is_one_of_those_there_are(clip_id, shards):
    assert 0 <= shard_of(clip_id, shards) < shards


def test_the_hash_is_pinned():
    """Another value would rebuild every user's shards."""
    assert [shard_of(name, 48) for name in ("__GOGlHL23s_4000_9000", "_19NVGk6Zt8_0", "-a.b")] == [16, 9, 7]


@settings(max_examples=30, deadline=None)
@given(st.lists(IDS, min_size=1, max_size=20, unique=True), IDS)
def test_manifests_cover_the_table_and_an_appended_clip_changes_one(tmp_path_factory, ids, added):
    of = card(shards={"train": 4})
    paths = Paths("mini", data_root=str(tmp_path_factory.mktemp("m")))
    write_manifests(of, "mini", one_split(ids), paths)
    tables = [read_manifest(path) for path in manifests(paths, of)]
    found = pd.concat(tables).sort_values("position")
    assert list(found["clip_id"]) == ids
    assert list(found["position"]) == list(range(len(ids)))
    if added in ids:
        return
    changed = write_manifests(of, "mini", one_split([*ids, added]), paths)
    assert changed == [paths.manifest(of.name, "train", shard_of(added, 4), 4)]


def test_unchanged_manifests_are_not_touched(tmp_path):
    of, paths = card(), Paths("mini", data_root=str(tmp_path))
    assert len(write_manifests(of, "mini", table(of), paths)) == 5
    files = [path for split in of.shards["mini"] for path in manifests(paths, of, split)]
    for path in files:
        os.utime(path, (1, 1))
    assert write_manifests(of, "mini", table(of), paths) == []
    assert {path.stat().st_mtime for path in files} == {1}


def test_ids_that_look_like_something_else_stay_text(tmp_path):
    of, paths = card(shards={"train": 1}), Paths("mini", data_root=str(tmp_path))
    ids = ["NA", "1e5", "-007", "null", "a,b", 'say "x"', "1.50", " x"]
    write_manifests(of, "mini", one_split(ids), paths)
    assert list(read_manifest(manifests(paths, of)[0])["clip_id"]) == ids


def test_empty_shards_are_written(tmp_path):
    of, paths = card(shards={"train": 8}), Paths("mini", data_root=str(tmp_path))
    write_manifests(of, "mini", one_split(["only"]), paths)
    assert sorted(len(read_manifest(path)) for path in manifests(paths, of)) == [0] * 7 + [1]


def test_a_clip_that_stands_twice(tmp_path):
    with pytest.raises(AvsbenchError, match="clip b stands twice in train"):
        write_manifests(card(), "mini", one_split(["a", "b", "b"]), Paths("mini", data_root=str(tmp_path)))


@pytest.mark.parametrize("name", ["a/b", "", "."])
def test_a_name_that_hdf5_cannot_hold(tmp_path, name):
    with pytest.raises(AvsbenchError, match="cannot name a clip"):
        write_manifests(card(), "mini", one_split([name]), Paths("mini", data_root=str(tmp_path)))


def test_not_a_manifest(tmp_path):
    file = tmp_path / "train.0of1.csv"
    with pytest.raises(AvsbenchError, match="no such manifest"):
        read_manifest(file)
    file.write_text("name,start\nx,1\n")
    with pytest.raises(AvsbenchError, match="not a manifest"):
        read_manifest(file)


def test_smoke_takes_the_same_few_clips_of_each_split(tmp_path):
    counts = {"train": 40, "val": 20, "test": 9}
    few = dataclasses.replace(
        cards.dataset("ms3"),
        splits={"full": counts, "smoke": {"train": 16, "val": 16, "test": 9}},
        shards={"smoke": dict.fromkeys(counts, 1)},
    )
    rows = [
        {"clip_id": f"{split}{n}", "split": split, "position": n, "category": "", "part": "", "frames": 5}
        for split, count in counts.items()
        for n in range(count)
    ]
    table = pd.DataFrame(rows)
    paths = Paths("smoke", data_root=str(tmp_path))
    write_manifests(few, "smoke", table, paths)
    first = {split: read_manifest(paths.manifest("ms3", split, 0, 1)) for split in counts}
    assert {split: len(part) for split, part in first.items()} == few.splits["smoke"]
    assert first["train"]["position"].is_monotonic_increasing
    assert first["train"]["position"].max() > 16, "not simply the head of the table"
    assert write_manifests(few, "smoke", table.sample(frac=1, random_state=0), paths) == []
