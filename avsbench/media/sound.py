"""Sound as its file stores it: samples, rate and subtype, neither mixed nor resampled."""

import functools
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avsbench.errors import AvsbenchError

_DTYPES = {"PCM_24": "int32", "PCM_32": "int32", "FLOAT": "float32", "DOUBLE": "float32"}
"""Subtype -> array type; every other subtype (16 bits and less, companded) fits int16."""


@dataclass
class Sound:
    """One source of sound.

    Attributes:
        samples: [N,channels], int16, int32 or float32 as the file stores them.
        rate: samples a second.
        subtype: libsndfile's name of the storage format, e.g. PCM_16.
        category: class of the source where the data set says it, else "".
        position: 0 = left … 1 = right of the picture; 0.5 where the data set says nothing.
    """

    samples: np.ndarray
    rate: int
    subtype: str = "PCM_16"
    category: str = ""
    position: float = 0.5

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @property
    def silent(self) -> bool:
        """True when every sample is exactly zero."""
        return not self.samples.any()


def read_wav(path: str | Path, *, category: str = "", position: float = 0.5) -> Sound:
    """A wav file (or another format libsndfile knows) in its stored subtype.

    Raises AvsbenchError for a missing, empty, foreign or truncated file, and for one without samples.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise AvsbenchError(f"{path}: no such sound file", hint="unpack the release again")
    if path.stat().st_size == 0:
        raise AvsbenchError(f"{path}: the sound file is empty", found="0 bytes", expected="a wav file")
    _check_complete(path)
    try:
        with soundfile.SoundFile(path) as file:
            samples = file.read(dtype=_DTYPES.get(file.subtype, "int16"), always_2d=True)
            rate, subtype = file.samplerate, file.subtype
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AvsbenchError(
            f"{path}: the sound cannot be read",
            found=f"{path.stat().st_size} bytes; {error}",
            expected="a wav file",
            hint="copy or unpack the file again",
        ) from None
    if not len(samples):
        raise AvsbenchError(f"{path}: the sound file holds no samples", found="a header only", expected="a wav file")
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise AvsbenchError(f"{path}: the sound holds values that are not finite", found="NaN or infinity")
    return Sound(samples, rate, subtype, category, position)


def _check_complete(path: Path) -> None:
    """Compare the length that a RIFF header announces with the file: libsndfile shortens a truncated file silently."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        if file.read(4) != b"RIFF":
            return
        file.seek(12)
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            if name == b"data":
                missing = file.tell() + length - size
                # Programs that write to a pipe leave a huge length; only a plausible one is a promise.
                if missing > 0 and length < 0x7FFFF000:
                    raise AvsbenchError(
                        f"{path}: the sound file is truncated",
                        found=f"{length - missing} bytes of samples",
                        expected=f"{length} bytes, as its header says",
                        hint="copy or unpack the file again",
                    )
                return
            file.seek(length + length % 2, os.SEEK_CUR)


def mono(samples: np.ndarray) -> np.ndarray:
    """Mean over channels as float64 [N] in -1..1, after the reduction to 16 bits that the published loaders apply.

    Args:
        samples: [N] or [N,channels]; int16, int32 (its upper 16 bits count) or float (scaled by 32768 and rounded).
    """
    if samples.dtype == np.int32:
        samples = samples >> 16
    elif samples.dtype.kind == "f":
        samples = np.clip(np.rint(samples.astype(np.float64) * 32768), -32768, 32767)
    elif samples.dtype != np.int16:
        raise _unknown(samples)
    return _mean(samples.astype(np.float64) / 32768)


def mono_float(samples: np.ndarray) -> np.ndarray:
    """Mean over channels as float32 [N], every bit of the file kept: integers scaled to -1..1, floats as they are.

    Args:
        samples: [N] or [N,channels]; int16, int32 or float32.
    """
    scales = {"int16": 2.0**-15, "int32": 2.0**-31, "float32": 1.0}
    if samples.dtype.name not in scales:
        raise _unknown(samples)
    return _mean(samples.astype(np.float32) * np.float32(scales[samples.dtype.name]))


def _mean(wave: np.ndarray) -> np.ndarray:
    """Mean over channels: by columns, because numpy is slow along an axis of one or two."""
    return wave if wave.ndim == 1 else functools.reduce(np.add, wave.T) / wave.dtype.type(wave.shape[1])


def _unknown(samples: np.ndarray) -> AvsbenchError:
    return AvsbenchError("sound of an unknown type", found=samples.dtype, expected="int16, int32 or float32")
