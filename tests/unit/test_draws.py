"""Every metric on draws of the clips, as scoring stores it: right, paired, and read with care."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from avsbench.errors import AvsbenchError
from avsbench.evaluation.draws import clips_digest, read_draws, write_draws
from avsbench.evaluation.frames import read_frames
from avsbench.evaluation.resample import DRAWS, clip_sums, draws, frames_file, interval
from avsbench.evaluation.score import scores_from_frames
from tests.unit.test_compare import CLASSES, run


@pytest.fixture(scope="module", params=CLASSES)
def stored(request, tmp_path_factory):
    """(per-frame table, its sums, ends of intervals, file of draws) of a run of six clips."""
    folder = tmp_path_factory.mktemp(request.param)
    table = read_frames(frames_file(run(folder, request.param)))
    sums = clip_sums(table)
    file = folder / "positive.draws.parquet"
    return table, sums, write_draws(file, sums), file


def drawn_table(table: pa.Table, weights: np.ndarray) -> pa.Table:
    """The per-frame table of a split that holds each clip so often."""
    parts = []
    for position, count in enumerate(weights):
        clip = table.filter(pc.equal(table["position"], position))
        for _ in range(count):
            number = np.full(len(clip), len(parts), np.int32)
            for name, column in (("position", number), ("clip_id", number.astype(str))):
                clip = clip.set_column(clip.schema.get_field_index(name), name, pa.array(column))
            parts.append(clip)
    return pa.concat_tables(parts).replace_schema_metadata(table.schema.metadata)


def test_a_draw_is_bit_by_bit_what_scoring_the_drawn_clips_gives(stored):
    """By the accumulators that score a split, over a table in which the drawn clips stand as often as drawn."""
    table, sums, _, file = stored
    values, weights = read_draws(file).values, draws(len(sums.clips))
    for number in (0, 1, 999, DRAWS - 1):
        scores = scores_from_frames(drawn_table(table, weights[number]))
        for metric in values.keys() - {"fscore_b1"}:
            np.testing.assert_array_equal(values[metric][number], np.float32(scores[metric]), metric)
        if "fscore_b1" in values:  # a mean of the clips' own F, not of their sums
            assert values["fscore_b1"][number] == pytest.approx(scores["fscore_b1"], abs=1e-7)


def test_every_metric_of_the_sums_is_stored_in_single_precision(stored):
    _, sums, _, file = stored
    found = read_draws(file)
    assert set(found.values) == set(sums.values()[0])
    assert {(column.dtype, column.shape) for column in found.values.values()} == {(np.dtype(np.float32), (DRAWS,))}


def test_intervals_are_those_of_the_draws_and_hold_the_value_that_they_bound(stored):
    _, sums, ends, file = stored
    whole = sums.values()[0]
    for metric, column in read_draws(file).values.items():
        assert ends[metric] == pytest.approx(interval(column), abs=1e-6, nan_ok=True)
    name = "miou" if "miou" in ends else "dataset_miou_present"
    assert ends[name][0] < whole[name] < ends[name][1]


def test_the_same_clips_are_drawn_alike_and_others_are_told_apart(stored, tmp_path):
    _, sums, _, file = stored
    task = sums.about["task"]
    other = clip_sums(frames_file(run(tmp_path / "other", task, right=0.6)))
    write_draws(tmp_path / "other.parquet", other)
    assert read_draws(tmp_path / "other.parquet").clips == read_draws(file).clips == clips_digest(sums.clips)
    write_draws(tmp_path / "again.parquet", sums)
    assert (tmp_path / "again.parquet").read_bytes() == file.read_bytes()
    fewer = clip_sums(frames_file(run(tmp_path / "fewer", task, clips=5)))
    write_draws(tmp_path / "fewer.parquet", fewer)
    assert read_draws(tmp_path / "fewer.parquet").clips != clips_digest(sums.clips)


def test_a_file_of_something_else_is_refused(stored, tmp_path):
    file = stored[3]
    pq.write_table(pa.table({"miou": [0.5]}), tmp_path / "other.parquet")
    with pytest.raises(AvsbenchError, match="not the draws of a run"):
        read_draws(tmp_path / "other.parquet")
    (tmp_path / "cut.parquet").write_bytes(file.read_bytes()[:-100])
    with pytest.raises(AvsbenchError, match=r"cut\.parquet: unreadable draws"):
        read_draws(tmp_path / "cut.parquet")
