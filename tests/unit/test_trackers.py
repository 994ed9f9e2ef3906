"""TensorBoard and Weights & Biases: what reaches them, and that nothing of them stops a training or leaves a secret."""

import importlib.machinery
import logging
import sys
import types

import pytest

from avsbench import cards, cli
from avsbench.engine import trackers
from avsbench.engine.trainlog import TrainLog, replay
from avsbench.errors import AvsbenchError

SECRETS = {"WANDB_API_KEY": "key-of-the-user", "WANDB_ENTITY": "group-of-the-user"}


def training(folder, steps, *, tracker, position=0, done=0):
    """A log with a line per step and a validation at the end; returns where it stood after each step."""
    log = TrainLog(folder / "log.jsonl", position, tracker)
    log.start("tiny on s4, seed 0", epoch=1, step=done)
    positions = {}
    for step in steps:
        log.write(kind="train", epoch=1, step=step, loss=10.0 + step, terms={"bce": 10.0 + step}, lr=[0.5, 0.25])
        positions[step] = log.position
    log.write(kind="validation", epoch=1, scores={"miou": 0.5, "dataset_miou": float("nan")})
    log.close()
    return positions


def test_numbers_of_a_line_are_named_by_their_path():
    line = {"kind": "validation", "time": "…", "epoch": 2, "step": 9, "scores": {"A": {"miou": 0.5}}, "note": "text"}
    assert trackers.scalars(line) == {"validation/epoch": 2, "validation/A/miou": 0.5}
    line = {"kind": "train", "time": "…", "step": 9, "lr": [0.5, 0.25], "gradient_norm": None, "done": True}
    assert trackers.scalars(line) == {"train/lr/0": 0.5, "train/lr/1": 0.25}


