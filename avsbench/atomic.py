"""Files and folders that appear whole or not at all: written under a temporary name, then renamed."""

import glob
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ABANDONED = 2 * 24 * 3600
"""Seconds after which a temporary file of another machine, on a disk that both see, has no writer any more."""
_MACHINE = re.sub(r"[^A-Za-z0-9-]", "-", platform.node())


def atomic(path: str | os.PathLike) -> "_Atomic":
    """Context manager: yields a temporary path beside `path`, renamed to it on success and removed on failure."""
    return _Atomic(Path(path))


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Context manager: yields an empty folder beside `path` that takes its place whole on success.

    What stood at `path` stays until then and is removed afterwards; leftovers of killed processes are removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = temporary_of(path), temporary_of(path, "old.tmp")
    for stale in [temporary, old, *_leftovers(path)]:
        shutil.rmtree(stale, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Atomic:
    def __init__(self, path: Path):
        self.path = path
        self.temporary = temporary_of(path)

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for file in _leftovers(self.path):
            if file.is_file():
                file.unlink(missing_ok=True)
        return self.temporary

    def __exit__(self, kind, value, trace):
        if kind is None:
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)
        return False


def temporary_of(path: Path, end: str = "tmp") -> Path:
    """The name beside `path` that this process writes to: .<name>.<process>@<machine>.tmp."""
    return path.with_name(f".{path.name}.{os.getpid()}@{_MACHINE}.{end}")


def is_leftover(path: Path) -> bool:
    """True for a temporary file or folder whose process is gone; one of another machine counts after two days."""
    match = re.fullmatch(r"\..+\.(\d+)@([\w-]*)(\.old)?\.tmp", path.name)
    if match is None:
        return False
    if match[2] == _MACHINE:
        return not _alive(int(match[1]))
    try:
        return time.time() - path.lstat().st_mtime > ABANDONED
    except FileNotFoundError:
        return False


def _leftovers(path: Path) -> list[Path]:
    """What killed processes left of the target `path`."""
    return [file for file in path.parent.glob(f".{glob.escape(path.name)}.*.tmp") if is_leftover(file)]


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
