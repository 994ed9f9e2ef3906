"""The one training loop: what every method and every data set goes through, resumable at any step.

Random numbers are seeded anew for each epoch from (seed, epoch), and a state inside an epoch holds all generators,
so an interrupted training ends with the same weights as an undisturbed one (bit for bit on CPU).
"""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from avsbench import devices
from avsbench.contract import Batch, Method
from avsbench.engine.checkpoint import StateStore, save_weights
from avsbench.engine.optim import Optimizers
from avsbench.engine.seeds import rng_state, seed_everything, set_rng_state
from avsbench.engine.signals import StopSignals
from avsbench.engine.trainlog import TrainLog, Window
from avsbench.errors import AvsbenchError
from avsbench.provenance import memory_mb
from avsbench.registry import load_own

log = logging.getLogger(__name__)

LINES_PER_EPOCH = 10
LAST = "last"
"""`select: last` keeps the weights of the last epoch; validation scores are recorded all the same."""


class Data(Protocol):
    """Where batches come from."""

    steps_per_epoch: int

    def train(self, epoch: int, skip: int) -> Iterator[Batch]:
        """Batches of one epoch in its order, without the first `skip`. Draws from no global random generator."""

    def validation(self) -> Iterable[Batch]:
        """Batches of the validation split, always in the same order."""


class Validator(Protocol):
    """Scores of one validation epoch."""

    def update(self, scores: torch.Tensor, masks: torch.Tensor, batch: Batch) -> None: ...

    def compute(self) -> dict[str, float]: ...


@dataclass
class Progress:
    """Where a training stands; everything here is in the resume state.

    Attributes:
        epoch: from 0 (files and messages count from 1); the number of epochs when the training is complete.
        step: steps done in this epoch.
        best: epoch, score and all scores of the best validation so far.
        top: epoch (from 0) and score of the best `keep_best` validations, best first; what `weights_top/` will hold.
        history: a row per validation.
        seconds: spent in training steps, waiting for data, and in validation.
        resumes: how often the training continued from a state.
    """

    epoch: int = 0
    step: int = 0
    best: dict | None = None
    top: list[dict] = field(default_factory=list)
    history: list[dict] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "wait": 0.0, "validation": 0.0})
    resumes: int = 0
    memory: dict[str, float] = field(default_factory=dict)


def ranked(rows: list[dict], count: int) -> list[dict]:
    """The `count` best of {epoch, score}, best first; of equal scores the earlier epoch."""
    return sorted(rows, key=lambda row: (-row["score"], row["epoch"]))[:count]


def wrap(method: Method, device: torch.device) -> nn.Module:
    """What the loop calls for a forward pass. The one place for a wrapper over several devices; one needs none."""
    return method.to(device)


