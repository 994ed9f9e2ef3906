"""The benchmark of the leaderboard in its smallest form. No time is judged here."""

from benchmarks import __main__ as command
from benchmarks import report


def test_a_board_is_rendered_and_weighed():
    found = list(report.rows(runs=12, variants=2, datasets=("s4", "vpo_ss")))  # both boards are the same
    reading, page, opening = found
    assert [row.unit for row in found] == ["s CPU", "MB", "s"]
    assert {row.topic for row in found} == {"report"}
    assert "2 variants × 2 data sets × 3 seeds" in reading.case
    assert "12 runs" in reading.note
    assert reading.value > 0
    assert 0 < page.value < report.MEGABYTES
    assert opening.value is None if opening.note == "no browser" else opening.value > 0


def test_it_is_one_of_the_topics():
    assert command.TOPICS["report"] is report.rows
