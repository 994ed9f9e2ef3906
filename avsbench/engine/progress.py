"""Where a training stands, and what it asks of its data and of whoever scores an epoch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch

from avsbench.contract import Batch
from avsbench.engine.data import Share


class Data(Protocol):
    """Where batches come from."""

    steps_per_epoch: int

    def train(self, epoch: int, skip: int) -> Iterator[list[Share]]:
        """This process's shares of each step of one epoch, in its order, without the first `skip` steps. Draws from no
        global random generator.
        """

    def validation(self) -> Iterable[Batch]:
        """This process's batches of the validation split, always in the same order."""


class Validator(Protocol):
    """Scores of one validation epoch."""

    def update(self, scores: torch.Tensor, masks: torch.Tensor, batch: Batch) -> None: ...

    def merge(self, other: "Validator") -> "Validator": ...

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


def merged(validators: list[Validator] | None) -> dict[str, float] | None:
    """Scores over what all processes have validated."""
    if validators is None:
        return None
    whole = validators[0]
    for other in validators[1:]:
        whole = whole.merge(other)
    return {name: float(value) for name, value in whole.compute().items()}
