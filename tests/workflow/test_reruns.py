"""What reruns after which edit. Nothing runs here: outputs are pretended and plans are read."""

import shutil

import yaml

from tests.workflow.conftest import REPORT

LOSS = "models/tpavi/loss.py"


def test_an_edited_loss_reruns_training_and_nothing_before(complete):
    complete.edit(LOSS, "\nimport", "\nEDITED = 1\nimport")
    jobs = complete.planned()
    assert jobs["train_tpavi_r50"] == 3
    assert jobs["train_tpavi_pvt"] == 1
    assert {"acquire", "manifests_s4", "extract", "index", "pretrain_mini"}.isdisjoint(jobs)
    assert not audio(jobs)
    assert jobs["leaderboard"] == 1


def audio(jobs):
    """Jobs that compute front ends, by rule."""
    return {name: count for name, count in jobs.items() if name.startswith("audio_")}


def test_an_edited_comment_reruns_nothing(complete):
    complete.edit(LOSS, "\nimport", "\n# a comment\nimport")
    complete.edit("avsbench/metrics/binary.py", "\nimport", "\n# a comment\nimport")
    assert complete.planned() == {}


def test_an_edited_docstring_reruns_nothing(complete):
    complete.edit(LOSS, '"""', '"""Edited. ')
    assert complete.planned() == {}


def test_an_edited_report_template_reruns_the_report_alone(complete):
    template = complete.folder / "avsbench/report/leaderboard.md.jinja"
    template.write_text(template.read_text() + "\nmore\n")
    assert set(complete.planned()) == REPORT


def test_an_edited_recipe_retrains_that_data_set_alone(complete):
    complete.edit("models/tpavi/method.yaml", "avss: {batch: 2", "avss: {clip_norm: 1.0, batch: 2")
    jobs = complete.planned()
    assert jobs["train_tpavi_r50"] == 1
    assert "train_tpavi_pvt" not in jobs
    assert "extract" not in jobs


def test_an_edited_card_text_reruns_nothing(complete):
    complete.edit("models/tpavi/method.yaml", "year: 2022", "year: 2023")
    assert complete.planned().keys() <= REPORT


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


def add_method(project, front_ends):
    """A second method, a copy of TPAVI that hears other front ends, on MS3."""
    folder = project.folder / "models/other"
    shutil.copytree(project.folder / "models/tpavi", folder)
    card = yaml.safe_load((folder / "method.yaml").read_text())
    variant = card["variants"]["tpavi-r50"]
    card |= {
        "name": "other",
        "variants": {"other-r50": variant},
        "inputs": {**card["inputs"], "front_ends": front_ends},
    }
    (folder / "method.yaml").write_text(yaml.safe_dump(card))
    project.edit("config/config.yaml", "ms3: [saliency,", "ms3: [saliency, other-r50,")


def test_another_front_end_leaves_files_and_training_of_others_alone(complete):
    add_method(complete, ["vggish_mel", "cavp_mel", "msai_256"])
    jobs = complete.planned()
    # One new group, computed in one pass over the four shards of MS3.
    assert audio(jobs) == {"audio_ms3_2": 4}
    assert {name for name in jobs if name.startswith("train_")} == {"train_other_r50"}
    assert {"acquire", "extract", "index", "pretrain_mini"}.isdisjoint(jobs)
    assert jobs["predict"] == jobs["score"] == 1
    # A plan alone leaves no trace: what is asked for instead is the new group.
    complete.edit("models/other/method.yaml", "- msai_256", "- msai_512")
    shell = complete.snakemake("--cores", "2", "-n", "--printshellcmds").stdout
    assert "--front-end cavp_mel --front-end msai_512 " in shell


def test_groups_stay_when_others_come_and_go(complete):
    add_method(complete, ["cavp_mel"])
    complete.pretend_complete()
    complete.edit("models/other/method.yaml", "- cavp_mel", "- cavp_mel\n  - combo_mel")
    assert audio(complete.planned()) == {"audio_ms3_3": 4}
    complete.edit("config/config.yaml", "ms3: [saliency, other-r50,", "ms3: [saliency,")
    assert set(complete.planned()) == REPORT


def test_an_edited_front_end_reruns_its_own_group(complete):
    add_method(complete, ["cavp_mel"])
    complete.pretend_complete()
    complete.edit("avsbench/media/front_ends/cavp.py", "FLOOR = 1e-5", "FLOOR = 2e-5")
    jobs = complete.planned()
    assert audio(jobs) == {"audio_ms3_2": 4}
    assert {name for name in jobs if name.startswith("train_")} == {"train_other_r50"}


def test_a_new_family_of_front_ends_reruns_nothing(complete):
    source = complete.folder / "avsbench/media/front_ends/vggish.py"
    (source.parent / "novel.py").write_text(source.read_text().replace("vggish_mel", "novel_mel"))
    assert complete.planned() == {}


def test_an_unknown_front_end_is_said_while_planning(complete):
    add_method(complete, ["vgish_mel"])
    done = complete.snakemake("--cores", "2", "-n", check=False)
    assert "inputs.front_ends: unknown front end 'vgish_mel'" in done.stdout + done.stderr
    assert "did you mean 'vggish_mel'" in done.stdout + done.stderr


def test_another_tracker_or_device_reruns_nothing(complete):
    for setting in ("tracker=tensorboard", "tracker=wandb", "device=cpu", "device=cuda"):
        assert complete.planned("--config", setting) == {}
    complete.edit("config/config.yaml", "scale: mini", "scale: mini\ntracker: tensorboard\ndevice: cpu")
    assert complete.planned() == {}


def test_another_scale_or_size_keeps_downloaded_weights(complete):
    file = "weights/resnet50-19c8e357.pth"
    (complete.folder / "weights").mkdir(exist_ok=True)
    (complete.folder / file).write_text("weights")
    complete.snakemake("--cores", "1", "--touch", "--forceall", "--", file)
    changed = ("scale=smoke", "image_size=96", "results_root=elsewhere")
    assert complete.planned("--config", *changed, "--", file) == {}
