"""What `run.json` says about a run: enough to repeat it, and to trust its numbers.

The record is JSON: plain values alone, times in seconds, memory in MB (10^6 bytes).
"""

import contextlib
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from avsbench import cards
from avsbench.atomic import atomic
from avsbench.digest import file_digest
from avsbench.errors import AvsbenchError
from avsbench.spec import RunSpec

if TYPE_CHECKING:
    import torch

    from avsbench.contract import Method

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "scikit-image",
    "pandas",
    "h5py",
    "librosa",
    "soxr",
    "safetensors",
)
REQUIRED = ("variant", "dataset", "scale", "seed", "code", "versions", "parameters")
"""What every reader may rely on."""


def describe_run(spec: RunSpec, method: "Method", device: "torch.device") -> dict:
    """The part of a record that does not depend on what the run does."""
    variant = cards.variant(spec.variant)
    return {
        "variant": spec.variant,
        "method": variant.method.name,
        "dataset": spec.dataset,
        "scale": spec.scale,
        "seed": spec.seed,
        "image_size": spec.image_size,
        "init": variant.init,
        "options": variant.options,
        "recipe": spec.recipe,
        "features": {name: {**setting.record, "stored": setting.stored} for name, setting in spec.features.items()},
        "arrays": {end: spec.arrays[end] for end in variant.front_ends_on(spec.dataset) if end in spec.arrays},
        "code": spec.code,
        "git": git_commit(),
        "versions": versions(),
        "device": _device(device),
        "world_size": 1,
        "threads": spec.threads,
        "parameters": count_parameters(method),
        "encoders": encoder_digests(spec),
    }


def versions() -> dict[str, str]:
    """Python, platform and the packages that numbers depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "avsbench": _version("avsbench")}
    found |= {name: _version(name) for name in PACKAGES}
    if "torch" in sys.modules:  # its own word says which CUDA it was built for
        found["torch"] = str(sys.modules["torch"].__version__)
    return found


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def git_commit() -> str | None:
    """The commit of the project, `+changes` when files differ from it; None where git or a repository is missing."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(cards.PROJECT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _device(device: "torch.device") -> dict:
    from avsbench.devices import describe

    return {"type": device.type, "name": describe(device), "visible": os.environ.get("CUDA_VISIBLE_DEVICES")}


def count_parameters(method: "Method") -> dict[str, int]:
    """Numbers of parameters: all (with frozen external encoders), trainable, and in external encoders."""
    outside = tuple(method.external_prefixes())
    named = dict(method.named_parameters())
    return {
        "total": sum(p.numel() for p in named.values()),
        "trainable": sum(p.numel() for p in named.values() if p.requires_grad),
        "external": sum(p.numel() for name, p in named.items() if outside and name.startswith(outside)),
    }


def encoder_digests(spec: RunSpec) -> dict[str, dict]:
    """Role -> name, file and sha256 of every encoder file that exists."""
    encoders = cards.variant(spec.variant).loaded_on(spec.dataset, spec.scale)
    if not encoders:
        return {}
    from avsbench.nn.weights import encoder_file

    found = {}
    for role, name in encoders.items():
        file = encoder_file(cards.encoder(name), spec.scale, spec.paths)
        digest = file_digest(file) if Path(file).is_file() else None
        found[role] = {"name": name, "file": Path(file).name, "sha256": digest}
    return found


def index_digests(spec: RunSpec, splits: tuple[str, ...]) -> dict[str, str]:
    """Split -> sha256 of its index, which lists the clips."""
    return {split: file_digest(spec.paths.index(spec.dataset, split)) for split in splits}


def digest_of(value: object) -> str:
    """sha256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def memory_mb(device: "torch.device") -> dict[str, float]:
    """Peak memory of this process so far: resident set, and what torch allocated on the GPU."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    peak = {"rss": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)}
    if device.type == "cuda":
        import torch

        peak["cuda"] = round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    return peak


def memory_now_mb(device: "torch.device") -> dict[str, float]:
    """Memory of this process at the moment, named as in `memory_mb`; without `rss` where the system does not tell."""
    now = {}
    with contextlib.suppress(OSError):  # Linux alone has this file
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        now["rss"] = round(pages * resource.getpagesize() / 1e6, 1)
    if device.type == "cuda":
        import torch

        now["cuda"] = round(torch.cuda.memory_allocated(device) / 1e6, 1)
    return now


def write_run(path: str | Path, record: dict) -> None:
    """Write run.json; numbers that are not finite become null."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(finite(record), indent=2, allow_nan=False) + "\n")
    read_run(path)


def read_run(path: str | Path) -> dict:
    """A checked record.

    Raises:
        AvsbenchError: the file is missing, no JSON, or lacks a required key.
    """
    try:
        record = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise AvsbenchError(f"{path}: no such run", hint="train it first; `avsbench status` lists the runs") from None
    except json.JSONDecodeError as error:
        raise AvsbenchError(f"{path}: not valid JSON", found=error, hint="remove it and run again") from None
    missing = [key for key in REQUIRED if key not in record]
    if missing:
        raise AvsbenchError(f"{path}: keys are missing", found=", ".join(missing), hint="remove it and run again")
    return record


def finite(value: object) -> object:
    """The same with None for numbers that are not finite: JSON knows no NaN."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
