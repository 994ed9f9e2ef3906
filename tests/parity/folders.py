"""Fixtures of whole networks: weights, inputs, and slices of what the authors' code gives."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from .fill import array, fill

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE))


def fixtures(method, *names):
    """The folders of a method under $AVSBENCH_PARITY, or else here."""
    found = {path.parent for path in ROOT.glob(f"{method}/*/fixture.json")} or {
        path.parent for path in HERE.glob(f"{method}/*/fixture.json")
    }
    return [pytest.param(f, id=f"{method}/{f.name}") for f in sorted(found) if f.name in names]


class Fixture:
    """What a folder holds; files missing there come from this one's."""

    def __init__(self, folder):
        self.folder = folder
        self.about = json.loads(self.file("fixture.json").read_text())
        with np.load(self.file("expected.npz")) as arrays:
            self.expected = dict(arrays)

    def file(self, name):
        path = self.folder / name
        return path if path.is_file() else HERE / self.folder.parent.name / self.folder.name / name

    def state(self):
        """The reference's state dict, filled."""
        salt, state = self.about["weights"]["salt"], {}
        for key, shape, kind in json.loads(self.file("keys.json").read_text()):
            filled = kind.startswith("float")
            state[key] = torch.from_numpy(np.asarray(fill(key, tuple(shape), salt))) if filled else torch.zeros(shape)
        return state

    def numbers(self, name, shape):
        return torch.from_numpy(np.asarray(array(name, tuple(shape), self.about.get("input_salt", 0))))

    def faults(self, seen):
        """Outputs outside the tolerances, with how far they are."""
        faults = {}
        assert set(self.expected) <= set(seen)
        for name, wanted in self.expected.items():
            about = self.about["outputs"][name]
            assert list(seen[name].shape) == about["full_shape"], name
            gap = (seen[name][places(about["slice"])] - torch.from_numpy(wanted)).abs()
            far = (gap - about.get("rtol", 0) * torch.from_numpy(wanted).abs()).max() > about["atol"]
            if far or gap.mean() > about.get("mean_abs_tolerance", np.inf):
                faults[name] = float(gap.max()), float(gap.mean())
        return faults


def places(text):
    """`[:, ::4]` as what indexes a tensor."""
    parts = text.strip("[]").split(",")
    return tuple(slice(*(int(n) if n.strip() else None for n in part.split(":"))) for part in parts)
