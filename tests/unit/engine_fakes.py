"""A tiny method and tiny data for the engine's tests; run as a script it kills itself in the middle of trainings."""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from avsbench.contract import Batch, Method, normalize_frames
from avsbench.engine.checkpoint import StateStore
from avsbench.engine.data import Share
from avsbench.engine.loop import Trainer
from avsbench.engine.seeds import seed_everything

RECIPE = {
    "epochs": 3,
    "batch": 2,
    "optimizer": {"name": "adamw", "lr": 1e-2, "weight_decay": 0.01},
    "schedule": {"name": "poly", "warmup_steps": 2, "power": 0.9},
    "clip_norm": 1.0,
    "select": "miou",
    "validate": {"every": 1},
}
STEPS = 4


class TinyMethod(Method):
    """A convolution that hears one number per frame; has everything that makes resuming hard.

    Dropout (random numbers), BatchNorm (buffers), an encoder that is frozen in epoch 0 and released later, and a bank
    outside the state dict that feeds the loss.
    """

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.hear = nn.Linear(1, 4)
        self.head = nn.Conv2d(4, 1, 1)
        self.bank = torch.zeros(())

    def encoders(self):
        return {"visual": self.encoder}

    def on_epoch(self, epoch):
        self.encoder.requires_grad_(epoch > 0)

    def extra_state(self):
        return {"bank": self.bank, "name": "bank"}

    def load_extra_state(self, state):
        self.bank = state["bank"]

    def forward(self, batch):
        b, t = batch.real.shape
        frames = normalize_frames(batch.frames, batch.real).flatten(0, 1)
        maps = torch.relu(self.encoder(frames)) + self.hear(batch.audio["level"].flatten(0, 1))[..., None, None]
        logits = self.head(functional.dropout(maps, 0.2, self.training))
        return {"logits": logits.unflatten(0, (b, t))}

    def scores(self, output, size):
        logits = output["logits"].float()
        return functional.interpolate(logits.flatten(0, 1), size, mode="bilinear").unflatten(0, logits.shape[:2])

    def loss(self, output, batch, step):
        known = batch.masks != 255
        truth = torch.where(known, batch.masks, 0).float()
        bce = functional.binary_cross_entropy_with_logits(output["logits"][:, :, 0], truth, reduction="none")
        if self.training:
            self.bank = 0.9 * self.bank + 0.1 * output["logits"].mean().detach()
        drift = (output["logits"].mean() - self.bank) ** 2
        return {"bce": (bce * known).sum() / known.sum().clamp_min(1), "drift": 0.1 * drift}


def tiny_batch(seed: int, clips: int = 2, frames: int = 2, size: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (clips, frames, 3, size, size), generator=generator, dtype=torch.uint8)
    level = torch.rand(clips, frames, 1, generator=generator)
    masks = ((pictures[:, :, 0] > 127) & (level > 0.3)[..., None]).long()
    everywhere = torch.ones(clips, frames, dtype=torch.bool)
    ids = [f"clip{seed}.{n}" for n in range(clips)]
    return Batch(pictures, everywhere, ids, {"level": level}, {}, masks, everywhere)


class TinyData:
    """Four batches an epoch, in an order that depends on the epoch."""

    steps_per_epoch = STEPS

    def __init__(self, before_step=lambda step: None):
        self.before_step = before_step

    def train(self, epoch, skip):
        order = torch.randperm(STEPS, generator=torch.Generator().manual_seed(epoch)).tolist()
        for index in range(skip, STEPS):
            self.before_step(epoch * STEPS + index)
            yield [Share(tiny_batch(order[index]))]

    def validation(self):
        for seed in (100, 101):
            self.before_step(-1)
            yield tiny_batch(seed)


class SharedData(TinyData):
    """The same batches, of four clips, divided; validation batches one by one among the processes."""

    def __init__(self, division, rank=0, before_step=lambda step: None):
        super().__init__(before_step)
        self.division, self.rank = division, rank

    def train(self, epoch, skip):
        for index, _ in enumerate(super().train(epoch, skip), skip):
            whole = tiny_batch(1000 * epoch + index, clips=4)
            shares = self.division.shares([0, 1, 2, 3], self.rank)
            yield [Share(tiny_part(whole, clips), weight) for clips, weight in shares]

    def validation(self):
        return list(super().validation())[self.rank :: self.division.world]


def tiny_part(batch: Batch, clips: list[int]) -> Batch:
    return Batch(
        batch.frames[clips],
        batch.real[clips],
        [batch.clip_ids[clip] for clip in clips],
        {"level": batch.audio["level"][clips]},
        {},
        batch.masks[clips],
        batch.annotated[clips],
    )


