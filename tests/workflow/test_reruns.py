"""What reruns after which edit. Nothing runs here: outputs are pretended and plans are read."""

import shutil
from pathlib import Path

import pytest

from tests.workflow.conftest import Project, copy_project

LOSS = "models/tpavi/loss.py"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project that Snakemake takes for finished; tests get copies."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    project.edit("config/config.yaml", "ms3: [saliency, tpavi-r50]", "ms3: [saliency, tpavi-r50, tpavi-pvt]")
    project.pretend_complete()
    assert project.planned() == {}
    return project


@pytest.fixture
def complete(finished, tmp_path):
    return Project(Path(shutil.copytree(finished.folder, tmp_path / "project")))


def test_an_edited_loss_reruns_training_and_nothing_before(complete):
    complete.edit(LOSS, "\nimport", "\nEDITED = 1\nimport")
    jobs = complete.planned()
    assert jobs["train_tpavi_r50"] == 3
    assert jobs["train_tpavi_pvt"] == 1
    assert {"acquire", "manifests_s4", "extract", "audio", "index", "pretrain_mini"}.isdisjoint(jobs)
    assert jobs["leaderboard"] == 1


def test_an_edited_comment_reruns_nothing(complete):
    complete.edit(LOSS, "\nimport", "\n# a comment\nimport")
    complete.edit("avsbench/metrics/binary.py", "\nimport", "\n# a comment\nimport")
    assert complete.planned() == {}


def test_an_edited_docstring_reruns_nothing(complete):
    complete.edit(LOSS, '"""', '"""Edited. ')
    assert complete.planned() == {}


def test_an_edited_report_template_reruns_the_report_alone(complete):
    template = next((complete.folder / "avsbench/report").rglob("*.jinja"))
    template.write_text(template.read_text() + "\nmore\n")
    assert set(complete.planned()) == {"leaderboard", "all", "total"}


def test_an_edited_recipe_retrains_that_data_set_alone(complete):
    complete.edit("models/tpavi/method.yaml", "avss: {batch: 2", "avss: {clip_norm: 1.0, batch: 2")
    jobs = complete.planned()
    assert jobs["train_tpavi_r50"] == 1
    assert "train_tpavi_pvt" not in jobs
    assert "extract" not in jobs


def test_an_edited_card_text_reruns_nothing(complete):
    complete.edit("models/tpavi/method.yaml", "year: 2022", "year: 2023")
    assert complete.planned().keys() <= {"leaderboard", "all", "total"}


def test_another_method_leaves_this_one_alone(complete):
    complete.edit("models/saliency/model.py", "\nimport", "\nEDITED = 1\nimport")
    jobs = complete.planned()
    assert not any(name.startswith("train_") for name in jobs)
    assert jobs["predict"] == 2


def test_forcing_one_variant_reruns_that_one_alone(complete):
    jobs = complete.planned("-R", "train_tpavi_r50")
    assert jobs["train_tpavi_r50"] == 3
    assert "train_tpavi_pvt" not in jobs
    assert "pretrain_mini" not in jobs