class Trainer:
    """Trains one method.

    Args:
        method: with its initial weights.
        recipe: epochs, optimizer, schedule, clip_norm, select, validate.
        seed: of the run.
        data: batches.
        validator: makes an empty `Validator`.
        store: resume states.
        log_path: JSON lines go there.
        name: for the progress bar and messages.
        description: goes into the header of weight files.
        save_every: seconds between resume states inside an epoch; the end of an epoch always saves one.
    """

    def __init__(
        self,
        *,
        method: Method,
        recipe: dict,
        seed: object,
        device: torch.device,
        data: Data,
        validator: Callable[[], Validator],
        store: StateStore,
        log_path: str | Path,
        name: str,
        description: dict,
        save_every: float = 300.0,
    ):
        self.method, self.recipe, self.seed, self.device = method, recipe, seed, device
        self.data, self.make_validator, self.store = data, validator, store
        self.log_path, self.name, self.description, self.save_every = log_path, name, description, save_every
        self.epochs: int = recipe["epochs"]
        self.steps: int = data.steps_per_epoch
        self.select: str = recipe["select"]
        # Fixed now: an encoder that `on_epoch` freezes for a while is still part of the weights.
        self.keys = set(method.own_state())
        self.model = wrap(method, device)
        self.optimizers = Optimizers(method, recipe, total_steps=self.epochs * self.steps, steps_per_epoch=self.steps)
        self.progress = Progress()
        self._state_kept: set[int] = set()

    def run(self) -> Progress:
        """Train to the end, from the newest state if there is one."""
        state = self.store.load()
        if state is not None:
            self.progress = Progress(**state["progress"])
            self.progress.resumes += 1
            self._state_kept = self._kept()
            log.info("%s: continuing at epoch %d, step %d", self.name, self.progress.epoch + 1, self.progress.step)
        self.log = TrainLog(self.log_path, state["log"] if state else 0)
        total, done = self.epochs * self.steps, self.progress.epoch * self.steps + self.progress.step
        with ExitStack() as stack:
            stack.callback(self.log.close)
            self.stop = stack.enter_context(StopSignals())
            self.bar = stack.enter_context(
                tqdm(total=total, initial=done, desc=self.name, unit="step", disable=None, dynamic_ncols=True)
            )
            if not self.bar.disable:
                stack.enter_context(logging_redirect_tqdm())
            self._saved_at = time.monotonic()
            while self.progress.epoch < self.epochs:
                self._epoch(state)
                state = None
        return self.progress

    def best_state_file(self) -> Path:
        """The weights that the selection kept."""
        if self.progress.best is None:
            raise AvsbenchError(
                f"{self.name}: no validation gave a finite {self.select}",
                found=[row.get(self.select) for row in self.progress.history],
                hint="look at the training log: the network may have collapsed",
            )
        return self.store.best_file(self.progress.best["epoch"])

    def top_state_files(self) -> list[Path]:
        """The weights of the best `keep_best` validations, best first; of equal ones the earlier."""
        return [self.store.best_file(row["epoch"]) for row in self.progress.top]

    # one epoch

    def _epoch(self, state: dict | None) -> None:
        at = self.progress
        inside = state is not None and at.step > 0
        if state is not None and not inside:
            self._restore(state)
        seed_everything(self.seed, "epoch", at.epoch)
        self.method.on_epoch(at.epoch)
        if inside:
            # What on_epoch did to weights or banks had happened before this state was taken.
            self._restore(state)
        self.method.train()
        if at.step < self.steps:
            batches = iter(self.data.train(at.epoch, at.step))
            if inside:
                set_rng_state(state["rng"])
            self._train(batches)
        if self._validation_due():
            self._validate()
        at.epoch, at.step = at.epoch + 1, 0
        self._save()

    def _train(self, batches: Iterator[Batch]) -> None:
        at, window = self.progress, Window()
        every = max(1, self.steps // LINES_PER_EPOCH)
        while at.step < self.steps:
            started = time.monotonic()
            batch = self._next(batches)
            waited = time.monotonic() - started
            step = at.epoch * self.steps + at.step
            terms, norm, rates = self._step(batch.to(self.device), step)
            at.step += 1
            spent = time.monotonic() - started
            at.seconds["train"] += spent
            at.seconds["wait"] += waited
            window.add(terms, clips=len(batch), spent=spent, waited=waited)
            self.bar.update()
            if at.step % every == 0 or at.step == self.steps:
                self._write_line(window, norm, rates)
                window = Window()
            if self.stop.caught:
                self._leave()
            if time.monotonic() - self._saved_at >= self.save_every:
                self._save()

    def _next(self, batches: Iterator[Batch]) -> Batch:
        try:
            return next(batches)
        except StopIteration:
            raise AvsbenchError(
                f"{self.name}: the training data ended early",
                found=f"{self.progress.step} batches",
                expected=f"{self.steps} batches an epoch",
            ) from None
        except Exception:
            # A signal to the whole process group also ends the loader's workers; the weights are intact.
            if self.stop.caught:
                self._leave()
            raise

    def _step(self, batch: Batch, step: int) -> tuple[dict[str, float], float | None, list[float]]:
        """One update; returns the loss terms, the gradient's norm (when clipped) and the learning rates."""
        rates = self.optimizers.set_step(step)
        terms = self.method.loss(self.model(batch), batch, step)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        numbers = torch.stack([term.detach().float() for term in terms.values()]).tolist()
        values = dict(zip(terms, numbers, strict=True))
        if not math.isfinite(sum(numbers)):
            self._diverged("the loss is not finite", values, rates, batch, step)
        self.optimizers.zero_grad()
        total.backward()
        norm = self.optimizers.step()
        if norm is not None and not math.isfinite(norm):
            self._diverged("the gradient is not finite", values, rates, batch, step)
        return values, norm, rates

    def _diverged(self, what: str, terms: dict, rates: list[float], batch: Batch, step: int) -> None:
        raise AvsbenchError(
            f"{self.name}: {what} at step {step} (epoch {self.progress.epoch + 1})",
            found="; ".join(
                [
                    ", ".join(f"{name} = {value:.4g}" for name, value in terms.items()),
                    f"learning rate {', '.join(f'{rate:.3g}' for rate in rates)}",
                    f"clips {', '.join(batch.clip_ids)}",
                ]
            ),
            expected="finite numbers",
            hint="lower optimizer.lr or set clip_norm (overrides in the configuration), or look at these clips",
        )

    def _write_line(self, window: Window, norm: float | None, rates: list[float]) -> None:
        at = self.progress
        means = window.means()
        self.log.write(
            kind="train",
            epoch=at.epoch + 1,
            step=at.epoch * self.steps + at.step,
            at=at.epoch + at.step / self.steps,
            loss=sum(means.values()),
            terms=means,
            lr=rates,
            gradient_norm=norm,
            clips_per_s=round(window.clips / max(window.spent, 1e-9), 3),
            wait_share=round(window.waited / max(window.spent, 1e-9), 4),
            memory_mb=memory_mb(self.device),
        )
        self._loss = sum(means.values())
        best = f"{at.best['score']:.4f}" if at.best else "-"
        self.bar.set_postfix({"epoch": f"{at.epoch + 1}/{self.epochs}", "loss": f"{self._loss:.4f}", "best": best})

    # validation

    def _validation_due(self) -> bool:
        rule = self.recipe.get("validate", {})
        start, every = rule.get("start", 0), rule.get("every", 1)
        due = self.progress.epoch >= start and (self.progress.epoch - start) % every == 0
        return due or (self.select == LAST and self.progress.epoch == self.epochs - 1)

    @torch.no_grad()
    def _validate(self) -> None:
        at, started = self.progress, time.monotonic()
        seed_everything(self.seed, "validation", at.epoch)
        self.method.eval()
        validator = self.make_validator()
        for batch in self.data.validation():
            batch = batch.to(self.device)
            scores = self.method.scores(self.model(batch), tuple(batch.masks.shape[-2:]))
            validator.update(scores, self.method.masks(scores), batch)
            if self.stop.caught:
                self._leave()
        scores = {name: float(value) for name, value in validator.compute().items()}
        devices.synchronize(self.device)
        seconds = time.monotonic() - started
        at.seconds["validation"] += seconds
        at.history.append({"epoch": at.epoch + 1, **scores})
        self.log.write(kind="validation", epoch=at.epoch + 1, scores=scores, seconds=round(seconds, 3))
        score = float(at.epoch) if self.select == LAST else scores[self.select]
        if math.isfinite(score) and (at.best is None or score > at.best["score"]):
            at.best = {"epoch": at.epoch, "score": score, "scores": scores}
        if math.isfinite(score):
            at.top = ranked([*at.top, {"epoch": at.epoch, "score": score}], self.recipe.get("keep_best", 1))
            if at.epoch in self._kept():
                save_weights(self.store.best_file(at.epoch), self._own(), self.description)
        shown = ", ".join(f"{key} {value:.4f}" for key, value in scores.items() if key == self.select)
        best = f"; best so far at epoch {at.best['epoch'] + 1}" if at.best else ""
        log.info("%s: epoch %d of %d: %s%s", self.name, at.epoch + 1, self.epochs, shown, best)

    # state

    def _kept(self) -> set[int]:
        """Epochs whose weights the training still needs."""
        return {row["epoch"] for row in self.progress.top}

    def _own(self) -> dict[str, torch.Tensor]:
        return {key: value for key, value in self.method.state_dict().items() if key in self.keys}

    def _save(self) -> None:
        at = self.progress
        at.memory = {**at.memory, **{k: max(v, at.memory.get(k, 0.0)) for k, v in memory_mb(self.device).items()}}
        state = {
            "progress": vars(at),
            "model": self._own(),
            "optimizers": self.optimizers.state_dict(),
            "extra": self.method.extra_state(),
            "frozen": [name for name, p in self.method.named_parameters() if not p.requires_grad],
            "rng": rng_state(),
            "log": self.log.position,
        }
        self.store.save(state, at.epoch, at.step)
        kept = self._kept()
        self.store.keep_best(kept | self._state_kept)
        self._state_kept = kept
        self._saved_at = time.monotonic()

    def _restore(self, state: dict) -> None:
        load_own(self.method, state["model"], self.store.folder, self.keys)
        frozen = set(state["frozen"])
        for name, parameter in self.method.named_parameters():
            parameter.requires_grad_(name not in frozen)
        self.optimizers.load_state_dict(state["optimizers"])
        self.method.load_extra_state(state["extra"])

    def _leave(self) -> None:
        """Save and go, after a signal; the exit code tells which."""
        self._save()
        name = signal.Signals(self.stop.caught).name
        log.warning("%s: stopped by %s; the state is saved, the same command continues", self.name, name)
        if self.stop.caught == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.stop.caught)