class CalmMethod(TinyMethod):
    """No dropout, BatchNorm in eval mode, terms that are a mean and a sum over clips: division changes nothing."""

    summed_terms = frozenset({"spread"})

    def train(self, mode=True):
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, batch):
        b, t = batch.real.shape
        frames = normalize_frames(batch.frames, batch.real).flatten(0, 1)
        maps = torch.relu(self.encoder(frames)) + self.hear(batch.audio["level"].flatten(0, 1))[..., None, None]
        return {"logits": self.head(maps).unflatten(0, (b, t))}

    def loss(self, output, batch, step):
        bce = functional.binary_cross_entropy_with_logits(output["logits"][:, :, 0], batch.masks.float())
        return {"bce": bce, "spread": 1e-3 * (output["logits"] ** 2).mean(dim=(1, 2, 3, 4)).sum()}


class TinyValidator:
    """Pooled IoU."""

    metrics = ("miou",)

    def __init__(self):
        self.both = self.either = 0

    def update(self, scores, masks, batch):
        truth = batch.masks == 1
        self.both += int((masks & truth).sum())
        self.either += int((masks | truth).sum())

    def merge(self, other):
        self.both, self.either = self.both + other.both, self.either + other.either
        return self

    def compute(self):
        return {"miou": self.both / max(self.either, 1)}


def make_trainer(
    folder: Path, data=None, recipe=RECIPE, save_every=0.0, identity="i" * 16, seed=0, method=TinyMethod, group=None
) -> Trainer:
    seed_everything(seed, "weights")
    return Trainer(
        method=method(),
        recipe=recipe,
        seed=seed,
        device=torch.device("cpu"),
        data=data or TinyData(),
        validator=TinyValidator,
        store=StateStore(folder / "state", identity),
        log_path=folder / "log.jsonl",
        name="tiny",
        description={"variant": "tiny"},
        save_every=save_every,
        group=group,
    )


def train_digest(folder: Path, **options) -> str:
    """Digest of the final weights, the kept weights, the history and the log without clocks."""
    trainer = make_trainer(folder, **options)
    progress = trainer.run()
    digest = hashlib.sha256(trainer.best_state_file().read_bytes())
    for key, value in sorted(trainer.method.state_dict().items()):
        digest.update(key.encode() + value.numpy().tobytes())
    digest.update(json.dumps(progress.history).encode())
    return digest.hexdigest()


# as a script: print a JSON of digests and exit codes


def _in_child(work) -> int:
    """Wait status of a forked child that runs `work`; 0 if it returned."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except SystemExit as leave:
            code = leave.code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _fail_at_step(number, target):
    def before_step(step):
        if step == target:
            os.kill(os.getpid(), number)

    return before_step


def _fail_at_call(name, target):
    """Kill in the `target`-th call of os.<name>: while a state or weights are written."""
    calls, original = [0], getattr(os, name)

    def replacement(*arguments):
        calls[0] += 1
        if calls[0] == target:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(os, name, replacement)


def main(folder: Path) -> dict:
    torch.set_num_threads(1)
    results = {}

    def complete(name):
        path = folder / name
        _in_child(lambda: (path / "digest").write_text(train_digest(path)))
        return (path / "digest").read_text()

    # In this process: the children then inherit what torch imports on first use.
    results["calm"] = [0, train_digest(folder / "calm")]
    scenarios = {
        "first step": lambda: {"data": TinyData(_fail_at_step(signal.SIGKILL, 0))},
        "inside epoch 0": lambda: {"data": TinyData(_fail_at_step(signal.SIGKILL, 2))},
        "inside epoch 1": lambda: {"data": TinyData(_fail_at_step(signal.SIGKILL, 7))},
        "rare states": lambda: {"data": TinyData(_fail_at_step(signal.SIGKILL, 7)), "save_every": 1e9},
        "in validation": lambda: {"data": TinyData(_fail_at_step(signal.SIGKILL, -1))},
        "while writing": lambda: _fail_at_call("fsync", 9) or {},
        "before renaming": lambda: _fail_at_call("replace", 5) or {},
        "terminated": lambda: {"data": TinyData(_fail_at_step(signal.SIGTERM, 6)), "save_every": 1e9},
        "terminated in validation": lambda: {"data": TinyData(_fail_at_step(signal.SIGTERM, -1)), "save_every": 1e9},
    }
    for name, options in scenarios.items():
        (folder / name).mkdir()
        code = _in_child(lambda name=name, options=options: train_digest(folder / name, **options()))
        results[name] = [code, complete(name)]
    return results


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
