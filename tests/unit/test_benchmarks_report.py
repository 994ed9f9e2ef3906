"""The benchmark of the leaderboard in its smallest form. No time is judged here."""

from benchmarks import __main__ as command
from benchmarks import report


def test_a_board_is_rendered_and_weighed():
    found = list(report.rows(runs=12, variants=2, datasets=("s4", "vpo_ss")))  # both boards are the same
    assert [row.unit for row in found] == ["s CPU", "MB"]
    assert all(row.topic == "report" and row.value > 0 for row in found)
    assert "2 variants × 2 data sets × 3 seeds" in found[0].case
    assert "12 runs" in found[0].note
    assert found[1].value < report.MEGABYTES


def test_it_is_one_of_the_topics():
    assert command.TOPICS["report"] is report.rows
