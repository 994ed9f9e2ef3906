"""Where tensors live: the one place that chooses a device, and the lease of GPUs among rules that run at once.

Snakemake's `--resources gpu=2` counts and does not say which: two jobs would both take the first device. So each job
takes a lock per GPU, which the kernel drops with the process, however it ends.
"""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from avsbench.errors import AvsbenchError

if TYPE_CHECKING:
    import torch

CHOICES = ("auto", "cpu", "cuda")
VARIABLE = "AVSBENCH_DEVICE"
"""Tells the jobs of a workflow which of them its configuration names."""
POLL = 1.0
"""Seconds between two looks for a free GPU."""
_LOG = logging.getLogger(__name__)


def pick_device(choice: str = "auto") -> "torch.device":
    """The device of this process: `auto` takes CUDA where there is one.

    Raises:
        AvsbenchError: `cuda` was asked for and there is none, or the choice is unknown.
    """
    import torch

    if choice not in CHOICES:
        raise AvsbenchError(f"unknown device {choice!r}", expected=f"one of {', '.join(CHOICES)}")
    available = torch.cuda.is_available()
    if choice == "cuda" and not available:
        raise AvsbenchError(
            "device cuda was asked for, and torch sees none",
            found=f"torch {torch.__version__}, built for CUDA {torch.version.cuda}",
            hint="set device: auto (or cpu) in the configuration, or install a torch that fits the driver",
        )
    return torch.device("cuda" if available and choice != "cpu" else "cpu")


@contextlib.contextmanager
def lease(
    wanted: int, choice: str = "auto", *, required: bool = True, gpus: "Callable[[], list[str]] | None" = None
) -> "Iterator[list[torch.device]]":
    """Devices of this process for as long as the context lasts: `wanted` GPUs that no other process leases, or the CPU.

    All or nothing: a process that needs two waits without holding one. A machine with fewer than `wanted` gives what it
    has. Under SLURM the scheduler's choice stands, and nothing is locked.

    Args:
        wanted: GPUs, as the card's resources say; 0 means the CPU, unless `choice` is cuda.
        choice: auto, cpu or cuda, as the configuration says.
        required: with `auto`, fail where there is no GPU at all instead of taking the CPU.
        gpus: gives a name for each GPU that this process may see, in torch's order (for tests; default: their UUIDs).

    Raises:
        AvsbenchError: a GPU is required and there is none, or the choice is unknown.
    """
    import torch

    if choice not in CHOICES:
        raise AvsbenchError(f"unknown device {choice!r}", expected=f"one of {', '.join(CHOICES)}")
    if choice == "cuda":
        wanted = max(1, wanted)
    if choice == "cpu" or wanted == 0:
        yield [torch.device("cpu")]
        return
    names = (gpus or visible_gpus)()
    if not names:
        if choice == "cuda" or required:
            raise AvsbenchError(
                "this run needs a GPU, and torch sees none",
                found=f"torch {torch.__version__}, built for CUDA {torch.version.cuda}",
                expected=f"{wanted}",
                hint="set device: cpu in the configuration (slow), or install a torch that fits the driver",
            )
        yield [torch.device("cpu")]
        return
    if wanted > len(names):
        _LOG.warning("%d GPUs are wanted and this machine has %d", wanted, len(names))
        wanted = len(names)
    if "SLURM_JOB_ID" in os.environ:
        yield [torch.device("cuda", number) for number in range(wanted)]
        return
    with contextlib.ExitStack() as held:
        numbers = _wait_for(wanted, names, held)
        _LOG.info("GPU %s", ", ".join(f"{number} ({names[number]})" for number in numbers))
        yield [torch.device("cuda", number) for number in numbers]


def lease_for(spec, variant, most: int | None = None) -> "contextlib.AbstractContextManager[list[torch.device]]":
    """The lease of a run (`RunSpec`, `Variant`): the GPUs that were granted, or as many as the card says.

    Only mini may do without any.

    Args:
        most: no more than this many, whatever the card says.
    """
    wanted = variant.resources(spec.scale)["gpu"] if spec.gpus is None else spec.gpus
    return lease(wanted if most is None else min(wanted, most), spec.device, required=spec.scale != "mini")


def visible_gpus() -> list[str]:
    """The UUID of each GPU that torch sees, so that processes with other visible devices mean the same one."""
    import torch

    return [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())]


def lock_folder() -> Path:
    """Where leases of this user on this machine are kept: never on a disk that machines share."""
    return Path(tempfile.gettempdir()) / f"avsbench-gpus-{os.getuid()}"


def _wait_for(wanted: int, names: list[str], held: contextlib.ExitStack) -> list[int]:
    """Lock `wanted` GPUs at once; the locks are released with `held`."""
    from filelock import FileLock, Timeout

    folder = lock_folder()
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        with FileLock(folder / "door.lock"), contextlib.ExitStack() as trial:
            numbers = []
            for number, name in enumerate(names):
                if len(numbers) < wanted:
                    with contextlib.suppress(Timeout):
                        trial.enter_context(FileLock(folder / f"{name}.lock").acquire(blocking=False))
                        numbers.append(number)
            if len(numbers) == wanted:
                held.push(trial.pop_all())
                return numbers
        if not told:
            _LOG.info("waiting for %d GPU(s): %d of %d are free", wanted, len(numbers), len(names))
            told = True
        time.sleep(POLL)


def describe(device: "torch.device") -> str:
    """A name for run.json: the GPU's model, or the processor architecture."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    import platform

    return f"cpu ({platform.machine()})"


def synchronize(device: "torch.device") -> None:
    """Wait for the device's queue, so that a clock read next tells the truth."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
