"""Averaging before quantising, and voting: cases by hand, exactness, ties, and members that are missing or wrong."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench.contract import Batch, Method
from avsbench.errors import AvsbenchError
from avsbench.evaluation.ensemble import Ensemble, member_files
from avsbench.evaluation.predict import predict_clips
from avsbench.evaluation.predictions import PredictionInfo, PredictionReader, PredictionWriter
from avsbench.metrics.fscore import levels
from tests.unit.report_runs import paths_in

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none")
CERTAIN = 1000.0
"""A logit whose sigmoid is 1 in float32; that of its negative is 0."""


BATCH = Batch(torch.zeros(1, 2, 3, 4, 4, dtype=torch.uint8), torch.ones(1, 2, dtype=torch.bool), ["clip"])


class Fixed(Method):
    """Says the same logits [K,h,w] for every frame."""

    def __init__(self, logits):
        super().__init__()
        self.register_buffer("logits", torch.as_tensor(logits, dtype=torch.float32))
        self.channels = len(self.logits)

    def forward(self, batch):
        return {"shape": batch.real.shape}

    def scores(self, output, size):
        assert tuple(self.logits.shape[1:]) == tuple(size)
        return self.logits.expand(*output["shape"], *self.logits.shape)


def predict(tmp_path, method, classes=1, device="cpu"):
    """What is stored of one clip of two frames: (level, mask) or labels of the first frame."""
    size = (method.members[0] if isinstance(method, Ensemble) else method).logits.shape[1:]
    task = "semantic" if classes > 1 else "binary"
    with PredictionWriter(tmp_path / "p.h5", PredictionInfo("s4", "fixed", "0", "positive", task, classes)) as writer:
        predict_clips(method, [BATCH], writer, common_size=tuple(size), device=device)
    with PredictionReader(tmp_path / "p.h5") as reader:
        if classes > 1:
            return reader.semantic("common", "clip")[0]
        level, mask = reader.binary("common", "clip")
        return level[0], mask[0]


def row(*logits):
    """[1,1,N] for one channel."""
    return [[list(logits)]]


def test_one_channel_by_hand(tmp_path):
    # pixel by pixel: (1/2, 1), (0, 1), (1/2, 1/2), (0, 0), (1, 1)
    members = [Fixed(row(0, -CERTAIN, 0, -CERTAIN, CERTAIN)), Fixed(row(CERTAIN, CERTAIN, 0, -CERTAIN, CERTAIN))]
    level, mask = predict(tmp_path, Ensemble(members))
    # 254 p = 190.5, 127, 127, 0, 254: one threshold more than its integer part is reached.
    assert level[0].tolist() == [191, 128, 128, 1, 255]
    assert mask[0].tolist() == [True, False, False, False, True]  # exactly a half is background


def test_the_mean_of_probabilities_is_neither_that_of_logits_nor_a_vote(tmp_path):
    def logit(p):
        return math.log(p / (1 - p))

    # 0.9, 0.4, 0.4: mean 0.567, although two of three say background;
    # 0.999, 0.2, 0.2: mean 0.466, although the mean logit is positive.
    columns = [(0.9, 0.4, 0.4), (0.999, 0.2, 0.2)]
    members = [Fixed(row(*(logit(column[m]) for column in columns))) for m in range(3)]
    level, mask = predict(tmp_path, Ensemble(members))
    assert mask[0].tolist() == [True, False]
    assert level[0].tolist() == [int(254 * 1.7 / 3) + 1, int(254 * 1.399 / 3) + 1]
    assert sum(logit(p) for p in columns[1]) > 0


def test_two_channels_by_hand(tmp_path):
    # softmax of channel 1: (1/2, 1), (0, 1), (1, 1), (0, 0)
    first = Fixed([[[0, 0, 0, 0]], [[0, -CERTAIN, CERTAIN, -CERTAIN]]])
    second = Fixed([[[0, 0, 0, 0]], [[CERTAIN, CERTAIN, CERTAIN, -CERTAIN]]])
    level, mask = predict(tmp_path, Ensemble([first, second]))
    assert level[0].tolist() == [191, 128, 255, 1]
    assert mask[0].tolist() == [True, False, True, False]


def test_classes_by_hand(tmp_path):
    # (1/2, 1/2, 0) with (0, 1/2, 1/2): class 1, which neither prefers. Class 0 with class 2: a tie, the lower one.
    first = Fixed([[[0, 0]], [[0, -CERTAIN]], [[-CERTAIN, -CERTAIN]]])
    second = Fixed([[[-CERTAIN, -CERTAIN]], [[0, -CERTAIN]], [[0, 0]]])
    assert predict(tmp_path, Ensemble([first, second]), classes=3)[0].tolist() == [1, 0]
    # 0.6 for class 0 against 0.9 for class 1; the order of members is irrelevant
    third = Fixed([[[math.log(0.6)]], [[math.log(0.3)]], [[math.log(0.1)]]])
    fourth = Fixed([[[math.log(0.05)]], [[math.log(0.9)]], [[math.log(0.05)]]])
    for members in ([third, fourth], [fourth, third]):
        assert predict(tmp_path, Ensemble(members), classes=3)[0].tolist() == [1]


def vote(*logits):
    return Ensemble([Fixed(each) for each in logits], "class")


def test_the_most_frequent_class_by_hand(tmp_path):
    # three members: (0, 0, 2) and, where the mean would say 2 by far, (1, 1, 2); a tie of 2 with 1 goes to the lower
    sure, weak = [-CERTAIN, 0.0, CERTAIN], 0.1
    first = [[[weak, 0.0]], [[0.0, weak]], [[0.0, 0.0]]]
    third = [[[value, value]] for value in sure]
    assert predict(tmp_path, vote(first, first, third), classes=3)[0].tolist() == [0, 1]
    assert predict(tmp_path, Ensemble([Fixed(first), Fixed(first), Fixed(third)]), classes=3)[0].tolist() == [2, 2]
    second = [[[0.0, weak]], [[weak, 0.0]], [[0.0, 0.0]]]
    assert predict(tmp_path, vote(third, second), classes=3)[0].tolist() == [1, 0]


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_it_is_the_mode_of_the_members_labels(tmp_path, count):
    generator = torch.Generator().manual_seed(count)
    logits = torch.randn(count, 7, 40, 50, generator=generator)
    expected = torch.mode(logits.argmax(dim=1), dim=0).values
    np.testing.assert_array_equal(predict(tmp_path, vote(*logits), classes=7), expected.numpy())


def test_two_kinds_of_pixel_vote_by_their_mean_whatever_the_card_says(tmp_path):
    members = [row(4.0, -1.0), row(-1.0, -1.0), row(-1.0, 4.0)]
    level, mask = predict(tmp_path, vote(*members))
    np.testing.assert_array_equal(predict(tmp_path, Ensemble([Fixed(each) for each in members])), (level, mask))
    assert mask[0].tolist() == [True, True]  # although two of three say background


def test_a_vote_counts_what_members_decide(tmp_path):
    class Foreground(Fixed):
        def masks(self, scores):
            return 1 + scores[:, :, 1:].argmax(dim=2)

    members = [Foreground([[[5.0]], [[one]], [[two]]]) for one, two in ((1.0, 0.0), (1.0, 0.0), (0.0, 9.0))]
    assert predict(tmp_path, Ensemble(members, "class"), classes=3)[0].tolist() == [1]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_levels_are_those_of_the_mean_to_the_last_bit(tmp_path, channels, count, device):
    generator = torch.Generator().manual_seed(count)
    logits = 6 * torch.randn(count, channels, 100, 200, generator=generator)
    level, mask = predict(tmp_path, Ensemble([Fixed(member) for member in logits]), device=device)
    logits = logits.to(device)
    own = logits[:, 0].sigmoid() if channels == 1 else logits.softmax(dim=1)[:, 1]
    mean = own.cpu().double().mean(dim=0).float()
    np.testing.assert_array_equal(level, levels(mean))
    np.testing.assert_array_equal(mask, mean.numpy() > 0.5)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_equal_members_predict_what_one_does(tmp_path, channels):
    logits = 4 * torch.randn(channels, 64, 64, generator=torch.Generator().manual_seed(channels))
    classes = channels if channels > 2 else 1
    alone = predict(tmp_path, Fixed(logits), classes)
    for count in (1, 3):
        together = predict(tmp_path, Ensemble([Fixed(logits) for _ in range(count)]), classes)
        np.testing.assert_array_equal(alone, together)


def test_a_decision_of_the_method_is_taken_on_the_mean(tmp_path):
    class Daring(Fixed):
        def masks(self, scores):
            return scores[:, :, 0].sigmoid() > 0.3

    members = [Daring(row(-CERTAIN, -CERTAIN)), Daring(row(math.log(0.7 / 0.3), 0))]
    _, mask = predict(tmp_path, Ensemble(members))
    assert mask[0].tolist() == [True, False]  # 0.35 and 0.25


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("channels", "by"), [(1, "probability"), (2, "probability"), (3, "probability"), (3, "class")])
def test_scores_that_are_not_finite_name_the_clip(tmp_path, channels, by, broken):
    members = [Fixed([[[0.0]]] * channels), Fixed([[[broken]]] * channels)]
    with pytest.raises(AvsbenchError, match="clip clip: the scores are not finite"):
        predict(tmp_path, Ensemble(members, by), classes=channels if channels > 2 else 1)
    assert not (tmp_path / "p.h5").exists()


# members on disk

RUN = ("s4", "tpavi-r50", "0")


@pytest.fixture
def kept(tmp_path):
    """Paths of a run with two members; their content is never looked into here."""
    paths = paths_in(tmp_path)
    folder = Path(paths.weights_top(*RUN))
    folder.mkdir(parents=True)
    members = []
    for rank, epoch in ((1, 7), (2, 3)):
        file = folder / paths.member(rank, epoch)
        file.write_bytes(bytes([rank]))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        members.append({"file": file.name, "epoch": epoch, "score": 0.5, "sha256": digest})
    record = dict.fromkeys(("variant", "dataset", "scale", "seed", "code", "versions", "parameters"), "x")
    Path(paths.run_json(*RUN)).write_text(json.dumps({**record, "members": members}))
    return paths, folder


def test_members_come_best_first(kept):
    paths, folder = kept
    (folder / "stranger.safetensors").write_bytes(b"0")
    assert [file.name for file in member_files(paths, *RUN)] == [
        "01.epoch0007.safetensors",
        "02.epoch0003.safetensors",
    ]


def test_a_missing_or_another_member_is_named(kept):
    paths, folder = kept
    second = folder / paths.member(2, 3)
    second.write_bytes(b"of another training")
    with pytest.raises(AvsbenchError, match=r"02\.epoch0003\.safetensors: not the weights of epoch 3") as error:
        member_files(paths, *RUN)
    assert "sha256" in str(error.value)
    second.unlink()
    with pytest.raises(AvsbenchError, match="no such file"):
        member_files(paths, *RUN)


def test_a_run_without_members_says_what_to_set(kept):
    paths, _ = kept
    file = Path(paths.run_json(*RUN))
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "members"}))
    with pytest.raises(AvsbenchError, match="kept no members") as error:
        member_files(paths, *RUN)
    assert "keep_best" in str(error.value)
