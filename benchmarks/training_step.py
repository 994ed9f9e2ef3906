"""Seconds and memory of one training step of every trainable variant: eager, channels-last, bfloat16, compiled.

    python -m benchmarks.training_step [--variant tpavi-r50] [--threads 1] [--rounds 3]

Networks of full size with random weights on synthetic clips at 224 x 224: forward pass, loss, backward pass, update, as
the engine makes them. On the processor one clip of at most five frames; on a GPU the recipe's batch, and with it the
share of the time that a short training on rendered clips waits for its data, from that training's log. Each setting
lives in a process of its own and all take a step in turn; ratios are round by round. The first step of each, which
counts its floating-point operations or compiles, is not timed.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch.utils.flop_counter import FlopCounterMode

from avsbench import cards, devices, registry
from avsbench.contract import Batch
from avsbench.contract_checks.batches import synthetic_batch, take
from avsbench.engine.compute import Compute
from avsbench.engine.data import Division, Share
from avsbench.engine.distributed import Group
from avsbench.engine.optim import Optimizers
from avsbench.engine.seeds import seed_everything
from avsbench.engine.update import Updater
from benchmarks.common import Alone, Row, device_peak_mb, in_turns, markdown, ratios

TOPIC = "training step"
FRAMES = 5
"""Frames of the clip on a processor; the recipe's on a GPU."""
UNCACHED_CLIPS = 320
"""Clips of a training whose wait is measured: more than the engine keeps in memory, as with released data."""
BASE, HALF = "float32", "bfloat16"
SETTINGS = {
    BASE: {"precision": "float32", "channels_last": False, "fused": False},
    "float32 channels-last": {"precision": "float32", "channels_last": True, "fused": False},
    HALF: {"precision": "bfloat16", "channels_last": True},
    "float32 compiled": {"precision": "float32", "channels_last": False, "fused": False, "compile": "default"},
}
"""Name -> recipe key `compute`."""
ON_GPU = {
    "tf32": {"precision": "tf32", "channels_last": True, "fused": True},
    "bfloat16 compiled": {"precision": "bfloat16", "compile": "default"},
    "bfloat16 CUDA graphs": {"precision": "bfloat16", "compile": "reduce-overhead"},
}


def prepared(variant: cards.Variant, dataset: str, scale: str, setting: dict, device: torch.device) -> Updater:
    """What the engine updates the weights of a variant with, set up as it does; the only place that knows how."""
    recipe = cards.merge(variant.recipe(scale, dataset), {"compute": setting})
    seed_everything(0, "benchmark")
    method = registry.build(variant, dataset, scale, registry.scale_image_size(scale))
    method.configure(recipe)
    compute = Compute.of(recipe).on(device)
    compute.prepare(method, device)
    optimizers = Optimizers(method, recipe, total_steps=1000, steps_per_epoch=100, fused=compute.fused)
    updater = Updater(method=method, optimizers=optimizers, compute=compute, group=Group(), device=device, seed=0)
    method.train()
    updater.begin_epoch()
    return updater


def shares_of(variant: cards.Variant, dataset: str, scale: str, gpu: bool) -> list[Share]:
    """What a step sees: the recipe's batch on one GPU, divided as the engine does, or one short clip."""
    if not gpu:
        return [Share(batch_of(variant, dataset, scale, 1, FRAMES))]
    division = Division.of(variant.recipe(scale, dataset), variant.resources(scale)["gpu"], 1)
    batch = batch_of(variant, dataset, scale, division.micro_batch, None)
    return [Share(batch, 1 / division.accumulation)] * division.accumulation


def batch_of(variant: cards.Variant, dataset: str, scale: str, clips: int, frames: int | None) -> Batch:
    """`clips` synthetic clips, as long as the data set's or cut to `frames`."""
    card = cards.dataset(dataset)
    both = synthetic_batch(variant, card, registry.scale_image_size(scale))
    each = [take(both, clip % len(both), min(frames or card.frames, card.frames)) for clip in range(clips)]

    def join(values: list):
        if isinstance(values[0], dict):
            return {key: join([value[key] for value in values]) for key in values[0]}
        return torch.cat(values)

    names = ("frames", "real", "audio", "features", "masks", "annotated")
    joined = {name: join([getattr(one, name) for one in each]) for name in names}
    return Batch(**joined, clip_ids=[f"clip{clip}" for clip in range(clips)])


