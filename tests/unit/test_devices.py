"""The lease of GPUs, with names in place of devices: torch needs none to say `cuda:1`."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from avsbench import devices
from avsbench.errors import AvsbenchError

HOLD = """
import pathlib, sys, time
from avsbench import devices
devices.POLL = 0.02
names, wanted, out, seconds = sys.argv[1].split(","), int(sys.argv[2]), pathlib.Path(sys.argv[3]), float(sys.argv[4])
with devices.lease(wanted, gpus=lambda: names) as held:
    log = open(out, "a")
    print("take", *[d.index for d in held], time.monotonic(), file=log, flush=True)
    time.sleep(seconds)
    print("give", time.monotonic(), file=log, flush=True)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def hold(out, wanted=1, seconds=0.3, names="a,b"):
    return subprocess.Popen([sys.executable, "-c", HOLD, names, str(wanted), str(out), str(seconds)])


def spans(files):
    """(devices, taken, given) of each process."""
    found = []
    for file in files:
        take, give = (line.split() for line in file.read_text().splitlines())
        found.append((set(map(int, take[1:-1])), float(take[-1]), float(give[-1])))
    return found


def test_four_processes_share_two_devices(tmp_path):
    files = [tmp_path / str(number) for number in range(4)]
    workers = [hold(file, wanted=2 if file.name == "3" else 1) for file in files]
    assert [worker.wait(timeout=60) for worker in workers] == [0] * 4
    found = spans(files)
    assert sorted(len(held) for held, _, _ in found) == [1, 1, 1, 2]
    for place, (held, taken, given) in enumerate(found):
        for others, start, end in found[place + 1 :]:
            if start < given and taken < end:
                assert not held & others, "two processes held one device at the same time"


def test_a_killed_process_gives_its_device_back(tmp_path):
    first = hold(tmp_path / "first", wanted=2, seconds=600)
    wait_for(tmp_path / "first")
    second = hold(tmp_path / "second", wanted=2, seconds=0)
    time.sleep(0.3)
    assert not (tmp_path / "second").exists()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert second.wait(timeout=60) == 0
    assert len(spans([tmp_path / "second"])[0][0]) == 2


def test_two_are_taken_at_once_or_not_at_all(tmp_path):
    one = hold(tmp_path / "one", seconds=600)
    wait_for(tmp_path / "one")
    two = hold(tmp_path / "two", wanted=2, seconds=0)
    time.sleep(0.3)
    third = hold(tmp_path / "third", seconds=0)  # the free one is not held by the process that waits for two
    assert third.wait(timeout=60) == 0
    assert not (tmp_path / "two").exists()
    one.kill()
    one.wait()
    assert two.wait(timeout=60) == 0


def wait_for(file):
    end = time.monotonic() + 60
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_fewer_than_wanted_gives_what_there_is(caplog):
    with devices.lease(2, gpus=lambda: ["a"]) as held:
        assert held == [torch.device("cuda", 0)]
    assert "2 GPUs are wanted and this machine has 1" in caplog.text


def test_the_scheduler_decides_under_slurm(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with devices.lease(1, gpus=lambda: ["a"]) as first, devices.lease(1, gpus=lambda: ["a"]) as second:
        assert first == second == [torch.device("cuda", 0)]
    assert not devices.lock_folder().exists()


@pytest.mark.parametrize(("wanted", "choice", "required"), [(0, "auto", True), (2, "cpu", True), (1, "auto", False)])
def test_the_processor(wanted, choice, required):
    with devices.lease(wanted, choice, required=required, gpus=list) as held:
        assert held == [torch.device("cpu")]


@pytest.mark.parametrize(("wanted", "choice", "required"), [(1, "auto", True), (0, "cuda", False)])
def test_none_where_one_is_needed(wanted, choice, required):
    with pytest.raises(AvsbenchError, match="needs a GPU"), devices.lease(wanted, choice, required=required, gpus=list):
        pass


def test_an_unknown_choice():
    with pytest.raises(AvsbenchError, match="unknown device 'tpu'"), devices.lease(1, "tpu"):
        pass
