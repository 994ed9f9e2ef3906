"""The prediction store: round trip, errors, never half a file."""

import h5py
import numpy as np
import pytest
import torch

from avsbench.errors import AvsbenchError
from avsbench.evaluation.predictions import (
    PredictionInfo,
    PredictionReader,
    PredictionWriter,
)
from avsbench.metrics.fscore import THRESHOLDS, levels
from avsbench.nn.probability import foreground_probability


def info(task="binary", classes=1, hard=False):
    return PredictionInfo("ms3", "tpavi-r50", "0", "positive", task, classes, hard)


def write(path, clips=3, **options):
    rng = np.random.default_rng(0)
    with PredictionWriter(path, info(**options)) as writer:
        for n in range(clips):
            probability = rng.random((5, 16, 12)).astype(np.float32)
            writer.add_binary("common", f"clip {n}", probability=probability, mask=probability > 0.5)
    return path


def test_round_trip_binary(tmp_path):
    probability = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(0))
    with PredictionWriter(tmp_path / "p.h5", info()) as writer:
        writer.add_binary("common", "b", probability=probability, mask=probability > 0.4)
        writer.add_binary("512", "b", probability=probability[:, :4], mask=probability[:, :4] > 0.4)
        writer.add_binary("common", "a", probability=probability, mask=probability > 2)
    with PredictionReader(tmp_path / "p.h5") as reader:
        assert reader.info == info()
        assert reader.clips == ["b", "a"]
        assert reader.grids == ["common", "512"]
        assert reader.size("512", "b") == (5, 4, 8)
        level, mask = reader.binary("common", "b")
    np.testing.assert_array_equal(level, (probability.numpy()[..., None] >= THRESHOLDS).sum(-1))
    np.testing.assert_array_equal(mask, probability.numpy() > 0.4)
    assert mask.dtype == bool


def test_round_trip_semantic(tmp_path):
    label = torch.randint(0, 71, (10, 8, 8), generator=torch.Generator().manual_seed(0))
    with PredictionWriter(tmp_path / "p.h5", info("semantic", 71)) as writer:
        writer.add_semantic("common", "a", label)
        with pytest.raises(AvsbenchError, match=r"clip b: a predicted class does not exist"):
            writer.add_semantic("common", "b", label + 1 + 70 - label.max())
    with PredictionReader(tmp_path / "p.h5") as reader:
        np.testing.assert_array_equal(reader.semantic("common", "a"), label)
        assert reader.semantic("common", "a").dtype == np.uint8


def test_hard_masks_reach_all_thresholds_or_the_first(tmp_path):
    mask = np.eye(4, dtype=bool)[None]
    with PredictionWriter(tmp_path / "p.h5", info(hard=True)) as writer:
        writer.add_hard("common", "a", mask)
        with pytest.raises(AvsbenchError, match="takes no probabilities"):
            writer.add_binary("common", "b", probability=mask.astype(float), mask=mask)
    with PredictionReader(tmp_path / "p.h5") as reader:
        np.testing.assert_array_equal(reader.binary("common", "a")[0], levels(mask.astype(np.float32)))


def test_same_predictions_same_bytes(tmp_path):
    assert write(tmp_path / "a.h5").read_bytes() == write(tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_truncated_file(tmp_path, keep):
    path = write(tmp_path / "p.h5")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(AvsbenchError, match=r"p\.h5: the prediction file is damaged"):
        PredictionReader(path)


def test_damaged_chunk_names_the_clip(tmp_path):
    path = write(tmp_path / "p.h5")
    with h5py.File(path) as file:
        chunk = file["common/clip 1/level"].id.get_chunk_info(2)
    with open(path, "r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * chunk.size)
    with PredictionReader(path) as reader:
        reader.binary("common", "clip 0")
        with pytest.raises(AvsbenchError, match="clip clip 1, grid common"):
            reader.binary("common", "clip 1")


def test_files_that_are_none_of_ours(tmp_path):
    with pytest.raises(AvsbenchError, match="no such prediction file"):
        PredictionReader(tmp_path / "none.h5")
    (tmp_path / "zero.h5").write_bytes(b"")
    with pytest.raises(AvsbenchError, match="damaged"):
        PredictionReader(tmp_path / "zero.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(AvsbenchError, match="not a prediction file"):
        PredictionReader(tmp_path / "other.h5")
    path = write(tmp_path / "open.h5")
    with h5py.File(path, "a") as file:
        del file["clips"]
    with pytest.raises(AvsbenchError, match="list of clips that is written last"):
        PredictionReader(path)


def test_missing_clip_and_grid(tmp_path):
    with PredictionReader(write(tmp_path / "p.h5")) as reader:
        with pytest.raises(AvsbenchError, match="no prediction of clip stranger on grid common"):
            reader.binary("common", "stranger")
        with pytest.raises(AvsbenchError, match="on grid native"):
            reader.size("native", "clip 0")


def _one_good_and_one_bad_clip(writer):
    frame = np.zeros((1, 2, 2))
    writer.add_binary("common", "a", probability=frame, mask=frame)
    writer.add_binary("common", "b", probability=frame - 1, mask=frame)


def test_an_error_leaves_no_file_and_keeps_the_old_one(tmp_path):
    path = write(tmp_path / "p.h5", clips=1)
    before = path.read_bytes()
    with pytest.raises(AvsbenchError, match="clip b"), PredictionWriter(path, info()) as writer:
        _one_good_and_one_bad_clip(writer)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.h5"]


def test_full_disk_is_one_error_and_no_file(tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("avsbench.store.disk.os.pwrite", no_space)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "p.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid": "half"}, "unknown grid 'half'"),
        ({"clip_id": "a/b"}, "cannot name a clip"),
        ({"probability": np.full((1, 2, 2), np.nan)}, "clip a: probabilities lie in"),
        ({"probability": np.full((1, 2, 2), 1.5)}, "clip a: probabilities lie in"),
        ({"mask": np.zeros((1, 2, 3))}, "clip a: predictions of wrong shape"),
        ({"clip_id": "twice"}, "predicted twice"),
    ],
)
def test_what_the_writer_refuses(tmp_path, arguments, message):
    good = {"grid": "common", "clip_id": "a", "probability": np.zeros((1, 2, 2)), "mask": np.zeros((1, 2, 2))}
    with PredictionWriter(tmp_path / "p.h5", info()) as writer:
        writer.add_binary(**good | {"clip_id": "twice"})
        with pytest.raises(AvsbenchError, match=message):
            writer.add_binary(**good | arguments)
        with pytest.raises(AvsbenchError, match="wrong kind of prediction"):
            writer.add_semantic("common", "a", np.zeros((1, 2, 2)))


def test_probabilities_are_float32_under_autocast():
    logits = 3 * torch.randn(2, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    pair = torch.cat([torch.zeros_like(logits), logits], dim=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, two = foreground_probability(logits), foreground_probability(pair)
    assert one.dtype == two.dtype == torch.float32
    assert torch.equal(one, logits[:, :, 0].sigmoid())
    torch.testing.assert_close(one, two)
    with pytest.raises(AvsbenchError, match="1 or 2 score channels"):
        foreground_probability(torch.zeros(1, 1, 3, 2, 2))
