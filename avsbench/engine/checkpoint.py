"""Files of a run under way: resume states (two are kept) and weights.

A state is written to a temporary name, flushed to the disk and renamed; a kill at any point leaves the one before.
Names carry the run's identity (a digest of everything the result depends on), so a state of other code or data is seen
and removed, never continued.
"""

import contextlib
import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from avsbench.errors import AvsbenchError
from avsbench.paths import atomic

log = logging.getLogger(__name__)

KEPT = 2


class StateStore:
    """Resume states of one run in an undeclared folder.

    Args:
        folder: `Paths.state` of the run.
        identity: digest; states of another are removed when this object is made.
    """

    def __init__(self, folder: str | Path, identity: str):
        self.folder = Path(folder)
        self.identity = identity[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        strangers = [path for path in self.folder.iterdir() if not path.name.startswith(f"{self.identity}.")]
        if any(path.suffix == ".pt" and not path.name.startswith(".") for path in strangers):
            log.info("%s: the earlier state belongs to other code, settings or data; starting anew", self.folder)
        for path in strangers:
            path.unlink()

    def save(self, state: dict, epoch: int, step: int) -> Path:
        """Write a state; only the newest two stay."""
        path = self._file(epoch, step)
        with writing(path) as temporary, open(temporary, "wb") as file:
            torch.save({"identity": self.identity, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self.folder)
        for old in self._states()[KEPT:]:
            old.unlink()
        return path

    def load(self, place: tuple[int, int] | None = None) -> dict | None:
        """The newest readable state, or None. An unreadable one is named, removed, and the one before is taken.

        Args:
            place: (epoch, step) of the one to take, which another process of the same training has chosen.
        """
        for path in self._states() if place is None else [self._file(*place)]:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                if state["identity"] == self.identity:
                    return state
                raise ValueError("it belongs to another run")
            except Exception as error:
                reason = (str(error).splitlines() or [""])[0]
                log.warning("%s: cannot be read (%s: %s); taking the one before", path, type(error).__name__, reason)
                path.unlink()
        return None

    def best_file(self, epoch: int) -> Path:
        """Where the weights of a best epoch wait for the end of the run."""
        return self.folder / f"{self.identity}.best.{epoch:05d}.safetensors"

    def keep_best(self, epochs: set[int]) -> None:
        """Remove best weights but those of `epochs` (what the kept states refer to)."""
        wanted = {self.best_file(epoch) for epoch in epochs}
        for path in self.folder.glob(f"{self.identity}.best.*.safetensors"):
            if path not in wanted:
                path.unlink()

    def clear(self) -> None:
        """Remove everything: the run is complete, or has to start anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self) -> None:
        """Forget earlier states and be ready for new ones."""
        self.clear()
        self.folder.mkdir(parents=True, exist_ok=True)

    def _file(self, epoch: int, step: int) -> Path:
        return self.folder / f"{self.identity}.{epoch:05d}.{step:08d}.pt"

    def _states(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob(f"{self.identity}.[0-9]*.pt"), reverse=True)


def save_weights(path: str | Path, state: dict[str, Tensor], description: dict) -> None:
    """Write weights as safetensors with what they are in the header; the same content gives the same bytes.

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


def copy_file(source: str | Path, target: str | Path) -> None:
    """Copy under a temporary name, then rename."""
    with writing(target) as temporary:
        shutil.copyfile(source, temporary)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """`paths.atomic`, with a full disk or a missing permission as one clear error."""
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
