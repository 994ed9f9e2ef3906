"""Files of a release from mirrors, each with its sha256; a download that broke off goes on where it stopped."""

import hashlib
import logging
import os
import sys
import time
from pathlib import Path

from avsbench.errors import AvsbenchError

ATTEMPTS = 4
"""Calls to one address before the next is tried."""
PAUSE = 2.0
"""Seconds before the second attempt, doubled each time."""
_LOG = logging.getLogger(__name__)


def fetch_all(mirrors: list[dict], folder: Path) -> list[Path]:
    """Every file of `mirrors` ({url, sha256, file}; a file may stand there again with another address), checked.

    Raises:
        AvsbenchError: a file cannot be had from any of its addresses, or is another one than named.
    """
    by_file: dict[str, list[dict]] = {}
    for mirror in mirrors:
        by_file.setdefault(mirror["file"], []).append(mirror)
    return [fetch(entries, folder / name) for name, entries in by_file.items()]


def fetch(mirrors: list[dict], target: Path) -> Path:
    """One file from the first of its addresses that has it; a file that is there is checked, not fetched again."""
    faults = []
    for mirror in mirrors:
        if target.is_file() and _digest(target) == mirror["sha256"]:
            return target
        partial = target.with_name(f".{target.name}.{mirror['sha256'][:8]}.part")
        try:
            _download(mirror["url"], partial)
        except (OSError, ValueError) as error:  # what requests raises is one of these
            faults.append(f"{mirror['url']}: {type(error).__name__}: {error}")
            if partial.is_file() and not partial.stat().st_size:
                partial.unlink()
            continue
        if (found := _digest(partial)) == mirror["sha256"]:
            os.replace(partial, target)
            return target
        faults.append(f"{mirror['url']}: sha256 {found[:16]}…, not {mirror['sha256'][:16]}…")
        partial.unlink()
    raise AvsbenchError(
        f"{target}: cannot be downloaded",
        found="; ".join(faults),
        expected=f"sha256 {mirrors[0]['sha256']}",
        hint="run the same command again, mend `mirrors` in the configuration, or put the file there by other means",
    )


def _download(url: str, partial: Path) -> None:
    """Download to `partial`, from its end where it exists; a broken connection is tried again."""
    import pooch
    import requests

    partial.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        with open(partial, "ab") as file:
            start = file.tell()

            def begin_again(response, *args, file=file, start=start, **kwargs):
                if start and response.status_code == 200:  # a server that knows no ranges sends the whole file
                    file.truncate(0)

            download = pooch.HTTPDownloader(
                progressbar=sys.stderr.isatty(),
                timeout=30,
                headers={"Range": f"bytes={start}-", "Accept-Encoding": "identity"} if start else {},
                hooks={"response": begin_again},
            )
            try:
                return download(url, file, None)
            except requests.HTTPError as error:
                if error.response.status_code == 416:  # nothing is left to send: the digest will tell
                    return None
                if error.response.status_code < 500 or attempt == ATTEMPTS - 1:
                    raise
                reason = error
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                if attempt == ATTEMPTS - 1:
                    raise
                reason = error
        _LOG.warning("%s: %s; trying again", url, reason)
        time.sleep(PAUSE * 2**attempt)


def _digest(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
