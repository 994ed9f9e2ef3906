"""Legacy log-mel pickles: tensors come through, anything else is refused before it runs."""

import collections
import io
import os
import pickle

import numpy as np
import pytest
import torch

from avsbench.errors import AvsbenchError
from avsbench.store.legacy import read_legacy_log_mel

MEL = torch.randn(5, 1, 96, 64, generator=torch.Generator().manual_seed(0))


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def file_of(tmp_path, data):
    path = tmp_path / "clip.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pickle.dumps(MEL.clone().requires_grad_()), id="as released"),
        pytest.param(pickle.dumps(MEL, protocol=3), id="protocol 3"),
        pytest.param(pickle.dumps(torch.nn.Parameter(MEL.clone())), id="parameter"),
        pytest.param(pickle.dumps(MEL.double()), id="float64"),
        pytest.param(saved(MEL.clone().requires_grad_()), id="torch.save"),
        pytest.param(saved(MEL, _use_new_zipfile_serialization=False), id="old torch.save"),
    ],
)
def test_a_tensor_comes_through(tmp_path, data):
    found = read_legacy_log_mel(file_of(tmp_path, data))
    assert found.dtype == np.float32
    assert np.array_equal(found, MEL.numpy())


def test_a_view_keeps_its_strides(tmp_path):
    whole = torch.randn(7, 1, 64, 96)
    found = read_legacy_log_mel(file_of(tmp_path, pickle.dumps(whole.transpose(2, 3)[2:])))
    assert np.array_equal(found, whole.transpose(2, 3)[2:].numpy())


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def in_storage(data):
    """A pickle that hides `data` where the numbers of a tensor belong."""
    return pickle.dumps(Call(torch.storage._load_from_bytes, data))


ATTACKS = {
    "a call": lambda evil: pickle.dumps(evil),
    "a call, protocol 0": lambda evil: pickle.dumps(evil, protocol=0),
    "beside a tensor": lambda evil: pickle.dumps([MEL, evil]),
    "inside the storage": lambda evil: in_storage(pickle.dumps(evil, protocol=2)),
    "inside the storage, zipped": lambda evil: in_storage(saved(evil)),
    "torch.save": lambda evil: saved(evil),
    "old torch.save": lambda evil: saved(evil, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_call_is_made(tmp_path, attack):
    path = file_of(tmp_path, ATTACKS[attack](Call(os.mkdir, str(tmp_path / "owned"))))
    with pytest.raises(AvsbenchError, match=r"clip\.pkl: the pickle asks for .*mkdir"):
        read_legacy_log_mel(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"\x80\x04\x8c\x0ctorch._utils\x8c\x0fos.path.abspath\x93.", "torch._utils.os.path.abspath"),
        (pickle.dumps(np.zeros(3)), "numpy"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path, data, name):
    path = file_of(tmp_path, data)
    with pytest.raises(AvsbenchError, match=r"clip\.pkl: the pickle asks for") as caught:
        read_legacy_log_mel(path)
    assert name in str(caught.value.found)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "cannot be read as a pickled tensor"),
        (b"text", "cannot be read as a pickled tensor"),
        (pickle.dumps(MEL)[:-100], "cannot be read as a pickled tensor"),
        (saved(MEL)[:5000], "cannot be read as a pickled tensor"),
        (pickle.dumps(collections.OrderedDict(a=1)), "not the log-mel of a clip"),
        (pickle.dumps(MEL[:, 0]), "not the log-mel of a clip"),
        (pickle.dumps(MEL.long()), "not the log-mel of a clip"),
        (pickle.dumps(torch.full_like(MEL, float("nan"))), "not finite"),
    ],
)
def test_damaged_or_foreign_content(tmp_path, data, text):
    with pytest.raises(AvsbenchError, match=text):
        read_legacy_log_mel(file_of(tmp_path, data))


def test_a_missing_file(tmp_path):
    with pytest.raises(AvsbenchError, match="no such file"):
        read_legacy_log_mel(tmp_path / "none.pkl")
