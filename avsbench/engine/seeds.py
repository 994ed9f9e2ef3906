"""Random numbers: one seed for every generator, and their states for the resume file.

States hold tensors, numbers and tuples alone, so that they load without unpickling.
"""

import random

import numpy as np
import torch


def mix(*parts: object) -> int:
    """One seed below 2^32 out of several parts; neighbouring parts give unrelated seeds."""
    import hashlib

    text = "|".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def seed_everything(*parts: object) -> int:
    """Seed random, numpy and torch (all devices) from the mixed parts; returns the seed."""
    seed = mix(*parts)
    random.seed(seed)
    np.random.seed(seed)  # methods and libraries may use the global generator
    torch.manual_seed(seed)
    return seed


def rng_state() -> dict:
    """The states of this process's generators, on the current device alone, loadable with `weights_only=True`."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_rng_state(state: dict) -> None:
    """Take back what `rng_state` gave."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
