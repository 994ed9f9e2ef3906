"""From the scores of a network to the probability of the object."""

import torch
from torch import Tensor

from avsbench.errors import AvsbenchError


def foreground_probability(scores: Tensor) -> Tensor:
    """Probability of the object from logits [..., K, h, w] of a binary task, as a float32 tensor [..., h, w].

    The sigmoid (K = 1) or channel 1 of the softmax (K = 2), in float32 also under autocast and from half precision;
    logits in float64 (an ensemble's) are rounded afterwards.
    """
    with torch.autocast(device_type=scores.device.type, enabled=False):
        scores = scores if scores.dtype == torch.float64 else scores.float()
        if scores.shape[-3] == 1:
            return scores[..., 0, :, :].sigmoid().float()
        if scores.shape[-3] == 2:
            return scores.softmax(dim=-3)[..., 1, :, :].float()
    raise AvsbenchError("a binary task needs 1 or 2 score channels", found=tuple(scores.shape), expected="[B,T,K,h,w]")
