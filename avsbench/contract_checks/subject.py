"""What is under test, and the steps that several checks share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from avsbench import registry
from avsbench.cards import DatasetCard, Variant
from avsbench.contract import Batch, Method
from avsbench.contract_checks.batches import synthetic_batch
from avsbench.engine.optim import Optimizers
from avsbench.engine.seeds import seed_everything

MOST_STEPS = 400
"""What a check trains at most."""


class SkipCheck(Exception):  # noqa: N818 - no error
    """The promise does not apply here; the message says why."""


@dataclass(frozen=True)
class Subject:
    """One network under test: a variant on a data set.

    Attributes:
        builder: makes the network; by default the method's `build`.
    """

    variant: Variant
    dataset: DatasetCard
    scale: str = "mini"
    builder: Callable[[], Method] | None = None

    @property
    def file(self) -> Path:
        return self.variant.method.path.parent / "model.py"

    @cached_property
    def image_size(self) -> int:
        return registry.scale_image_size(self.scale)

    @cached_property
    def recipe(self) -> dict:
        return self.variant.recipe(self.scale, self.dataset.name)

    def build(self, seed: int = 0) -> Method:
        """The network with the random weights of `seed`."""
        seed_everything("contract", seed)
        if self.builder is not None:
            method = self.builder()
        else:
            method = registry.build(self.variant, self.dataset, self.scale, self.image_size)
        if self.variant.method.trainable:
            method.configure(self.recipe)
        for encoder in method.encoders().values():
            if not any(parameter.requires_grad for parameter in encoder.parameters()):
                enliven(encoder)
        return method

    def batch(self, seed: int = 0) -> Batch:
        return synthetic_batch(self.variant, self.dataset, self.image_size, seed)

    def optimizers(self, method: Method, *, constant: bool = False) -> Optimizers:
        """The recipe's optimisers, with its schedule or a constant one."""
        recipe = {**self.recipe, "schedule": {"name": "constant"}} if constant else self.recipe
        return Optimizers(method, recipe, total_steps=MOST_STEPS, steps_per_epoch=1)

    def fail(self, what: str, mend: str) -> None:
        """Raise the explanation."""
        raise AssertionError(f"{self.variant.name} on {self.dataset.name}: {what}\n  mend:     {mend}")

    def needs_training(self) -> None:
        if not self.variant.method.trainable:
            raise SkipCheck("the method is not trained")


@torch.no_grad()
def enliven(encoder: nn.Module) -> None:
    """Random weights with which a frozen encoder can tell its inputs apart, as a pretrained one would.

    Torch's own shrink what they pass on, layer after layer; where nothing normalises, a tone and silence end up alike.
    """
    layers = [module for module in encoder.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    if any("Norm" in type(module).__name__ for module in encoder.modules()):
        return
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)


def train_step(subject: Subject, method: Method, optimizers: Optimizers, batch: Batch, step: int) -> dict[str, Tensor]:
    """One update in train mode, as the engine makes it; returns the loss terms."""
    method.train()
    optimizers.set_step(step)
    terms = loss_terms(subject, method, batch, step)
    optimizers.zero_grad()
    sum(terms.values()).backward()
    optimizers.step()
    return terms


def loss_terms(subject: Subject, method: Method, batch: Batch, step: int) -> dict[str, Tensor]:
    """The loss, checked for its form."""
    terms = method.loss(method(batch), batch, step)
    if not isinstance(terms, dict) or not terms:
        subject.fail(
            f"loss returns {type(terms).__name__ if not isinstance(terms, dict) else 'an empty dict'}",
            f"return a dict of named scalar tensors, e.g. {{'bce': value}}, from loss in {subject.file}",
        )
    for name, term in terms.items():
        if not isinstance(term, Tensor) or term.ndim:
            found = f"a tensor of shape {list(term.shape)}" if isinstance(term, Tensor) else f"a {type(term).__name__}"
            subject.fail(
                f"the loss term {name!r} is {found}", f"reduce it to one number (mean or sum) in {subject.file}"
            )
    return terms


@torch.no_grad()
def logits(method: Method, batch: Batch) -> Tensor:
    """Scores at the size of the frames, float32 [B,T,K,H,W]."""
    return method.scores(method(batch), tuple(batch.frames.shape[-2:]))