class Step:
    """A training that takes one step at a time."""

    def __init__(self, name: str, dataset: str, scale: str, setting: dict, threads: int, device: str):
        torch.set_num_threads(threads)
        variant = cards.variant(name)
        self.device = devices.pick_device(device)
        self.updater = prepared(variant, dataset, scale, setting, self.device)
        shares = shares_of(variant, dataset, scale, self.device.type == "cuda")
        # On the device already: what moving costs is hidden in a training, and shows in its share of waiting.
        self.shares = [Share(share.batch.to(self.device), share.weight) for share in shares]
        self.count = 0

    def run(self) -> float:
        """One step; its seconds."""
        devices.synchronize(self.device)
        start = time.perf_counter()
        self.updater.settle(self.updater.launch(self.shares, self.count), "benchmark")
        devices.synchronize(self.device)
        self.count += 1
        return time.perf_counter() - start

    def describe(self) -> str:
        """Clips of a step, and what a run of this network stores."""
        clips = sum(len(share.batch) for share in self.shares)
        stored = sum(value.numel() * value.element_size() for value in self.updater.method.own_state().values())
        return f"{clips} clip{'s' * (clips > 1)} a step; a run stores {stored / 1e6:.1f} MB of weights"

    def warm(self, steps: int) -> float:
        """Seconds of the first steps, compilation included."""
        return sum(self.run() for _ in range(steps))

    def flops(self) -> float:
        """Floating-point operations of a step (products and sums apart): three times those of its forward passes.

        torch counts the backward pass of a grouped convolution as if it had no groups: seven times the forward pass of
        PVT-v2.
        """
        self.run()
        # Not under no_grad: the counter fails there where a module is given a view of a parameter.
        with FlopCounterMode(display=False) as counter:
            for share in self.shares:
                self.updater.method(share.batch)
        return 3.0 * counter.get_total_flops()

    def memory(self) -> float:
        """Peak memory in MB; also lets go of what is cached on a GPU, for the others."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return device_peak_mb(self.device)


def compiler() -> str | None:
    """Why torch.compile cannot work here; None where it can."""
    found = shutil.which(os.environ.get("CXX", "g++"))
    return None if found else "torch.compile needs a C++ compiler (g++)"


def measure(
    name: str, dataset: str, *, scale: str = "full", settings: dict, threads: int, rounds: int, device: str = "auto"
) -> Iterator[Row]:
    """The rows of one variant."""
    gpu = devices.pick_device(device).type == "cuda"
    case = f"{name}, {dataset}"
    with ExitStack() as stack:
        steps = {}
        for setting, compute in settings.items():
            why_not = compiler() if "compile" in compute else None
            if why_not:
                yield Row(TOPIC, f"{case}, {setting}", None, note=why_not)
                continue
            try:
                step = stack.enter_context(Alone(Step, name, dataset, scale, compute, threads, device))
                first = step.call("flops" if setting == BASE else "run")
                steps[setting] = step
            except Exception as error:  # one setting that fails leaves the others
                yield Row(
                    TOPIC, f"{case}, {setting}", None, note=" ".join(f"{type(error).__name__}: {error}".split())[:200]
                )
                continue
            if setting == BASE:
                yield Row(TOPIC, f"{case}, operations", first / 1e12, "TFLOP", note=step.call("describe"))
            elif "compile" in compute:
                yield Row(TOPIC, f"{case}, {setting}: first step", first, "s", note="compilation")
            step.call("warm", 5 if gpu else 0)
        seconds = in_turns({setting: lambda step=step: step.call("run") for setting, step in steps.items()}, rounds)
        for setting, step in steps.items():
            memory = step.call("memory")
            note = ""
            if setting != BASE and BASE in steps:
                note = "{1:.2f}× as fast as float32 ({0:.2f}× in its worst round)".format(
                    *ratios(seconds[BASE], seconds[setting])
                )
            if gpu and setting == HALF:
                note += "; bar 2×"
            yield Row(
                TOPIC,
                f"{case}, {setting}",
                statistics.median(seconds[setting]),
                "s",
                memory,
                note,
            )


class Training:
    """A short training by the engine on rendered clips, with networks of full size: how long does it wait for data?"""

    def __init__(self, name: str, dataset: str, clips: int, threads: int, device: str, scale: str = "full"):
        self.name, self.dataset, self.clips, self.threads, self.scale = name, dataset, clips, threads, scale
        self.device = devices.pick_device(device)

    def run(self) -> dict:
        """`wait_share` and `clips_per_s`, medians over the lines of the last epoch in the training log; peak memory.

        Medians: here an epoch is short, and the start of its reading processes would weigh too much.
        """
        from avsbench.engine.trainlog import read_log

        torch.set_num_threads(self.threads)
        with tempfile.TemporaryDirectory() as folder:
            trainer = self._trainer(folder)
            trainer.run()
            lines = [line for line in read_log(trainer.log_path) if line["kind"] == "train"]
        last = [line for line in lines if line["epoch"] == lines[-1]["epoch"]]
        found = {key: statistics.median(line[key] for line in last) for key in ("wait_share", "clips_per_s")}
        return found | {"mb": device_peak_mb(self.device)}

    def _trainer(self, folder: str):
        from avsbench.engine.checkpoint import StateStore
        from avsbench.engine.data import StoredData
        from avsbench.engine.loop import LAST, Trainer
        from avsbench.evaluation.validate import Validator
        from avsbench.spec import RunSpec
        from benchmarks.loader import SIZE, prepare

        variant = cards.variant(self.name)
        recipe = variant.recipe(self.scale, self.dataset)
        counts = {"train": self.clips, "val": 3, "test": 3}
        paths, card = prepare(self.dataset, counts, folder, ("train", "val"), variant)
        # One epoch is a round of warm-up and one that counts; nothing is chosen here.
        recipe = cards.merge(recipe, {"epochs": 2, "select": LAST, "validate": {"every": 1, "start": 1}})
        spec = RunSpec(
            scale="mini",
            dataset=self.dataset,
            variant=self.name,
            seed="0",
            recipe=recipe,
            image_size=SIZE,
            paths=paths,
            threads=self.threads,
        )
        method = registry.build(variant, card, self.scale, SIZE)
        method.configure(recipe)
        return Trainer(
            method=method,
            recipe=recipe,
            seed=0,
            device=self.device,
            data=StoredData(spec, variant, card, method, on_gpu=self.device.type != "cpu"),
            validator=lambda: Validator(card),
            store=StateStore(f"{folder}/state", "benchmark"),
            log_path=f"{folder}/log.jsonl",
            name=self.name,
            description={"variant": self.name},
        )


def waiting(name: str, dataset: str, *, clips: int, threads: int, device: str = "auto", scale: str = "full") -> Row:
    """The share of a training step that waits for data."""
    with Alone(Training, name, dataset, clips, threads, device, scale) as training:
        found = training.call("run")
    note = f"{found['clips_per_s']:.1f} clips/s on rendered clips; bar 10 %"
    return Row(
        TOPIC,
        f"{name}, {dataset}, waits for data",
        100 * found["wait_share"],
        "%",
        found["mb"],
        note,
    )


def chosen(quick: bool) -> list[str]:
    """Trainable variants: all, or of each method the first."""
    methods = [method for method in cards.method_cards().values() if method.trainable]
    return [name for method in methods for name in list(method.variants)[: 1 if quick else None]]


def rows(quick: bool = False, names: list[str] | None = None, threads: int = 1, rounds: int = 3) -> Iterator[Row]:
    """Every variant on the first of its data sets; `quick` compiles one variant alone."""
    gpu = torch.cuda.is_available()
    compiled = False
    for name in names or chosen(quick):
        variant = cards.variant(name)
        settings = {**SETTINGS, **(ON_GPU if gpu else {})}
        if quick and compiled:
            settings = {key: value for key, value in settings.items() if "compile" not in value}
        compiled = True
        yield from measure(
            name, variant.datasets[0], settings=settings, threads=threads, rounds=2 if quick else 10 if gpu else rounds
        )
        if gpu:
            clips = max(UNCACHED_CLIPS, 20 * variant.recipe("full", variant.datasets[0])["batch"])
            yield waiting(name, variant.datasets[0], clips=clips, threads=variant.resources("full")["threads"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", action="append", help="default: every trainable one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(markdown(rows(names=arguments.variant, threads=arguments.threads, rounds=arguments.rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
