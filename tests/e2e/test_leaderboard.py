"""The documented command, from an empty folder to the leaderboard, and what it leaves behind."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.e2e.conftest import COMMAND, CONFIG, kill_when, new_project, start
from tests.unit.web_pages import data_in
from tests.workflow.conftest import Project

pytestmark = pytest.mark.slow

RUN = "results/mini/ms3/tpavi-r50/0"
ON_MS3 = {"ms3": CONFIG["runs"]["ms3"]}
"""What needs one training needs no other data set."""


def test_leaderboard_shows_every_run(finished):
    text = (finished.folder / "results/leaderboard.md").read_text()
    for word in ("saliency", "tpavi-r50", "mini", "miou", "f_at_0.5", "miou_avss", "Published"):
        assert word in text, word
    assert "not defined for avss" in text  # the skipped pair, with its reason
    table = pd.read_parquet(finished.folder / "results/leaderboard.parquet")
    assert set(table["dataset"]) == {"s4", "ms3", "avss"}
    assert {"A", "B", "C", "D"} <= set(table["protocol"])
    data = data_in(finished.folder / "results/leaderboard.html")
    assert not data["partial"]
    assert data["complete"] == data["planned"] == len(table[["dataset", "variant", "seed"]].drop_duplicates())
    rows = [row for each in data["datasets"] for row in each["rows"]]
    for row in rows:
        first = row["grids"]["common"]["miou" if "miou" in row["grids"]["common"] else "miou_avss"]
        assert first["low"] <= first["mean"] <= first["high"]
    assert all(run["curve"]["loss"] for row in rows for run in row["runs"] if run["seed"] != "none")


def test_second_call_has_nothing_to_do(finished):
    assert finished.planned() == {}


def test_run_record_is_complete(finished):
    record = json.loads((finished.folder / RUN / "run.json").read_text())
    assert record["seed"] in (0, "0")
    assert record["code"]
    assert record["selection"]["split"] == "val"
    assert record["parameters"]["total"] > record["parameters"]["trainable"] > 0
    assert record["versions"]["torch"]
    assert record["seconds"]["train"] > 0
    assert (finished.folder / RUN / "curves.png").stat().st_size > 1000
    assert not list((finished.folder / RUN).glob("state/*"))


def test_scores_can_be_recomputed_from_frames(finished):
    from avsbench.evaluation.score import read_scores, scores_from_frames

    stored = read_scores(finished.folder / RUN / "scores/positive.json")["values"]
    again = scores_from_frames(finished.folder / RUN / "scores/positive.frames.parquet", fscore_k=(1, 4))
    assert stored.keys() == again.keys()
    assert all(stored[name] == again[name] for name in stored)


def test_load_from_another_folder(finished, tmp_path):
    code = f"""
import numpy as np, avsbench
model = avsbench.load("tpavi-r50", dataset="ms3", weights={str(finished.folder / RUN / "weights.safetensors")!r},
                      weights_root={str(finished.folder / "weights")!r})
frames = np.random.RandomState(0).randint(0, 255, (5, 120, 160, 3), dtype=np.uint8)
wav = np.random.RandomState(1).randint(-9000, 9000, (80000, 2)).astype(np.int16)
result = model.predict(frames, (wav, 16000))
print(result["masks"].shape, result["masks"].dtype)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=finished.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "bool" in done.stdout


def test_a_killed_workflow_continues_with_the_same_command(finished, tmp_path):
    """kill -9 of the whole group in the middle of a training; the same command ends with the same weights."""
    project = new_project(tmp_path / "killed", runs=ON_MS3)
    for name in ("data", "weights"):
        shutil.copytree(finished.folder / name, project.folder / name)

    def training_is_on():
        return len(list((project.folder / RUN / "state").glob("*.pt"))) > 1

    kill_when(start(project), training_is_on)
    assert not (project.folder / RUN / "weights.safetensors").exists()
    assert list((project.folder / ".snakemake/locks").glob("*")), "the kill came too early or too late to leave a lock"
    done = project.command(COMMAND)
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads((project.folder / RUN / "run.json").read_text())["resumes"] >= 1
    mine, theirs = ((p.folder / RUN / "weights.safetensors") for p in (project, finished))
    assert _tensors(mine) == _tensors(theirs)


def test_a_kill_during_preparation_leaves_nothing_half_written(tmp_path):
    project = new_project(tmp_path / "early")
    kill_when(start(project), lambda: bool(list(project.folder.glob("data/mini/*/shards/*.h5"))))
    # Every shard is asked for: what a killed writer left behind goes when that file is written again.
    splits = [f"data/mini/{name}/index/{part}.parquet" for name in CONFIG["runs"] for part in ("train", "val", "test")]
    done = project.command([*COMMAND, "--", *splits])
    assert done.returncode == 0, done.stderr[-4000:]
    table = pd.read_parquet(project.folder / "data/mini/ms3/index/train.parquet")
    assert list(table["position"]) == list(range(len(table)))
    assert not list(project.folder.rglob("*.tmp"))


def test_an_added_clip_reruns_its_own_shard_alone(finished, tmp_path):
    project = Project(Path(shutil.copytree(finished.folder, tmp_path / "added", symlinks=True)))
    add_clip(project.folder / "data/mini/ms3/official")
    jobs = project.planned()
    assert {jobs["extract"], jobs["audio_ms3_1"], jobs["index"]} == {1}
    assert jobs["train_tpavi_r50"] == 1
    assert {"acquire", "pretrain_mini"}.isdisjoint(jobs)


def add_clip(official: Path, name: str = "addedclip01_0") -> None:
    """Append a training clip to MS3: the files of the last one under another name."""
    csv = official / "ms3_meta_data.csv"
    rows = csv.read_text().splitlines()
    source = next(row.split(",")[0] for row in reversed(rows) if row.endswith(",train"))
    data = official / "ms3_data"
    for folder in (data / "visual_frames", data / "gt_masks/train"):
        (folder / name).mkdir()
        for file in (folder / source).iterdir():
            shutil.copy(file, folder / name / file.name.replace(source, name))
    shutil.copy(data / f"audio_wav/train/{source}.wav", data / f"audio_wav/train/{name}.wav")
    csv.write_text("\n".join([*rows, f"{name},train"]) + "\n")


def test_a_failed_run_is_visible_and_the_same_command_retries(finished, tmp_path):
    project = Project(Path(shutil.copytree(finished.folder, tmp_path / "failed", symlinks=True)))
    full = [project.folder / f"results/leaderboard.{kind}" for kind in ("md", "html")]
    before = [file.read_bytes() for file in full]
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump({**CONFIG, "runs": ON_MS3}))
    project.edit("config/config.yaml", "epochs: 4", "epochs: 4\n    optimizer: {lr: 1.0e+30}")
    done = project.command(COMMAND)
    assert done.returncode != 0
    partial = (project.folder / "results/leaderboard.partial.md").read_text()
    assert "not finite" in partial
    assert "saliency" in partial
    assert "not finite" in data_in(project.folder / "results/leaderboard.partial.html")["first_failure"]
    assert [file.read_bytes() for file in full] == before
    project.edit("config/config.yaml", "epochs: 4\n    optimizer: {lr: 1.0e+30}", "epochs: 4")
    done = project.command(COMMAND)
    assert done.returncode == 0, done.stderr[-4000:]
    assert not list(project.folder.glob("results/leaderboard.partial.*"))


def _tensors(file) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {key: np.ascontiguousarray(value).tobytes() for key, value in load_file(file).items()}
