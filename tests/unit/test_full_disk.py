"""A disk that is really full (a small tmpfs): one clear message, nothing half-written, and a retry that works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avsbench import cards
from avsbench.paths import Paths
from avsbench.store.manifest import write_dataset_manifests
from tests.unit.rendered import rendered  # noqa: F401 - a fixture


@pytest.fixture
def small_disk(tmp_path):
    """A folder with 400 KiB of room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small tmpfs needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


UNASKED = """
import sys
from avsbench.cli import main
from avsbench.datasets import space
space.before_extract = lambda *_: None
sys.exit(main(sys.argv[1:]))
"""
"""The verbs without the question for room: another program may fill the disk after it was asked."""


def test_extract_on_a_full_disk(small_disk, rendered):  # noqa: F811
    card = cards.dataset("ms3")
    paths = Paths("mini", str(small_disk / "data"))
    official = Path(paths.official("ms3"))
    official.parent.mkdir(parents=True)
    official.symlink_to(rendered("ms3"))
    write_dataset_manifests(card, paths)
    before = files(small_disk)
    verb = ["extract", "--dataset", "ms3", "--split", "test", "--shard", "0", "--scale", "mini"]
    verb += ["--data-root", paths.data_root]

    def run(*start):
        command = [sys.executable, *start, *verb]
        return subprocess.run(command, capture_output=True, text=True, cwd=cards.PROJECT, env=os.environ, check=False)

    for start, says in ((("-m", "avsbench.cli"), "not enough room on the disk"), (("-c", UNASKED), "disk is full")):
        done = run(*start)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        assert files(small_disk) == before

    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    done = run("-m", "avsbench.cli")
    assert done.returncode == 0, done.stderr
    assert Path(paths.shard("ms3", "test", 0, 1)).is_file()
