"""What a whole training leaves in its log and in a tracker: stopped, continued, or deserted by the tracker."""

import json

import pytest
import torch

from avsbench.engine import trackers
from avsbench.engine.trainlog import read_log
from tests.unit.engine_fakes import RECIPE, STEPS, TinyData, make_trainer

ALWAYS = {"kind", "time", "epoch", "step"}
TRAIN = {"at", "loss", "terms", "lr", "gradient_norm", "seconds", "clips_per_s", "wait_share"}
MEMORY = {"memory_mb", "peak_memory_mb"}


def stopping(at):
    def before_step(step):
        if step == at:
            raise InterruptedError

    return TinyData(before_step)


def test_each_line_holds_what_the_documents_say(tmp_path):
    make_trainer(tmp_path).run()
    lines = read_log(tmp_path / "log.jsonl")
    start, train, validation = (next(x for x in lines if x["kind"] == k) for k in ("start", "train", "validation"))
    assert lines[0] is start
    assert start["step"] == 0
    assert start["run"] == "tiny"
    assert start["world_size"] == 1
    assert start["batch"] == RECIPE["batch"]
    assert start["device"].startswith("cpu")
    assert start["variant"] == "tiny"
    assert start["versions"]["torch"] == torch.__version__
    assert set(train) == ALWAYS | TRAIN | MEMORY
    assert train["seconds"] > 0
    assert train["loss"] == pytest.approx(sum(train["terms"].values()))
    assert set(validation) == ALWAYS | {"scores", "seconds"}
    assert validation["step"] == STEPS
    assert set(validation["scores"]) == {"A"}


def test_a_resumed_training_says_so_and_holds_each_step_once(tmp_path):
    with pytest.raises(InterruptedError):
        make_trainer(tmp_path, data=stopping(6), save_every=1e9).run()
    make_trainer(tmp_path).run()
    lines = read_log(tmp_path / "log.jsonl")
    starts = [(line["step"], line["resumes"]) for line in lines if line["kind"] == "start"]
    assert starts == [(0, 0), (STEPS, 1)]
    assert len({line["id"] for line in lines if line["kind"] == "start"}) == 1
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    assert steps == list(range(1, RECIPE["epochs"] * STEPS + 1))


def test_tensorboard_shows_a_resumed_training_once_and_changes_no_bit(tmp_path):
    reason = "needs the package tensorboard (extra `tensorboard`)"
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=reason)

    def tracked(**options):
        trainer = make_trainer(tmp_path / "tracked", **options)
        trainer.tracker = trackers.open_tracker("tensorboard", tmp_path / "events")
        return trainer

    with pytest.raises(InterruptedError):
        tracked(data=stopping(6), save_every=1e9).run()
    trainer = tracked()
    trainer.run()
    shown = events.EventAccumulator(str(tmp_path / "events")).Reload()
    points = [(event.step, event.value) for event in shown.Scalars("train/loss")]
    lines = [line for line in read_log(tmp_path / "tracked" / "log.jsonl") if line["kind"] == "train"]
    assert points == [(line["step"], pytest.approx(line["loss"])) for line in lines]
    assert len(shown.Scalars("validation/A/miou")) == RECIPE["epochs"]
    calm = make_trainer(tmp_path / "calm")
    calm.run()
    for key, value in calm.method.state_dict().items():
        assert torch.equal(value, trainer.method.state_dict()[key]), key


@pytest.mark.parametrize("calls", [0, 4])
def test_a_tracker_that_fails_leaves_the_training_as_it_was(tmp_path, caplog, calls):
    class Leaving:
        def write(self, line):
            if len(seen) >= calls:
                raise TimeoutError("no answer")
            seen.append(line)

        def close(self):
            raise AssertionError("closed although it had failed")

    seen = []
    trainer = make_trainer(tmp_path / "tracked")
    trainer.tracker = trackers.Guarded("wandb", Leaving())
    progress = trainer.run()
    calm = make_trainer(tmp_path / "calm")
    assert json.dumps(calm.run().history) == json.dumps(progress.history)
    assert len(seen) == calls
    assert caplog.text.count("no answer") == 1
