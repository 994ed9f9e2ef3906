"""What the workflow plans where a recipe keeps several epochs."""

import yaml

RUNS = {"s4": ["tpavi-r50"], "ms3": ["saliency", "tpavi-r50", "tpavi-pvt"]}


def configure(project, **more):
    (project.folder / "config/config.yaml").write_text(
        yaml.safe_dump({"scale": "mini", "runs": RUNS, "seeds": [0, 1], **more})
    )


def test_an_override_adds_predictions_and_scores_of_ensembles(project):
    configure(project)
    plain = project.planned()
    assert not any("ensemble" in name or "__top" in name for name in plain)
    configure(project, overrides={"tpavi-r50": {"keep_best": 2}})
    more = {"predict_ensemble": 4, "score_ensemble": 4, "total": plain["total"] + 8}
    for verb in ("predict", "score"):  # under negatives an ensemble takes no jobs of its own
        assert (plain.pop(f"{verb}_conditions_s4"), plain[f"{verb}_conditions_ms3"]) == (2, 5)
        more |= {f"{verb}_conditions_s4__top": 2, f"{verb}_conditions_ms3__top": 2, f"{verb}_conditions_ms3": 3}
    assert project.planned() == plain | more


def test_keeping_on_one_data_set_trains_that_alone_anew(project):
    configure(project)
    project.pretend_complete()
    project.edit("models/tpavi/method.yaml", "    avss: {batch: 2", "    ms3: {keep_best: 3}\n    avss: {batch: 2")
    jobs = project.planned()
    trained = {name: count for name, count in jobs.items() if name.startswith("train_")}
    assert trained == {"train_tpavi_r50__top": 2, "train_tpavi_pvt__top": 2}
    assert jobs["predict_ensemble"] == jobs["score_ensemble"] == 4
    assert jobs["predict"] == 4  # of the new weights; saliency and S4 stay
    assert project.planned("results/mini/ms3/tpavi-r50/0/weights_top")["train_tpavi_r50__top"] == 1
