"""Several processes train as one: equal weights, agreement on when to stop, and errors that reach the user."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avsbench.engine.data import Division, Share
from avsbench.engine.distributed import launch
from avsbench.errors import AvsbenchError
from tests.unit.engine_fakes import RECIPE, CalmMethod, SharedData, TinyMethod, make_trainer, tiny_batch, tiny_part

CPU = torch.device("cpu")
# Plain SGD: Adam divides by gradients that are rounding alone where a parameter has none.
CALM = {**RECIPE, "batch": 4, "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}}


def train(folder: Path, division: Division, group=None, *, method=CalmMethod, before_step=lambda step: None, **options):
    folder.mkdir(exist_ok=True)
    data = SharedData(division, group.rank if group else 0, before_step)
    trainer = make_trainer(folder, data, CALM, method=method, group=group, **options)
    progress = trainer.run()
    torch.save(trainer.method.state_dict(), folder / f"weights.{group.rank if group else 0}.pt")
    return progress


def in_two(group, device, folder):
    torch.set_num_threads(1)
    progress = train(folder, Division(4, 2, 2), group)
    assert device == CPU
    (folder / f"history.{group.rank}").write_text(json.dumps(progress.history))


def assert_alike(one: Path, other: Path, rank: int = 0):
    first, second = torch.load(one / "weights.0.pt"), torch.load(other / f"weights.{rank}.pt")
    for key in first:
        torch.testing.assert_close(first[key], second[key], rtol=1e-4, atol=1e-6, msg=key)


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    train(folder, Division(4))
    return folder


def test_accumulation_equals_one_batch(alone, tmp_path):
    train(tmp_path, Division(4, 4, 1))
    assert_alike(alone, tmp_path)
    assert losses(tmp_path) == pytest.approx(losses(alone), rel=1e-4)


def test_two_processes_equal_one(alone, tmp_path):
    launch([CPU, CPU], in_two, tmp_path)
    for rank in (0, 1):
        assert_alike(alone, tmp_path, rank)
    assert losses(tmp_path) == pytest.approx(losses(alone), rel=1e-4)
    assert (tmp_path / "history.0").read_text() == (tmp_path / "history.1").read_text()


def in_two_with_a_signal(group, device, folder, number):
    torch.set_num_threads(1)
    mark = folder / f"struck.{group.rank}"

    def strike(step):
        # One process alone is told; both must leave at the same step, with a state.
        if group.rank == 1 and step == 5 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), number)

    train(folder, Division(4, 2, 2), group, method=TinyMethod, before_step=strike, save_every=1e9)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calm")
    launch([CPU, CPU], in_two_with_a_signal, folder, 0)
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_process_stops_all_and_nothing_is_lost(calm, tmp_path, number):
    struck = tmp_path
    with pytest.raises(SystemExit) as left:
        launch([CPU, CPU], in_two_with_a_signal, struck, number)
    assert left.value.code == 128 + number
    launch([CPU, CPU], in_two_with_a_signal, struck, number)
    for rank in (0, 1):
        one, other = (torch.load(folder / f"weights.{rank}.pt") for folder in (calm, struck))
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert losses(calm) == losses(struck)


def test_other_devices_than_before_continue(tmp_path):
    def strike(step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        train(tmp_path, Division(4, 2, 1), before_step=strike, save_every=1e9)
    launch([CPU, CPU], in_two, tmp_path)
    assert len(json.loads((tmp_path / "history.0").read_text())) == CALM["epochs"]
    assert len(losses(tmp_path)) == CALM["epochs"] * SharedData.steps_per_epoch


def fails(group, device, how):
    if group.rank == 1:
        if how == "error":
            raise AvsbenchError("clip x: broken", found="7", hint="mend it")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("a fault of the code")
    group.wait()


def test_an_error_of_any_process_reaches_the_user():
    with pytest.raises(AvsbenchError, match="clip x: broken") as caught:
        launch([CPU, CPU], fails, "error")
    assert caught.value.hint == "mend it"


def test_a_killed_process_is_named():
    with pytest.raises(AvsbenchError, match="process 1 of 2 was killed") as caught:
        launch([CPU, CPU], fails, "killed")
    assert "SIGKILL" in caught.value.found


@pytest.mark.parametrize(
    ("recipe", "published", "world", "expected"),
    [
        ({"batch": 4}, 0, 1, (1, 4, 1)),
        ({"batch": 8}, 2, 2, (2, 4, 1)),
        ({"batch": 8}, 2, 1, (2, 4, 2)),  # a two-device job granted one accumulates
        ({"batch": 8}, 4, 3, (6, 2, 2)),
        ({"batch": 8, "micro_batch": 2}, 1, 2, (4, 2, 2)),
        ({"batch": 8, "accumulate": False}, 2, 1, (1, 8, 1)),
        ({"batch": 8, "accumulate": False}, 2, 2, (2, 4, 1)),
    ],
)
def test_division_keeps_the_effective_batch(recipe, published, world, expected):
    division = Division.of(recipe, published, world)
    assert (division.parts, division.micro_batch, division.accumulation) == expected
    assert division.batch == recipe["batch"]


def test_a_division_says_what_differs_from_the_published_one():
    assert Division.of({"batch": 8}, 2, 2).notes == ()
    assert Division.of({"batch": 8}, 2, 1).notes == ()
    assert "4 clips, 8 in the published" in Division.of({"batch": 8}, 1, 2).notes[0]
    assert "accumulate is false" in Division.of({"batch": 8, "accumulate": False}, 2, 1).notes[0]


@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 3))
def test_shares_are_a_partition(clips, accumulation, world):
    division = Division(clips, accumulation * world, world)
    shares = [share for rank in range(world) for share in division.shares(list(range(clips)), rank)]
    real = [(part, weight) for part, weight in shares if weight]
    assert sorted(clip for part, _ in real for clip in part) == list(range(clips))
    assert sum(weight for _, weight in real) == pytest.approx(1)
    sizes = [len(part) for part, _ in real]
    assert max(sizes) - min(sizes) <= 1
    assert all(division.shares(list(range(clips)), rank) for rank in range(world))


@pytest.mark.parametrize("rank", [0, 1])
def test_uneven_shares_are_counted_as_the_step_they_are_part_of(tmp_path, rank):
    updater = make_trainer(tmp_path, recipe=CALM, method=CalmMethod).updater
    whole = tiny_batch(0, clips=3)
    shares = [Share(tiny_part(whole, part), weight) for part, weight in Division(3, 2, 2).shares([0, 1, 2], rank)]
    assert updater.launch(shares, 0).clips == 3
