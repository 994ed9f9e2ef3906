"""Why a run has no score, from the logs that a workflow leaves."""

from pathlib import Path

import pytest

from avsbench.errors import AvsbenchError
from avsbench.plan import Plan, Run
from avsbench.report.failures import find_failures, last_message, stages
from avsbench.report.stage import render
from tests.unit.report_runs import make_run, row_of, write

RUN = Run("ms3", "tpavi-r50", "0")


@pytest.fixture
def plan(tmp_path):
    roots = {f"{name}_root": f"{tmp_path}/{name}" for name in ("data", "results", "weights")}
    return Plan({"scale": "mini", "runs": {"ms3": ["tpavi-r50", "saliency"]}, "seeds": [0], **roots})


def complete_until(plan, stage):
    """Pretend that everything before `stage` exists; returns (outputs, log) of it."""
    for name, outputs, log in stages(plan, RUN):
        if name == stage:
            return outputs, log
        for file in outputs:
            write(file, {"usable": 32, "expected": 32} if name == "check split" else "{}")
    raise AssertionError(f"no stage {stage}")


def test_every_stage_writes_where_the_rules_do(plan):
    """Log names are spelled in the rules too; a change there must come through here."""
    rules = "\n".join(path.read_text() for path in Path(__file__).parents[2].glob("workflow/rules/*.smk"))
    for stage, _, log in stages(plan, RUN):
        folder = Path(log).relative_to(plan.paths.log("x").removesuffix("x.log")).parts[0].removesuffix(".log")
        assert f'PATHS.log("{folder}"' in rules, f"{stage}: {folder}"


@pytest.mark.parametrize("stage", ["acquire", "extract", "audio", "pretrained encoder", "train", "predict", "score"])
def test_the_first_missing_stage_with_a_log_failed(plan, stage):
    _, log = complete_until(plan, stage)
    write(log, f"working\n{AvsbenchError('it broke', found=1, hint='mend it')}\n")
    failure = find_failures(plan)[RUN]
    assert (failure.status, failure.reason, failure.log) == ("failed", f"{stage}: it broke", log)


def test_without_a_log_it_did_not_run(plan):
    outputs, _ = complete_until(plan, "train")
    failure = find_failures(plan)[RUN]
    assert failure.status == "not run"
    assert outputs[0] in failure.reason


def test_a_run_that_needs_no_training_reads_the_test_split_alone(plan):
    found = [stage for stage, _, _ in stages(plan, Run("ms3", "saliency", "none"))]
    assert found == ["acquire", "manifests", "extract", "index", "check split", "describe", "predict", "score"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ""),
        ("one\ntwo\n", "two"),
        ("unexpected: X\nTraceback (most recent call last):\n  File a\n    b\nValueError: no\n", "ValueError: no"),
        ("what went wrong\n  found:    1\n  next:     that\n", "what went wrong"),
        ("a" * 500, "a" * 239 + "…"),
    ],
)
def test_last_message(tmp_path, text, message):
    write(str(tmp_path / "log"), text)
    assert last_message(tmp_path / "log") == message


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    write(str(tmp_path / "log"), "x\n" * 200_000 + "the end\n")
    assert last_message(tmp_path / "log") == "the end"


def test_a_stopped_workflow_renders_with_reasons(plan):
    make_run(plan.paths, Run("ms3", "saliency", "none"))
    _, log = complete_until(plan, "train")
    write(log, "tpavi-r50 on ms3, seed 0: the loss is not finite at step 3 (epoch 1)\n  found:    nan\n")
    text = Path(render(plan, partial=True)).read_text()
    assert text.startswith("**Partial leaderboard: 1 of 2 runs are complete (1 failed).**")
    assert "the loss is not finite" in text.splitlines()[0]
    lost = row_of(text.split("### Runs without a score")[1], "tpavi-r50")
    assert lost[4] == f"`{log}`"
    assert row_of(text, "saliency")[0] == "1"
