"""The smoke scale on a rendered tree that poses as the full release: full-size networks, few clips, two steps."""

import json
import sys
from dataclasses import replace

import pandas as pd
import pytest
import torch
import yaml

from avsbench import cards
from avsbench.datasets.mini import render
from avsbench.nn.vggish import audio_encoder
from tests.workflow.conftest import copy_project

pytestmark = pytest.mark.slow

COUNTS = {"train": 24, "val": 18, "test": 20}
RUNS = {"s4": ["saliency"], "ms3": ["saliency", "tpavi-r50"]}


@pytest.fixture(scope="module")
def smoked(tmp_path_factory):
    """A project after `snakemake` at scale smoke, with data and weights where a user would have put them."""
    folder = tmp_path_factory.mktemp("smoke")
    project = copy_project(folder / "project")
    roots = {}
    for name in RUNS:
        card = replace(cards.dataset(name), splits={"mini": COUNTS})
        roots[name] = str(folder / "downloads" / name)
        render(card, folder / "downloads" / name, 0, 1)
    # The card's counts are those of the publication; this tree holds fewer, and smoke needs 16 of each split.
    config = {
        "scale": "smoke",
        "runs": RUNS,
        "seeds": [0],
        "roots": roots,
        "image_size": 64,
        "device": "cpu",
    }
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    from torchvision.models import resnet50

    # Files of the published shapes with random numbers: their digests cannot be the published ones.
    project.edit("avsbench/nn/encoders.yaml", "sha256: 19c8e357", "sha256: null")
    project.edit("avsbench/nn/encoders.yaml", 'sha256: "10086976"', "sha256: null")
    torch.manual_seed(0)
    weights = project.folder / "weights"
    weights.mkdir()
    torch.save(resnet50(weights=None).state_dict(), weights / cards.encoder("resnet50").file)
    torch.save(audio_encoder("vggish", "full").state_dict(), weights / cards.encoder("vggish").file)
    done = project.command([sys.executable, "-m", "snakemake", "--cores", "2", "--resources", "gpu=1"])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return project


def test_sixteen_clips_a_split(smoked):
    splits = {"ms3": list(COUNTS), "s4": ["test"]}  # nothing trains on S4 here
    for name, used in splits.items():
        for split in used:
            index = pd.read_parquet(smoked.folder / f"data/smoke/{name}/index/{split}.parquet")
            assert len(index) == cards.SMOKE_CLIPS


def test_two_steps_of_the_full_network(smoked):
    record = json.loads((smoked.folder / "results/smoke/ms3/tpavi-r50/0/run.json").read_text())
    assert record["steps"] == 2
    assert record["parameters"]["total"] > 25e6
    assert record["scale"] == "smoke"
    recipe = cards.variant("tpavi-r50").recipe("full", "ms3")
    assert record["full_run"]["steps"] == recipe["epochs"] * -(-296 // recipe["batch"])
    assert record["full_run"]["hours_at_this_pace"] > 0


def test_the_leaderboard_has_every_row(smoked):
    table = pd.read_parquet(smoked.folder / "results/leaderboard.parquet")
    rows = set(map(tuple, table[["dataset", "variant"]].drop_duplicates().values))
    assert rows == {(name, variant) for name, variants in RUNS.items() for variant in variants}
    text = (smoked.folder / "results/leaderboard.md").read_text()
    assert "two steps on a few clips" in text
    assert "rendered" not in text


def test_nothing_left_to_do(smoked):
    assert smoked.planned("--resources", "gpu=1") == {}
