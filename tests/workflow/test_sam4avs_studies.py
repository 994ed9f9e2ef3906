"""The studies of ACLP-FPN planned by the workflow: at mini from stand-ins, at full from published weights."""

import pytest

from avsbench import cards, study_cards
from tests.workflow.conftest import copy_project

STUDIES = {  # name -> encoders that its rows start from
    "sam4avs_ablation": {"audioclip", "clip_rn50", "esresnext_audioset", "resnet50_stages", "vggish"},
    "sam4avs_fusion": {"audioclip"},
    "sam4avs_data": {"audioclip", "resnet50", "vggish"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    found = copy_project(tmp_path_factory.mktemp("sam4avs") / "project")
    (found.folder / "config/config.yaml").write_text("scale: mini\nruns: {s4: [saliency]}\nseeds: [0]\n")
    for name in STUDIES["sam4avs_ablation"] | STUDIES["sam4avs_data"]:
        file = found.folder / "weights" / cards.encoder(name).file
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"published")
    return found


@pytest.mark.parametrize("scale", ["mini", "full"])
@pytest.mark.parametrize("name", STUDIES)
def test_every_row_is_planned(project, name, scale):
    study = study_cards.study(name)
    roots = ["roots={s4: /released/s4, ms3: /released/ms3}"] if scale == "full" else []
    jobs = project.planned("--config", f"study={name}", f"scale={scale}", *roots)
    runs = len(study.rows) * len(study.datasets)
    trained = {rule: count for rule, count in jobs.items() if rule.startswith("train_")}
    assert sum(trained.values()) == jobs["predict"] == jobs["score"] == runs
    assert len(trained) == len(study.rows)
    assert jobs["study"] == 1
    assert "leaderboard" not in jobs
    assert jobs.get("pretrain_mini", 0) == (len(STUDIES[name]) if scale == "mini" else 0)
    assert jobs.get("fetch_weights", 0) == 0  # all there
