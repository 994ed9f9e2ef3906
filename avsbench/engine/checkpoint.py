"""Files of a run under way: resume states (two are kept), the weights of its best epochs, and the lock on both.

A state is written to a temporary name, flushed to the disk and renamed; a kill at any point leaves the one before.
Names carry the run's identity (a digest of everything the result depends on), so a state of other code or data is seen
and removed, never continued. Every byte that a training continues from is checked first: those of states by the
checksums of their container, which torch writes and does not read, those of weights by the digests that states hold.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import platform
import shutil
import time
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import torch
from torch import Tensor

from avsbench.atomic import atomic, is_leftover, temporary_of
from avsbench.errors import AvsbenchError
from avsbench.provenance import file_digest

log = logging.getLogger(__name__)

KEPT = 2
PATIENCE = 30.0
"""Seconds that `claim` waits for another process to leave: one that was told to stop may still be saving."""


class StateStore:
    """Resume states of one run in an undeclared folder.

    Args:
        folder: `Paths.state` of the run.
        identity: digest of what the result depends on.
    """

    def __init__(self, folder: str | Path, identity: str):
        self.folder = Path(folder)
        self.identity = identity[:16]
        self._lock = None
        self._digests: dict[int, str] = {}
        self._needed: list[set[int]] = []
        with _explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def claim(self, *, anew: bool = False, patience: float = PATIENCE) -> None:
        """Take the folder while this object lives and for this process alone; remove what nobody continues from.

        That is: states of another identity, and what killed processes left half-written.

        Args:
            anew: remove states of this identity too.
            patience: seconds to wait for a process that has the folder.

        Raises:
            AvsbenchError: another process trains this run, or the folder cannot be written.
        """
        with _explained(self.folder):
            self._take(patience)
            earlier = [path for path in self.folder.iterdir() if path != self._lock_file]
            mine = [] if anew else [path for path in earlier if path.name.startswith(f"{self.identity}.")]
            if not mine and any(path.suffix == ".pt" and path.name[0] != "." for path in earlier):
                why = "as asked" if anew else "the earlier state belongs to other code, settings or data"
                log.info("%s: starting anew: %s", self.folder, why)
            cleared = self.folder.parent.glob(f".{self.folder.name}.*.tmp")
            for path in [*(p for p in earlier if p not in mine), *(p for p in cleared if is_leftover(p))]:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def save(self, state: dict, epoch: int, step: int, best: Collection[int] = ()) -> Path:
        """Write a state; only the newest two stay, and the weights that they need.

        Args:
            best: epochs whose weights (`save_best`) a training that continues here needs.
        """
        path = self._file(epoch, step)
        digests = {number: self._digests[number] for number in best}
        with writing(path) as temporary, open(temporary, "wb") as file:
            torch.save({"identity": self.identity, "best": digests, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self.folder)
        for old in self._states()[KEPT:]:
            old.unlink()
        self._needed = [*self._needed[1 - KEPT :], set(best)]
        wanted = {self.best_file(number) for number in set().union(*self._needed)}
        for file in self.folder.glob(f"{self.identity}.best.*.safetensors"):
            if file not in wanted:
                file.unlink()
        return path

    def load(self, place: tuple[int, int] | None = None) -> dict | None:
        """The newest undamaged state, or None. A damaged one is named, removed, and the one before is taken.

        Args:
            place: (epoch, step) of the one to take, which another process of the same training has chosen.

        Raises:
            AvsbenchError: the disk or its permissions keep a file from being read; nothing is removed then.
        """
        for path in self._states() if place is None else [self._file(*place)]:
            try:
                state = self._read(path)
            except Exception as error:
                if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                    raise AvsbenchError(
                        f"{path}: this resume state cannot be read",
                        found=error,
                        hint="mend the disk and run the same command; without this file it takes the state before",
                    ) from error
                reason = (str(error).splitlines() or [""])[0]
                log.warning("%s: damaged (%s: %s); taking the one before", path, type(error).__name__, reason)
                path.unlink()
                continue
            self._digests, self._needed = dict(state["best"]), [set(state["best"])]
            return state
        return None

    def _read(self, path: Path) -> dict:
        with zipfile.ZipFile(path) as container:
            if (broken := container.testzip()) is not None:
                raise ValueError(f"wrong checksum of {broken}")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["identity"] != self.identity:
            raise ValueError("it belongs to another run")
        for epoch, digest in state["best"].items():
            file = self.best_file(epoch)
            if not file.is_file() or file_digest(file) != digest:
                raise ValueError(f"{file.name}, which it needs, is {'damaged' if file.is_file() else 'missing'}")
        return state

    def save_best(self, epoch: int, weights: dict[str, Tensor], description: dict) -> None:
        """Keep the weights of an epoch for the end of the run; the states that need them have to say so."""
        self._digests[epoch] = save_weights(self.best_file(epoch), weights, description)

    def best_file(self, epoch: int) -> Path:
        """Where the weights of a best epoch wait for the end of the run."""
        return self.folder / f"{self.identity}.best.{epoch:05d}.safetensors"

    def clear(self) -> None:
        """Remove everything, for the run is complete; a kill meanwhile leaves no half of it."""
        removed = temporary_of(self.folder)
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.folder, removed)
        shutil.rmtree(removed, ignore_errors=True)

    def _file(self, epoch: int, step: int) -> Path:
        return self.folder / f"{self.identity}.{epoch:05d}.{step:08d}.pt"

    def _states(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob(f"{self.identity}.[0-9]*.pt"), reverse=True)

    @property
    def _lock_file(self) -> Path:
        return self.folder / "lock"

    def _take(self, patience: float) -> None:
        """Lock the folder. The kernel gives the lock back with the process, and forked workers do not inherit it."""
        end, told = time.monotonic() + patience, False
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = open(self._lock_file, "a+")  # noqa: SIM115 - held until the process ends
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    log.info("%s: no locks on this file system (%s)", self.folder, error)
                    return
            else:
                # Whoever had it may have removed the folder, with the file, at its end.
                if self._lock_file.exists() and os.path.samestat(os.fstat(handle.fileno()), self._lock_file.stat()):
                    handle.truncate(0)
                    handle.write(f"process {os.getpid()} on {platform.node()}")
                    handle.flush()
                    self._lock = handle
                    return
                handle.close()
                continue
            handle.seek(0)
            holder = handle.read() or "another process"
            handle.close()
            if time.monotonic() > end:
                raise AvsbenchError(
                    f"{self.folder}: another process is training this run",
                    found=holder,
                    hint="wait for its end, or end it; then run the same command again, and it continues",
                )
            if not told:
                log.info("%s: waiting for %s, which has this run", self.folder, holder)
                told = True
            time.sleep(0.2)


def save_weights(path: str | Path, state: dict[str, Tensor], description: dict) -> str:
    """Write weights as safetensors with what they are in the header; the same content gives the same bytes.

    Returns the sha256 of the file.

    Args:
        state: tensors by our names, on any device.
        description: JSON values: variant, dataset, scale, image_size …
    """
    from safetensors.torch import save

    # Copies: safetensors refuses tensors that share memory.
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    content = save(tensors, metadata={"run": json.dumps(description, sort_keys=True)})
    with writing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def copy_file(source: str | Path, target: str | Path) -> None:
    """Copy under a temporary name, onto the disk, then rename: what it came from may be removed next."""
    with writing(target) as temporary:
        shutil.copyfile(source, temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """`atomic`, with a full disk or a missing permission as one clear error."""
    try:
        with atomic(path) as temporary:
            yield temporary
    except (OSError, RuntimeError) as error:
        # torch wraps the operating system's error in a RuntimeError of its own.
        cause = error if isinstance(error, OSError) else error.__context__
        full = _free(path) < 1 << 20 or getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if not full and not isinstance(error, OSError):
            raise
        raise AvsbenchError(
            f"{path}: cannot be written" + (": the disk is full" if full else ""),
            found=f"{error}; {_free(path) / 1e6:.0f} MB free",
            hint="free some space and run the same command again; it continues from the last state",
        ) from error


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """A state folder that cannot be used, as one clear error at the start and not after hours."""
    try:
        yield
    except OSError as error:
        raise AvsbenchError(
            f"{folder}: resume states cannot be kept here",
            found=error,
            expected="a folder that this user may write to",
            hint="mend its permissions, or name another results_root in the configuration",
        ) from error


def _free(path: str | Path) -> int:
    folder = Path(path).parent
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _sync_folder(folder: Path) -> None:
    """Make a rename itself durable; not every file system lets one open a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
