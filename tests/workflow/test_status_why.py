"""What `avsbench status --why` says that Snakemake would do, and what `avsbench accept` makes of it. Nothing trains."""

import fcntl
import json
import os
import sys

import pytest
import yaml

from avsbench import cards, digest
from avsbench.config import check_config
from avsbench.digest import file_digest
from avsbench.plan import Plan

LOSS = "models/tpavi/loss.py"
RUN = ("ms3", "tpavi-r50", "0")
FOLDER = "results/mini/ms3/tpavi-r50/0"


def verb(project, *arguments, code=0):
    done = project.command([sys.executable, "-m", "avsbench.cli", *arguments])
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def files(project):
    """Everything that a run leaves, with dates; Snakemake's memory included."""
    roots = ("data", "results", "weights", ".snakemake/metadata", ".snakemake/incomplete", ".snakemake/locks")
    return {
        str(file): (file.stat().st_mtime_ns, file.read_bytes())
        for root in roots
        for file in sorted((project.folder / root).rglob("*"))
        if file.is_file()
    }


@pytest.fixture
def trained(complete, monkeypatch):
    """A run with a record that fits its (pretended) weights and data."""
    monkeypatch.chdir(complete.folder)
    plan = Plan(check_config(yaml.safe_load((complete.folder / "config/config.yaml").read_text())))
    variant, encoders = cards.variant(RUN[1]), cards.variant(RUN[1]).loaded_on(RUN[0], "mini")
    weights = file_digest(plan.paths.run_weights(*RUN))
    record = {
        "dataset": RUN[0], "variant": RUN[1], "seed": RUN[2], "scale": "mini", "versions": {}, "parameters": {},
        "code": digest.stage("train", "tpavi"), "image_size": plan.image_size, "options": variant.options,
        "init": variant.init, "recipe": plan.recipe(*RUN[:2]), "features": {}, "weights": {"sha256": weights},
        "data": {split: file_digest(plan.paths.index(RUN[0], split)) for split in ("train", "val")},
        "encoders": {role: {"sha256": file_digest(plan.encoder_file(name))} for role, name in encoders.items()},
    }  # fmt: skip
    write_record(complete, record)
    return complete


def write_record(project, record):
    """Another record of the same date, as if it had always been that."""
    file = project.folder / FOLDER / "run.json"
    date = file.stat().st_mtime_ns
    file.write_text(json.dumps(record))
    os.utime(file, ns=(date, date))


def read_record(project):
    return json.loads((project.folder / FOLDER / "run.json").read_text())


def lower(project):
    """Another recipe, of every run of the variant."""
    config = project.folder / "config/config.yaml"
    config.write_text(config.read_text() + "overrides: {tpavi-r50: {optimizer: {lr: 1.0e-5}}}\n")


def lock(project):
    """As a Snakemake that works on everything leaves it."""
    (project.folder / ".snakemake/locks").mkdir(exist_ok=True)
    for kind in ("input", "output"):
        (project.folder / f".snakemake/locks/0.{kind}.lock").write_text(f"{FOLDER}/weights.safetensors\n")


def test_it_names_modules_and_keys_and_changes_nothing_beside_another_snakemake(complete):
    complete.edit(LOSS, "\nimport", "\nEDITED = 1\nimport")
    lower(complete)
    lock(complete)
    before = files(complete)
    groups = json.loads(verb(complete, "status", "--why", "--format", "json"))
    assert files(complete) == before
    found = {
        place: {stage["name"]: [cause["words"] for cause in stage["causes"]] for stage in group["stages"]}
        for group in groups
        for place in group["places"]
    }
    code = "the code changed: models.tpavi.loss"
    assert found["tpavi-r50 on ms3, seed 0"] == {
        "train": [code, "the recipe changed: optimizer.lr 0.001 → 1e-05"],
        "predict": [], "predict_conditions": [], "score": [], "score_conditions": [],
    }  # fmt: skip
    assert found["tpavi-pvt on ms3, seed 0"]["train"] == [code]
    assert "saliency on ms3, seed none" not in found
    assert found["pages"]["leaderboard"] == []
    jobs = sum(stage["jobs"] for group in groups for stage in group["stages"])
    assert jobs == complete.planned("--nolock")["total"] - 1  # Snakemake counts the target `all` too
    assert FOLDER in next(group for group in groups if "tpavi-r50 on ms3, seed 0" in group["places"])["accept"]


