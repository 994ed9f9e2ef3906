"""Signs of life: while a stage that writes a log runs, a small file beside the log says where.

A process that is killed cannot remove its sign. On the same machine the process itself tells whether it still runs; on
another one, as on a cluster, the date of the file does, which the stage renews every minute.
"""

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

BEAT = 60.0
"""Seconds between two renewals."""
SILENT = 900.0
"""Seconds without a renewal after which a stage on another machine counts as dead."""


@dataclass(frozen=True)
class Sign:
    """Where a stage runs, or ran when it was killed.

    Attributes:
        pid: number of the process on `host`.
        born: when the kernel started it, so that no other process of that number passes for it; "" where it does not
            tell.
        since: start, UTC.
        slurm: job of SLURM, or "".
        heard: seconds since the last renewal.
    """

    host: str
    pid: int
    born: str
    since: str
    slurm: str
    heard: float = 0.0

    @property
    def alive(self) -> bool:
        if self.host != platform.node():
            return self.heard < SILENT
        born = _born(self.pid)
        return born is not None and (not born or born == self.born)

    @property
    def place(self) -> str:
        """Host, process and job, in words."""
        return f"{self.host}, process {self.pid}" + (f", SLURM job {self.slurm}" if self.slurm else "")


@contextlib.contextmanager
def sign_of_life(log: str | None) -> Iterator[None]:
    """Keep a sign beside a log while the block runs; none without a log, or where none can be written."""
    file = log and _file(log)
    sign = asdict(_mine())
    sign.pop("heard")
    text = json.dumps(sign)
    try:
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    except OSError:  # a full disk stops the stage soon enough, and with a better message
        file = None
    if not file:
        yield
        return
    done = threading.Event()
    threading.Thread(target=_renew, args=(file, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        with contextlib.suppress(OSError):
            if file.read_text() == text:  # else somebody began the same stage meanwhile, and that is the newer sign
                file.unlink()


def read_sign(log: str) -> Sign | None:
    """The sign beside a log; None where there is none, or only half of one."""
    file = _file(log)
    try:
        return Sign(**json.loads(file.read_text()), heard=max(0.0, time.time() - file.stat().st_mtime))
    except (OSError, ValueError, TypeError):
        return None


def _file(log: str) -> Path:
    return Path(f"{log}.running")


def _mine() -> Sign:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    pid = os.getpid()
    return Sign(platform.node(), pid, _born(pid) or "", now, os.environ.get("SLURM_JOB_ID", ""))


def _renew(file: Path, done: threading.Event) -> None:
    while not done.wait(BEAT):
        with contextlib.suppress(OSError):  # removed by a user, or a file system that is away for a while
            os.utime(file)


def _born(pid: int) -> str | None:
    """When a process of this machine started, as the kernel counts; "" where it does not tell, None for no process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # somebody else's
        pass
    try:
        # The name of the program, in parentheses, may hold anything; what follows it is numbers.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return None if fields[0] in "ZX" else fields[19]
