"""A training step of ETAVS: frozen encoders against the same network trained in full, and what each lever saves.

    python -m benchmarks.etavs_step [--variant etavs-r50] [--rounds 3] [--threads 1]

One clip of 5 x 224 x 224 of S4, where the first frame alone has a mask; float32; forward pass, loss, backward pass and
AdamW's update. Each form lives in a process of its own, so that peak memory is its own, and all take a step in turn;
ratios are round by round, of CPU seconds, which a busy machine stretches less. Loss and gradients of the levers are
equal to those of the direct forms (tests/unit/test_etavs.py). A small VGGish, frozen in every form, keeps 72 million
numbers out of the measurement.

Forms: `frozen` as this suite trains; `every frame decoded`, not the annotated ones alone; `direct last layer`, which
enlarges 256 channels before its convolution; `direct in both`; `trained in full`, with gradients, updates and train
mode for the visual encoder, and the same levers as `frozen`.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from avsbench import cards, registry
from avsbench.contract import Batch, Output
from avsbench.nn.vggish import audio_encoder
from benchmarks.common import Alone, Row, in_turns, markdown, peak_mb, ratios

TOPIC = "ETAVS's step"
CARD = cards.method_cards()["etavs"]
MODULE = registry.method_module(CARD)
FRAMES = 5
FROZEN, FULL = "frozen", "trained in full"
FORMS = (FROZEN, "every frame decoded", "direct last layer", "direct in both", FULL)


def decode_every_frame(model: torch.nn.Module) -> None:
    """Decode all real frames; the loss picks those with a mask."""
    forward = model.forward

    def every(batch: Batch) -> Output:
        return forward(replace(batch, annotated=None))

    model.forward = every


def train_in_full(model: torch.nn.Module) -> None:
    """Let the visual encoder train, its first stage included."""
    stage = model.visual.stage

    def with_gradients(index: int, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            return stage(index, x)

    model.visual.requires_grad_(True)
    model.visual.train()
    model.visual.stage = with_gradients


class Step:
    """A training of one form, step by step."""

    def __init__(self, variant: str, form: str, threads: int, scale: str = "full", size: int = 224):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.model = registry.build(CARD.variants[variant], "s4", scale, size)
        self.model.audio = audio_encoder("vggish", "mini").requires_grad_(False)
        self.model.train()
        if form in ("every frame decoded", "direct in both"):
            decode_every_frame(self.model)
        if form in ("direct last layer", "direct in both"):
            self.model.decoder.mask.forward = self.model.decoder.mask.direct
        if form == FULL:
            train_in_full(self.model)
        annotated = torch.zeros(1, FRAMES, dtype=torch.bool)
        annotated[:, 0] = True
        self.batch = Batch(
            frames=torch.randint(0, 256, (1, FRAMES, 3, size, size), dtype=torch.uint8),
            real=torch.ones(1, FRAMES, dtype=torch.bool),
            clip_ids=["clip"],
            audio={"vggish_mel": torch.randn(1, FRAMES, 1, 96, 64)},
            masks=torch.randint(0, 2, (1, FRAMES, size, size)),
            annotated=annotated,
        )
        self.optimizer = torch.optim.AdamW(self.model.trainable_parameters(), lr=6e-5, weight_decay=0.01)
        self.before = peak_mb()

    def run(self) -> float:
        """CPU seconds of a step."""
        start = time.process_time()
        loss = sum(self.model.loss(self.model(self.batch), self.batch, 0).values())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return time.process_time() - start

    def growth(self) -> float:
        """Of peak memory since the network was built, in MB."""
        return peak_mb() - self.before


def rows(quick: bool = False, rounds: int = 3, threads: int = 1, variants: list[str] | None = None) -> Iterator[Row]:
    """A line a form; `quick` compares frozen with trained in full alone, for ResNet-50."""
    for variant in variants or (["etavs-r50"] if quick else list(CARD.variants)):
        forms = (FROZEN, FULL) if quick else FORMS
        sides = {}
        try:
            for form in forms:
                sides[form] = Alone(Step, variant, form, threads)
                sides[form].call("run")  # the first one makes room; it does not count
            seconds = in_turns({form: lambda s=side: s.call("run") for form, side in sides.items()}, rounds)
            for form in forms:
                worst, median = ratios(seconds[form], seconds[FROZEN])
                note = "" if form == FROZEN else f"{median:.2f}× the CPU time of frozen ({worst:.2f}× at least)"
                yield Row(TOPIC, f"{variant}, {form}", min(seconds[form]), "s", sides[form].call("growth"), note)
        finally:
            for side in sides.values():
                side.__exit__()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", action="append", choices=list(CARD.variants))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(
        f"torch {torch.__version__}, {arguments.threads} thread(s), best of {arguments.rounds}; MB: growth of the peak"
    )
    print(markdown(rows(rounds=arguments.rounds, threads=arguments.threads, variants=arguments.variant)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