class TestTensorBoard:
    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("tensorboard", reason="needs the package tensorboard (extra `tensorboard`)")

    @staticmethod
    def points(folder, name):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder)).Reload()
        return [(event.step, event.value) for event in events.Scalars(name)]

    def test_a_training_can_be_read_back(self, tmp_path):
        training(tmp_path, (1, 2), tracker=trackers.open_tracker("tensorboard", tmp_path / "tb"))
        assert self.points(tmp_path / "tb", "train/loss") == [(1, 11.0), (2, 12.0)]
        assert self.points(tmp_path / "tb", "train/lr/1") == [(1, 0.25), (2, 0.25)]
        assert self.points(tmp_path / "tb", "validation/A/miou") == [(2, 0.5)]

    def test_a_continued_training_shows_each_step_once(self, tmp_path):
        open_one = lambda: trackers.open_tracker("tensorboard", tmp_path / "tb")  # noqa: E731
        positions = training(tmp_path, (1, 2, 3, 4), tracker=open_one())
        training(tmp_path, (3, 4, 5), tracker=open_one(), position=positions[2], done=2)
        assert [step for step, _ in self.points(tmp_path / "tb", "train/loss")] == [1, 2, 3, 4, 5]

    def test_a_new_training_replaces_the_old_one(self, tmp_path):
        (tmp_path / "tb").mkdir()
        (tmp_path / "tb" / "notes.txt").write_text("mine")
        for steps in ((1, 2, 3), (1, 2)):
            training(tmp_path, steps, tracker=trackers.open_tracker("tensorboard", tmp_path / "tb"))
        assert [step for step, _ in self.points(tmp_path / "tb", "train/loss")] == [1, 2]
        assert (tmp_path / "tb" / "notes.txt").is_file()

    def test_an_existing_log_is_replayed_with_its_own_times(self, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        positions = training(tmp_path, (1, 2, 3), tracker=None)
        training(tmp_path, (3, 4), tracker=None, position=positions[2], done=2)
        text = (tmp_path / "log.jsonl").read_text().replace('"time": "20', '"time": "19')
        (tmp_path / "log.jsonl").write_text(text)
        assert cli.main(["replay-log", str(tmp_path), "--tracker", "tensorboard"]) == 0
        (events,) = (tmp_path / "tensorboard").iterdir()
        points = EventAccumulator(str(events)).Reload().Scalars("train/loss")
        assert [point.step for point in points] == [1, 2, 3, 4]
        assert all(point.wall_time < 0 for point in points)  # before 1970


class FakeRun:
    def __init__(self, options):
        self.options, self.logged, self.finished = options, [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in of the package, which is large, with the calls that the writer makes."""
    fake = types.ModuleType("wandb")
    fake.__spec__ = importlib.machinery.ModuleSpec("wandb", None, origin="a test")
    fake.mode, fake.known, fake.runs = "online", True, []
    fake.setup = lambda: types.SimpleNamespace(settings=types.SimpleNamespace(mode=fake.mode))
    fake.login = lambda prompt, verify: fake.known
    fake.Settings = lambda **options: options

    def init(**options):
        fake.runs.append(FakeRun(options))
        return fake.runs[-1]

    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return fake


class TestWeightsAndBiases:
    def test_a_training_and_its_continuation_are_one_run(self, tmp_path, wandb):
        open_one = lambda: trackers.open_tracker("wandb", tmp_path / "wandb")  # noqa: E731
        positions = training(tmp_path, (1, 2, 3), tracker=open_one())
        training(tmp_path, (3, 4), tracker=open_one(), position=positions[2], done=2)
        first, second = wandb.runs
        assert first.options["id"] == second.options["id"]
        assert first.options["resume"] == second.options["resume"] == "allow"
        assert first.options["dir"] == str(tmp_path)
        assert [step for step, _ in first.logged] == [1, 2, 3, 3]
        assert first.logged[0][1]["train/terms/bce"] == 11.0
        assert first.logged[-1][1] == {"validation/epoch": 1, "validation/A/miou": 0.5}
        assert first.finished
        assert second.finished

    def test_a_new_training_is_a_new_run(self, tmp_path, wandb):
        for _ in range(2):
            training(tmp_path, (1,), tracker=trackers.open_tracker("wandb", tmp_path / "wandb"))
        assert wandb.runs[0].options["id"] != wandb.runs[1].options["id"]

    def test_the_project_is_the_users_or_ours(self, tmp_path, wandb, monkeypatch):
        for expected in ("avsbench", "theirs"):
            training(tmp_path, (1,), tracker=trackers.open_tracker("wandb", tmp_path / "wandb"))
            assert wandb.runs[-1].options["project"] == expected
            monkeypatch.setenv("WANDB_PROJECT", "theirs")

    def test_no_account_is_said_before_the_training(self, tmp_path, wandb):
        wandb.known = False
        with pytest.raises(AvsbenchError, match="wandb login"):
            trackers.open_tracker("wandb", tmp_path)
        wandb.mode = "offline"
        assert trackers.open_tracker("wandb", tmp_path) is not None

    def test_nothing_of_the_user_is_in_our_files_or_calls(self, tmp_path, wandb):
        training(tmp_path, (1, 2), tracker=trackers.open_tracker("wandb", tmp_path / "wandb"))
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert files
        written = b"".join(path.read_bytes() for path in files).decode() + repr(wandb.runs[0].options)
        assert not [name for name, secret in SECRETS.items() if secret in written]
        ours = [path for path in cards.PACKAGE.rglob("*") if path.suffix in (".py", ".yaml")]
        ours += [*(cards.PROJECT / "workflow").rglob("*.smk"), *(cards.PROJECT / "config").rglob("*.yaml")]
        mentions = ("WANDB_API_KEY", "WANDB_ENTITY", "api_key", "entity=")
        assert not [path for path in ours if any(word in path.read_text() for word in mentions)]

    def test_an_existing_log_becomes_a_run(self, tmp_path, wandb):
        training(tmp_path, (1, 2), tracker=None)
        assert replay(tmp_path / "log.jsonl", "wandb", tmp_path / "wandb") == 4
        assert [step for step, _ in wandb.runs[0].logged] == [1, 2, 2]


class Breaking:
    """Fails at the `at`-th call."""

    def __init__(self, at):
        self.left = at

    def write(self, line):
        self.left -= 1
        if self.left <= 0:
            raise ConnectionError("the network is gone")

    def close(self):
        self.write({})


@pytest.mark.parametrize("at", [1, 3, 5])  # at the start, in the middle, at the end
def test_a_tracker_that_fails_never_stops_the_training(tmp_path, caplog, at):
    with caplog.at_level(logging.WARNING):
        training(tmp_path, (1, 2), tracker=trackers.Guarded("wandb", Breaking(at)))
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4
    (said,) = caplog.records
    assert "the network is gone" in said.message
    assert "avsbench replay-log RUN --tracker wandb" in said.message


@pytest.mark.parametrize("name", list(trackers.TRACKERS))
def test_a_missing_package_is_said_with_what_to_install(tmp_path, monkeypatch, name):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AvsbenchError, match=rf'pip install "avsbench\[{name}\]"'):
        trackers.check_tracker(name)
    with pytest.raises(AvsbenchError, match="not installed"):
        trackers.open_tracker(name, tmp_path)


def test_a_folder_called_like_the_package_is_not_the_package(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "wandb").mkdir()  # W&B's own default
    with pytest.raises(AvsbenchError, match="not installed"):
        trackers.check_tracker("wandb")


def test_a_package_that_cannot_be_imported_is_said(tmp_path, monkeypatch, wandb):
    def broken(folder):
        raise ImportError("libfoo is missing")

    monkeypatch.setitem(trackers.TRACKERS, "wandb", broken)
    with pytest.raises(AvsbenchError, match="libfoo is missing"):
        trackers.open_tracker("wandb", tmp_path)


def test_none_needs_nothing_and_another_name_is_an_error(tmp_path):
    assert trackers.open_tracker("none", tmp_path) is None
    with pytest.raises(AvsbenchError, match="unknown tracker 'mlflow'"):
        trackers.check_tracker("mlflow")


def test_the_command_line_comes_before_the_workflow_and_that_before_the_file(monkeypatch):
    monkeypatch.delenv(trackers.VARIABLE, raising=False)
    assert trackers.chosen(None, {}) == "none"
    assert trackers.chosen(None, {"tracker": "wandb"}) == "wandb"
    monkeypatch.setenv(trackers.VARIABLE, "none")
    assert trackers.chosen(None, {"tracker": "wandb"}) == "none"
    assert trackers.chosen("tensorboard", {"tracker": "wandb"}) == "tensorboard"


@pytest.mark.parametrize("content", [None, "", '{"kind": "train", "step": 1}\n'])
def test_what_is_no_log_is_not_replayed(tmp_path, content):
    if content is not None:
        (tmp_path / "log.jsonl").write_text(content)
    with pytest.raises(AvsbenchError, match="log"):
        replay(tmp_path / "log.jsonl", "tensorboard", tmp_path / "tb")
