"""Weights and inputs of the fixtures around AudioCLIP: the plain rule of `fill`, with a few tensors made sane."""

import json
import re

import numpy as np
import torch

from avsbench.nn.fbsp import blackman_harris

from . import folders
from .fill import array, fill

OVERRIDES = {
    "*audio.fbsp.m": lambda z: abs(z),
    "*audio.fbsp.fb": lambda z: 1 + z,
    "*audio.fbsp.fc": lambda z: np.arange(len(z), dtype=np.float32) + z,
    "*audio.window": lambda z: blackman_harris(len(z)).numpy(),
    "*audio.conv1.weight": lambda z: np.float32(0.01) * z,
    "*audio.layer*, ndim 4": lambda z: np.float32(1.4) * z,
    "*visual.*, ndim 4": lambda z: np.float32(1.2) * z,
    "*visual.attnpool.{q,k,v}_proj.weight": lambda z: np.float32(0.5) * z,
}
PATTERNS = {
    name: re.compile(re.escape(name.partition(", ")[0]).replace(r"\*", ".*").replace(r"\{q,k,v\}", "[qkv]"))
    for name in OVERRIDES
}


def value_of(key, shape, salt=0):
    """A float tensor of the reference, float32."""
    value = np.asarray(fill(key, tuple(shape), salt))
    for name, pattern in PATTERNS.items():
        if pattern.fullmatch(key) and (value.ndim == 4 or "ndim" not in name):
            value = OVERRIDES[name](value)
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def filled(keys, salt=0):
    """The state dict of a list of [key, shape, type]."""
    return {
        key: value_of(key, shape, salt) if kind.startswith("float") else torch.zeros(shape, dtype=getattr(torch, kind))
        for key, shape, kind in keys
    }


def blocks(shape, salt=0):
    """Images [...,14,14] of 16 x 16 blocks, [...,224,224]."""
    return torch.from_numpy(array("images", tuple(shape), salt).repeat(16, -2).repeat(16, -1))


def wave(name, shape):
    """Tones in noise under an envelope, in -1..1."""
    sounds, channels, length = shape
    envelope = np.abs(array(f"{name}/envelope", (sounds, channels, -(-length // 2205))))
    envelope = envelope.repeat(2205, -1)[..., :length]
    turns = 440 * np.arange(1, sounds + 1)[:, None, None] * np.arange(length) / 44100
    tone = np.sin(2 * np.pi * turns).astype(np.float32)
    return torch.from_numpy(np.clip(envelope * (np.float32(0.1) * array(name, shape) + np.float32(0.3) * tone), -1, 1))


class Fixture(folders.Fixture):
    """A folder whose `keys.json` names tensors of AudioCLIP-Full-Training.pt."""

    def state(self):
        weights = self.about["weights"]
        assert set(weights["overrides"]) == {*OVERRIDES, "note"}
        return filled(json.loads(self.file("keys.json").read_text()), weights["salt"])

    @property
    def images(self):
        return blocks(self.about["inputs"]["images"]["shape"])

    def check(self, name, found, steps=()):
        """Compare every so-manieth entry of `found` with an expected array; returns the largest gap."""
        found = found.detach()[tuple(slice(None, None, step) for step in steps)].numpy()
        tolerance = self.about["tolerance"]
        end = f"*_{name.rpartition('_')[2]}"
        own = {key: v for key, v in tolerance.items() if key in ("rtol", "atol")} | tolerance.get(end, {})
        wanted = self.expected[name]
        assert found.shape == wanted.shape, name
        gap = np.abs(found - wanted)
        within = gap <= own["atol"] + own["rtol"] * np.abs(wanted)
        assert within.mean() >= own.get("share", 1), f"{name}: {within.mean():.4f} within {own}, gap {gap.max()}"
        return gap.max()
