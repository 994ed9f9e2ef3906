"""`snakemake --report` of a finished workflow: every entry with its category, labels and caption, and no network."""

import json
import re

import pytest

from tests.workflow.conftest import copy_project

CONFIG = "scale: mini\nruns: {s4: [saliency, tpavi-r50], vpo_ss: [cavp-r50]}\nseeds: [0]\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project that Snakemake takes for finished."""
    project = copy_project(tmp_path_factory.mktemp("report") / "project")
    (project.folder / "config/config.yaml").write_text(CONFIG)
    project.pretend_complete()
    return project


@pytest.fixture(scope="module")
def report(finished):
    """What the report is made of: a function from a name to its data."""
    # Whoever fetched something from the network would fail: nothing listens there.
    finished.environment |= dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    finished.snakemake("--cores", "1", "--report", "report.html")
    text = (finished.folder / "report.html").read_text(encoding="utf-8")
    return lambda name: json.JSONDecoder().raw_decode(text, re.search(rf"\bvar {name} = (?=\{{)", text).end())[0]


def test_everything_has_its_place(report):
    figures = {
        name: [f"results/figures/{name}.{kind}.svg" for kind in ("cost", "protocols", "ranking")]
        for name in ("s4", "vpo_ss")
    }
    found = report("categories")
    assert {name: sorted(files) for name, files in found["Figures"].items()} == {
        **figures,
        "who listens": ["results/figures/robustness.svg"],
    }
    assert sorted(found["Leaderboard"]["Other"]) == ["results/leaderboard.html", "results/leaderboard.md"]
    assert found["Training"] == {
        "s4": ["results/mini/s4/tpavi-r50/0/curves.png"],
        "vpo_ss": ["results/mini/vpo_ss/cavp-r50/0/curves.png"],
    }
    assert sorted(found) == ["Figures", "Leaderboard", "Training"]


def test_every_entry_is_labelled_and_explained(report):
    found = report("results")
    assert len(found) == 11
    for file, entry in found.items():
        assert entry["labels"], file
        assert "<p>" in entry["caption"], file
        assert entry["data_uri"].startswith("data:"), file  # within the page: nothing is loaded
    assert found["results/mini/s4/tpavi-r50/0/curves.png"]["labels"] == {"variant": "tpavi-r50", "seed": "0"}
    assert "Pareto front" in found["results/figures/s4.cost.svg"]["caption"]
    assert "scale <strong>mini</strong>" in found["results/leaderboard.html"]["caption"]


def test_figures_follow_the_leaderboard(finished):
    """Drawn last, once; an edit to how they look draws them anew and does nothing else."""
    assert finished.planned() == {}
    finished.edit("avsbench/report/figures/style.py", "ONE_COLUMN, TWO_COLUMNS = 3.3", "ONE_COLUMN, TWO_COLUMNS = 3.5")
    assert finished.planned() == {"figures": 1, "all": 1, "total": 2}


def test_checked_data_can_be_asked_for(finished):
    assert finished.planned("--", "verified") == {"verify_data": 2, "verified": 1, "total": 3}
