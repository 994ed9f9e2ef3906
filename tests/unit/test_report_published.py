"""Published numbers: shown by protocol, compared with nothing else."""

import re
from pathlib import Path

import pytest

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.plan import Plan, Run
from avsbench.report import published
from avsbench.report.leaderboard import write_leaderboard
from avsbench.report.verify import NO_VALUE, compare_with_published, verified, verify_runs
from tests.unit.report_runs import make_run, paths_in, row_of

R50 = Run("s4", "tpavi-r50", "0")


def board(tmp_path, run, scale="full", **options):
    paths = paths_in(tmp_path, scale)
    make_run(paths, run, image_size=224, **options)
    return Path(write_leaderboard(runs=[run], paths=paths)).read_text()


def part(text, title):
    return re.split(r"\n##", text.split(f"### {title}\n")[1])[0]


def test_only_numbers_that_were_seen_are_shown():
    rows = published.load()
    assert len(rows) == 317
    assert {row.certainty for row in rows} == {"seen"}
    assert all(row.source for row in rows)


def test_protocols_stand_apart(tmp_path):
    text = board(tmp_path, R50)
    per_image = part(text, "Published, scored per image")
    pooled = part(text, "Published, scored over pooled pixels")
    unknown = part(text, "Published, protocol not stated")
    assert "72.79" in per_image
    assert "mIoU (A)" in per_image
    assert "89.43" in pooled
    assert "mIoU (D)" in pooled
    assert "89.43" not in per_image + unknown
    assert "mIoU (?)" in unknown
    assert "(A)" not in unknown


def test_protocol_c_for_avss(tmp_path):
    text = board(tmp_path, Run("avss", "tpavi-r50", "0"))
    assert "mIoU (C)" in part(text, "Published, scored per image")


def test_shown_digit_for_digit(tmp_path):
    cells = row_of(part(board(tmp_path, R50), "Published, scored per image"), "CATR")
    assert cells[6:9] == ["74.80", "86.60", "80.70"]


def test_sources_are_listed(tmp_path):
    found = part(board(tmp_path, R50), "Published, scored per image")
    assert re.search(r"- Source \d+: yannqi/COMBO-AVS README", found)


def test_gap_where_method_backbone_and_protocol_agree(tmp_path):
    found = part(board(tmp_path, R50, values={"miou": 0.7379}), "Measured beside published")
    cells = row_of(found, "tpavi-r50")
    assert cells[2:7] == ["`miou`", "A", "73.79", "72.79", "+1.00"]
    assert "fscore_b4" in found
    assert "fscore_b1" not in found


def test_no_gap_at_mini(tmp_path):
    assert "Measured beside published" not in board(tmp_path, R50, scale="mini")


def test_no_gap_on_a_part_of_the_test_split(tmp_path):
    text = board(tmp_path, R50, clips=700)
    assert "do not compare" in text
    assert "Measured beside published" not in text


def test_no_gap_where_only_an_unknown_protocol_is_published(tmp_path):
    # The PVT numbers of TPAVI are in sources that do not state their protocol.
    assert any(row.method == "TPAVI" and row.visual_backbone == "PVT-v2" for row in published.load())
    assert "Measured beside published" not in board(tmp_path, Run("s4", "tpavi-pvt", "0"))


@pytest.mark.parametrize("name", ["cavp-r50", "cavp-reference-r50"])
def test_an_encoder_stands_for_the_backbone_that_tables_name(name):
    """CAVP starts from a ResNet-50 with another stem, and its COCO rows are no counterparts."""
    rows = published.counterparts(cards.variant(name), cards.dataset("s4"), 224)
    found = {(row.protocol, row.metric, row.value) for row in rows}
    assert found == {
        ("per_image", "mIoU", "78.78"),
        ("per_image", "Fscore", "88.89"),
        ("per_dataset", "mIoU", "89.43"),
        ("per_dataset", "Fscore", "94.50"),
    }


