"""Promises of a network that predicts: form, padding, batches, repetition, weights."""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from avsbench import registry
from avsbench.contract import Batch, Method
from avsbench.contract_checks.batches import take, without_masks
from avsbench.contract_checks.subject import SkipCheck, Subject, logits, train_step
from avsbench.engine.checkpoint import save_weights
from avsbench.engine.seeds import seed_everything

SAME = 1e-4
"""Largest difference of logits that rounding explains, relative to the largest logit."""


def check_scores(subject: Subject) -> None:
    """scores: float32 logits [B,T,K,h,w]"""
    method, batch = subject.build().eval(), without_masks(subject.batch())
    before = {"frames": batch.frames.clone(), **{name: value.clone() for name, value in batch.audio.items()}}
    with torch.no_grad():
        output = method(batch)
        if not isinstance(output, dict):
            subject.fail(f"forward returns a {type(output).__name__}", f"return a dict of tensors in {subject.file}")
        for size in (batch.frames.shape[-2:], (40, 48)):
            _check_score_map(subject, method, method.scores(output, tuple(size)), batch, tuple(size))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = method.scores(output, (40, 48))
    if half.dtype != torch.float32:
        subject.fail(
            f"under autocast scores returns {half.dtype}",
            f"call .float() before interpolating in scores of {subject.file}",
        )
    for name, value in before.items():
        now = batch.frames if name == "frames" else batch.audio[name]
        if not torch.equal(value, now):
            subject.fail(
                f"forward changed its input {name}", f"avoid in-place operations on the batch in {subject.file}"
            )


def _check_score_map(subject: Subject, method: Method, scores: Tensor, batch: Batch, size: tuple[int, int]) -> None:
    expected = [*batch.real.shape, method.channels, *size]
    if not isinstance(scores, Tensor) or list(scores.shape) != expected:
        found = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        subject.fail(
            f"scores(output, size={size}) has shape {found} instead of [B,T,K,h,w] = {expected}",
            f"reshape and interpolate in scores of {subject.file}; size is (h, w)",
        )
    if scores.dtype != torch.float32:
        subject.fail(f"scores are {scores.dtype} instead of float32", f"call .float() in scores of {subject.file}")
    if not torch.isfinite(scores).all():
        subject.fail("scores hold NaN or infinity", f"look for log(0), 0/0 or an empty softmax in {subject.file}")
    masks = method.masks(scores)
    kind = torch.int64 if method.channels > 2 else torch.bool
    shape = [*batch.real.shape, *size]
    if masks.dtype != kind or list(masks.shape) != shape:
        subject.fail(
            f"masks(scores) is {masks.dtype} {list(masks.shape)} instead of {kind} {shape}",
            f"return bool masks (class ids for a semantic task) from masks in {subject.file}, or leave the method out",
        )


def check_padding(subject: Subject) -> None:
    """padded frames change nothing"""
    method, batch = subject.build().eval(), without_masks(subject.batch())
    if batch.real.all():
        raise SkipCheck("all clips of this data set have one length")
    noise = torch.randint(0, 256, batch.frames.shape, dtype=torch.uint8)
    noisy = replace(batch, frames=torch.where(batch.real[:, :, None, None, None], batch.frames, noise))
    first, second = logits(method, batch), logits(method, noisy)
    gap = _gap(first[batch.real], second[batch.real])
    if gap > SAME:
        subject.fail(
            f"the pixels of padded frames change the scores of real frames (by {gap:.2g} of the largest logit)",
            f"zero padded frames after normalisation (avsbench.contract.normalize_frames does) in {subject.file}",
        )


def check_batch_independent(subject: Subject) -> None:
    """a clip scores the same alone and in a batch"""
    if not subject.variant.method.batch_independent:
        raise SkipCheck("the card does not claim batch_independent: predict runs one clip at a time")
    method, batch = subject.build().eval(), without_masks(subject.batch())
    together = logits(method, batch)
    for clip in range(len(batch)):
        length = int(batch.real[clip].sum())
        alone = logits(method, take(batch, clip, length))
        gap = _gap(together[clip, :length], alone[0])
        if gap > SAME:
            subject.fail(
                f"clip {clip} scores differently in a batch of two than alone (by {gap:.2g} of the largest logit)",
                f"remove what mixes clips or depends on padding in {subject.file}, or set batch_independent: false "
                f"in {subject.variant.method.path}",
            )


def _gap(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max() / first.abs().max().clamp_min(1e-6))


def check_determinism(subject: Subject) -> None:
    """same input and seed, same result"""
    method, batch = subject.build().eval(), subject.batch()
    if not torch.equal(logits(method, without_masks(batch)), logits(method, without_masks(batch))):
        subject.fail(
            "two forward passes in eval mode give different scores",
            f"switch dropout and sampling off when self.training is False in {subject.file}",
        )
    if not subject.variant.method.trainable:
        return
    first, second = (_train_briefly(subject, steps=2) for _ in range(2))
    different = [key for key, value in first.items() if not torch.equal(value, second[key])]
    if different:
        subject.fail(
            f"two trainings from one seed differ after two steps, first in {different[0]}",
            f"draw random numbers from torch's, numpy's or Python's global generators in {subject.file}; "
            "not from a generator of your own, the clock or the order of a set",
        )


def _train_briefly(subject: Subject, steps: int) -> dict[str, Tensor]:
    method, batch = subject.build(), subject.batch()
    optimizers = subject.optimizers(method)
    seed_everything("steps")
    method.on_epoch(0)
    for step in range(steps):
        train_step(subject, method, optimizers, batch, step)
    return {key: value.clone() for key, value in method.own_state().items()}


def check_round_trip(subject: Subject) -> None:
    """weights survive saving and loading"""
    method, batch = subject.build(seed=1), subject.batch()
    keys = set(method.own_state())  # before on_epoch, which may freeze an encoder for a while
    if subject.variant.method.trainable:
        method.on_epoch(0)
        train_step(subject, method, subject.optimizers(method), batch, 0)
    method.eval()
    other = subject.build(seed=2).eval()
    outside = tuple(method.external_prefixes())
    if outside:
        external = {key: value for key, value in method.state_dict().items() if key.startswith(outside)}
        other.load_state_dict(external, strict=False)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        save_weights(file, {key: value for key, value in method.state_dict().items() if key in keys}, {})
        registry.load_own(other, registry.read_weights(file)[0], file)
        if not torch.equal(logits(method, without_masks(batch)), logits(other, without_masks(batch))):
            subject.fail(
                "a network that loaded the saved weights scores differently",
                f"keep everything that scores depend on in parameters or buffers (register_buffer) in {subject.file}",
            )
        state = Path(folder) / "extra.pt"
        torch.save(method.extra_state(), state)
        try:
            other.load_extra_state(torch.load(state, weights_only=True))
        except Exception as error:
            subject.fail(
                f"extra_state cannot be stored: {type(error).__name__}: {str(error).splitlines()[0]}",
                f"return tensors, numbers, strings, lists and dicts alone from extra_state in {subject.file}",
            )
