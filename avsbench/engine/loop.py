"""The one training loop: what every method and every data set goes through, resumable at any step.

Random numbers are seeded anew for each epoch from (seed, epoch), and a state inside an epoch holds all generators,
so an interrupted training ends with the same weights as an undisturbed one (bit for bit on CPU). Several processes may
train together: they run the same loop over shares of the same steps, agree after each step on whether to go on, and the
first one writes.
"""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from avsbench import devices
from avsbench.contract import Method
from avsbench.engine.checkpoint import StateStore
from avsbench.engine.compute import Compute
from avsbench.engine.data import Share
from avsbench.engine.distributed import Group
from avsbench.engine.optim import Optimizers
from avsbench.engine.progress import Data, Progress, Validator, merged, ranked
from avsbench.engine.seeds import rng_state, seed_everything, set_rng_state
from avsbench.engine.signals import StopSignals
from avsbench.engine.trackers import Tracker
from avsbench.engine.trainlog import TrainLog, Window
from avsbench.engine.update import Updater
from avsbench.errors import AvsbenchError
from avsbench.provenance import memory_mb, memory_now_mb
from avsbench.registry import load_own

log = logging.getLogger(__name__)

LINES_PER_EPOCH = 10
LAST = "last"
"""`select: last` keeps the weights of the last epoch; validation scores are recorded all the same."""


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
        compute: precision and the like; None: what the recipe says.
        group: the processes that train together; None: this one alone.
        tracker: is told every line of the log as well.
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
        compute: Compute | None = None,
        group: Group | None = None,
        tracker: Tracker | None = None,
    ):
        self.method, self.recipe, self.seed, self.device = method, recipe, seed, device
        self.data, self.make_validator, self.store = data, validator, store
        self.log_path, self.name, self.description, self.save_every = log_path, name, description, save_every
        self.epochs: int = recipe["epochs"]
        self.steps: int = data.steps_per_epoch
        self.select: str = recipe["select"]
        # Fixed now: an encoder that `on_epoch` freezes for a while is still part of the weights.
        self.keys = set(method.own_state())
        self.group, self.tracker = group or Group(), tracker
        self.compute = (compute or Compute.of(recipe)).on(device)
        self.compute.prepare(method, device)
        self.optimizers = Optimizers(
            method,
            recipe,
            total_steps=self.epochs * self.steps,
            steps_per_epoch=self.steps,
            fused=self.compute.fused,
        )
        self.updater = Updater(
            method=method,
            optimizers=self.optimizers,
            compute=self.compute,
            group=self.group,
            device=device,
            seed=seed,
            augment=method.device_transforms(recipe) if self.compute.augment == "device" else None,
        )
        self.progress = Progress()

    def run(self) -> Progress:
        """Train to the end, from the newest state if there is one."""
        state = self._newest_state()
        if state is not None:
            self.progress = Progress(**state["progress"])
            self.progress.resumes += 1
            log.info("%s: continuing at epoch %d, step %d", self.name, self.progress.epoch + 1, self.progress.step)
        self.log = self._open_log(state["log"] if state else 0) if self.group.first else None
        total, done = self.epochs * self.steps, self.progress.epoch * self.steps + self.progress.step
        with ExitStack() as stack:
            if self.log is not None:
                stack.callback(self.log.close)
            self.stop = stack.enter_context(StopSignals(patient=self.group.world > 1))
            silent = None if self.group.first else True
            self.bar = stack.enter_context(
                tqdm(total=total, initial=done, desc=self.name, unit="step", disable=silent, dynamic_ncols=True)
            )
            if not self.bar.disable:
                stack.enter_context(logging_redirect_tqdm())
            self._saved_at = time.monotonic()
            while self.progress.epoch < self.epochs:
                self._epoch(state)
                state = None
        return self.progress

    def _open_log(self, position: int) -> TrainLog:
        at, log = self.progress, TrainLog(self.log_path, position, self.tracker)
        log.start(
            self.name,
            epoch=min(at.epoch + 1, self.epochs),
            step=at.epoch * self.steps + at.step,
            resumes=at.resumes,
            epochs=self.epochs,
            steps_per_epoch=self.steps,
            batch=self.recipe["batch"],
            world_size=self.group.world,
            device=devices.describe(self.device),
            compute=vars(self.compute),
            **self.description,
        )
        return log

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
        self.updater.begin_epoch()
        if not self.group.first:  # on_epoch draws alike everywhere, dropout does not
            seed_everything(self.seed, "epoch", at.epoch, self.group.rank)
        if at.step < self.steps:
            steps = iter(self.data.train(at.epoch, at.step))
            if inside:
                self._restore_rng(state)
            self._train(steps)
        if self._validation_due():
            self._validate()
        at.epoch, at.step = at.epoch + 1, 0
        self._save()

    def _train(self, steps: Iterator[list[Share]]) -> None:
        at, window, pending = self.progress, Window(), None
        every = max(1, self.steps // LINES_PER_EPOCH)
        while at.step < self.steps:
            started = time.monotonic()
            shares = self._next(steps)
            waited = time.monotonic() - started
            launched = self.updater.launch(shares, at.epoch * self.steps + at.step)
            at.step += 1
            line = at.step % every == 0 or at.step == self.steps
            stopped, save = self.group.largest(self.stop.caught, time.monotonic() - self._saved_at >= self.save_every)
            settle = [pending] if pending else []
            # What is written down, or kept, must be known to be finite.
            if line or stopped or save or self.device.type == "cpu":
                settle, pending = [*settle, launched], None
            else:
                pending = launched
            for step in settle:
                terms, norm = self.updater.settle(step, f"{self.name}, epoch {at.epoch + 1}")
                window.add(terms, clips=step.clips)
            spent = time.monotonic() - started
            at.seconds["train"] += spent
            at.seconds["wait"] += waited
            window.took(spent=spent, waited=waited)
            self.bar.update()
            if line:
                self._write_line(window, norm, launched.rates)
                window = Window()
            if stopped:
                self._leave(int(stopped))
            if save:
                self._save()

    def _next(self, steps: Iterator[list[Share]]) -> list[Share]:
        try:
            return next(steps)
        except StopIteration:
            raise AvsbenchError(
                f"{self.name}: the training data ended early",
                found=f"{self.progress.step} steps",
                expected=f"{self.steps} steps an epoch",
            ) from None
        except Exception:
            # A signal to the whole process group also ends the loader's workers; the weights are intact.
            if self.stop.caught and self.group.world == 1:
                self._leave(self.stop.caught)
            raise

    def _write_line(self, window: Window, norm: float | None, rates: list[float]) -> None:
        at = self.progress
        means = window.means()
        self._write(
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
            seconds=round(window.spent, 3),
            memory_mb=memory_now_mb(self.device),
            peak_memory_mb=memory_mb(self.device),
        )
        self._loss = sum(means.values())
        best = f"{at.best['score']:.4f}" if at.best else "-"
        self.bar.set_postfix({"epoch": f"{at.epoch + 1}/{self.epochs}", "loss": f"{self._loss:.4f}", "best": best})

    def _write(self, **line: object) -> None:
        if self.log is not None:
            self.log.write(**line)

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
            scores = self.method.scores(self.compute.forward(self.method, batch), tuple(batch.masks.shape[-2:]))
            validator.update(scores, self.method.masks(scores), batch)
            if self.stop.caught and self.group.world == 1:
                self._leave(self.stop.caught)
        (stopped,) = self.group.largest(self.stop.caught)
        if stopped:
            self._leave(int(stopped))
        scores = self.group.share(merged(self.group.gather(validator)))
        devices.synchronize(self.device)
        seconds = time.monotonic() - started
        at.seconds["validation"] += seconds
        at.history.append({"epoch": at.epoch + 1, **scores})
        self._write(kind="validation", epoch=at.epoch + 1, scores=scores, seconds=round(seconds, 3))
        score = float(at.epoch) if self.select == LAST else scores[self.select]
        if math.isfinite(score) and (at.best is None or score > at.best["score"]):
            at.best = {"epoch": at.epoch, "score": score, "scores": scores}
        if math.isfinite(score):
            at.top = ranked([*at.top, {"epoch": at.epoch, "score": score}], self.recipe.get("keep_best", 1))
            if at.epoch in self._kept() and self.group.first:
                self.store.save_best(at.epoch, self._own(), self.description)
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
        mine = {"rng": rng_state(), "extra": on_cpu(self.method.extra_state())}
        ranks = self.group.gather(mine)
        self._saved_at = time.monotonic()
        if ranks is None:
            return
        at.memory = {**at.memory, **{k: max(v, at.memory.get(k, 0.0)) for k, v in memory_mb(self.device).items()}}
        state = {
            "progress": vars(at),
            "model": self._own(),
            "optimizers": self.optimizers.state_dict(),
            "ranks": ranks,
            "frozen": [name for name, p in self.method.named_parameters() if not p.requires_grad],
            "log": self.log.position,
        }
        self.store.save(state, at.epoch, at.step, best=self._kept())

    def _newest_state(self) -> dict | None:
        """The state to continue from; all processes take the same file."""
        state = self.store.load() if self.group.first else None
        place = self.group.share((state["progress"]["epoch"], state["progress"]["step"]) if state else None)
        if place is None or self.group.first:
            return state
        return self.store.load(place)

    def _mine(self, state: dict) -> dict | None:
        """What a state holds for this process; None where fewer processes took it."""
        ranks = state["ranks"]
        return ranks[self.group.rank] if len(ranks) == self.group.world else None

    def _restore(self, state: dict) -> None:
        load_own(self.method, state["model"], self.store.folder, self.keys)
        frozen = set(state["frozen"])
        for name, parameter in self.method.named_parameters():
            parameter.requires_grad_(name not in frozen)
        self.optimizers.load_state_dict(state["optimizers"])
        # A bank that other processes filled is better than an empty one.
        self.method.load_extra_state((self._mine(state) or state["ranks"][0])["extra"])

    def _restore_rng(self, state: dict) -> None:
        mine, at = self._mine(state), self.progress
        if mine is not None:
            set_rng_state(mine["rng"])
        else:  # other devices than before: the same steps, other random numbers
            seed_everything(self.seed, "epoch", at.epoch, "step", at.step, self.group.rank)

    def _leave(self, number: int) -> None:
        """Save and go, after a signal; the exit code tells which."""
        self._save()
        self.group.wait()  # whoever leaves first takes the others along
        name = signal.Signals(number).name
        tell = log.warning if self.group.first else log.debug
        tell("%s: stopped by %s; the state is saved, the same command continues", self.name, name)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)


def on_cpu(state: object) -> object:
    """Nested dicts, lists and tuples with every tensor on the CPU."""
    if isinstance(state, torch.Tensor):
        return state.detach().cpu()
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    return type(state)(map(on_cpu, state)) if isinstance(state, (list, tuple)) else state
