"""What the workflow plans for methods that see what a generator derives. Nothing runs here."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.unit.small_method import write_method
from tests.workflow.conftest import Project, copy_project


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project with a method that sees maskiges, beside one that does not, all done; tests get copies."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    card = write_method(project.folder / "models").path
    card.write_text(card.read_text().replace("front_ends: [vggish_mel]", "features: [maskige]"))
    configure(project)
    assert project.planned()["features"] == 4  # two shards of train, one of val and test each
    project.pretend_complete()
    assert project.planned() == {}
    return project


@pytest.fixture
def complete(finished, tmp_path):
    return Project(Path(shutil.copytree(finished.folder, tmp_path / "project")))


def configure(project, runs=("small-small", "saliency"), **more):
    content = {"scale": "mini", "runs": {"ms3": list(runs)}, "seeds": [0], **more}
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(content))


def test_a_method_without_features_asks_for_none(project):
    configure(project, ["saliency"])
    assert "features" not in project.planned()


def test_another_generator_or_option_derives_and_trains_anew(complete):
    changed = {"features": 4, "train_small_small": 1, "predict": 1, "score": 1, "leaderboard": 1, "all": 1, "total": 9}
    configure(complete, features={"maskige": {"generator": "none"}})
    assert complete.planned() == changed
    configure(complete, features={"maskige": {"options": {"min_size": 9}}})
    assert complete.planned() == changed


def test_an_edited_generator_reruns_what_it_made_and_no_other(complete):
    complete.edit("avsbench/features/nothing.py", "\nimport", "\nEDITED = 1\nimport")
    assert complete.planned() == {}
    complete.edit("avsbench/features/felzenszwalb.py", "\nimport", "\nEDITED = 1\nimport")
    jobs = complete.planned()
    assert (jobs["features"], jobs["train_small_small"], jobs["predict"]) == (4, 1, 1)
    assert {"extract", "index", "describe"}.isdisjoint(jobs)


def test_original_pictures_and_published_weights_come_first(complete):
    """Reading A of AVSS; at full a job takes a GPU, and the workflow fetches the weights."""
    configure(complete, ["small-small"], features={"maskige": {"pictures": "native"}})
    assert complete.planned()["native"] == 4
    configure(complete, ["small-small"], scale="full", roots={"ms3": "somewhere"})
    done = complete.snakemake("--cores", "2", "-n")
    text = done.stdout + done.stderr
    assert "fetch swinl_only_sam_many2many.pth" in text
    assert "maskige-semantic_sam-" in text
