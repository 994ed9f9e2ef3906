"""Exact arithmetic where a training's TF32 policy would round."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def tf32_as_it_was() -> Iterator[None]:
    """Put the process's TF32 policy back afterwards."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


@contextlib.contextmanager
def float32() -> Iterator[None]:
    """Matrix products and convolutions without TF32, which some GPUs have; the process's policy returns afterwards."""
    with tf32_as_it_was():
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        yield
