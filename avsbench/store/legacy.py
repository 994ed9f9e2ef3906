"""Log-mel files of the AVSBench release (`audio_log_mel/*.pkl`), read without running what a pickle asks for.

A pickle can call any function of any module. These files need three; everything else is refused by name before it is
looked up.
"""

import collections
import io
import pickle
from pathlib import Path

import numpy as np

from avsbench.errors import AvsbenchError

SHAPE = (1, 96, 64)
"""Of one example: channel, steps of 10 ms, mel bands."""
_ZIP = b"PK\x03\x04"
_OLD_TORCH_SAVE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First pickle of the format that torch.save wrote before its zip format."""


def read_legacy_log_mel(path: str | Path) -> np.ndarray:
    """The log-mel examples of a legacy file, float32 [n,1,96,64].

    Takes a plain pickle of a torch tensor (as released, with requires_grad) and both formats of `torch.save`.

    Raises:
        AvsbenchError: no such file, a damaged one, one that asks for anything but a tensor (named), or another shape.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise AvsbenchError(f"{path}: no such file")
    data = path.read_bytes()
    try:
        if data.startswith((_ZIP, _OLD_TORCH_SAVE)):
            value = _load_tensors(data)
        else:
            value = _TensorUnpickler(io.BytesIO(data)).load()
    except _Forbidden as error:
        raise AvsbenchError(
            f"{path}: the pickle asks for {error.name}, which a log-mel file has no need of",
            found=error.name,
            expected="a torch tensor and nothing else",
            hint="do not open this file elsewhere: a pickle can run any program; take the released file",
        ) from None
    except Exception as error:  # a damaged pickle fails in many ways, none of which may pass for data
        raise AvsbenchError(
            f"{path}: the file cannot be read as a pickled tensor",
            found=f"{len(data)} bytes; {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            expected=f"a float tensor [n,{','.join(map(str, SHAPE))}]",
            hint="copy or unpack the file again",
        ) from None
    return _checked(path, value, torch)


def _checked(path: Path, value: object, torch) -> np.ndarray:
    described = f"{value.dtype} {list(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or tuple(value.shape[1:]) != SHAPE:
        raise AvsbenchError(
            f"{path}: not the log-mel of a clip",
            found=described,
            expected=f"a float tensor [n,{','.join(map(str, SHAPE))}]",
        )
    array = value.detach().to("cpu", torch.float32).numpy().copy()
    if not np.isfinite(array).all():
        raise AvsbenchError(f"{path}: the log-mel holds values that are not finite", found=described)
    return array


class _Forbidden(pickle.UnpicklingError):
    def __init__(self, name: str):
        self.name = name
        super().__init__(name)


class _TensorUnpickler(pickle.Unpickler):
    """Knows what a pickled tensor is made of, and nothing else."""

    def find_class(self, module: str, name: str):
        import torch

        allowed = {
            ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
            ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
            ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
            # torch's own function unpickles the bytes without restraint.
            ("torch.storage", "_load_from_bytes"): _load_tensors,
            ("collections", "OrderedDict"): collections.OrderedDict,
        }
        if (module, name) not in allowed:
            raise _Forbidden(f"{module}.{name}")
        return allowed[module, name]


def _load_tensors(data: bytes):
    """`torch.load` of bytes, weights only."""
    import torch

    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _Forbidden(_global_in(str(error))) from None


def _global_in(message: str) -> str:
    """The name that torch's message about a refused pickle mentions, else the message's first line."""
    import re

    match = re.search(r"GLOBAL ([\w.]+)", message)
    return match[1] if match else message.splitlines()[0]
