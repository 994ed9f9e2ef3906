"""Videos cut into clips of a fixed number of frames, for networks whose frames see each other in such clips alone."""

import torch
from torch import Tensor


def pad_frames(x: Tensor, multiple: int) -> Tensor:
    """[B,T,...] -> [B,T',...] with T' the next multiple; zeros (False) at the end."""
    missing = -x.shape[1] % multiple
    return torch.cat([x, x.new_zeros(x.shape[0], missing, *x.shape[2:])], dim=1) if missing else x


def split_clips(x: Tensor, frames: int) -> Tensor:
    """[B,T,...] -> [N,frames,...], T padded to a multiple."""
    return pad_frames(x, frames).reshape(-1, frames, *x.shape[2:])
