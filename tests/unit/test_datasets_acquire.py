"""The first stage: rendering or linking, and what it says when the released data are missing."""

import json
from pathlib import Path

import pytest

from avsbench.datasets import acquire, reader
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths

from .rendered import own, rendered, small_card  # noqa: F401 - fixtures

# ruff: noqa: F811


@pytest.fixture
def out(tmp_path):
    return Paths("full", data_root=str(tmp_path / "data"))


def test_mini_is_rendered_and_described(tmp_path):
    card, out = small_card("ms3"), Paths("mini", data_root=str(tmp_path / "data"))
    content = acquire(card, scale="mini", root=None, out=out, seed=3, workers=1)
    assert json.loads(Path(out.acquired("ms3")).read_text()) == content
    assert content["clips"] == card.splits["mini"]
    assert (content["dataset"], content["scale"], content["source"]) == ("ms3", "mini", "rendered, seed 3")
    assert len(content["table"]) == 64
    assert [p.name for p in Path(out.dataset("ms3")).iterdir() if "tmp" in p.name] == []


@pytest.mark.parametrize("name", ["s4", "ms3", "avss"])
def test_released_data_are_linked_not_copied(name, out, rendered):
    content = acquire(small_card(name), scale="full", root=str(rendered(name)), out=out)
    official = Path(out.official(name))
    assert official.is_symlink()
    assert official.resolve() == rendered(name).resolve()
    assert content["source"] == str(rendered(name).resolve())
    assert len(reader(small_card(name), official).table()) == sum(content["clips"].values())
    assert acquire(small_card(name), scale="full", root=str(rendered(name)), out=out) == content, "again is harmless"
    assert acquire(small_card(name), scale="full", root=None, out=out) == content, "the link that is there will do"


def test_the_folder_above_will_do(out, own, tmp_path):
    (tmp_path / "AVSBench").mkdir()
    own("s4").rename(tmp_path / "AVSBench/Single-source")
    content = acquire(small_card("s4"), scale="full", root=str(tmp_path / "AVSBench"), out=out)
    assert content["source"].endswith("AVSBench/Single-source")


def test_other_counts_than_published_are_logged(out, rendered, caplog):
    from dataclasses import replace

    card = replace(small_card("ms3"), splits={"mini": {}, "full": {"train": 296, "val": 64, "test": 64}})
    acquire(card, scale="full", root=str(rendered("ms3")), out=out)
    assert "'train': 4" in caplog.text
    assert "'train': 296" in caplog.text


@pytest.mark.parametrize("name", ["s4", "ms3", "avss"])
def test_no_data_says_where_to_ask_how_they_are_called_and_where_to_put_them(name, out):
    with pytest.raises(AvsbenchError) as caught:
        acquire(small_card(name), scale="full", root=None, out=out)
    text = str(caught.value)
    assert f"roots.{name}" in text
    assert small_card(name).access in text
    assert "lab.cn/download" in text
    assert out.downloads(name) in text
    release = small_card(name).release
    assert all(word in text for word in [release["folder"], release["table"], release["archives"][0] + ".zip"])
    assert not Path(out.acquired(name)).exists()


def test_a_root_that_is_missing_an_archive_or_something_else(out, tmp_path):
    card = small_card("s4")
    with pytest.raises(AvsbenchError, match=r"nowhere.*no such folder(.|\n)*Put the unpacked folder"):
        acquire(card, scale="full", root=str(tmp_path / "nowhere"), out=out)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(AvsbenchError, match=r"notes\.txt.*a file, not a folder"):
        acquire(card, scale="full", root=str(tmp_path / "notes.txt"), out=out)
    (tmp_path / "Single-source.zip").write_bytes(b"PK")
    with pytest.raises(AvsbenchError, match=r"Single-source\.zip: the archive cannot be read"):
        acquire(card, scale="full", root=str(tmp_path / "Single-source.zip"), out=out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/holiday.jpg").write_text("x")
    with pytest.raises(
        AvsbenchError, match=r"not the released data(.|\n)*s4_meta_data\.csv, s4_data(.|\n)*holiday\.jpg"
    ):
        acquire(card, scale="full", root=str(tmp_path / "other"), out=out)
    assert not Path(out.official("s4")).exists()


def test_a_folder_in_the_way_of_the_link_is_not_removed(out, rendered):
    folder = Path(out.official("s4"))
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("x")
    with pytest.raises(AvsbenchError, match="stands where the link"):
        acquire(small_card("s4"), scale="full", root=str(rendered("s4")), out=out)
    assert (folder / "mine.txt").exists()
