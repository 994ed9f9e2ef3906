"""Checkpoint files as authors publish them; none of them can run code."""

import argparse
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

from avsbench.errors import AvsbenchError
from avsbench.nn.containers import read_container

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.steps": torch.tensor(7)}
PREFIXED = {f"module.{key}": value for key, value in STATE.items()}
NAMESPACE = argparse.Namespace(lr=0.1, nested=argparse.Namespace(x=[1, 2]))


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        PREFIXED,
        {"model": STATE, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3},
        {"state_dict": PREFIXED, "args": NAMESPACE},
        {"net": STATE, "best": np.float64(0.5)},
        {"epoch": 1, "model": {"state_dict": PREFIXED}},
        {**STATE, "a.total_ops": torch.zeros(1), "total_params": torch.zeros(1)},
        {"model": {key: torch.nn.Parameter(value, requires_grad=False) for key, value in STATE.items()}},
    ],
    ids=["plain", "ordered", "prefix", "optimizer", "namespace", "net", "nested", "leftovers", "parameters"],
)
@pytest.mark.parametrize("new_format", [True, False])
def test_torch_archives(tmp_path, content, new_format):
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=new_format)
    check(read_container(tmp_path / "x.pth"))


def check(found):
    assert set(found) == set(STATE)
    assert all(torch.equal(found[key], value) for key, value in STATE.items())


@pytest.mark.parametrize("protocol", [2, 4])
def test_detectron_pickles(tmp_path, protocol):
    arrays = {key: value.numpy() for key, value in STATE.items()}
    content = {"model": arrays, "__author__": "somebody", "settings": NAMESPACE}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    check(read_container(tmp_path / "x.pkl"))


def test_safetensors(tmp_path):
    from safetensors.torch import save_file

    save_file(STATE, tmp_path / "x.safetensors")
    check(read_container(tmp_path / "x.safetensors"))


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("form", ["archive", "pickle"])
def test_nothing_runs(tmp_path, form):
    content = {"model": STATE, "payload": Payload(str(tmp_path / "ran"))}
    if form == "archive":
        torch.save(content, tmp_path / "x.pth")
    else:
        arrays = {key: value.numpy() for key, value in STATE.items()}
        (tmp_path / "x.pth").write_bytes(pickle.dumps({**content, "model": arrays}))
    check(read_container(tmp_path / "x.pth"))
    assert not (tmp_path / "ran").exists()


def test_a_truncated_file_is_named(tmp_path):
    torch.save(STATE, tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes((tmp_path / "x.pth").read_bytes()[:300])
    with pytest.raises(AvsbenchError, match=r"x\.pth: cannot be read as a checkpoint"):
        read_container(tmp_path / "x.pth")


def test_a_file_without_weights_lists_its_keys(tmp_path):
    torch.save({"optimizer": {"lr": 1}, "epoch": 3}, tmp_path / "x.pth")
    with pytest.raises(AvsbenchError, match=r"no state dict in it[\s\S]*epoch"):
        read_container(tmp_path / "x.pth")
