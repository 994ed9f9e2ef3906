"""Time and memory of multi-scale deformable attention: this suite's form against a direct one and against loops.

    python -m benchmarks.deformable_attention [--rounds 3] [--threads 1] [--case Semantic]

One attention block at the sizes where AVSegFormer, COMBO and Semantic-SAM use it (width 256, 8 heads, 3 or 4 levels, 4
points), float32; forward and backward pass, or the forward pass alone where nothing trains. The forms beside ours:

* direct, the usual one in plain PyTorch: values and locations permuted level by level for `grid_sample`, samples of all
  levels stacked, weighted and summed;
* loop, the formula as it is written: a Python loop over frames, heads and levels, a `grid_sample` each;
* pixels, without `grid_sample`: a loop over frames, queries, heads, levels, points and pixels. At a very small size.

Each form lives in a process of its own and they take turns; ratios are medians over the rounds. All have the same
weights, and the script stops when their outputs differ. Runs on a GPU where there is one; on a processor seconds are
CPU seconds.
"""

import argparse
import contextlib
import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Case:
    """Tokens of all maps of some frames attend to each other.

    Attributes:
        frames: N.
        sizes: of the maps.
        gradients: whether the backward pass belongs to it.
        others: forms to compare with.
    """

    frames: int
    sizes: Sizes
    gradients: bool = True
    others: tuple[str, ...] = ("direct", "loop")


CASES = {
    "AVSegFormer, COMBO at 224": Case(5, [(28, 28), (14, 14), (7, 7)]),
    "AVSegFormer at 512": Case(5, [(64, 64), (32, 32), (16, 16)], others=("direct",)),
    "COMBO, a batch of 8 clips": Case(40, [(28, 28), (14, 14), (7, 7)]),
    "Semantic-SAM at 224, forward": Case(1, [(28, 28), (14, 14), (7, 7), (4, 4)], gradients=False),
    "Semantic-SAM at 640, forward": Case(1, [(80, 80), (40, 40), (20, 20), (10, 10)], gradients=False),
    "very small, forward": Case(1, [(4, 4), (2, 2), (1, 1)], gradients=False, others=("direct", "loop", "pixels")),
}


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
    """Frame by frame, head by head, level by level."""

    def sample(self, value: Tensor, sizes: Sizes, grid: Tensor, weights: Tensor) -> Tensor:
        levels = value.split([h * w for h, w in sizes], dim=1)
        shares = weights.unflatten(3, grid.shape[3:5])
        frames = []
        for n in range(len(value)):
            heads = []
            for m in range(value.shape[2]):
                total = 0
                for level, size in enumerate(sizes):
                    each = levels[level][n, :, m].T.reshape(1, -1, *size)
                    seen = functional.grid_sample(each, grid[n, :, m, level][None], align_corners=False)[0]  # [D,Q,P]
                    total = total + (seen * shares[n, :, m, level]).sum(dim=2)
                heads.append(total.T)
            frames.append(torch.cat(heads, dim=1))
        return torch.stack(frames)


class Pixels(Direct):
    """Pixel by pixel; a gradient through it would be no use."""

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


FORMS = {"ours": DeformableAttention, "direct": Direct, "loop": Loop, "pixels": Pixels}