def test_of_a_finished_project_nothing_would_run(finished):
    assert verb(finished, "status", "--why", "--check").startswith("Nothing would run")


def test_accepted_weights_stay(trained):
    lower(trained)
    trained.edit(LOSS, "\nimport", "\nEDITED = 1\nimport")
    before = files(trained)
    verb(trained, "accept", FOLDER, "--reason", "a try that was given up")
    mark = read_record(trained)["accepted"]
    assert mark["changes"] == [
        "the code changed: models.tpavi.loss",
        "the recipe changed: optimizer.lr 0.001 → 1e-05",
    ]
    assert mark["reason"] == "a try that was given up"
    assert mark["weights"] == read_record(trained)["code"] != mark["code"]
    # Nothing but what the record and Snakemake's memory say: no date, so that no score is made again for that.
    after = files(trained)
    changed = {file for file, state in after.items() if before.get(file) != state and ".snakemake" not in file}
    record, code = f"{trained.folder}/{FOLDER}/run.json", f"{trained.folder}/results/mini/logs/code.jsonl"
    assert changed <= {record, code}
    assert after[record][0] == before[record][0]
    jobs = trained.planned()
    assert jobs["train_tpavi_r50"] == 2  # on S4 and AVSS
    assert jobs["predict"] == 4  # its code imports the loss too: the old weights predict again

    trained.edit(LOSS, "\nEDITED = 1\nimport", "\nimport")
    config = trained.folder / "config/config.yaml"
    config.write_text(config.read_text().partition("overrides")[0])
    assert "those of its training again" in verb(trained, "accept", FOLDER)
    assert "accepted" not in read_record(trained)
    assert trained.planned() == {}


def test_nothing_is_accepted_while_another_snakemake_works(trained):
    lower(trained)
    lock(trained)
    with open(trained.folder / ".snakemake/avsbench.alive", "a") as alive:
        fcntl.flock(alive, fcntl.LOCK_SH)  # otherwise the lock would be that of a dead one
        before = files(trained)
        assert "if another Snakemake runs here, accept when it has ended" in verb(trained, "accept", FOLDER, code=2)
        assert files(trained) == before


def test_weights_that_do_not_fit_are_refused(trained):
    lower(trained)
    changed = {"data": {"train": "0" * 64}, "encoders": {}, "options": {"backbone": "pvt"}}
    write_record(trained, read_record(trained) | changed)
    before = files(trained)
    text = verb(trained, "accept", FOLDER, code=2)
    assert "other clips in train, as data/mini/ms3/index/train.parquet says" in text
    assert "another encoder (visual), weights/mini/resnet50.safetensors" in text
    assert 'options.backbone "pvt" → "r50"' in text
    assert files(trained) == before


def test_what_would_be_made_again_before_the_training_comes_first(trained):
    trained.edit("avsbench/store/extract.py", "\nimport", "\nEDITED = 1\nimport")
    text = verb(trained, "accept", FOLDER, code=2)
    assert "what it is trained with would be made again first" in text
    assert "extract" in text
    assert "snakemake --cores 8 --omit-from train_tpavi_r50" in text


def test_newer_data_of_the_same_clips_may_be_accepted(trained):
    """As after copying without dates. What was predicted is made again, since the weights get a new date."""
    shard = trained.folder / "data/mini/ms3/audio/vggish_mel/train.0of2.h5"
    assert shard.is_file()
    shard.write_text("newer, and of other bytes")
    text = verb(trained, "accept", FOLDER)
    assert "newer than what was made of it: data/mini/ms3/audio/vggish_mel/train.0of2.h5" in text
    jobs = trained.planned("--", f"{FOLDER}/scores/positive.json")
    assert jobs.keys() & {"train_tpavi_r50", "predict", "score"} == {"predict", "score"}


def test_weights_that_are_not_those_of_the_record_are_refused(trained):
    weights = trained.folder / FOLDER / "weights.safetensors"
    weights.write_text("others")
    assert "not the weights that run.json tells of" in verb(trained, "accept", FOLDER, code=2)
    weights.unlink()
    assert "no weights to keep" in verb(trained, "accept", FOLDER, code=2)
    assert "nothing was trained here" in verb(trained, "accept", untrained(trained), code=2)


def untrained(project):
    """The folder of a run without training, with a record."""
    folder = project.folder / "results/mini/s4/saliency/none"
    record = read_record(project) | {"dataset": "s4", "variant": "saliency", "seed": "none"}
    (folder / "run.json").write_text(json.dumps(record))
    return str(folder)
