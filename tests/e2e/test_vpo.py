"""VPO from rendered downloads to the leaderboard: pictures of many sizes, stereo sound, and a set that rules built."""

import json
import sys

import h5py
import pandas as pd
import pytest
import yaml

from tests.unit.small_method import CARD, MODEL, write_method
from tests.workflow.conftest import copy_project

pytestmark = pytest.mark.slow

DATASETS = ["vpo_msmi", "vpo_ss_rebuilt"]
FRONT_END = "cavp_mel_stereo"
RECIPE = "&recipe {{epochs: 2, batch: 4, optimizer: {{name: adam, lr: 1.0e-2}}, select: dataset_miou}}"
TRANSFORM = '''
    def transforms(self, recipe):
        return square


def square(clip, generator):
    """A random crop of 48 x 48, mirrored in half of the cases together with its two channels of sound."""
    height, width = clip["frames"].shape[-2:]
    top, left = (int(torch.randint(side - 47, (1,), generator=generator)) for side in (height, width))
    for name in ("frames", "masks"):
        clip[name] = clip[name][..., top : top + 48, left : left + 48]
    if torch.rand(1, generator=generator) < 0.5:
        clip["frames"], clip["masks"] = clip["frames"].flip(-1), clip["masks"].flip(-1)
        clip["audio"]["FRONT_END"] = clip["audio"]["FRONT_END"].flip(1)
    return clip
'''.replace("FRONT_END", FRONT_END)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vpo")
    project = copy_project(folder / "project")
    card = (
        CARD[: CARD.index("recipes:")] + "recipes:\n  full: {{default: " + RECIPE + "}}\n  mini: {{default: *recipe}}\n"
    )
    card += CARD[CARD.index("resources:") :]
    card = card.replace("[ms3, avss]", str(DATASETS)).replace("vggish_mel", FRONT_END)
    heard = 'batch.audio["vggish_mel"].flatten(0, 1).mean(dim=(1, 2))'
    assert heard in MODEL
    model = MODEL.replace(heard, f'batch.audio["{FRONT_END}"][:, :, 0].flatten(0, 1).mean(dim=1)')
    model = model.replace("\n\ndef build", TRANSFORM + "\n\ndef build", 1)
    write_method(folder / "models", card=card, model=model)
    project.environment["AVSBENCH_MODELS"] = str(folder / "models")
    config = {"scale": "mini", "runs": {name: ["small-small"] for name in DATASETS}, "seeds": [0]}
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    done = project.command([sys.executable, "-m", "snakemake", "--cores", "2"])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return project


def test_rows_of_both_sets_stand_apart(finished):
    table = pd.read_parquet(finished.folder / "results/leaderboard.parquet")
    assert set(table["dataset"]) == set(DATASETS)
    text = (finished.folder / "results/leaderboard.md").read_text()
    assert text.count("\n## ") >= len(DATASETS)
    assert "dataset_miou (D)" in text


@pytest.mark.parametrize("dataset", DATASETS)
def test_predictions_have_the_size_of_each_picture(finished, dataset):
    index = pd.read_parquet(finished.folder / f"data/mini/{dataset}/index/test.parquet").set_index("clip_id")
    assert len(index[["height", "width"]].drop_duplicates()) > 1
    with h5py.File(finished.folder / f"results/mini/{dataset}/small-small/0/predictions/positive.h5") as file:
        for clip_id, row in index.iterrows():
            assert file[f"common/{clip_id}/label"].shape == (1, row["height"], row["width"])


def test_the_two_channels_differ(finished):
    with h5py.File(finished.folder / f"data/mini/vpo_msmi/audio/{FRONT_END}/test.0of1.h5") as file:
        arrays = [file[name][()] for name in file]
    assert all(array.shape == (1, 2, 300, 64) for array in arrays)
    assert any(abs(array[0, 0] - array[0, 1]).max() > 0.01 for array in arrays)


def test_no_image_in_train_and_val(finished):
    shown = {}
    for split in ("train", "val", "test"):
        index = pd.read_parquet(finished.folder / f"data/mini/vpo_msmi/index/{split}.parquet")
        shown[split] = set(index["clip_id"])
    assert not shown["train"] & shown["val"]
    assert not (shown["train"] | shown["val"]) & shown["test"]
    assert shown["val"]


def test_selected_on_validation(finished):
    record = json.loads((finished.folder / "results/mini/vpo_msmi/small-small/0/run.json").read_text())
    assert record["selection"] == {"split": "val", "metric": "dataset_miou"}
    assert finished.planned() == {}
