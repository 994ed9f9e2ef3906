"""Room on the disk: estimates against what shards take, and the question before a stage starts."""

from pathlib import Path

import pytest

from avsbench import cards
from avsbench.datasets import space
from avsbench.errors import AvsbenchError
from avsbench.plan import Plan


@pytest.fixture
def plan(tmp_path):
    roots = {"data_root": str(tmp_path / "data")}
    return Plan({"scale": "full", "runs": {"s4": ["saliency"]}, "seeds": [0], **roots})


@pytest.mark.parametrize("size", [0, 999, 1000, 3_200_000, 44_800_000_000, 2e15])
def test_bytes_are_readable(size):
    expected = {
        0: "0 B",
        999: "999 B",
        1000: "1.0 kB",
        3_200_000: "3.2 MB",
        44_800_000_000: "44.8 GB",
        2e15: "2000.0 TB",
    }
    assert space.readable(size) == expected[size]


def test_a_shard_of_s4():
    card = cards.dataset("s4")
    clip = 5 * 224 * 224 * 4 + 5 * 64_000  # RGB and a mask, stereo sound at 16 kHz
    assert space.shard_bytes(card, "full", "val", 224) == 740 // 4 * clip
    assert space.array_bytes(card, "full", "val", 96 * 64 * 4) == 740 // 4 * 5 * 96 * 64 * 4
    assert space.shard_bytes(cards.dataset("vpo_ss"), "full", "val", 0) > 0


def test_only_what_is_still_to_be_made_is_asked_for(plan, monkeypatch, caplog):
    card = cards.dataset("s4")
    monkeypatch.setattr(space, "free_bytes", lambda path: 5_000_000_000)
    with pytest.raises(
        AvsbenchError, match=r"the shards of s4, 24 files to go(.|\n)*5\.0 GB free(.|\n)*about 6\.\d GB"
    ):
        space.before_extract(card, plan)
    for shard in plan.shards("s4", "train"):
        Path(shard).parent.mkdir(parents=True, exist_ok=True)
        Path(shard).touch()
    space.before_extract(card, plan)
    assert not caplog.text
    with pytest.raises(AvsbenchError, match="vggish_mel, a_wave of s4, 48 files to go"):
        space.before_audio(card, plan, {"vggish_mel": (1, 96, 64), "a_wave": (160_000,)})
    space.before_audio(card, plan, {"vggish_mel": (1, 96, 64)})


def test_free_room_of_a_folder_to_come(tmp_path):
    assert space.free_bytes(tmp_path / "not/yet/there") == pytest.approx(space.free_bytes(tmp_path), rel=0.2)


def test_originals_are_asked_for_once_and_not_where_shards_hold_them(plan, monkeypatch):
    asked = []
    monkeypatch.setattr(space, "require", lambda path, needed, what: asked.append((needed, what)))
    card = cards.dataset("avss")
    space.before_native(card, plan)
    space.before_native(cards.dataset("vpo_ss"), plan)
    needed, what = asked[0]
    assert len(asked) == 1
    assert "original pictures of avss" in what
    assert abs(needed - space.released_bytes(card, "full")) < 100
