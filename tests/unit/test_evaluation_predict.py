"""Running a method: padding, batches, grids, scores that are not finite."""

import numpy as np
import pytest
import torch

from avsbench.contract import Batch, Method
from avsbench.errors import AvsbenchError
from avsbench.evaluation.predict import predict_clips, single_clips
from avsbench.evaluation.predictions import PredictionInfo, PredictionReader, PredictionWriter


class Loudness(Method):
    """Scores a frame by its mean over the whole batch: leaks between clips, and padding changes it."""

    def __init__(self, channels=1):
        super().__init__()
        self.channels = channels
        self.seen = []

    def forward(self, batch):
        assert not self.training
        self.seen.append(tuple(batch.frames.shape[:2]))
        grey = batch.frames.float().mean(dim=2, keepdim=True) / 255
        return {"grey": grey + batch.audio["mel"].mean() - grey.mean()}

    def scores(self, output, size):
        grey = output["grey"]
        b, t = grey.shape[:2]
        resized = torch.nn.functional.interpolate(grey.flatten(0, 1), size, mode="bilinear").unflatten(0, (b, t))
        return torch.cat([resized * (k + 1) for k in range(self.channels)], dim=2)


def batch(lengths=(3, 2), size=8):
    generator = torch.Generator().manual_seed(0)
    t = max(lengths)
    real = torch.arange(t) < torch.tensor(lengths)[:, None]
    frames = torch.randint(0, 256, (len(lengths), t, 3, size, size), generator=generator, dtype=torch.uint8)
    audio = {"mel": torch.randn(len(lengths), t, 1, 4, 4, generator=generator), "wave": torch.randn(len(lengths), 100)}
    return Batch(frames * real[:, :, None, None, None], real, [f"clip{n}" for n in range(len(lengths))], audio)


def predict(tmp_path, batches, task="binary", classes=1, method=None, **options):
    path = tmp_path / "p.h5"
    method = method or Loudness()
    with PredictionWriter(path, PredictionInfo("s4", "loudness", "0", "positive", task, classes)) as writer:
        timing = predict_clips(method, batches, writer, **options)
    return PredictionReader(path), timing, method


def test_single_clips_lose_their_padding_only():
    whole = batch()
    first, second = single_clips(whole)
    assert first.frames.shape[:2] == (1, 3)
    assert second.frames.shape[:2] == second.audio["mel"].shape[:2] == (1, 2)
    assert second.audio["wave"].shape == (1, 100)
    assert second.clip_ids == ["clip1"]
    assert second.masks is None
    assert torch.equal(second.frames[0], whole.frames[1, :2])


def test_one_clip_per_forward_makes_batches_irrelevant(tmp_path):
    (tmp_path / "one").mkdir()
    together, timing, method = predict(tmp_path, [batch()])
    apart, _, _ = predict(tmp_path / "one", list(single_clips(batch())))
    assert method.seen == [(1, 3), (1, 2), (1, 3)]  # the last time its operations are counted
    assert (timing.clips, timing.frames) == (2, 5)
    assert together.frames_per_second == timing.frames_per_second > 0
    for clip, length in (("clip0", 3), ("clip1", 2)):
        assert together.size("common", clip) == (length, 8, 8)
        for a, b in zip(together.binary("common", clip), apart.binary("common", clip), strict=True):
            np.testing.assert_array_equal(a, b)


def test_batch_independent_methods_get_whole_batches(tmp_path):
    reader, _, method = predict(tmp_path, [batch()], batch_independent=True)
    assert method.seen == [(2, 3), (1, 3)]
    assert reader.size("common", "clip1") == (2, 8, 8)  # real frames only


def test_grids(tmp_path):
    sizes = {"clip0": (10, 12), "clip1": (7, 9)}
    reader, _, _ = predict(
        tmp_path, [batch()], grids=("common", "512", "native"), native_sizes=sizes, batch_independent=True
    )
    assert reader.grids == ["common", "512", "native"]
    assert reader.size("512", "clip0") == (3, 512, 512)
    assert reader.size("native", "clip1") == (2, 7, 9)
    (tmp_path / "unknown").mkdir()
    with pytest.raises(AvsbenchError, match="clip0: its original size is not known"):
        predict(tmp_path / "unknown", [batch()], grids=("native",))


@pytest.mark.parametrize(("task", "channels", "classes"), [("binary", 2, 1), ("semantic", 5, 5)])
def test_channels(tmp_path, task, channels, classes):
    reader, _, _ = predict(tmp_path, [batch()], task, classes, Loudness(channels))
    if task == "binary":
        level, mask = reader.binary("common", "clip0")
        assert mask.any()
        assert not mask.all()
        np.testing.assert_array_equal(mask, level > 127)  # p > 0.5 = threshold 127
    else:
        assert set(np.unique(reader.semantic("common", "clip0"))) == {0, 4}


def test_scores_that_are_not_finite_name_the_clip(tmp_path):
    broken = batch()
    broken.audio["mel"][1] = float("nan")
    with pytest.raises(AvsbenchError, match="clip clip1: the scores are not finite"):
        predict(tmp_path, [broken])
    assert list(tmp_path.iterdir()) == []


def test_scores_of_wrong_shape(tmp_path):
    method = Loudness(2)
    method.channels = 3
    method.scores = lambda output, size: torch.zeros(1, 3, 2, *size)
    with pytest.raises(AvsbenchError, match="scores of wrong shape"):
        predict(tmp_path, [batch()], "semantic", 3, method)
