"""A file that HDF5 writes to without ever seeing a full disk."""

import os
from pathlib import Path


class SafeFile:
    """File object for `h5py.File` that keeps the first failed write to itself.

    HDF5 cannot close a file whose last write failed: it prints pages of warnings and may crash the process when that
    ends. After a failure this object keeps what follows in memory, so that HDF5 stays sound, and `check` raises the
    original OSError. Call `check` after every few megabytes and once more after HDF5 has closed the file.
    """

    def __init__(self, path: str | Path):
        self.error: OSError | None = None
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._position = 0
        self._length = 0
        self._patches: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the OSError of the first write that failed, if one did."""
        if self.error is not None:
            raise self.error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def write(self, data) -> int:
        view = memoryview(data).cast("B")
        if self.error is None:
            try:
                done = 0
                while done < len(view):
                    done += os.pwrite(self._descriptor, view[done:], self._position + done)
            except OSError as error:
                self.error = error
        if self.error is not None:
            self._patches.append((self._position, bytes(view)))
        self._position += len(view)
        self._length = max(self._length, self._position)
        return len(view)

    def readinto(self, buffer) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._length - self._position))
        data = os.pread(self._descriptor, count, self._position).ljust(count, b"\0")
        view[:count] = data
        for offset, patch in self._patches:
            start, stop = max(offset, self._position), min(offset + len(patch), self._position + count)
            if start < stop:
                view[start - self._position : stop - self._position] = patch[start - offset : stop - offset]
        self._position += count
        return count

    def read(self, size: int) -> bytes:
        data = bytearray(size)
        return bytes(data[: self.readinto(data)])

    def truncate(self, size: int | None = None) -> int:
        self._length = self._position if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._descriptor, self._length)
            except OSError as error:
                self.error = error
        return self._length

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
