"""One training on several devices: a process each, gradients averaged by DistributedDataParallel.

`launch` starts the processes as torchrun would (same environment variables, a process per device of this machine) and
stays with them: it hands a signal on and waits as long as they need to save their state, which torchrun's own agent
does not (it kills after 30 s). Processes talk about everything but gradients through a CPU group, whose patience
outlasts a validation.
"""

import contextlib
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, nn

from avsbench.errors import AvsbenchError

log = logging.getLogger(__name__)

PATIENCE = timedelta(days=2)
"""How long a process waits for the others on the CPU group."""
FAILED = 70
"""Exit code of a process whose error is in the queue."""


class Group:
    """The processes of one training; by itself, a training of one process, which needs no communication.

    Attributes:
        rank: number of this process, from 0; 0 writes files, validates first and talks.
        world: number of processes.
    """

    rank = 0
    world = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def largest(self, *values: float) -> list[float]:
        """The largest of each value over all processes; the same list everywhere."""
        return list(values)

    def add(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place, on the tensor's device."""
        return tensor

    def gather(self, thing: object) -> list | None:
        """Everyone's `thing` by rank, in the first process; None in the others."""
        return [thing]

    def share(self, thing: object) -> object:
        """The first process's `thing`, everywhere."""
        return thing

    def wait(self) -> None:
        """Go on when everyone is here."""

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """A module whose backward pass averages gradients over all processes."""
        return module


class DistributedGroup(Group):
    """Several processes through torch.distributed; made in each of them by `launch`."""

    def __init__(self):
        import torch.distributed as dist

        self._dist = dist
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self._cpu = dist.new_group(backend="gloo", timeout=PATIENCE)

    def largest(self, *values: float) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64)
        self._dist.all_reduce(tensor, self._dist.ReduceOp.MAX, group=self._cpu)
        return tensor.tolist()

    def add(self, tensor: Tensor) -> Tensor:
        self._dist.all_reduce(tensor)
        return tensor

    def gather(self, thing: object) -> list | None:
        found = [None] * self.world if self.first else None
        self._dist.gather_object(thing, found, group=self._cpu)
        return found

    def share(self, thing: object) -> object:
        box = [thing]
        self._dist.broadcast_object_list(box, group=self._cpu)
        return box[0]

    def wait(self) -> None:
        self._dist.barrier(group=self._cpu)

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        return nn.parallel.DistributedDataParallel(
            module,
            device_ids=[device] if device.type == "cuda" else None,
            # A method may leave a parameter out of one step's graph (a bank that is still empty, a frozen stage).
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )


def launch(devices: list[torch.device], work: Callable, *arguments: object) -> None:
    """Run `work(group, device, *arguments)` in one process per device and wait for all.

    Args:
        devices: one for each process; several CPU devices are processes on this machine's cores.
        work: a function of a module, since the processes start afresh.
        arguments: picklable.

    Raises:
        AvsbenchError: what one of the processes raised.
        SystemExit: they left after a signal, with their exit code.
    """
    import torch.multiprocessing as multiprocessing

    # Unused parameters are looked for on purpose; every process would be warned of the cost.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with tempfile.TemporaryDirectory(prefix="avsbench-group-") as folder:
        meeting = str(Path(folder) / "meeting")
        told = multiprocessing.get_context("spawn").SimpleQueue()
        handlers = [(type(h), getattr(h, "baseFilename", None)) for h in logging.getLogger().handlers]
        started = multiprocessing.spawn(
            _process, (devices, meeting, told, handlers, work, arguments), nprocs=len(devices), join=False
        )
        with _handed_on(started.processes):
            try:
                while not started.join(timeout=1.0, grace_period=60.0):
                    continue
            except (multiprocessing.ProcessExitedException, multiprocessing.ProcessRaisedException) as ended:
                if not told.empty():
                    raise told.get() from None
                _explain([process.exitcode for process in started.processes], ended)


def _explain(codes: list[int | None], ended: Exception) -> None:
    """Raise what the exit codes of all processes mean; one that fails makes others fail, so order says little."""
    for rank, code in enumerate(codes):
        if code is not None and code < 0 and code != -signal.SIGTERM:  # SIGTERM comes from whoever waits for the others
            raise AvsbenchError(
                f"process {rank} of {len(codes)} was killed",
                # It may have been killed because it did not leave when another one failed.
                found=f"signal {signal.Signals(-code).name}; {' '.join(str(ended).split())[-300:]}",
                hint="out of memory, perhaps; the same command continues from the last state",
            ) from None
    for code in codes:
        if code is not None and code > 128:
            raise SystemExit(code) from None
    if getattr(ended, "signal_name", None) == "SIGTERM":  # before there was anything to save
        raise SystemExit(128 + signal.SIGTERM) from None
    raise ended


def _process(rank: int, devices: list[torch.device], meeting: str, told, handlers: list, work, arguments) -> None:
    """One process of a group."""
    import torch.distributed as dist

    _set_up_logging(rank, handlers)
    device = devices[rank]
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(len(devices))}
    # All processes are on this machine; its outward name may lead nowhere.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if os.uname().sysname == "Darwin" else "lo")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(
        backend, init_method=f"file://{meeting}", rank=rank, world_size=len(devices), timeout=PATIENCE
    )
    try:
        work(DistributedGroup(), device, *arguments)
    except AvsbenchError as error:
        told.put(error)
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:  # which multiprocessing takes for a good end
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        if device.type == "cpu":  # tearing NCCL down while another process still computes would hang
            dist.destroy_process_group()


def _set_up_logging(rank: int, handlers: list) -> None:
    """As in the starting process; others than the first speak up for warnings alone."""
    made: list[logging.Handler] = []
    for kind, file in handlers:
        if file:
            made.append(logging.FileHandler(file, mode="a"))
        elif issubclass(kind, logging.StreamHandler):
            made.append(logging.StreamHandler())
    form = "%(message)s" if rank == 0 else f"process {rank}: %(message)s"
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format=form, handlers=made, force=True)


@contextlib.contextmanager
def _handed_on(processes: list):
    """Pass SIGTERM and SIGINT on to the processes, which save and leave; wait for them meanwhile."""

    def hand_on(number, frame):
        log.info("%s: the processes save their state", signal.Signals(number).name)
        for process in processes:
            if process.is_alive():
                os.kill(process.pid, number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        deadline = time.monotonic() + 60
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