class Block:
    """One attention block on the tokens of some frames."""

    def __init__(self, form: str, case: Case, threads: int):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.device = devices.pick_device("auto")
        self.block = FORMS[form](256, levels=len(case.sizes))
        for layer in (self.block.sampling_offsets, self.block.attention_weights):
            torch.nn.init.normal_(layer.weight, std=0.05)
        self.block.to(self.device)
        tokens = sum(h * w for h, w in case.sizes)
        self.query = torch.randn(case.frames, tokens, 256).to(self.device)
        self.source = torch.randn(case.frames, tokens, 256).to(self.device)
        self.reference, self.case = reference_points(case.sizes, self.device), case
        # What others do on a busy machine takes wall seconds, not those of the processor.
        self.clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        self.before = device_peak_mb(self.device)

    def run(self) -> float:
        """Seconds (of the processor, where no GPU is) of a forward and, where the case has gradients, backward pass."""
        query, source = (leaf.clone().requires_grad_(self.case.gradients) for leaf in (self.query, self.source))
        devices.synchronize(self.device)
        start = self.clock()
        with torch.set_grad_enabled(self.case.gradients):
            output = self.block(query, self.reference, source, self.case.sizes)
        if self.case.gradients:
            output.square().mean().backward()
        devices.synchronize(self.device)
        seconds = self.clock() - start
        self.result = output.detach().cpu().numpy()
        return seconds

    def outcome(self) -> tuple:
        """(growth of peak memory in MB, the output)."""
        return device_peak_mb(self.device) - self.before, self.result


def compare(case: Case, threads: int, rounds: int) -> dict:
    """All forms of a case in turns: seconds and memory of each; ratios to ours (lowest, median) and largest difference
    of the others."""
    with contextlib.ExitStack() as stack:
        sides = {name: stack.enter_context(Alone(Block, name, case, threads)) for name in ("ours", *case.others)}
        for side in sides.values():
            side.call("run")  # the first one makes room; it does not count
        seconds = in_turns({name: lambda side=side: side.call("run") for name, side in sides.items()}, rounds)
        outcomes = {name: side.call("outcome") for name, side in sides.items()}
    differences = {name: float(abs(outcomes["ours"][1] - outcomes[name][1]).max()) for name in case.others}
    for name, difference in differences.items():
        if difference > TOLERANCE:
            raise RuntimeError(f"outputs of ours and {name} differ by {difference:.1e}, more than {TOLERANCE:.0e}")
    return {
        "seconds": {name: min(each) for name, each in seconds.items()},
        "mb": {name: memory for name, (memory, _) in outcomes.items()},
        "ratios": {name: ratios(seconds[name], seconds["ours"]) for name in case.others},
        "differences": differences,
    }


def rows(quick: bool = False, rounds: int = 5, threads: int = 1) -> Iterator[Row]:
    """Ours against the others at each size; `quick`, at the first and the last."""
    first, *_, last = CASES
    for name, case in CASES.items():
        if not quick or name in (first, last):
            yield row_of(name, compare(case, threads, rounds=2 if quick else rounds))


def row_of(case: str, found: dict) -> Row:
    notes = [
        f"{median:.2f}× as fast as {name} ({lowest:.2f}× in its worst round), which takes {found['mb'][name]:,.0f} MB"
        for name, (lowest, median) in found["ratios"].items()
    ]
    return Row(TOPIC, case, found["seconds"]["ours"], "s", found["mb"]["ours"], "; ".join(notes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", default="", help="only those whose name has this word")
    arguments = parser.parse_args()
    where = devices.describe(devices.pick_device("auto"))
    print(f"torch {torch.__version__} on {where}, {arguments.threads} thread(s), best of {arguments.rounds} rounds")
    for name, case in CASES.items():
        if arguments.case in name:
            found = compare(case, arguments.threads, arguments.rounds)
            print(f"\n{name}: {case.frames} frame(s), {sum(h * w for h, w in case.sizes)} tokens each", flush=True)
            print(tabulate(lines(found), headers=HEADERS, stralign="right"), flush=True)
    return 0


HEADERS = ["form", "ms", "ours faster, worst", "median", "MB above the start", "difference"]


def lines(found: dict) -> Iterator[list[str]]:
    """A line of text for each form."""
    for name, seconds in found["seconds"].items():
        faster = [f"{ratio:.2f}x" for ratio in found["ratios"].get(name, ())] or ["", ""]
        difference = f"{found['differences'][name]:.1e}" if name in found["differences"] else ""
        yield [name, f"{1000 * seconds:.1f}", *faster, f"{found['mb'][name]:.0f}", difference]


if __name__ == "__main__":
    sys.exit(main())
