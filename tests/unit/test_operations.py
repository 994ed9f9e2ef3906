"""Operations of a network: counted right, counted last, and never on the way of a prediction."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from avsbench.contract import Batch, Method
from avsbench.evaluation import predict as stage
from avsbench.evaluation.operations import gflops_per_frame
from avsbench.evaluation.predictions import PredictionInfo, PredictionReader, PredictionWriter

SIZE, FRAMES, WIDTH = 8, 3, 4


class Small(Method):
    """A convolution, a product and attention over the pixels of a frame."""

    def __init__(self):
        super().__init__()
        self.channels = 1
        self.convolution = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.product = nn.Linear(WIDTH, WIDTH, bias=False)
        self.kept = nn.Parameter(torch.ones(1, WIDTH))
        self.modes = []

    def forward(self, batch):
        self.modes.append(_get_current_dispatch_mode())
        pixels = self.convolution(batch.frames.flatten(0, 1) / 255).flatten(2).transpose(1, 2)[:, None]
        self.product(self.kept)  # a module that is given a parameter
        attended = nn.functional.scaled_dot_product_attention(pixels, pixels, pixels)
        return {"seen": attended.sum(dim=(1, 3)).view(*batch.frames.shape[:2], 1, SIZE, SIZE)}

    def scores(self, output, size):
        return nn.functional.interpolate(output["seen"].flatten(0, 1), size).unflatten(0, output["seen"].shape[:2])


class Failing(Small):
    """Runs, but not where operations are looked at."""

    error = None

    def forward(self, batch):
        if isinstance(_get_current_dispatch_mode(), TorchDispatchMode):
            raise self.error
        return super().forward(batch)


def clip(name="clip", frames=FRAMES):
    generator = torch.Generator().manual_seed(len(name))
    pictures = torch.randint(0, 256, (1, frames, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    return Batch(pictures, torch.ones(1, frames, dtype=torch.bool), [name], {})


def predict(folder, method, batches):
    folder.mkdir()
    with PredictionWriter(folder / "p.h5", PredictionInfo("s4", "small", "0", "positive", "binary", 1)) as writer:
        stage.predict_clips(method, batches, writer)
    return PredictionReader(folder / "p.h5")


def test_products_convolutions_and_attention_are_counted_by_hand():
    pixels = SIZE * SIZE
    convolution = 2 * pixels * WIDTH * 3 * 9
    attention = 2 * 2 * pixels * pixels * WIDTH
    of_the_clip = 2 * WIDTH * WIDTH / FRAMES
    expected = (convolution + attention + of_the_clip) / 1e9
    assert gflops_per_frame(Small().eval(), clip(), (SIZE, SIZE)) == pytest.approx(expected, rel=1e-12)


def test_what_needs_gradients_needs_them_afterwards():
    method = Small().eval()
    method.product.requires_grad_(False)
    before = [parameter.requires_grad for parameter in method.parameters()]
    gflops_per_frame(method, clip(), (SIZE, SIZE))
    assert [parameter.requires_grad for parameter in method.parameters()] == before
    assert not all(before)


def test_the_first_clip_is_counted_when_all_are_predicted(tmp_path, monkeypatch):
    """No forward pass that is stored or timed runs under the counter, and none comes after it."""
    batches = [clip("one"), clip("other", 2)]
    torch.manual_seed(0)
    method = Small()
    found = predict(tmp_path / "counted", method, batches)
    assert [mode is None for mode in method.modes] == [True, True, False]
    assert found.gflops_per_frame == gflops_per_frame(method, batches[0], (SIZE, SIZE)) > 0
    monkeypatch.setattr(stage, "gflops_per_frame", lambda *_: None)
    plain = predict(tmp_path / "plain", method, batches)
    assert plain.gflops_per_frame is None
    for name in found.clips:
        for ours, theirs in zip(found.binary("common", name), plain.binary("common", name), strict=True):
            assert (ours == theirs).all()


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError])
def test_a_network_that_cannot_be_counted_is_predicted_with_all_the_same(tmp_path, caplog, monkeypatch, kind):
    monkeypatch.setattr(Failing, "error", kind("no fallback"))
    found = predict(tmp_path / "run", Failing(), [clip()])
    assert found.clips == ["clip"]
    assert found.gflops_per_frame is None
    assert "operations of the network were not counted: no fallback" in caplog.text


def test_no_clip_no_operations(tmp_path):
    assert predict(tmp_path / "none", Small(), []).gflops_per_frame is None
