"""Time and memory of TPAVI's attention: the low-rank form of this suite against the direct one with its P x P matrix.

    python -m benchmarks.tpavi_attention [--rounds 3] [--threads 1]

P = 5 h w pixels of a clip of five frames at 224 x 224, so the direct form holds matrices of 15680^2, 3920^2, 980^2 and
245^2 numbers at the four stages. Forward and backward, CPU, float32. Each form lives in a process of its own, so that
peak memory is its own, and the two take turns; the ratio is the median over the rounds. Both have the same weights; the
largest difference of their outputs is printed. Then a whole training step of TPAVI-R50 (one clip, segmentation loss,
Adam) with either. Exits with 1 if the step is less than 1.3 times as fast.
"""

import argparse
import sys
import time
from collections.abc import Iterator

import torch
from tabulate import tabulate
from torch import Tensor

from avsbench import cards, registry
from avsbench.contract import Batch
from avsbench.nn.vggish import audio_encoder
from benchmarks.common import Alone, Row, in_turns, peak_mb, ratios

CARD = cards.method_cards()["tpavi"]
MODULE = registry.method_module(CARD)
STAGES = ((56, 56), (28, 28), (14, 14), (7, 7))
BAR = 1.3
CLIP = MODULE.CLIP


class DirectAttention(MODULE.TemporalPixelAttention):
    """The same block as the paper writes it: f = query^T key / P, y = f value."""

    def forward(self, x: Tensor, sound: Tensor | None) -> Tensor:
        frames, _, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(frames // CLIP, CLIP * height * width, -1)
        source = pixels if sound is None else sound.repeat_interleave(height * width, dim=1)
        affinity = self.query(pixels) @ self.key(source).transpose(1, 2) / pixels.shape[1]  # [N,P,P]
        attended = self.output(affinity @ self.value(pixels))
        z = pixels + self.output_norm(attended.flatten(0, 1)).view_as(pixels)
        return self.norm(z).view(frames, height, width, -1).permute(0, 3, 1, 2)


FORMS = {"low-rank": MODULE.TemporalPixelAttention, "direct": DirectAttention}


class Block:
    """One attention block on one clip, width 256."""

    def __init__(self, form: str, size: tuple[int, int], threads: int):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.block = FORMS[form](width=256, align_bias=True)
        torch.nn.init.ones_(self.block.output_norm.weight)
        self.x = torch.randn(CLIP, 256, *size)
        self.sound = self.block.align(torch.randn(1, CLIP, 128)).detach()
        self.before = peak_mb()

    def run(self) -> float:
        """Seconds of a forward and backward pass."""
        leaf = self.x.clone().requires_grad_()
        start = time.perf_counter()
        output = self.block(leaf, self.sound)
        output.square().mean().backward()
        seconds = time.perf_counter() - start
        self.result = output.detach().numpy()
        return seconds

    def outcome(self) -> tuple:
        """(growth of peak memory in MB, the output)."""
        return peak_mb() - self.before, self.result


class Step:
    """A training of the whole network, step by step."""

    def __init__(self, form: str, threads: int, scale: str = "full", size: int = 224):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.model = registry.build(CARD.variants["tpavi-r50"], "s4", scale, size).train()
        # Frozen, no gradient, the same on both sides: a small one keeps its 72 million numbers out of the measurement.
        self.model.audio = audio_encoder("vggish", "mini").requires_grad_(False).eval()
        for block in self.model.attention:
            block.__class__ = FORMS[form]
        self.batch = Batch(
            frames=torch.randint(0, 256, (1, CLIP, 3, size, size), dtype=torch.uint8),
            real=torch.ones(1, CLIP, dtype=torch.bool),
            clip_ids=["clip"],
            audio={"vggish_mel": torch.randn(1, CLIP, 1, 96, 64)},
            masks=torch.randint(0, 2, (1, CLIP, size, size)),
            annotated=torch.ones(1, CLIP, dtype=torch.bool),
        )
        self.optimizer = torch.optim.Adam(self.model.trainable_parameters(), lr=1e-4)
        self.before = peak_mb()

    def run(self) -> float:
        """Seconds of a step."""
        start = time.perf_counter()
        loss = sum(self.model.loss(self.model(self.batch), self.batch, 0).values())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.result = float(loss.detach())
        return time.perf_counter() - start

    def outcome(self) -> tuple:
        """(growth of peak memory in MB, the last loss)."""
        return peak_mb() - self.before, self.result


def compare(kind: type, *arguments: object, rounds: int) -> dict:
    """Both forms in turns: seconds and memory of each, ratios (lowest, median), largest difference."""
    with Alone(kind, "low-rank", *arguments) as low, Alone(kind, "direct", *arguments) as direct:
        sides = {"low-rank": low, "direct": direct}
        for side in sides.values():
            side.call("run")  # the first one makes room; it does not count
        seconds = in_turns({name: lambda side=side: side.call("run") for name, side in sides.items()}, rounds)
        outcomes = {name: side.call("outcome") for name, side in sides.items()}
    difference = abs(outcomes["low-rank"][1] - outcomes["direct"][1])
    return {
        "seconds": {name: min(each) for name, each in seconds.items()},
        "mb": {name: memory for name, (memory, _) in outcomes.items()},
        "ratios": ratios(seconds["direct"], seconds["low-rank"]),
        "difference": float(getattr(difference, "max", lambda: difference)()),
    }


def rows(quick: bool = False, rounds: int = 3, threads: int = 1) -> Iterator[Row]:
    """The bar: the whole step; without `quick` also the block of every stage."""
    for size in () if quick else STAGES:
        found = compare(Block, size, threads, rounds=rounds)
        yield row_of(f"block at {size[0]} × {size[1]}, low-rank", found)
    found = compare(Step, threads, rounds=2 if quick else rounds)
    yield row_of("tpavi-r50 training step, low-rank", found, f"; bar {BAR}×")


def row_of(case: str, found: dict, bar: str = "") -> Row:
    lowest, median = found["ratios"]
    note = f"{median:.2f}× as fast as direct ({lowest:.2f}× in its worst round), "
    note += f"which takes {found['mb']['direct']:,.0f} MB{bar}"
    return Row("TPAVI's attention", case, found["seconds"]["low-rank"], "s", found["mb"]["low-rank"], note)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    rounds, threads = arguments.rounds, arguments.threads
    found = {f"stage {size[0]} x {size[1]}": compare(Block, size, threads, rounds=rounds) for size in STAGES}
    found["training step"] = compare(Step, threads, rounds=rounds)
    lines = []
    for name, one in found.items():
        times = [f"{one['seconds'][form] * 1000:.1f}" for form in FORMS]
        faster = [f"{ratio:.2f}x" for ratio in one["ratios"]]
        lines.append([name, *times, *faster, *(f"{one['mb'][form]:.0f}" for form in FORMS), f"{one['difference']:.1e}"])
    headers = ["", "low-rank ms", "direct ms", "faster, worst", "median", "low-rank MB", "direct MB", "difference"]
    print(f"torch {torch.__version__}, {threads} thread(s), best of {rounds}; MB: growth of the peak")
    print(tabulate(lines, headers=headers, stralign="right"))
    print("difference: largest of the outputs; of the loss after the last step")
    ratio = found["training step"]["ratios"][1]
    print(f"training step: {ratio:.2f} times as fast (bar {BAR}): {'met' if ratio >= BAR else 'MISSED'}")
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
