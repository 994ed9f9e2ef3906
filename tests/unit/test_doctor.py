"""`avsbench doctor`: what it says of a fresh folder, of missing data, and of broken installations."""

import json

import pytest
import yaml

from avsbench import cards, doctor
from avsbench.cli import main


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with nothing but the default configuration, as after a fresh clone."""
    (tmp_path / "config.yaml").write_text((cards.PROJECT / "config" / "config.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(place, **changes):
    content = yaml.safe_load((place / "config.yaml").read_text()) | changes
    (place / "config.yaml").write_text(yaml.safe_dump(content))


def by_name(findings, section):
    return {finding.name: finding for finding in findings if finding.section == section}


def test_a_fresh_clone_can_run_everything(place, capsys):
    assert main(["doctor", "--config", "config.yaml"]) == 0
    text = capsys.readouterr().out
    assert text.rstrip().endswith("everything that the configuration selects can run: snakemake --cores all")
    assert "the workflow renders it" in text
    assert "the workflow trains this stand-in" in text
    assert list(place.iterdir()) == [place / "config.yaml"], "looking must leave nothing behind"


def test_full_without_data_names_what_is_missing_and_the_next_step(place, capsys):
    assert main(["doctor", "--config", "config.yaml", "--scale", "full", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is False
    runs = {f["name"]: f for f in report["findings"] if f["section"] == "runs"}
    assert {f["mark"] for f in runs.values()} == {"missing"}
    assert runs["tpavi-r50 on s4, seed 0"]["next"].startswith("avsbench acquire --dataset s4 --scale full")
    weights = {f["name"]: f for f in report["findings"] if f["section"] == "weights"}
    assert "avsbench fetch-weights resnet50-19c8e357.pth" in weights["resnet50"]["next"]


def test_a_root_that_holds_the_release_lets_its_runs_start(place):
    top = place / "release" / "Single-source"
    for entry in cards.dataset("s4").release["entries"]:
        (top / entry).mkdir(parents=True)
    (top / cards.dataset("s4").release["table"]).write_text("name,category,split\n")
    (place / "empty").mkdir()
    write(place, scale="full", runs={"s4": ["saliency"], "ms3": ["saliency"]})
    write(place, roots={"s4": str(place / "release"), "ms3": str(place / "empty")})
    found = doctor.diagnose("config.yaml")
    assert by_name(found, "data")["s4"].mark == doctor.TO_DO
    assert by_name(found, "data")["ms3"].mark == doctor.MISSING
    assert by_name(found, "runs")["saliency on s4, seed none"].text == "can run, after s4"
    assert by_name(found, "runs")["saliency on ms3, seed none"].mark == doctor.MISSING
    assert not doctor.ready(found)


@pytest.mark.parametrize(
    ("variant", "name", "file"),
    [("tpavi-r50", "tpavi-r50", None), ("combo-r50", "combo-r50+felzenszwalb", "combo-r50_s4.pth")],
)
def test_an_official_checkpoint_that_is_not_here(place, variant, name, file):
    write(place, runs={"s4": [variant]}, seeds=["official"])
    findings = doctor.diagnose("config.yaml")
    found = by_name(findings, "runs")[f"{name} on s4, seed official"]
    assert found.mark == doctor.MISSING
    assert "official/" in found.text
    assert file is None or by_name(findings, "weights")[file].mark == doctor.MISSING


def test_what_cannot_run_by_its_card_is_shown_as_skipped(place):
    write(place, runs={"s4": ["saliency"], "avss": ["saliency"]})
    found = doctor.diagnose("config.yaml")
    assert "skipped" in by_name(found, "runs")["saliency on avss, seed none"].text
    assert doctor.ready(found)


@pytest.mark.parametrize("content", ["scale: [", "scale: huge\nruns: {s4: [saliency]}\nseeds: [0]\n", ""])
def test_a_broken_configuration_is_a_finding(place, content, capsys):
    (place / "config.yaml").write_text(content)
    assert main(["doctor", "--config", "config.yaml"]) == 1
    assert "missing  config.yaml" in capsys.readouterr().out


def test_a_broken_package_is_a_finding_and_stops_the_runs(place, monkeypatch):
    def broken(name, version):
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "_imports", broken)
    found = doctor.diagnose("config.yaml")
    assert "libcuda.so.1" in by_name(found, "software")["torch"].text
    assert not doctor.ready(found)


def test_a_folder_that_cannot_be_written(place):
    (place / "weights").write_text("a file")
    found = doctor.diagnose("config.yaml")
    assert by_name(found, "disk")["weights"].mark == doctor.MISSING
    assert not doctor.ready(found)


def test_damaged_results_do_not_stop_the_report(place):
    (place / "data" / "mini" / "s4").mkdir(parents=True)
    (place / "data" / "mini" / "s4" / "acquired.json").write_text("{")
    found = doctor.diagnose("config.yaml")
    assert "JSONDecodeError" in by_name(found, "data")["s4"].text
    assert by_name(found, "runs")["saliency on ms3, seed none"].mark == doctor.OK
