"""Sine codes of positions (Vaswani et al., NeurIPS 2017; on two axes as in DETR, Carion et al., ECCV 2020)."""

import math

import torch
from torch import Tensor


def sine_code(positions: Tensor, features: int = 128, temperature: float = 10000.0) -> Tensor:
    """Code of single coordinates: [...] -> [..., features].

    Feature 2k is sin(p / t^(2k / features)), feature 2k + 1 the cosine of the same angle.
    """
    powers = torch.arange(0, features, 2, device=positions.device) / features
    angles = positions[..., None] / temperature**powers
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def sine_positions(
    size: tuple[int, int],
    features: int = 128,
    *,
    temperature: float = 10000.0,
    normalized: bool = False,
    device: torch.device | None = None,
) -> Tensor:
    """Code of every pixel of a map of (height, width): [2 features,h,w], the code of y before that of x.

    Args:
        features: per axis.
        normalized: pixels count 1 … n along each axis; True scales them to (0, 2 pi], so that the last is at 2 pi.
    """
    codes = []
    for length in size:
        places = torch.arange(1, length + 1, dtype=torch.float32, device=device)
        if normalized:
            places = places / (length + 1e-6) * (2 * math.pi)
        codes.append(sine_code(places, features, temperature).T)
    y, x = codes
    return torch.cat([y[:, :, None].expand(-1, *size), x[:, None, :].expand(-1, *size)])
