"""Which splits may be used: `check_split` after extraction with faulty clips."""

from dataclasses import replace
from pathlib import Path

import pytest

from avsbench import cli
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths
from avsbench.store.build import build_index, check_split
from avsbench.store.complete import read_complete
from avsbench.store.manifest import shard_of, write_manifests
from tests.unit.store_fakes import FakeReader, card, extract, table


def prepare(folder, of, split, faulty=()):
    """Shards and index of one split, as the rules make them."""
    paths = Paths("mini", data_root=str(folder))
    write_manifests(of, "mini", table(of), paths)
    for shard in range(of.shards["mini"][split]):
        extract(of, paths, FakeReader(of, faulty=faulty), split, shard)
    build_index(card=of, scale="mini", split=split, paths=paths)
    return paths


def check(paths, of, split, **options):
    return check_split(card=of, scale="mini", split=split, paths=paths, **options)


def test_a_whole_split_passes(tmp_path):
    of = card()
    paths = prepare(tmp_path, of, "test")
    assert check(paths, of, "test") == {"usable": 4, "expected": 4} == read_complete(paths, of.name)


@pytest.mark.parametrize("verb", ["train", "predict"])
def test_verbs_without_a_workflow_refuse_a_split_that_was_not_checked(tmp_path, monkeypatch, capsys, verb):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("{scale: mini, runs: {ms3: [tpavi-r50]}, seeds: [0]}")
    paths = Paths("mini")
    mark = Path(paths.complete("ms3", "val"))
    mark.parent.mkdir(parents=True)
    mark.write_text('{"usable": 1, "expected": 1}')
    assert cli.main([verb, "--dataset", "ms3", "--variant", "tpavi-r50", "--config", "config.yaml"]) == 2
    assert "ms3 test: not known to be complete" in capsys.readouterr().err


@pytest.mark.parametrize("split", ["val", "test"])
def test_faulty_clips_stop_a_split(tmp_path, split):
    of = card()
    faulty = [f"-a.{split}_{number}" for number in (0, 2)]
    paths = prepare(tmp_path, of, split, faulty)
    count = of.splits["mini"][split]
    with pytest.raises(AvsbenchError, match=f"avss {split}: incomplete split, 2 of {count} clips are faulty") as caught:
        check(paths, of, split)
    text = str(caught.value)
    assert f"{faulty[0]}: official/a folder/1.png: the image cannot be read" in text
    shards = of.shards["mini"][split]
    assert paths.faults(of.name, split, shard_of(faulty[0], shards), shards) in text
    assert read_complete(paths, of.name, split) is None


def test_an_incomplete_split_can_be_allowed_and_forbidden_again(tmp_path):
    of = card()
    paths = prepare(tmp_path, of, "test", ["-a.test_2"])
    index = Path(paths.index(of.name, "test"))
    before = index.stat().st_mtime_ns
    assert check(paths, of, "test", allow_incomplete=True) == {"usable": 3, "expected": 4}
    with pytest.raises(AvsbenchError, match="incomplete split"):
        check(paths, of, "test")
    assert read_complete(paths, of.name) is None
    assert index.stat().st_mtime_ns == before


def test_faulty_training_clips_pass(tmp_path):
    of = card()
    paths = prepare(tmp_path, of, "train", ["-a.train_3"])
    assert check(paths, of, "train") == {"usable": 6, "expected": 7}


def test_many_faults_list_ten(tmp_path):
    of = card(splits={"train": 1, "val": 14, "test": 1}, shards={"train": 1, "val": 1, "test": 1})
    paths = prepare(tmp_path, of, "val", [f"-a.val_{number}" for number in range(13)])
    with pytest.raises(AvsbenchError, match="and 3 more"):
        check(paths, of, "val")


def test_the_number_of_clips_is_compared_with_the_card(tmp_path, caplog):
    of = card()
    paths = prepare(tmp_path, of, "val")
    more = card(splits={"train": 8, "val": 4, "test": 4})
    with pytest.raises(AvsbenchError, match="avss val: wrong number of clips"):
        check(paths, more, "val")
    assert check(paths, more, "val", allow_incomplete=True) == {"usable": 3, "expected": 4}
    assert "lists 3 clips, the card says 4" in caplog.text
    # Where the published number is not certain, the table decides.
    assert check(paths, replace(more, counts_known=False), "val") == {"usable": 3, "expected": 3}


def test_an_uncertain_number_does_not_excuse_faulty_clips(tmp_path):
    of = replace(card(), counts_known=False)
    paths = prepare(tmp_path, of, "test", ["-a.test_0"])
    with pytest.raises(AvsbenchError, match="1 of 4 clips are faulty"):
        check(paths, of, "test")
