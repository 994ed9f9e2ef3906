"""Time and memory of TPAVI's attention: the low-rank form of this suite against the direct one with its P x P matrix.

    python benchmarks/tpavi_attention.py [--repeats 3] [--threads 1]

P = 5 h w pixels of a clip of five frames at 224 x 224, so the direct form holds matrices of 15680^2, 3920^2, 980^2 and
245^2 numbers at the four stages. Forward and backward, CPU, float32, each measurement in a process of its own so that
peak memory is its own. Both forms have the same weights; the largest difference of their outputs is printed. Then a
whole training step of TPAVI-R50 (one clip, segmentation loss, Adam) with either. Exits with 1 if the step is less than
1.3 times as fast.
"""

import argparse
import multiprocessing
import resource
import sys
import time

import torch
from tabulate import tabulate
from torch import Tensor

from avsbench import cards, registry
from avsbench.contract import Batch
from avsbench.nn.vggish import audio_encoder

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


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_block(form: str, size: tuple[int, int], repeats: int, threads: int) -> dict:
    """One attention block on one clip, width 256."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    block = FORMS[form](width=256, align_bias=True)
    torch.nn.init.ones_(block.output_norm.weight)
    x, sound = torch.randn(CLIP, 256, *size), block.align(torch.randn(1, CLIP, 128)).detach()
    before, seconds = peak_mb(), []
    for _ in range(repeats):
        leaf = x.clone().requires_grad_()
        start = time.perf_counter()
        output = block(leaf, sound)
        output.square().mean().backward()
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "memory": peak_mb() - before, "output": output.detach().numpy()}


def measure_step(form: str, repeats: int, threads: int) -> dict:
    """One training step of the whole network."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    variant = CARD.variants["tpavi-r50"]
    model = registry.build(variant, "s4", "full", 224).train()
    # Frozen, no gradient, the same on both sides: a small one keeps its 72 million numbers out of the measurement.
    model.audio = audio_encoder("vggish", "mini").requires_grad_(False).eval()
    for block in model.attention:
        block.__class__ = FORMS[form]
    batch = Batch(
        frames=torch.randint(0, 256, (1, CLIP, 3, 224, 224), dtype=torch.uint8),
        real=torch.ones(1, CLIP, dtype=torch.bool),
        clip_ids=["clip"],
        audio={"vggish_mel": torch.randn(1, CLIP, 1, 96, 64)},
        masks=torch.randint(0, 2, (1, CLIP, 224, 224)),
        annotated=torch.ones(1, CLIP, dtype=torch.bool),
    )
    optimizer = torch.optim.Adam(model.trainable_parameters(), lr=1e-4)
    before, seconds = peak_mb(), []
    for step in range(repeats):
        start = time.perf_counter()
        loss = sum(model.loss(model(batch), batch, step).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "memory": peak_mb() - before, "loss": float(loss.detach())}


def alone(function, *arguments):
    """The result of a call in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def row(name: str, low: dict, direct: dict, difference: float) -> list:
    faster = f"{direct['seconds'] / low['seconds']:.2f}x"
    times = [f"{low['seconds'] * 1000:.1f}", f"{direct['seconds'] * 1000:.1f}", faster]
    return [name, *times, f"{low['memory']:.0f}", f"{direct['memory']:.0f}", f"{difference:.1e}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    rest = (arguments.repeats, arguments.threads)
    rows = []
    for size in STAGES:
        low, direct = (alone(measure_block, form, size, *rest) for form in FORMS)
        rows.append(row(f"stage {size[0]} x {size[1]}", low, direct, abs(low["output"] - direct["output"]).max()))
    low, direct = (alone(measure_step, form, *rest) for form in FORMS)
    rows.append(row("training step", low, direct, abs(low["loss"] - direct["loss"])))
    headers = ["", "low-rank ms", "direct ms", "faster", "low-rank MB", "direct MB", "difference"]
    print(
        f"torch {torch.__version__}, {arguments.threads} thread(s), best of {arguments.repeats}; MB: growth of the peak"
    )
    print(tabulate(rows, headers=headers, stralign="right"))
    print("difference: largest of the outputs; of the loss after the last step")
    ratio = direct["seconds"] / low["seconds"]
    print(f"training step: {ratio:.2f} times as fast (bar {BAR}): {'met' if ratio >= BAR else 'MISSED'}")
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