def test_another_pretraining_or_size_is_no_counterpart():
    card, variant = cards.dataset("s4"), cards.variant("tpavi-r50")
    assert {row.visual_pretrain for row in published.counterparts(variant, card, 224)} == {"ImageNet"}

    def like(**changes):
        return published.Published(**{**vars(published.counterparts(variant, card, 224)[0]), **changes})

    rows = [
        like(),
        like(visual_pretrain="COCO"),
        like(image_size="384"),
        like(setting="few_shot_1"),
        like(protocol="unknown"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "load", lambda: tuple(rows))
        assert published.counterparts(variant, card, 224) == [rows[0]]


@pytest.mark.parametrize(
    ("dataset", "protocol", "metric", "expected"),
    [
        ("s4", "per_image", "mIoU", ("A", "miou")),
        ("ms3", "per_image", "Fscore", ("B", "fscore_b{k}")),
        ("avss", "per_image", "mIoU", ("C", "miou_avss")),
        ("avss", "per_image", "Fscore", ("C", "f_avss")),
        ("s4", "per_dataset", "mIoU", ("D", "dataset_miou")),
        ("avss", "per_dataset", "Fscore", ("D", "dataset_f")),
        ("s4", "per_image", "J_and_F", ("A, B", None)),
        ("s4", "unknown", "mIoU", ("?", None)),
    ],
)
def test_published_protocols_in_our_names(dataset, protocol, metric, expected):
    row = next(r for r in published.load() if (r.protocol, r.metric) == (protocol, metric) or protocol == "per_dataset")
    row = published.Published(**{**vars(row), "protocol": protocol, "metric": metric})
    assert row.measure(cards.dataset(dataset)) == expected


@pytest.mark.parametrize(("column", "value"), [("value", "about 80"), ("protocol", "per_video")])
def test_a_broken_row_is_named(tmp_path, column, value):
    import pandas as pd

    table = pd.read_csv(published.FILE, dtype=str, keep_default_na=False)
    table.loc[4, column] = value
    table.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(AvsbenchError, match=r"p\.csv:6: not a published number"):
        published.load(tmp_path / "p.csv")


# avsbench verify-weights


def statuses(rows):
    return {row.metric: row.status for row in rows}


def test_verify_within_the_tolerance():
    rows = compare_with_published("s4", "tpavi-r50", {"miou": 0.7329, "fscore_b4": 0.8480})
    assert statuses(rows) == {"miou": "pass", "fscore_b4": "pass"}
    assert verified(rows)


@pytest.mark.parametrize("miou", [0.7228, 0.7331, None])
def test_verify_fails_in_both_directions_and_without_a_number(miou):
    rows = compare_with_published("s4", "tpavi-r50", {"miou": miou, "fscore_b4": 0.8480})
    assert statuses(rows) == {"miou": "fail", "fscore_b4": "pass"}
    assert not verified(rows)


def test_verify_says_where_nothing_is_published():
    rows = compare_with_published("s4", "tpavi-pvt", {"miou": 0.7874, "fscore_b4": 0.879})
    assert statuses(rows) == {"miou": NO_VALUE, "fscore_b4": NO_VALUE}
    assert not verified(rows)


def plan(tmp_path, scale):
    config = {
        "scale": scale,
        "runs": {"s4": ["tpavi-r50"]},
        "seeds": ["official"],
        "results_root": f"{tmp_path}/results",
    }
    return Plan(config)


def test_verify_prints_pass_or_fail(tmp_path, capsys):
    run = Run("s4", "tpavi-r50", "official")
    make_run(paths_in(tmp_path, "full"), run, values={"miou": 0.7279, "fscore_b4": 0.9})
    assert verify_runs(plan(tmp_path, "full"), "s4", "tpavi-r50") is False
    printed = capsys.readouterr().out
    assert row_of(printed, "tpavi-r50")[-1] == "pass"
    assert "fail" in printed
    assert "Does not agree with published numbers within 0.5 points." in printed
    assert verify_runs(plan(tmp_path, "full"), "s4", "tpavi-r50", tolerance=6) is True


def test_verify_needs_the_official_run_at_full_scale(tmp_path):
    with pytest.raises(AvsbenchError, match="no scores yet"):
        verify_runs(plan(tmp_path, "full"), "s4", "tpavi-r50")
    with pytest.raises(AvsbenchError, match="scale"):
        verify_runs(plan(tmp_path, "mini"), "s4", "tpavi-r50")
