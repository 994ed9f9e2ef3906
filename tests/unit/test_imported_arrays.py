"""Imported arrays in the place of a front end: what the plan asks for, what a run reads, what the leaderboard says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from avsbench import cards, provenance, registry
from avsbench.config import check_config
from avsbench.engine.train import identity
from avsbench.errors import AvsbenchError
from avsbench.plan import Plan, Run
from avsbench.report.failures import find_failures
from avsbench.report.leaderboard import write_leaderboard
from avsbench.spec import RunSpec
from avsbench.store.clips import ClipDataset
from avsbench.store.shards import ArrayReader, ArrayWriter
from tests.unit import store_fakes
from tests.unit.report_runs import make_run, paths_in

OURS, THEIRS = "vggish_mel", "vggish_mel_released"


@pytest.fixture
def store(tmp_path):
    """Paths and card of a small store with our front end, and another's arrays of the training split beside it."""
    paths, card = store_fakes.build(tmp_path, store_fakes.card("ms3"))
    for shard in range(2):
        with ArrayReader(paths.audio("ms3", OURS, "train", shard, 2)) as ours:
            path = Path(paths.audio("ms3", THEIRS, "train", shard, 2))
            path.parent.mkdir(parents=True, exist_ok=True)
            with ArrayWriter(path, replace(ours.header, content=THEIRS)) as theirs:
                for clip_id in ours.clip_ids():
                    theirs.add(clip_id, ours.array(clip_id) + 1)
    return paths, card


def planned(tmp_path, arrays):
    config = {"scale": "mini", "runs": {"ms3": ["tpavi-r50", "saliency"]}, "seeds": [0], "data_root": str(tmp_path)}
    config["results_root"] = str(tmp_path / "results")
    return Plan(check_config({**config, **({"arrays": arrays} if arrays else {})}))


def test_a_clip_hears_them(store):
    paths, card = store
    with (
        ClipDataset(paths, card, "train", [OURS]) as ours,
        ClipDataset(paths, card, "train", [OURS], arrays={OURS: THEIRS}) as theirs,
    ):
        for number in range(len(ours)):
            assert torch.equal(theirs[number]["audio"][OURS], ours[number]["audio"][OURS] + 1)


def test_the_plan_reads_them_and_computes_nothing(tmp_path):
    arrays = {"ms3": {OURS: THEIRS}}
    plan = planned(tmp_path, arrays)
    with pytest.raises(AvsbenchError, match=f"puts {THEIRS} in the place of {OURS}, and it was not imported") as caught:
        plan.data("ms3", "tpavi-r50", ("train",))
    assert "avsbench import --dataset ms3" in str(caught.value)
    for shard in range(2):
        path = Path(plan.paths.audio("ms3", THEIRS, "train", shard, 2))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    files = plan.data("ms3", "tpavi-r50", ("train",))
    assert [file for file in files if "/audio/" in file] == [
        plan.paths.audio("ms3", THEIRS, "train", shard, 2) for shard in range(2)
    ]
    assert "ms3" not in plan.front_end_groups
    assert "ms3" in planned(tmp_path, None).front_end_groups
    assert plan.arrays_option("ms3", "tpavi-r50") == f"--array {OURS}={THEIRS} "
    assert plan.run_settings("ms3", "tpavi-r50") != planned(tmp_path, None).run_settings("ms3", "tpavi-r50")
    assert find_failures(plan)[Run("ms3", "tpavi-r50", "0")].status == "not run"


@pytest.mark.parametrize(
    ("arrays", "says"),
    [({"mss3": {OURS: THEIRS}}, "did you mean 'ms3'"), ({"ms3": {"vgish_mel": THEIRS}}, "did you mean 'vggish_mel'")],
)
def test_misspelt_names(tmp_path, arrays, says):
    with pytest.raises(AvsbenchError, match=says):
        planned(tmp_path, arrays)


def test_a_run_says_what_it_heard_and_does_not_continue_another(tmp_path):
    variant = cards.variant("tpavi-r50")
    recipe = variant.recipe("mini", "ms3")
    spec = RunSpec(
        scale="mini",
        dataset="ms3",
        variant="tpavi-r50",
        seed="0",
        recipe=recipe,
        image_size=64,
        paths=paths_in(tmp_path),
    )
    method = registry.build(variant, cards.dataset("ms3"), "mini", 64)
    found = []
    for heard in ({}, {OURS: THEIRS}, {OURS: THEIRS, "msai_256": "msai_256_released"}):
        own = replace(spec, arrays=heard)
        record = provenance.describe_run(own, method, torch.device("cpu")) | {"data": {}, "initial_weights": None}
        found.append((record["arrays"], identity(own, variant, record)))
    assert [arrays for arrays, _ in found] == [{}, {OURS: THEIRS}, {OURS: THEIRS}], "only what the method hears"
    assert found[0][1] != found[1][1]


def test_the_leaderboard_says_so(tmp_path):
    paths = paths_in(tmp_path)
    run, other = Run("ms3", "tpavi-r50", "0"), Run("ms3", "tpavi-pvt", "0")
    make_run(paths, run, arrays={OURS: THEIRS})
    make_run(paths, other)
    text = Path(write_leaderboard(runs=[run, other], paths=paths)).read_text()
    assert f"Heard imported arrays in the place of our front ends: tpavi-r50 ({THEIRS})." in text
    assert json.loads(Path(paths.run_json("ms3", "tpavi-r50", "0")).read_text())["arrays"] == {OURS: THEIRS}
