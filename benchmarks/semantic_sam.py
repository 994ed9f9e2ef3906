"""Semantic-SAM: seconds a frame, where they go, and what is saved without changing a mask.

    python -m benchmarks.semantic_sam [--backbone swin_t] [--rounds 3] [--threads 1]

A picture of 224 x 224, 1024 clicks in calls of 200, float32, published sizes with random weights. Masks are computed of
candidates that pass the score, so the threshold is set to let one in five pass (at the published one a trained
network's share depends on the picture); the masks of random weights are then unstable, and next to none is left to
be cleaned up. Cleaning is a line of its own. CPU seconds, best round.

Forms: `ours`; `direct`, which projects the picture's tokens for every call of clicks, carries all six tokens of a click
to the end, begins with the clicks anew for every picture, and enlarges every mask before it looks at its score. Both
give the same masks (tests/unit/test_benchmarks_semantic_sam.py).
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial, wraps

import numpy as np
import torch
from torch import Tensor

from avsbench.features.semantic_sam.automatic import TOKENS, Settings, generate, grid
from avsbench.features.semantic_sam.clean import clean_mask
from avsbench.features.semantic_sam.network import Encoded, SemanticSam
from benchmarks.common import Alone, Row, in_turns, markdown, ratios

TOPIC = "Semantic-SAM"
BACKBONES = ("swin_t", "swin_l")
FORMS = ("ours", "direct")
LEVELS = {"level 3": (3,), "all six levels": (1, 2, 3, 4, 5, 6)}
PASSING = 0.2
"""Share of the candidates that pass the score."""


class Direct(SemanticSam):
    """The same network, straight from its description."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.project = self.decoder.read
        self.decoder.read = lambda maps: maps

    def prepare(self, points: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        return points, size

    def click(self, encoded: Encoded, clicks: tuple, tokens: list[int]) -> tuple[Tensor, Tensor]:
        prepared, memory = super().prepare(*clicks), self.project(encoded.memory)
        scores, embeddings = self.decoder(prepared, memory, sorted(TOKENS.values()))
        scores, embeddings = scores[:, :, tokens], embeddings[:, :, tokens]
        self.masks = super().logits(encoded, 0, embeddings[0].flatten(0, 1))
        return scores, torch.arange(len(self.masks)).view(scores.shape)

    def logits(self, encoded: Encoded, image: int, rows: Tensor) -> Tensor:
        return self.masks[rows]


class Picture:
    """One picture and a network, timed part by part."""

    def __init__(self, backbone: str, form: str, threads: int, size: int = 224, side: int = 32):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.network = (Direct if form == "direct" else SemanticSam).of_size(backbone).eval()
        self.image = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
        self.side = side
        self.parts: Counter[str] = Counter()
        self.threshold = self._threshold()
        self.network.backbone.forward = self._timed("backbone", self.network.backbone.forward)
        self.network.pixel_decoder.forward = self._timed("pixel decoder", self.network.pixel_decoder.forward)
        for name in ("prepare", "click"):
            setattr(self.network, name, self._timed("clicks", getattr(self.network, name)))

    @torch.inference_mode()
    def _threshold(self) -> float:
        points = grid(self.side)[::5]
        clicks = self.network.prepare(points, tuple(self.image.shape[2:]))
        scores, _ = self.network.click(self.network.encode(self.image), clicks, sorted(TOKENS.values()))
        return float(scores.quantile(1 - PASSING))

    def _timed(self, part: str, function: Callable) -> Callable:
        @wraps(function)
        def timed(*arguments):
            start = time.process_time()
            result = function(*arguments)
            self.parts[part] += time.process_time() - start
            return result

        return timed

    @torch.inference_mode()
    def masks(self, levels: tuple[int, ...]) -> list:
        settings = Settings(levels=levels, points_per_side=self.side, score_threshold=self.threshold)
        return generate(self.network, self.image, settings)

    def run(self, levels: tuple[int, ...]) -> float:
        """CPU seconds of the picture."""
        self.parts.clear()
        start = time.process_time()
        self.masks(levels)
        self.parts["rest"] = time.process_time() - start
        self.parts["rest"] -= sum(seconds for part, seconds in self.parts.items() if part != "rest")
        return sum(self.parts.values())

    def shares(self) -> str:
        """Of the latest run."""
        whole = sum(self.parts.values())
        return ", ".join(f"{part} {seconds / whole:.0%}" for part, seconds in self.parts.items())


def rows(
    quick: bool = False, rounds: int = 3, threads: int = 1, backbones: tuple[str, ...] | None = None
) -> Iterator[Row]:
    """A line a backbone, form and choice of levels; `quick` measures Swin-T at level 3 alone, once."""
    for backbone in backbones or BACKBONES[: 1 if quick else 2]:
        for name, levels in list(LEVELS.items())[: 1 if quick else 2]:
            with ExitStack() as processes:
                sides = {form: processes.enter_context(Alone(Picture, backbone, form, threads)) for form in FORMS}
                measures = {form: partial(side.call, "run", levels) for form, side in sides.items()}
                seconds = in_turns(measures, 1 if quick else rounds)
                worst, median = ratios(seconds["direct"], seconds["ours"])
                for form, side in sides.items():
                    note = side.call("shares")
                    if form == "direct":
                        note = f"{median:.2f}× ours ({worst:.2f}× at least); {note}"
                    yield Row(TOPIC, f"{backbone}, {name}, {form}", min(seconds[form]), "s a frame", note=note)
    yield Row(TOPIC, "cleaning a mask of 100 pixels across", cleaning(), "s")


def cleaning(times: int = 50) -> float:
    """CPU seconds for a disc."""
    y, x = np.mgrid[:224, :224]
    disc = (y - 100) ** 2 + (x - 80) ** 2 < 50**2
    start = time.process_time()
    for _ in range(times):
        clean_mask(disc, 10)
    return (time.process_time() - start) / times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", action="append", choices=BACKBONES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), best of {arguments.rounds}")
    print(markdown(rows(rounds=arguments.rounds, threads=arguments.threads, backbones=arguments.backbone)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
