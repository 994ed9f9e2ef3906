"""Promises of a network that trains: parameter groups, gradients, frozen parts, empty batches, and that it learns."""

import re
from dataclasses import replace

import torch
from torch.nn import functional

from avsbench.contract import IGNORE, Batch, Method
from avsbench.contract_checks.batches import shorten
from avsbench.contract_checks.subject import MOST_STEPS, SkipCheck, Subject, logits, loss_terms, train_step

OVERFIT_IOU = 0.9
OVERFIT_CROSS_ENTROPY = 0.1
GRADIENT_STEPS = 4
"""Several: a layer that starts at zero hides the ones before it until it has moved."""


def check_groups(subject: Subject) -> None:
    """every parameter has an optimiser"""
    subject.needs_training()
    subject.optimizers(subject.build())


def check_gradients(subject: Subject) -> None:
    """gradients reach every parameter"""
    subject.needs_training()
    method = subject.build()
    optimizers = subject.optimizers(method, constant=True)
    method.on_epoch(0)
    # An encoder that the first epochs freeze is asked for nothing here.
    asked = {name for name, p in method.named_parameters() if p.requires_grad}
    reached: set[str] = set()
    for step in range(GRADIENT_STEPS):
        train_step(subject, method, optimizers, subject.batch(seed=step), step)
        reached |= {n for n, p in method.named_parameters() if p.grad is not None and bool(p.grad.any())}
    dead = [re.compile(pattern) for pattern in subject.variant.method.dead_parameters]
    listed = {name for name in asked if any(pattern.fullmatch(name) for pattern in dead)}
    silent = sorted(asked - reached - listed)
    if silent:
        subject.fail(
            f"{len(silent)} parameters ask for a gradient and never get one: {_some(silent)}",
            f"use them in forward and loss, set requires_grad to False, or list them under dead_parameters in "
            f"{subject.variant.method.path} and say why",
        )
    alive = sorted(reached & listed)
    if alive:
        subject.fail(
            f"{len(alive)} parameters are listed as dead and get a gradient: {_some(alive)}",
            f"remove or narrow the pattern under dead_parameters in {subject.variant.method.path}",
        )


def check_frozen(subject: Subject) -> None:
    """frozen parts keep their bits in training

    Watched are parameters that ask for no gradient, and everything of an external encoder, statistics too. A frozen
    encoder that a method stores with its runs is not external: its statistics may move.
    """
    subject.needs_training()
    method, batch = subject.build(), subject.batch()
    outside = tuple(method.external_prefixes())
    frozen = {name for name, p in method.named_parameters() if not p.requires_grad}
    watched = {key for key in method.state_dict() if key in frozen or (outside and key.startswith(outside))}
    if not watched:
        raise SkipCheck("nothing is frozen")
    before = {key: value.clone() for key, value in method.state_dict().items() if key in watched}
    optimizers = subject.optimizers(method)
    for step in range(2):
        train_step(subject, method, optimizers, batch, step)
    after = method.state_dict()
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    if moved:
        statistic = moved[0].rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
        subject.fail(
            f"{len(moved)} frozen tensors changed in training, first {moved[0]}",
            "a BatchNorm of a frozen encoder ran in train mode: name the encoder in encoders(), or call the inherited "
            f"train() from your own in {subject.file}"
            if statistic
            else f"leave frozen parameters out of parameter_groups, and write into none, in {subject.file}",
        )


def check_ignored(subject: Subject) -> None:
    """the loss is finite when nothing is annotated"""
    subject.needs_training()
    method, batch = subject.build().train(), subject.batch()
    nothing = replace(batch, masks=torch.full_like(batch.masks, IGNORE), annotated=torch.zeros_like(batch.annotated))
    terms = loss_terms(subject, method, nothing, 0)
    bad = [name for name, term in terms.items() if not torch.isfinite(term)]
    if bad:
        subject.fail(
            f"with all pixels ignored the loss {bad[0]!r} is {terms[bad[0]].item()}",
            f"divide by max(count, 1) instead of count in loss of {subject.file}",
        )
    total = sum(terms.values())
    if not total.requires_grad:
        subject.fail(
            "with all pixels ignored the loss has no gradient, so a batch of such clips stops the training",
            f"return a sum over no pixels (0 that depends on the output), not a constant, in loss of {subject.file}",
        )
    total.backward()
    broken = [n for n, p in method.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    if broken:
        subject.fail(
            f"with all pixels ignored the gradient of {broken[0]} is not finite",
            f"guard divisions and logarithms by a small constant in loss of {subject.file}",
        )


def check_overfits(subject: Subject) -> None:
    """two clips can be learned by heart"""
    subject.needs_training()
    method, batch = subject.build(), shorten(subject.batch())
    optimizers = subject.optimizers(method, constant=True)
    method.on_epoch(0)
    binary, reached = subject.dataset.task == "binary", None
    for step in range(MOST_STEPS):
        train_step(subject, method, optimizers, batch, step)
        if step % 10 == 9:
            reached = _fit(method, batch, binary)
            if reached >= OVERFIT_IOU if binary else reached < OVERFIT_CROSS_ENTROPY:
                return
    measure = (
        f"IoU {reached:.3f}, wanted {OVERFIT_IOU}"
        if binary
        else (f"cross-entropy {reached:.3f}, wanted below {OVERFIT_CROSS_ENTROPY}")
    )
    subject.fail(
        f"{MOST_STEPS} steps on two clips do not teach them: {measure}",
        f"look whether loss and scores agree on shape and order, whether the sound reaches the output, and at the "
        f"learning rate of recipes.{subject.scale} in {subject.variant.method.path}",
    )


@torch.no_grad()
def _fit(method: Method, batch: Batch, binary: bool) -> float:
    """IoU over all annotated pixels, or their mean cross-entropy."""
    method.eval()
    scores = logits(method, batch)
    known = batch.masks != IGNORE
    if not binary:
        return float(functional.cross_entropy(scores.transpose(1, 2), batch.masks, ignore_index=IGNORE))
    predicted, truth = method.masks(scores) & known, (batch.masks == 1) & known
    return float((predicted & truth).sum() / (predicted | truth).sum().clamp_min(1))


def _some(names: list[str], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (f" … and {len(names) - limit} more" if len(names) > limit else "")
