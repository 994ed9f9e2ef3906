"""Time and memory of multi-scale deformable attention: this suite's form against a direct one.

    python -m benchmarks.deformable_attention [--rounds 3] [--threads 1]

Forward and backward pass of one attention block at the sizes where AVSegFormer and COMBO use it (width 256, 8 heads,
3 levels, 4 points), float32. The direct form is the usual one in plain PyTorch: linear layers, values and locations
permuted level by level for `grid_sample`, samples of all levels stacked, weighted and summed. Each form lives in a
process of its own and the two take turns; the ratio is the median over the rounds. Both have the same weights, and the
script stops when their outputs differ. At a very small size a pixel-by-pixel loop in Python is measured too. Runs on a
GPU where there is one.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator

import torch
from tabulate import tabulate
from torch import Tensor
from torch.nn import functional

from avsbench import devices
from avsbench.nn.deformable import DeformableAttention, Sizes, reference_points
from benchmarks.common import Alone, Row, device_peak_mb, in_turns, ratios

TOPIC = "deformable attention"
TOLERANCE = 1e-5
CASES: dict[str, tuple[int, Sizes]] = {
    "AVSegFormer, COMBO at 224": (5, [(28, 28), (14, 14), (7, 7)]),
    "AVSegFormer at 512": (5, [(64, 64), (32, 32), (16, 16)]),
    "COMBO, a batch of 8 clips": (40, [(28, 28), (14, 14), (7, 7)]),
}
"""Name -> frames, sizes of the maps."""
SMALL = "small"
SMALL_CASE = (1, [(4, 4), (2, 2), (1, 1)])


class Direct(DeformableAttention):
    """The usual form, values and locations in the order of the projections."""

    def forward(self, query: Tensor, reference: Tensor, source: Tensor, sizes: Sizes) -> Tensor:
        heads, levels, points = self.shape
        value = self.value_proj(source).unflatten(2, (heads, -1))  # [N,S,M,D]
        offsets = self.sampling_offsets(query).unflatten(2, (heads, levels, points, 2))
        weights = self.attention_weights(query).unflatten(2, (heads, levels * points)).softmax(dim=3)
        wide_high = torch.tensor([(w, h) for h, w in sizes], device=query.device)
        grid = 2 * (reference[:, None, None, None] + offsets / wide_high[:, None]) - 1  # [N,Q,M,L,P,2]
        return self.output_proj(self.sample(value, sizes, grid, weights))

    def sample(self, value: Tensor, sizes: Sizes, grid: Tensor, weights: Tensor) -> Tensor:
        """[N,S,M,D], [N,Q,M,L,P,2], [N,Q,M,LP] -> [N,Q,MD]."""
        images, queries, heads = grid.shape[:3]
        sampled = []
        for level, part in enumerate(value.split([h * w for h, w in sizes], dim=1)):
            each = part.flatten(2).transpose(1, 2).reshape(images * heads, -1, *sizes[level])
            where = grid[:, :, :, level].transpose(1, 2).flatten(0, 1)  # [NM,Q,P,2]
            sampled.append(functional.grid_sample(each, where, align_corners=False))
        shares = weights.transpose(1, 2).reshape(images * heads, 1, queries, -1)
        total = (torch.stack(sampled, dim=-2).flatten(-2) * shares).sum(dim=-1)  # [NM,D,Q]
        return total.view(images, -1, queries).transpose(1, 2).contiguous()


class Loop(Direct):
    """Pixel by pixel; forward only, a gradient through it would be no use."""

    @torch.no_grad()
    def sample(self, value: Tensor, sizes: Sizes, grid: Tensor, weights: Tensor) -> Tensor:
        images, queries, heads, levels, points = grid.shape[:5]
        result = value.new_zeros(images, queries, heads, value.shape[-1])
        starts = [sum(h * w for h, w in sizes[:level]) for level in range(levels)]
        ranges = (range(length) for length in (images, queries, heads, levels, points))
        for n, q, m, level, p in torch.cartesian_prod(*map(torch.tensor, map(list, ranges))).tolist():
            height, width = sizes[level]
            x, y = ((grid[n, q, m, level, p] + 1) / 2 * torch.tensor([width, height]) - 0.5).tolist()
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    if 0 <= row < height and 0 <= column < width:
                        share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[n, q, m, level * points + p]
                        result[n, q, m] += share * value[n, starts[level] + row * width + column, m]
        return result.flatten(2)


FORMS = {"ours": DeformableAttention, "direct": Direct, "loop": Loop}


class Block:
    """One attention block on the tokens of some frames."""

    def __init__(self, form: str, frames: int, sizes: Sizes, threads: int):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.device = devices.pick_device("auto")
        self.block = FORMS[form](256)
        for layer in (self.block.sampling_offsets, self.block.attention_weights):
            torch.nn.init.normal_(layer.weight, std=0.05)
        self.block.to(self.device)
        tokens = sum(h * w for h, w in sizes)
        self.query = torch.randn(frames, tokens, 256).to(self.device)
        self.source = torch.randn(frames, tokens, 256).to(self.device)
        self.reference, self.sizes = reference_points(sizes, self.device), sizes
        self.backward = form != "loop"
        self.before = device_peak_mb(self.device)

    def run(self) -> float:
        """Seconds of a forward and backward pass."""
        query, source = (leaf.clone().requires_grad_(self.backward) for leaf in (self.query, self.source))
        devices.synchronize(self.device)
        start = time.perf_counter()
        output = self.block(query, self.reference, source, self.sizes)
        if self.backward:
            output.square().mean().backward()
        devices.synchronize(self.device)
        seconds = time.perf_counter() - start
        self.result = output.detach().cpu().numpy()
        return seconds

    def outcome(self) -> tuple:
        """(growth of peak memory in MB, the output)."""
        return device_peak_mb(self.device) - self.before, self.result


def compare(case: tuple[int, Sizes], threads: int, rounds: int, other: str = "direct") -> dict:
    """Ours and another form in turns: seconds and memory of each, ratios (lowest, median), largest difference."""
    with Alone(Block, "ours", *case, threads) as ours, Alone(Block, other, *case, threads) as slow:
        sides = {"ours": ours, other: slow}
        for side in sides.values():
            side.call("run")  # the first one makes room; it does not count
        seconds = in_turns({name: lambda side=side: side.call("run") for name, side in sides.items()}, rounds)
        outcomes = {name: side.call("outcome") for name, side in sides.items()}
    difference = float(abs(outcomes["ours"][1] - outcomes[other][1]).max())
    if difference > TOLERANCE:
        raise RuntimeError(f"outputs of the two forms differ by {difference:.1e}, more than {TOLERANCE:.0e}")
    return {
        "seconds": {name: min(each) for name, each in seconds.items()},
        "mb": {name: memory for name, (memory, _) in outcomes.items()},
        "ratios": ratios(seconds[other], seconds["ours"]),
        "difference": difference,
    }


def rows(quick: bool = False, rounds: int = 5, threads: int = 1) -> Iterator[Row]:
    """Ours against direct at each size, `quick` at the first; and against the loop at a very small one."""
    for name, case in list(CASES.items())[: 1 if quick else None]:
        yield row_of(name, compare(case, threads, rounds=2 if quick else rounds), "direct")
    yield row_of(SMALL, compare(SMALL_CASE, threads, rounds=2, other="loop"), "loop")


def row_of(case: str, found: dict, other: str) -> Row:
    lowest, median = found["ratios"]
    note = f"{median:.2f}× as fast as {other} ({lowest:.2f}× in its worst round)"
    note += f", which takes {found['mb'][other]:,.0f} MB" if other == "direct" else "'s forward pass alone"
    return Row(TOPIC, case, found["seconds"]["ours"], "s", found["mb"]["ours"], note)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    lines = []
    for name, case in {**CASES, SMALL: SMALL_CASE}.items():
        other = "loop" if name == SMALL else "direct"
        found = compare(case, arguments.threads, arguments.rounds, other)
        times = [f"{found['seconds'][form] * 1000:.1f}" for form in ("ours", other)]
        faster = [f"{ratio:.2f}x" for ratio in found["ratios"]]
        memory = [f"{found['mb'][form]:.0f}" for form in ("ours", other)]
        lines.append([name, other, *times, *faster, *memory, f"{found['difference']:.1e}"])
    headers = ["", "other", "ours ms", "other ms", "faster, worst", "median", "ours MB", "other MB", "difference"]
    print(
        f"torch {torch.__version__}, {arguments.threads} thread(s), best of {arguments.rounds}; MB: growth of the peak"
    )
    print(tabulate(lines, headers=headers, stralign="right"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
