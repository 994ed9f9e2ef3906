"""Every benchmark runs in its smallest form and gives the lines that the table is made of. No time is judged here."""

import importlib
import itertools
import json
import os
import re
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

import benchmarks.__main__ as command
from avsbench.nn.precision import tf32_as_it_was
from benchmarks import common, evaluation, loader, mini, tpavi_attention, training_step
from benchmarks import stereo as stereo_bar
from benchmarks.common import Alone, Row


def by_case(rows):
    rows = list(rows)
    assert all(row.value is None or row.value > 0 for row in rows)
    return {row.case: row for row in rows}


# the table


def test_table_shows_figures_memory_and_reasons():
    text = common.markdown([Row("a", "b", 1234.5, "clips/s", 99.6, "2×"), Row("c", "d", None, note="no compiler")])
    assert text.splitlines()[2:] == [
        "| a | b | 1,234 clips/s | 100 MB | 2× |",
        "| c | d | not run |  | no compiler |",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (99999, "99,999"), (0, "0")]
)
def test_number_keeps_three_digits(value, text):
    assert common.number(value) == text


def test_heading_names_date_machine_and_versions():
    text = common.heading()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC; .+, \d+ cores, \d+ GiB, ", text)
    assert f"torch {torch.__version__}" in text


def test_a_topic_that_fails_leaves_a_line_and_the_others(monkeypatch, tmp_path, capsys):
    def works(quick):
        yield Row("one", "case", 2.0, "s")

    def breaks(quick):
        yield Row("two", "case", 3.0, "s")
        raise RuntimeError("no GPU | today")

    monkeypatch.setattr(command, "TOPICS", {"two": breaks, "one": works})
    assert command.main(["--quick", "--output", str(tmp_path / "table.json")]) == 1
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [row["topic"] for row in rows] == ["two", "two", "one"]
    assert rows[1]["note"] == "RuntimeError: no GPU / today"
    assert command.main(["--only", "one", "--output", str(tmp_path / "table.md")]) == 0
    assert "| one | case | 2.00 s |  |  |" in (tmp_path / "table.md").read_text()


# measuring


def test_alone_keeps_an_object_in_its_own_process():
    with Alone(itertools.count, 5) as counter:
        assert [counter.call("__next__") for _ in range(3)] == [5, 6, 7]
        with pytest.raises(AttributeError):
            counter.call("previous")
    with Alone(importlib.import_module, "os") as system:
        assert system.call("getpid") != os.getpid()
        with pytest.raises(BrokenProcessPool):  # killed, as for want of memory
            system.call("_exit", 9)
    with pytest.raises(ValueError, match="invalid literal"):
        Alone(int, "five")


def test_turns_alternate_and_ratios_go_round_by_round():
    calls = []

    def measure(name, values):
        def one():
            calls.append(name)
            return values.pop(0)

        return one

    seconds = common.in_turns({"a": measure("a", [4.0, 9.0, 8.0]), "b": measure("b", [2.0, 3.0, 8.0])}, 3)
    assert calls == ["a", "b"] * 3
    assert common.ratios(seconds["a"], seconds["b"]) == (1.0, 2.0)


def test_a_command_that_fails_or_hangs_says_so(tmp_path):
    environment = {"PATH": os.environ["PATH"]}
    with pytest.raises(RuntimeError, match="a reason"):
        common.measured(["sh", "-c", "echo a reason; exit 3"], tmp_path, environment, 30)
    with pytest.raises(RuntimeError, match="not finished after 0 s"):
        common.measured(["sleep", "30"], tmp_path, environment, 0.2)
    used = common.measured(["sh", "-c", "echo done"], tmp_path, environment, 30)
    assert (used.output, used.mb > 0) == ("done\n", True)


# topics


class Here:
    """In the place of Alone: the object in this process, which has paid for importing torch."""

    def __init__(self, factory, *arguments):
        self.object = factory(*arguments)

    def call(self, name, *arguments):
        return getattr(self.object, name)(*arguments)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def here(monkeypatch):
    for module in (training_step, tpavi_attention):
        monkeypatch.setattr(module, "Alone", Here)
    with tf32_as_it_was():
        yield


def test_loader():
    warm, cold = loader.measure("ms3", 3, 1)
    assert set(warm) == {"files", "shards", "native", "cache"}
    assert set(cold) == {"files", "shards", "native"}
    assert min(*warm.values(), *cold.values()) > 0


def test_attention(here):
    found = tpavi_attention.compare(tpavi_attention.Step, 1, "mini", 64, rounds=1)
    row = tpavi_attention.row_of("step", found, "; bar 1.3×")
    assert found["difference"] < 1e-4
    assert re.match(r"[\d.]+× as fast as direct \([\d.]+× in its worst round\)", row.note)


