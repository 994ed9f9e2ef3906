"""Damaged, missing and contested files of a run under way; signals at awkward moments."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import torch

from avsbench.engine.checkpoint import StateStore
from avsbench.engine.signals import StopSignals
from avsbench.errors import AvsbenchError
from tests.unit.engine_fakes import TinyData, make_trainer, train_digest


class StoppedError(Exception):
    pass


def interrupted(folder, step=10):
    """A training that ended at a step, with a state for each step before."""

    def before_step(now):
        if now == step:
            raise StoppedError

    with pytest.raises(StoppedError):
        make_trainer(folder, data=TinyData(before_step)).run()
    return sorted((folder / "state").glob("*.pt"), reverse=True)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """(digest of a calm training, folder of an interrupted one to copy)"""
    calm = train_digest(tmp_path_factory.mktemp("calm"))
    folder = tmp_path_factory.mktemp("stopped")
    interrupted(folder)
    return calm, folder


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)


def position_of(path, tensor):
    """Where the bytes of a tensor lie in a file."""
    return path.read_bytes().index(tensor.contiguous().numpy().tobytes())


def test_one_flipped_bit_of_a_tensor_is_noticed(stopped, tmp_path, caplog):
    """torch alone does not notice."""
    calm, source = stopped
    shutil.copytree(source, tmp_path / "run")
    newest = max((tmp_path / "run/state").glob("*.pt"))
    before = torch.load(newest, weights_only=True)["model"]["head.weight"]
    flip(newest, position_of(newest, before))
    assert not torch.equal(torch.load(newest, weights_only=True)["model"]["head.weight"], before)
    with caplog.at_level(logging.WARNING):
        assert train_digest(tmp_path / "run") == calm
    assert f"{newest.name}: damaged (ValueError: wrong checksum" in caplog.text


@pytest.mark.parametrize("damage", ["flipped", "missing", "empty"])
def test_weights_that_a_state_needs_are_checked_when_it_is_read(stopped, tmp_path, caplog, damage):
    calm, source = stopped
    shutil.copytree(source, tmp_path / "run")
    files = list((tmp_path / "run/state").glob("*.best.*"))
    assert files
    for file in files:
        if damage == "flipped":
            flip(file, -3)
        elif damage == "missing":
            file.unlink()
        else:
            file.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert train_digest(tmp_path / "run") == calm
    assert f"which it needs, is {'missing' if damage == 'missing' else 'damaged'}" in caplog.text


def test_a_disk_that_does_not_answer_costs_no_state(tmp_path, monkeypatch):
    store = StateStore(tmp_path, "i" * 16)
    path = store.save({}, 0, 1)

    def failing(*arguments):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("avsbench.engine.checkpoint.zipfile.ZipFile", failing)
        with pytest.raises(AvsbenchError, match=r"cannot be read[\s\S]*Input/output error"):
            store.load()
    assert path.is_file()
    assert store.load() is not None


def test_a_folder_that_cannot_be_written_is_an_error_at_the_start(tmp_path):
    (tmp_path / "state").write_text("a file in its place")
    with pytest.raises(AvsbenchError, match="resume states cannot be kept here"):
        StateStore(tmp_path / "state", "i" * 16)


HOLD = """
import sys, time
from avsbench.engine.checkpoint import StateStore
store = StateStore(sys.argv[1], "i" * 16)
store.claim()
print("mine", flush=True)
time.sleep(60)
"""


def test_one_process_at_a_time_and_none_after_a_kill(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "state")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "mine\n"
    store = StateStore(tmp_path / "state", "i" * 16)
    with pytest.raises(AvsbenchError, match=rf"another process is training this run[\s\S]*process {holder.pid} on"):
        store.claim(patience=0.3)
    threading.Timer(0.3, holder.kill).start()
    store.claim(patience=20)  # waits for the one that is about to leave
    holder.wait()


def test_what_a_kill_left_of_a_cleared_state_goes(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    from avsbench import atomic

    left = tmp_path / f".state.{dead.pid}@{atomic._MACHINE}.tmp"
    left.mkdir()
    (left / "x.pt").write_bytes(b"x")
    StateStore(tmp_path / "state", "i" * 16).claim()
    assert not left.exists()


def test_clearing_removes_the_folder(tmp_path):
    store = StateStore(tmp_path / "state", "i" * 16)
    store.claim()
    store.save({}, 0, 1)
    store.clear()
    assert not list(tmp_path.iterdir())
    store.clear()


def test_repeated_sigterm_is_noted_once_and_a_second_sigint_ends():
    with StopSignals() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.caught == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with StopSignals(patient=True) as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.caught == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_main_thread_signals_stay_as_they_were():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with StopSignals() as stop:
            seen.extend([signal.getsignal(signal.SIGTERM), stop.caught])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, 0]


LOADING = """
import os, signal, time
import torch
from avsbench.engine.signals import StopSignals
from avsbench.store import loader

class Slow(torch.utils.data.Dataset):
    def __len__(self): return 12
    def __getitem__(self, number):
        time.sleep(0.05)
        return number

if __name__ == "__main__":
    with StopSignals() as stop:
        batches = torch.utils.data.DataLoader(Slow(), num_workers=2, worker_init_fn=loader._outlive_sigterm)
        for count, _ in enumerate(batches, 1):
            if count == 2:
                os.killpg(os.getpgrp(), signal.SIGTERM)
        print(count, stop.caught)
"""


def test_sigterm_to_the_whole_group_leaves_the_loading_processes_alive(tmp_path):
    (tmp_path / "loading.py").write_text(LOADING)
    done = subprocess.run(
        [sys.executable, "loading.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    assert done.stdout.split() == ["12", "15"], done.stderr


def test_options_of_the_verb_reach_the_training(monkeypatch):
    import avsbench.engine.signals
    import avsbench.engine.train
    import avsbench.store.complete
    from avsbench.cli import main

    specs = []
    monkeypatch.setattr(avsbench.engine.train, "train_run", specs.append)
    monkeypatch.setattr(avsbench.store.complete, "require_complete", lambda *arguments, **options: None)
    monkeypatch.setattr(avsbench.engine.signals, "ignore_stop_signals", lambda: None)
    command = ["train", "--dataset", "ms3", "--variant", "tpavi-r50", "--code", "x"]
    assert main(command) == main([*command, "--restart", "--save-every", "0"]) == 0
    assert [(spec.resume, spec.save_every) for spec in specs] == [(True, 300.0), (False, 0.0)]
