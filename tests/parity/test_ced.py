"""CED-mini against outputs of the authors' code, which both sides fill with weights drawn from key names."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench.nn import ced

from .fill import array, fill

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("AVSBENCH_PARITY", HERE))
FOLDERS = sorted({p.parent for p in ROOT.glob("ced_mini/fixture.json")}) or [HERE / "ced_mini"]


def state(folder):
    """The reference's state dict; its front end has no weights."""
    keys = folder / "keys.json" if (folder / "keys.json").is_file() else HERE / "ced_mini" / "keys.json"
    return {
        key: torch.from_numpy(np.asarray(fill(key, tuple(shape)))) if kind == "float32" else torch.zeros(shape).long()
        for key, shape, kind in json.loads(keys.read_text())
    }


@pytest.mark.parametrize("folder", [pytest.param(folder, id="ced_mini") for folder in FOLDERS])
@torch.no_grad()
def test_network_and_front_end(folder):
    about = json.loads((folder / "fixture.json").read_text())["outputs"]
    model = ced.Tagger(ced.CED()).eval()
    model.load_pretrained(state(folder))
    sound = 2 * torch.from_numpy(array("spectrogram", (2, 64, 96))) - 2
    long = 2 * torch.from_numpy(array("long_spectrogram", (1, 64, 1500))) - 2
    decibels = ced.decibel_mel(0.1 * torch.from_numpy(array("wave", (1, 16000))))
    found = {
        "tokens": model.encoder(sound),
        "probabilities": model(sound),
        "long_probabilities": model(long),
        "mel_db": decibels,
        "wave_probabilities": model(decibels),
        "mel_filterbank_column_sums": ced.mel_filters().sum(dim=0),
    }
    with np.load(folder / "expected.npz") as expected:
        assert set(expected) == set(found)
        for name, wanted in expected.items():
            np.testing.assert_allclose(found[name], wanted, rtol=0, atol=about[name]["atol"] / 10, err_msg=name)


def test_epsilons():
    """The vectors do not tell them apart."""
    model = ced.Tagger(ced.CED())
    norms = {name: m.eps for name, m in model.named_modules() if isinstance(m, torch.nn.LayerNorm)}
    assert {eps for name, eps in norms.items() if name.startswith("encoder")} == {1e-6}
    assert norms["classifier.0"] == 1e-5
    assert (model.encoder.input_norm.eps, model.encoder.input_norm.momentum) == (1e-5, 0.01)
