"""Frames a second of predicting and of scoring, and bytes a frame of what they store.

    python -m benchmarks.evaluation [--clips 8] [--threads 1]

Rendered test clips at 224 x 224. Predicting: networks of full size with random weights read the store and write the
prediction file, as the stage does; the rate counts everything, the note says what the network alone does. Scoring: a
stored prediction of smooth blobs (S4, MS3) or of the true masks, shifted (AVSS), under every protocol of the data set,
in CPU seconds. Drawing: what intervals add to scoring, 2000 draws of the clips of a released test split, whose frames
are small here: a draw adds up what is counted of a clip, however large it was.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from avsbench import cards, devices, registry
from avsbench.engine.compute import exact
from avsbench.engine.seeds import seed_everything
from avsbench.evaluation.draws import write_draws
from avsbench.evaluation.frames import FrameTable
from avsbench.evaluation.predict import predict_clips
from avsbench.evaluation.predictions import PredictionInfo, PredictionWriter
from avsbench.evaluation.resample import DRAWS, clip_sums
from avsbench.evaluation.score import CALLS, score_predictions, stored_truth
from avsbench.metrics.fscore import levels
from avsbench.store.loader import ClipDataset, make_loader
from benchmarks.common import Alone, Row, device_peak_mb, markdown
from benchmarks.loader import SIZE, prepare

PROTOCOLS = {"binary": "A, B and D", "semantic": "C and D"}


class Predicting:
    """A network and a small store."""

    def __init__(self, name: str, dataset: str, clips: int, threads: int, device: str = "auto", scale: str = "full"):
        torch.set_num_threads(threads)
        exact()
        self.variant, self.device = cards.variant(name), devices.pick_device(device)
        self.folder = tempfile.TemporaryDirectory()
        counts = {"train": 3, "val": 3, "test": clips}
        self.paths, self.card = prepare(dataset, counts, self.folder.name, ("test",), self.variant)
        seed_everything(0, "benchmark")
        self.method = registry.build(self.variant, self.card, scale, SIZE)

    def run(self) -> dict:
        """Frames a second of everything and of the network alone, and peak memory in MB."""
        clips = ClipDataset(
            self.paths,
            self.card,
            "test",
            front_ends=self.variant.front_ends_on(self.card.name),
            masks=False,
            native=self.variant.native,
        )
        with clips, PredictionWriter(Path(self.folder.name) / "predictions.h5", info(self.card)) as writer:
            start = time.perf_counter()
            timing = predict_clips(self.method, make_loader(clips, batch=1), writer, device=self.device)
            seconds = time.perf_counter() - start
        self.folder.cleanup()
        rates = {"all": timing.frames / seconds, "network": timing.frames_per_second}
        return rates | {"mb": device_peak_mb(self.device)}


class Scoring:
    """Stored predictions and a small store."""

    def __init__(self, dataset: str, clips: int):
        torch.set_num_threads(1)
        self.folder = tempfile.TemporaryDirectory()
        self.file = Path(self.folder.name) / "predictions.h5"
        self.paths, self.card = prepare(dataset, {"train": 3, "val": 3, "test": clips}, self.folder.name, ("test",))
        generator = torch.Generator().manual_seed(0)
        with PredictionWriter(self.file, info(self.card)) as writer:
            for clip in stored_truth(self.paths, self.card):
                truth = torch.from_numpy(clip.masks)
                if self.card.task == "semantic":
                    shifted = truth.roll((8, 8), dims=(1, 2))
                    writer.add_semantic("common", clip.clip_id, torch.where(shifted == 255, 0, shifted))
                else:
                    coarse = 4 * torch.randn(len(truth), 1, 7, 7, generator=generator)
                    logits = interpolate(coarse, truth.shape[1:], mode="bilinear")[:, 0] + 4 * (truth == 1) - 2
                    writer.add_binary("common", clip.clip_id, probability=logits.sigmoid(), mask=logits > 0)

    def run(self) -> dict:
        """Scored frames, CPU seconds, bytes of predictions and of per-frame rows, peak memory in MB."""
        table = Path(self.folder.name) / "frames.parquet"
        start = time.process_time()
        found = score_predictions(
            self.file,
            stored_truth(self.paths, self.card),
            table,
            Path(self.folder.name) / "scores.json",
            fscore_k=CALLS,
            padded_to=self.card.frames if self.card.task == "semantic" else 0,
        )
        seconds = time.process_time() - start
        sizes = {"predictions": self.file.stat().st_size, "rows": table.stat().st_size}
        with ClipDataset(self.paths, self.card, "test", masks=False) as clips:
            predicted = sum(len(clips[number]["frames"]) for number in range(len(clips)))
        self.folder.cleanup()
        frames = found[0]["frames"]
        used = {"frames": frames, "seconds": seconds, "predicted": predicted}
        return used | sizes | {"mb": device_peak_mb(torch.device("cpu"))}


class Drawing:
    """Per-frame scores of as many clips as a released test split has."""

    def __init__(self, dataset: str, clips: int | None = None):
        torch.set_num_threads(1)
        self.card, random = cards.dataset(dataset), np.random.default_rng(0)
        frames, classes = self.card.frames, self.card.num_classes
        about = {"task": self.card.task, "classes": classes, "padded_to": frames * (self.card.task == "semantic")}
        self.rows = FrameTable(self.card.task, classes, about)
        for number in range(clips or self.card.splits["full"]["test"]):
            if self.card.task == "binary":
                label = random.integers(0, 2, (frames, 8, 8))
                probability = random.random(label.shape, np.float32)
                guess = {"mask": probability > 0.5, "level": levels(probability)}
            else:  # of background and three classes, so many pixels that a frame has several sources
                known = np.append(0, random.integers(1, classes, 3))
                label, guessed = random.choice(known, (2, frames, 24, 24))
                guess = {"prediction": guessed}
            self.rows.add_clip(f"clip{number}", number, "common", label, np.ones(frames, bool), **guess)

    def run(self) -> dict:
        """CPU seconds, clips, bytes of the file and peak memory in MB."""
        table, start = self.rows.table(), time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "draws.parquet"
            sums = clip_sums(table)
            write_draws(file, sums)
            seconds, size = time.process_time() - start, file.stat().st_size
        return {
            "seconds": seconds, "clips": len(sums.clips), "bytes": size, "mb": device_peak_mb(torch.device("cpu")),
        }  # fmt: skip


def info(card: cards.DatasetCard) -> PredictionInfo:
    return PredictionInfo(
        dataset=card.name, variant="benchmark", seed="0", condition="positive", task=card.task, classes=card.num_classes
    )


def predicting(name: str, dataset: str, *, clips: int, threads: int, device: str = "auto", scale: str = "full") -> Row:
    with Alone(Predicting, name, dataset, clips, threads, device, scale) as task:
        found = task.call("run")
    note = f"{found['network']:.3g} frames/s in the network"
    return Row("predict", f"{name}, {dataset}", found["all"], "frames/s", found["mb"], note)


def scoring(dataset: str, *, clips: int) -> Row:
    with Alone(Scoring, dataset, clips) as task:
        found = task.call("run")
    note = f"one CPU; {found['predictions'] / found['predicted'] / 1000:.2f} kB of predictions and "
    note += f"{found['rows'] / found['frames'] / 1000:.2f} kB of rows a frame"
    case = f"{dataset}, protocols {PROTOCOLS[cards.dataset(dataset).task]}"
    return Row("score", case, found["frames"] / found["seconds"], "frames/s", found["mb"], note)


def drawing(dataset: str, *, clips: int | None = None) -> Row:
    with Alone(Drawing, dataset, clips) as task:
        found = task.call("run")
    case = f"{dataset}, {found['clips']} clips, {DRAWS} draws"
    return Row("draw", case, found["seconds"], "s", found["mb"], f"one CPU; {found['bytes'] / 1000:.0f} kB")


def rows(quick: bool = False, clips: int = 8, threads: int = 1) -> Iterator[Row]:
    """Every variant (`quick`: the first of each method) on the first of its data sets; scoring and drawing."""
    for method in cards.method_cards().values():
        for name in list(method.variants)[: 1 if quick else None]:
            dataset = method.variants[name].datasets[0]
            try:
                yield predicting(name, dataset, clips=2 if quick else clips, threads=threads)
            except Exception as error:  # one variant that fails leaves the others
                yield Row("predict", f"{name}, {dataset}", None, note=" ".join(f"{error}".split())[:200])
    for dataset in ("ms3", "avss"):
        yield scoring(dataset, clips=6 if quick else 48)
    for dataset in ("s4", "avss", "vpo_msmi"):
        yield drawing(dataset, clips=6 if quick else None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(markdown(rows(clips=arguments.clips, threads=arguments.threads)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
