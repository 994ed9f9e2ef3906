"""A training that is killed and started again ends with the same bits as one that was left alone."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from avsbench.engine import checkpoint
from avsbench.engine.checkpoint import StateStore, save_weights
from avsbench.errors import AvsbenchError
from avsbench.registry import read_weights
from tests.unit.engine_fakes import RECIPE, STEPS, TinyData, make_trainer, train_digest


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Scenario -> (exit code of the disturbed process, digest after the second one)."""
    command = [sys.executable, str(Path(__file__).with_name("engine_fakes.py")), str(tmp_path_factory.mktemp("killed"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "scenario",
    [
        "first step",
        "inside epoch 0",
        "inside epoch 1",
        "rare states",
        "in validation",
        "while writing",
        "before renaming",
    ],
)
def test_kill_9_then_the_same_command_gives_the_same_weights(killed, scenario):
    code, digest = killed[scenario]
    assert code == -9
    assert digest == killed["calm"][1]


@pytest.mark.parametrize("scenario", ["terminated", "terminated in validation"])
def test_sigterm_saves_and_leaves_with_an_error(killed, scenario):
    code, digest = killed[scenario]
    assert code == 143
    assert digest == killed["calm"][1]


def test_same_seed_same_weights_and_another_seed_others(tmp_path):
    first = train_digest(tmp_path / "a", seed=1)
    assert first == train_digest(tmp_path / "b", seed=1)
    assert first != train_digest(tmp_path / "c", seed=2)


def stop_at(target):
    def before_step(step):
        if step == target:
            raise InterruptedError

    return TinyData(before_step), InterruptedError


def test_the_log_is_cut_back_to_the_state(tmp_path):
    data, stop = stop_at(6)
    with pytest.raises(stop):
        make_trainer(tmp_path, data=data, save_every=1e9).run()
    make_trainer(tmp_path).run()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    assert steps == list(range(1, RECIPE["epochs"] * STEPS + 1))
    assert [line["epoch"] for line in lines if line["kind"] == "validation"] == [1, 2, 3]


def test_an_unreadable_state_falls_back_to_the_one_before(tmp_path, caplog):
    calm = train_digest(tmp_path / "calm")
    data, stop = stop_at(6)
    with pytest.raises(stop):
        make_trainer(tmp_path, data=data).run()
    newest = max((tmp_path / "state").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-200])
    with caplog.at_level(logging.WARNING):
        assert train_digest(tmp_path) == calm
    assert newest.name in caplog.text


def test_all_states_unreadable_starts_anew(tmp_path):
    calm = train_digest(tmp_path / "calm")
    data, stop = stop_at(6)
    with pytest.raises(stop):
        make_trainer(tmp_path, data=data).run()
    for state in (tmp_path / "state").glob("*.pt"):
        state.write_bytes(b"")
    assert train_digest(tmp_path) == calm


def test_a_state_of_other_code_is_removed(tmp_path):
    data, stop = stop_at(6)
    with pytest.raises(stop):
        make_trainer(tmp_path, data=data, identity="a" * 64).run()
    store = StateStore(tmp_path / "state", "b" * 64)
    assert store.load() is None
    store.claim()
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["lock"]


def test_a_state_can_be_forgotten_on_demand(tmp_path):
    store = StateStore(tmp_path, "i" * 16)
    store.save({}, 0, 1)
    store.claim()
    assert store.load() is not None
    store.claim(anew=True)
    assert store.load() is None


def test_two_states_are_kept_and_leftovers_go(tmp_path):
    store = StateStore(tmp_path, "i" * 16)
    for step in range(4):
        store.save({"step": step}, 0, step)
    (tmp_path / ".broken.pt.1.tmp").write_bytes(b"half")
    again = StateStore(tmp_path, "i" * 16)
    again.claim()
    assert again.load()["step"] == 3
    assert sorted(path.name[-11:] for path in tmp_path.iterdir()) == ["00000002.pt", "00000003.pt", "lock"]


def test_states_cannot_run_code(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    store = StateStore(tmp_path / "state", "i" * 16)
    torch.save({"identity": "i" * 16, "payload": Payload()}, tmp_path / "state" / f"{'i' * 16}.00000.00000001.pt")
    assert store.load() is None
    assert not (tmp_path / "ran").exists()


def test_weights_files_are_the_same_bytes_and_keep_their_description(tmp_path):
    state = {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.ones(())}
    state["alias"] = state["a"]
    for name in ("one", "two"):
        save_weights(tmp_path / name, state, {"variant": "v", "image_size": 64})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    loaded, described = read_weights(tmp_path / "one")
    assert torch.equal(loaded["a"], state["a"])
    assert described == {"variant": "v", "image_size": 64}


def test_a_full_disk_is_one_clear_error_and_leaves_no_half_file(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    store = StateStore(tmp_path, "i" * 16)
    with pytest.raises(AvsbenchError, match="the disk is full"):
        store.save({}, 0, 1)
    assert not list(tmp_path.iterdir())
