"""Promise of a network that trains on several devices: its loss may be taken in parts."""

import torch
from torch import nn

from avsbench.contract import Batch, Method
from avsbench.contract_checks.batches import double, shorten, take
from avsbench.contract_checks.subject import SkipCheck, Subject, loss_terms
from avsbench.engine.seeds import seed_everything
from avsbench.nn.attention import Attention

TOLERANCE = 1e-3


def check_divides(subject: Subject) -> None:
    """loss terms are means over the batch, or said to be sums"""
    subject.needs_training()
    if not subject.recipe.get("accumulate", True):
        raise SkipCheck("the recipe says accumulate: false: the loss depends on what else is in the batch")
    method, whole = subject.build(), shorten(subject.batch())
    one = take(whole, 0, whole.frames.shape[1])
    once, again = (_terms(subject, method, one, seed) for seed in (0, 1))
    twice = _terms(subject, method, double(one), 0)
    if once != again:
        raise SkipCheck("the loss is random even with all layers in eval mode")
    unknown = sorted(method.summed_terms - set(once))
    if unknown:
        subject.fail(
            f"summed_terms names {', '.join(unknown)}, which the loss does not return",
            f"its terms are {', '.join(once)}; correct summed_terms in {subject.file}",
        )
    for name, value in once.items():
        expected = 2 * value if name in method.summed_terms else value
        if abs(twice[name] - expected) > TOLERANCE * max(abs(expected), 1e-6):
            subject.fail(
                f"the loss {name!r} is {value:.5g} for a clip and {twice[name]:.5g} for the same clip twice: parts of "
                "a batch, on several devices or accumulated, would not add up",
                f"take means over the batch, name sums over it in summed_terms ({subject.file}), or, where the loss "
                f"depends on what else is in the batch, set accumulate: false in {subject.variant.method.path}",
            )


@torch.no_grad()
def _terms(subject: Subject, method: Method, batch: Batch, seed: int) -> dict[str, float]:
    """The loss as in training, but for layers that look at the whole batch or draw random numbers."""
    method.train()
    for module in method.modules():
        # Attention layers hold projections and drop some of their weights themselves.
        if not any(True for _ in module.children()) or isinstance(module, (nn.MultiheadAttention, Attention)):
            module.eval()
    seed_everything("divides", seed)
    return {name: float(term) for name, term in loss_terms(subject, method, batch, 0).items()}
