"""How much a network computes: its floating-point operations, as torch counts them."""

import logging

import torch
from torch.utils.flop_counter import FlopCounterMode

from avsbench.contract import Batch, Method

log = logging.getLogger(__name__)


@torch.inference_mode()
def gflops_per_frame(method: Method, clip: Batch, size: tuple[int, int]) -> float | None:
    """10^9 floating-point operations per real frame from the batch to scores of this size; None if torch cannot count.

    A multiply-add is two. Counted are convolutions, products of matrices and attention; not counted is what does
    neither: sums, norms, softmax, interpolation, and the sampling of deformable attention. What was derived before
    (front ends, features) is not in it, nor what the network computed once and keeps.

    Args:
        method: in eval mode, on the device of the clip.
        clip: one clip without padding.
    """
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    method.requires_grad_(False)  # the counter hooks what needs gradients, and fails where there are none
    try:
        with FlopCounterMode(display=False) as counter:
            method.scores(method(clip), size)
    except (RuntimeError, AssertionError) as error:  # the latter for forms of attention that it does not know
        log.warning("operations of the network were not counted: %s", error)
        return None
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
    return counter.get_total_flops() / int(clip.real.sum()) / 1e9
