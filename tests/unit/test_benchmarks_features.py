"""The benchmark of the stage `features` measures the stage itself."""

from benchmarks import features


def test_each_generator_without_weights_has_a_row(tmp_path):
    found = {row["generator"]: row for row in features.measure(tmp_path, 1, 32)}
    assert set(found) == {"felzenszwalb", "none"}
    assert found["none"]["masks a frame"] == 0 < found["felzenszwalb"]["masks a frame"]
    for row in found.values():
        assert row["bytes a frame"] > 32 * 32
        assert row["CPU ms a frame"] > 0
        assert row["colours, CPU ms a frame"] > 0
