"""Dropout (Srivastava et al., JMLR 2014) whose random numbers cost less on a processor.

torch draws a number of 32 bits an element there and keeps a mask of 32. Here four elements share a draw of 64 bits, and
the mask is of bytes. The share that is dropped is a multiple of 2^-16; what is kept is scaled by exactly its inverse.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

LANES = 4
"""Numbers of 16 bits in a draw of 64."""


class Dropout(nn.Dropout):
    """`nn.Dropout`; on a GPU, and where it is compiled, the very same."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p if self.training else 0.0, self.inplace)


def dropout(x: Tensor, share: float, inplace: bool = False) -> Tensor:
    """Set `share` (below 1) of the elements to 0 and scale the others, so that the mean stays."""
    if share == 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return functional.dropout(x, share, training=True, inplace=inplace)
    return _Dropout.apply(x, round(share * 2**16), inplace)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, steps: int, inplace: bool) -> Tensor:
        draws = torch.empty(-(-x.numel() // LANES), dtype=torch.int64).random_(-(2**63), None)
        lanes = draws.view(torch.int16)[: x.numel()].view(x.shape)  # uniform over all 2^16 values
        dropped = lanes < steps - 2**15
        ctx.save_for_backward(dropped)
        ctx.scale = 1 / (1 - steps / 2**16)
        if inplace:
            ctx.mark_dirty(x)
            return x.masked_fill_(dropped, 0).mul_(ctx.scale)
        return x.masked_fill(dropped, 0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (dropped,) = ctx.saved_tensors
        return gradient.masked_fill(dropped, 0).mul_(ctx.scale), None, None
