"""What the benchmarks share: rows of the table, the machine, fresh processes, measuring in turns, a project copy.

A machine is rarely alone with a benchmark. So what is compared is measured in turns within one run, and read as a
ratio; where a whole command is measured, CPU seconds stand beside wall seconds.
"""

import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import platform
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from avsbench import cards, provenance

PROJECT_PARTS = ("avsbench", "workflow", "config", "models", "environment.yml", "pyproject.toml", "README.md")

MEASURE = """
import json, resource, subprocess, sys, time
start = time.monotonic()
code = subprocess.run(sys.argv[2:]).returncode
wall, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 1 if sys.platform == "darwin" else 1024
with open(sys.argv[1], "a") as file:
    file.write(json.dumps({
        "verb": sys.argv[3] if len(sys.argv) > 3 else "", "wall": wall, "cpu": used.ru_utime + used.ru_stime,
        "mb": used.ru_maxrss * unit / 1e6,
    }) + "\\n")
sys.exit(code)
"""
"""Runs argv[2:] and appends what it took to the file argv[1]. Small, so that its own memory is none of the measured."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        topic, case: what was measured.
        value: the figure; None where nothing could be measured, and `note` says why.
        unit: of `value`.
        mb: peak memory of the process that did it, in MB (10^6 bytes); on a GPU what torch allocated there.
        note: what stands beside it: a ratio, a limit, a reason.
    """

    topic: str
    case: str
    value: float | None
    unit: str = ""
    mb: float | None = None
    note: str = ""


def markdown(rows: Iterable[Row]) -> str:
    """The one table."""
    lines = ["| topic | case | measured | peak memory | |", "|---|---|---:|---:|---|"]
    for row in rows:
        measured = "not run" if row.value is None else f"{number(row.value)} {row.unit}".strip()
        memory = "" if row.mb is None else f"{row.mb:,.0f} MB"
        lines.append(f"| {row.topic} | {row.case} | {measured} | {memory} | {row.note} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that mean something: 0.0123, 1.23, 12.3, 1,234."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2
    while abs(value) * 10**digits < 100:
        digits += 1
    return f"{value:.{min(digits - (abs(value) >= 10), 6)}f}"


def heading() -> str:
    """Date, machine and versions, in two lines."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    where = machine()  # imports torch, which then tells its version in full
    known = provenance.versions()
    names = ("python", "torch", "torchvision", "timm", "numpy", "h5py", "avsbench")
    shown = ", ".join(f"{name} {known[name]}" for name in names)
    return f"{date}; {where}\n\n{shown}; commit {(provenance.git_commit() or 'unknown')[:12]}"


def machine() -> str:
    """Processor, cores, memory, GPUs, and how busy it is."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = " + ".join(gpus) or "no GPU"
    return f"{_processor()}, {cores} cores, {memory:.0f} GiB, {devices}; load average {os.getloadavg()[0]:.1f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def peak_mb() -> float:
    """Peak memory of this process so far, in MB.

    Not `ru_maxrss` where Linux knows better: that one begins with what the parent had when it started this process.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 / 1e6
    except (OSError, TypeError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def device_peak_mb(device: object) -> float:
    """What torch allocated on a GPU at most; on a processor the peak of this process."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return peak_mb()


# comparing in turns


class Alone:
    """An object in a fresh process, which keeps it: peak memory is its own, and several can be asked in turns.

    Use as a context manager. An error in the process is raised here; one that was killed raises BrokenProcessPool.

    Args:
        factory: makes the object there; a function or class of a module.
    """

    def __init__(self, factory: Callable, *arguments: object):
        context = multiprocessing.get_context("spawn")
        self._pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
        try:
            self._pool.submit(_make, factory, arguments).result()
        except BaseException:
            self._pool.shutdown()
            raise

    def call(self, name: str, *arguments: object):
        """`object.name(*arguments)`, computed there."""
        return self._pool.submit(_call, name, arguments).result()

    def __enter__(self) -> "Alone":
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown()


_kept: list = []


def _make(factory: Callable, arguments: tuple) -> None:
    _kept.append(factory(*arguments))


def _call(name: str, arguments: tuple):
    return getattr(_kept[0], name)(*arguments)


def in_turns(measures: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every measure in every round: a b c, a b c, … so that a busy minute hits them all."""
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            seconds[name].append(measure())
    return seconds


def ratios(slow: list[float], fast: list[float]) -> tuple[float, float]:
    """(lowest, median) of slow / fast, round by round."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return min(each), statistics.median(each)


# commands and projects


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a command took: wall and CPU seconds, peak memory in MB, and what it printed."""

    wall: float
    cpu: float
    mb: float
    output: str


def measured(command: list[str], folder: Path, environment: dict, seconds: float) -> Usage:
    """Run a command to its end and measure it, children included.

    Raises:
        RuntimeError: it failed (with the end of its output), or took longer than `seconds`.
    """
    record = folder / f"usage.{os.getpid()}.jsonl"
    record.unlink(missing_ok=True)
    whole = [sys.executable, "-c", MEASURE, str(record), *command]
    process = subprocess.Popen(
        whole,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not finished after {seconds:.0f} s") from None
    finally:
        end(process)
    if process.returncode:
        raise RuntimeError(output.strip()[-500:])
    used = json.loads(record.read_text())
    return Usage(used["wall"], used["cpu"], used["mb"], output)


def end(process: subprocess.Popen) -> None:
    """Kill a process that leads a session of its own, and what it started, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def copy_project(target: Path) -> dict:
    """Copy of cards, code and workflow that a benchmark may edit; returns the environment to run it with."""
    for part in PROJECT_PARTS:
        source = cards.PROJECT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / part)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PYTHONPATH": str(target), "PATH": path, "OMP_NUM_THREADS": "1"}
