"""Snakemake's reasons in words."""

import json
import re

import pytest
from snakemake.jobs import Reason
from snakemake.persistence import ParamsChange

from avsbench.errors import AvsbenchError
from avsbench.reruns import record
from avsbench.reruns.changes import Change, changes, code_change, differences
from avsbench.reruns.dry_run import _job
from avsbench.reruns.reasons import stage_of

OLD, NEW = "0123456789abcdef", "fedcba9876543210"
KNOWN = {
    OLD: {"avsbench.nn.losses": "1", "models.tpavi.loss": "1", "models.tpavi.gone": "1"},
    NEW: {"avsbench.nn.losses": "1", "models.tpavi.loss": "2", "models.tpavi.model": "1"},
}


def compact(**content):
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def said(before, now):
    """What Snakemake says about parameters, as the installed version does."""
    reason = Reason()
    reason.params_changed = ParamsChange(set(map(repr, before)), set(map(repr, now)), {"weights"})
    return str(reason)


def words(reason):
    return [change.words for change in changes(reason, {NEW: KNOWN[NEW]}, {OLD: KNOWN[OLD]})]


def test_code_is_told_by_module():
    expected = "the code changed: models.tpavi.loss, models.tpavi.gone (gone), models.tpavi.model (new)"
    assert words(said([OLD], [NEW])) == [expected]


def test_a_recipe_is_told_by_key():
    before = compact(epochs=15, optimizer={"lr": 1e-4, "name": "adam"}, select="miou, now: x")
    now = compact(epochs=20, optimizer={"lr": 5e-5, "name": "adam"}, select="miou, now: x", clip_norm=1.0)
    (change,) = changes(said([before], [now]), {}, {})
    assert change.kind == "recipe"
    assert change.words == "the recipe changed: epochs 15 → 20, optimizer.lr 0.0001 → 5e-05, clip_norm nothing → 1.0"


def test_each_parameter_is_known_by_its_form():
    before = [
        OLD,
        compact(epochs=1, select="last"),
        compact(options={"backbone": "r50"}, encoders={}, init="imagenet", image_size=224),
        "--scale mini --image-size 64 --data-root data --weights-root weights",
        ["--features", compact(maskige={"generator": "felzenszwalb"})],
        "",
    ]
    now = [
        NEW,
        compact(epochs=2, select="last"),
        compact(options={"backbone": "pvt"}, encoders={}, init="imagenet", image_size=224),
        "--scale mini --image-size 64 --data-root elsewhere --weights-root weights",
        ["--features", compact(maskige={"generator": "sam"})],
        "--array vggish_mel=released ",
    ]
    found = changes(said(before, now), KNOWN, {})
    assert sorted(change.kind for change in found) == ["code", "network", "network", "network", "recipe", "roots"]
    told = "\n".join(change.words for change in found)
    assert 'data-root "data" → "elsewhere"' in told
    assert 'options.backbone "r50" → "pvt"' in told
    assert 'features.maskige.generator "felzenszwalb" → "sam"' in told
    assert 'array nothing → "vggish_mel=released"' in told


def test_files_and_other_reasons_are_told():
    reason = Reason()
    reason.updated_input.update(["data/a.h5", "data/b.h5"])
    reason.input_changed = reason.software_stack_changed = reason.code_changed = True
    found = changes(str(reason), {}, {})
    assert [change.kind for change in found] == ["newer", "inputs", "command", "software"]
    assert re.fullmatch(r"newer than what was made of it: data/[ab]\.h5 \(and 1 more\)", found[0].words)
    missing = Reason()
    missing.missing_output.update(["weights.safetensors"])
    assert changes(str(missing), {}, {}) == [Change("missing", "missing: weights.safetensors")]
    follows = Reason()
    follows.updated_input_run.update(["a"])
    assert [change.kind for change in changes(str(follows), {}, {})] == ["follows"]


@pytest.mark.parametrize("sentence", ["A reason of a later version", "Params have changed in another manner: 1, 2"])
def test_words_that_are_not_known_are_passed_on(sentence):
    assert changes(sentence, {}, {}) == [Change("other", sentence)]


def test_code_that_was_not_recorded_is_said_to_be_unknown():
    assert code_change("f" * 16, NEW, KNOWN).words == "the code changed (which modules, was not recorded then)"
    assert "since commit 0123456 (" in code_change("f" * 16, NEW, KNOWN, "0123456789abcdef+changes").words


def test_lists_and_numbers_are_told_as_they_are():
    assert words(said([], [["tpavi-r50 on ms3, seed 0"]])) == ['settings: nothing → ["tpavi-r50 on ms3, seed 0"]']
    assert words(said([4], [16])) == ["settings: 4 → 16"]


def test_nothing_differs_between_equals():
    assert list(differences({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}})) == []


def test_rules_are_called_by_their_stage():
    names = [
        "train_tpavi_r50",
        "manifests_s4",
        "audio_ms3_2",
        "predict_conditions_s4",
        "pretrain_mini",
        "score_external",
    ]
    assert [stage_of(name) for name in names] == [
        "train", "manifests", "audio", "predict_conditions", "pretrain_mini", "score_external",
    ]  # fmt: skip


@pytest.mark.parametrize("told", [{}, {"rule_name": "train", "output": None}, {"rule_name": None, "output": ["a"]}])
def test_a_snakemake_that_tells_nothing_is_named(told):
    with pytest.raises(AvsbenchError, match=r"Snakemake 9\.99 does not tell about its jobs"):
        _job(told, "9.99")


def test_records_of_jobs_are_kept_and_silenced():
    import logging

    from snakemake_interface_logger_plugins.common import LogEvent

    notes, logger = record.Notes(), logging.getLogger("a test of records")
    logger.addFilter(notes)
    logger.warning("rule", extra={"event": LogEvent.JOB_INFO, "jobid": 3, "rule_name": "train", "reason": "why"})
    logger.warning("stats", extra={"event": LogEvent.RUN_INFO, "stats": {"train": 1, "total": 1}})
    logger.error("it broke")
    assert notes.jobs == {3: {"rule_name": "train", "wildcards": None, "output": None, "reason": "why"}}
    assert (notes.planned, notes.errors) == (1, ["it broke"])
