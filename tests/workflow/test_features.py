"""What the workflow plans for methods that see what a generator derives. Nothing runs here."""

import pytest
import yaml

from tests.unit.small_method import write_method
from tests.workflow.conftest import REPORT, copy_project


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


def configure(project, runs=("small-small", "saliency"), **more):
    content = {"scale": "mini", "runs": {"ms3": list(runs)}, "seeds": [0], **more}
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(content))


def test_a_method_without_features_asks_for_none(project):
    configure(project, ["saliency"])
    assert "features" not in project.planned()


def test_another_generator_or_option_derives_and_trains_anew(complete):
    heard = {"predict_conditions_ms3": 1, "score_conditions_ms3": 1}  # the same run under negatives
    changed = {"features": 4, "train_small_small": 1, "predict": 1, "score": 1} | heard | dict.fromkeys(REPORT, 1)
    for chosen in ({"generator": "none"}, {"options": {"min_size": 9}}):
        configure(complete, features={"maskige": chosen})
        assert complete.planned() == changed | {"total": 12}


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


def zero_shot(project, *variants):
    configure(project, temporary=["image_embedding"])
    file = project.folder / "config/config.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "runs": {"s4": list(variants)}}))


def test_a_feature_that_hears_waits_for_sound_and_stand_in(project):
    """Of a method without training only the test split is derived; the stand-in learns from training clips."""
    zero_shot(project, "sam4avs-point-local", "sam4avs-heatmap-box")
    done = project.snakemake("--cores", "2", "-n", "--printshellcmds")
    text = done.stdout + done.stderr
    derived = [line for line in text.splitlines() if "avsbench features" in line]
    assert len(derived) == 2  # shared by the variants
    assert all("--split test" in line for line in derived)
    jobs = project.planned()
    assert (jobs["features"], jobs["features_temporary"], jobs["pretrain_mini"]) == (1, 1, 1)
    assert jobs["audio_s4_1"] == 3  # two shards of train for the stand-in, one of test

    project.pretend_complete()
    assert not list((project.folder / "data/mini/s4/features").glob("image_embedding-*/*.h5"))  # gone with the last use
    assert len(list((project.folder / "data/mini/s4/features").glob("heatmap-*/*.h5"))) == 1
    assert project.planned() == {}
    zero_shot(project, "sam4avs-point-local", "sam4avs-heatmap-box", "sam4avs-point-global")
    again = project.planned()
    # Made anew for the third, they are news to the predictions that saw them before.
    assert (again["features_temporary"], again.get("features", 0), again["predict"]) == (1, 0, 3)