def test_training_step(here):
    settings = {name: training_step.SETTINGS[name] for name in (training_step.BASE, "bfloat16")}
    settings["broken"] = {"precision": "float8"}
    rows = by_case(
        training_step.measure("tpavi-r50", "ms3", scale="mini", settings=settings, threads=1, rounds=1, device="cpu")
    )
    assert list(rows) == [f"tpavi-r50, ms3, {end}" for end in ("operations", "broken", "float32", "bfloat16")]
    assert "float8" in rows["tpavi-r50, ms3, broken"].note
    assert "as fast as float32" in rows["tpavi-r50, ms3, bfloat16"].note
    assert rows["tpavi-r50, ms3, float32"].mb > 100


def test_training_step_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    settings = {"float32 compiled": training_step.SETTINGS["float32 compiled"]}
    rows = list(training_step.measure("tpavi-r50", "ms3", scale="mini", settings=settings, threads=1, rounds=1))
    assert [(row.value, row.note) for row in rows] == [(None, "torch.compile needs a C++ compiler (g++)")]


def test_a_step_on_a_gpu_sees_the_recipes_batch():
    variant = training_step.cards.variant("tpavi-r50")
    shares = training_step.shares_of(variant, "ms3", "mini", gpu=True)
    assert sum(len(share.batch) for share in shares) == variant.recipe("mini", "ms3")["batch"]
    assert sum(share.weight for share in shares) == pytest.approx(1)
    assert shares[0].batch.frames.shape[1] == 5


def test_waiting_for_data_comes_from_the_log_of_a_training(here):
    row = training_step.waiting("tpavi-r50", "ms3", clips=5, threads=1, device="cpu", scale="mini")
    assert (row.case, row.unit) == ("tpavi-r50, ms3, waits for data", "%")
    assert 0 <= row.value < 100


def test_every_trainable_variant_has_its_turn():
    trainable = [name for name, variant in training_step.cards.variants().items() if variant.method.trainable]
    assert training_step.chosen(quick=False) == trainable
    assert len(training_step.chosen(quick=True)) == len({training_step.cards.variant(n).method.name for n in trainable})


@pytest.mark.parametrize("gpu", [False, True])
def test_what_is_measured_here_and_on_a_gpu(gpu, monkeypatch):
    asked, waits = [], []

    def measure(name, dataset, *, settings, rounds, threads):
        asked.append((name, dataset, set(settings)))
        return []

    def waiting(name, dataset, *, clips, threads):
        waits.append((name, clips, threads))
        return Row("training step", name, 1.0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(training_step, "measure", measure)
    monkeypatch.setattr(training_step, "waiting", waiting)
    names = ["tpavi-r50", "tpavi-pvt"]
    rows = list(training_step.rows(quick=True, names=names))
    everything = set(training_step.SETTINGS) | (set(training_step.ON_GPU) if gpu else set())
    eager = {name for name in everything if "compiled" not in name and "graphs" not in name}
    assert asked == [("tpavi-r50", "s4", everything), ("tpavi-pvt", "s4", eager)]
    assert [row.case for row in rows] == (names if gpu else [])
    assert waits == ([(name, 320, 8) for name in names] if gpu else [])


def test_the_wait_is_measured_on_more_clips_than_the_engine_keeps():
    from avsbench.engine.data import CACHE_BYTES

    assert training_step.UNCACHED_CLIPS * 5 * loader.SIZE**2 * 4 > CACHE_BYTES


def test_predicting():
    found = evaluation.Predicting("tpavi-r50", "ms3", 1, 1, "cpu", "mini").run()
    assert 0 < found["all"] <= found["network"]


@pytest.mark.parametrize(("dataset", "frames"), [("ms3", 15), ("avss", None)])
def test_scoring(dataset, frames):
    found = evaluation.Scoring(dataset, 3).run()
    assert found["frames"] == found["predicted"]  # every frame of these splits is annotated
    assert frames in (None, found["frames"])
    assert min(found["seconds"], found["predictions"], found["rows"]) > 0


@pytest.mark.parametrize("dataset", ["s4", "avss"])
def test_drawing(dataset):
    found = evaluation.Drawing(dataset, 4).run()
    assert found["clips"] == 4
    assert min(found["seconds"], found["bytes"]) > 0


def test_embedded_leaderboard_by_stage():
    rows = by_case(mini.measure(2, ["data/mini/vpo_ss/index/val.parquet"], 300))
    assert list(rows) == ["acquire", "manifests", "extract", "index", "Snakemake itself", "all of it"]
    assert rows["extract"].note.startswith("1 job, ")
    assert rows["all of it"].note.startswith("4 jobs, ")


@pytest.mark.parametrize(
    ("mono", "stereo", "reached"),
    [
        ([20.0, 21.0, 22.0], [30.0, 31.0, 32.0], True),
        ([20.0, 21.0, 22.0], [24.9, 25.9, 26.9], False),  # less than 5 points
        ([20.0, 26.0, 32.0], [36.0, 37.0, 38.0], False),  # 11 points, and seeds that differ by 6
    ],
)
def test_the_bar_of_stereo_asks_for_points_and_deviations(mono, stereo, reached):
    difference, spread, found = stereo_bar.gap(mono, stereo)
    assert found is reached
    assert difference == pytest.approx(sum(stereo) / 3 - sum(mono) / 3)
    assert spread == pytest.approx(max((values[2] - values[0]) / 2 for values in (mono, stereo)))
