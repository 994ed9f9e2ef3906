"""Matching of queries and objects in COMBO: its share of a training step, and ours against a loop over frames.

    python -m benchmarks.matching [--rounds 3] [--threads 1]

COMBO's sizes: 100 queries, 10 predictions of 56 x 56, 12544 points, labels of 224 x 224, every frame annotated (MS3).
The step is combo-r50's on one clip of 5 frames: forward pass, loss, backward pass and AdamW's update, float32; a small
VGGish, frozen, keeps 72 million numbers out of it. Then matching alone, on one clip and on the 8 of the recipe. The
loop is the plain form: each prediction of each frame by itself, points repeated for every query, both sides of the
cross-entropy computed, costs taken to the processor each time. Both forms get the same points and must give the same
pairs. Seconds are CPU seconds on a processor, which a busy machine stretches less. Runs on a GPU where there is one.
Exits with 1 if matching takes more than a quarter of the step.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from unittest.mock import patch

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional

from avsbench import devices, registry
from avsbench.contract import Batch
from avsbench.nn.matcher import Draw, Matcher, Pairs, RandomPoints, Targets, sample
from avsbench.nn.vggish import audio_encoder
from benchmarks.common import Alone, Row, device_peak_mb, in_turns, markdown, ratios

TOPIC = "matching"
VARIANT, DATASET, FRAMES = "combo-r50", "ms3", 5
QUERIES, LAYERS, CLASSES = 100, 10, 2
MAPS, LABELS = 56, 224
BAR = 0.25


class FrameByFrame(Matcher):
    """The plain form."""

    @torch.no_grad()
    def __call__(self, predictions: list, targets: Targets, draw: Draw) -> list[Pairs]:
        frames, found = len(targets.labels), []
        for layer, (logits, masks) in enumerate(predictions):
            points = draw("match", layer, frames, self.points)
            rows = []
            for frame in range(frames):
                numbers = (targets.frames == frame).nonzero()[:, 0]
                cost = self.of_frame(logits[frame], masks[frame], targets, numbers, points[frame : frame + 1])
                queries, places = map(torch.from_numpy, linear_sum_assignment(cost.cpu().numpy()))
                rows.append(torch.stack([torch.full_like(queries, frame), queries, numbers.cpu()[places]]))
            found.append(Pairs(*torch.cat(rows, dim=1).to(targets.frames.device)))
        return found

    def of_frame(self, logits, masks, targets: Targets, numbers, points):
        """Weighted costs [Q,K] of one frame."""
        truth = targets.masks(numbers)
        x = sample(masks[:, None], points.repeat(len(masks), 1, 1))[:, 0]
        y = sample(truth[:, None], points.repeat(len(truth), 1, 1))[:, 0]
        there, absent = (
            functional.binary_cross_entropy_with_logits(x, torch.full_like(x, side), reduction="none")
            for side in (1.0, 0.0)
        )
        mask = (there @ y.T + absent @ (1 - y).T) / x.shape[1]
        s = x.sigmoid()
        dice = 1 - (2 * s @ y.T + 1) / (s.sum(dim=1)[:, None] + y.sum(dim=1) + 1)
        name = -logits.softmax(dim=1)[:, targets.classes[numbers]]
        return self.class_weight * name + self.mask_weight * mask + self.dice_weight * dice


FORMS: dict[str, Callable[[], Matcher]] = {"ours": Matcher, "loop": FrameByFrame}


def labels_of(frames: int, side: int) -> torch.Tensor:
    """A square on a background in each frame."""
    labels = torch.zeros(frames, side, side, dtype=torch.long)
    labels[:, side // 4 : side // 2, side // 4 : 3 * side // 4] = 1
    return labels


class Problem:
    """Random predictions for some frames, to be matched in either form."""

    def __init__(self, frames: int, threads: int):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.device = devices.pick_device("auto")
        self.predictions = [
            (
                torch.randn(frames, QUERIES, CLASSES + 1, device=self.device),
                3 * torch.randn(frames, QUERIES, MAPS, MAPS, device=self.device),
            )
            for _ in range(LAYERS)
        ]
        self.labels = labels_of(frames, LABELS).to(self.device)

    def run(self, form: str) -> float:
        """Seconds of matching all predictions."""
        draw = RandomPoints(self.device, torch.Generator(self.device).manual_seed(1))
        targets = Targets.of(self.labels)
        start = clock(self.device)
        self.pairs = FORMS[form]()(self.predictions, targets, draw)
        return clock(self.device) - start

    def agree(self) -> None:
        """Compare the pairs of both forms.

        Raises:
            RuntimeError: they differ.
        """
        found = []
        for form in FORMS:
            self.run(form)
            found.append(torch.stack([torch.stack(pairs) for pairs in self.pairs]))
        if not torch.equal(*found):
            raise RuntimeError("ours and the loop match other queries")


class Step:
    """A training of COMBO that says how long matching took."""

    def __init__(self, threads: int, scale: str = "full", size: int = LABELS):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.device = devices.pick_device("auto")
        self.model = registry.build(VARIANT, DATASET, scale, size)
        self.model.audio = audio_encoder("vggish", "mini").requires_grad_(False)
        self.model.train().to(self.device)
        pictures = torch.randint(0, 256, (2, 1, FRAMES, 3, size, size), dtype=torch.uint8)
        self.batch = Batch(
            frames=pictures[0],
            real=torch.ones(1, FRAMES, dtype=torch.bool),
            clip_ids=["clip"],
            audio={"vggish_mel": torch.randn(1, FRAMES, 1, 96, 64)},
            features={"maskige": pictures[1]},
            masks=labels_of(FRAMES, size)[None],
            annotated=torch.ones(1, FRAMES, dtype=torch.bool),
        ).to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.trainable_parameters(), lr=1e-4)

    def run(self) -> tuple[float, float]:
        """Seconds of a step, and of its matching."""
        match, matching = Matcher.__call__, 0.0

        def timed(matcher: Matcher, *arguments: object) -> list[Pairs]:
            nonlocal matching
            start = clock(self.device)
            pairs = match(matcher, *arguments)
            matching += clock(self.device) - start
            return pairs

        start = clock(self.device)
        with patch.object(Matcher, "__call__", timed):
            loss = sum(self.model.loss(self.model(self.batch), self.batch, 0).values())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return clock(self.device) - start, matching

    def peak(self) -> float:
        """Memory in MB."""
        return device_peak_mb(self.device)


def clock(device: torch.device) -> float:
    """CPU seconds; on a GPU the time, once it is done with all it was given."""
    if device.type == "cpu":
        return time.process_time()
    devices.synchronize(device)
    return time.perf_counter()


def share_of_step(threads: int, rounds: int) -> Row:
    """The quickest of some steps, after one that does not count."""
    with Alone(Step, threads) as step:
        step.call("run")
        whole, matching = min(step.call("run") for _ in range(rounds))
        note = f"{matching / whole:.1%} of a step of {whole:.1f} s; at most {BAR:.0%}"
        if matching > BAR * whole:
            raise RuntimeError(f"matching takes {note}")
        return Row(TOPIC, f"{VARIANT}, 1 clip", matching, "s", step.call("peak"), note)


def against_loop(clips: int, threads: int, rounds: int) -> Row:
    """Matching alone, both forms in turns."""
    with Alone(Problem, clips * FRAMES, threads) as problem:
        problem.call("agree")
        seconds = in_turns({form: lambda form=form: problem.call("run", form) for form in FORMS}, rounds)
    lowest, median = ratios(seconds["loop"], seconds["ours"])
    note = f"{median:.2f}× as fast as a loop over frames ({lowest:.2f}× in its worst round)"
    return Row(TOPIC, f"alone, {clips} clip{'s' * (clips > 1)}", min(seconds["ours"]), "s", note=note)


def rows(quick: bool = False, rounds: int = 3, threads: int = 1) -> Iterator[Row]:
    """The share of a step, then both forms at each size; `quick`: the smaller."""
    rounds = 1 if quick else rounds
    yield share_of_step(threads, rounds)
    for clips in (1,) if quick else (1, 8):
        yield against_loop(clips, threads, rounds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(markdown(rows(rounds=arguments.rounds, threads=arguments.threads)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
