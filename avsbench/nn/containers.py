"""Checkpoint files as authors publish them -> a plain state dict. Nothing in them can run code.

Handled: safetensors; torch archives (new and old format) that hold a state dict, or one under `model`, `state_dict`,
`net` … beside an optimiser and settings; plain pickles of numpy arrays (detectron2); a `module.` prefix that
DataParallel left; `total_ops` and `total_params`, which a profiler left.
"""

import io
import logging
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avsbench.errors import AvsbenchError

log = logging.getLogger(__name__)

WRAPPERS = ("model", "state_dict", "net", "model_state_dict", "network", "params", "module")
"""Keys under which training scripts keep the state dict, in the order they are tried."""

LEFTOVERS = ("total_ops", "total_params")

_ALLOWED = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch.serialization", "_get_layout"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
}


def read_container(path: str | Path) -> dict[str, Tensor]:
    """The state dict in an authors' checkpoint, keys as they are there without wrapper, prefix and leftovers.

    Raises:
        AvsbenchError: the file is no checkpoint, or holds no dictionary of tensors.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    content = _read(path)
    return _clean(_unwrap(content, path))


def _read(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the protocol of pickles that are tried here in vain
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        first = error
    # Settings objects beside the weights (argparse, yacs) and numpy arrays end here: read them as inert placeholders.
    log.info("%s: read with the restricted loader", path)
    try:
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as file:
                content = _Restricted(file).load()
            if not isinstance(content, int):  # torch's old format begins with a pickled number
                return content
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_RestrictedPickle)
    except Exception as error:
        raise AvsbenchError(
            f"{path}: cannot be read as a checkpoint",
            found=f"{type(error).__name__}: {error} (before: {type(first).__name__}: {str(first).splitlines()[0]})",
            expected="a torch archive, a safetensors file or a pickle of numpy arrays",
            hint="the download may be incomplete: compare its size with the source and fetch it again",
        ) from None


class _Inert:
    """Stands for every object that is no tensor: takes any construction, state and items, and forgets them."""

    def __init__(self, *args, **kwargs):
        self.forgotten = True

    def _forget(self, *args):
        return None

    __setstate__ = __setitem__ = append = extend = _forget


class _Restricted(pickle.Unpickler):
    """An unpickler that builds tensors, arrays and containers, and `_Inert` for anything else."""

    def find_class(self, module, name):
        if (module, name) in _ALLOWED or (module == "torch" and name.isidentifier() and name.endswith("Storage")):
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        return _Inert


class _RestrictedPickle:
    """What `torch.load` wants of a pickle module."""

    Unpickler = _Restricted
    UnpicklingError = pickle.UnpicklingError

    @staticmethod
    def load(file, **options):
        return _Restricted(file, **options).load()

    @staticmethod
    def loads(data, **options):
        return _Restricted(io.BytesIO(data), **options).load()


def _unwrap(content: object, path: Path) -> dict[str, Tensor]:
    """The first dictionary of tensors, at the top or under one of `WRAPPERS`."""
    seen = []
    for _ in range(3):  # a wrapper inside a wrapper occurs, a third level does not
        if not isinstance(content, dict):
            break
        state = {key: _tensor(value) for key, value in content.items() if isinstance(value, (Tensor, np.ndarray))}
        plain = {key: value for key, value in content.items() if isinstance(value, dict)}
        if state and not any(key in plain for key in WRAPPERS):
            return {str(key): value for key, value in state.items()}
        seen.append(sorted(map(str, content))[:8])
        content = next((plain[key] for key in WRAPPERS if key in plain), None)
    raise AvsbenchError(
        f"{path}: no state dict in it",
        found=f"top-level keys {seen[0]}" if seen else f"a {type(content).__name__}",
        expected=f"tensors by name, at the top or under one of {', '.join(WRAPPERS)}",
    )


def _tensor(value: Tensor | np.ndarray) -> Tensor:
    return value.detach() if isinstance(value, Tensor) else torch.from_numpy(value.copy(order="C"))


def _clean(state: dict[str, Tensor]) -> dict[str, Tensor]:
    while state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return {key: value for key, value in state.items() if key.rpartition(".")[2] not in LEFTOVERS}
