"""Cleaning: what is listed, that nothing goes without --yes, and what never goes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from avsbench.atomic import atomic_folder, is_leftover, temporary_of
from avsbench.clean import find, remove
from avsbench.cli import main
from avsbench.datasets.acquire import SOURCES
from avsbench.paths import Paths
from avsbench.plan import Plan

RELEASE = {"s4_meta_data.csv": 10, "s4_data/a.png": 100}


def write(path, size=50):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return child.pid


@pytest.fixture
def house(tmp_path, dead):
    """A plan at scale full with some of everything."""
    roots = {f"{name}_root": str(tmp_path / name) for name in ("data", "results", "weights")}
    config = {
        "scale": "full",
        "runs": {"s4": ["saliency"]},
        "seeds": [0],
        "roots": {"s4": str(tmp_path / "mine")},
        **roots,
    }
    plan = Plan(config)
    paths = plan.paths
    for name, size in RELEASE.items():
        write(tmp_path / "mine" / name, size)
        write(f"{paths.unpacked('used')}/Single-source/{name}", size)
        write(f"{paths.unpacked('unused')}/Single-source/{name}", size)
        write(f"{paths.unpacked('only-copy')}/Single-source/{name}", size)
    for name in ("used", "unused", "only-copy"):
        archive = write(tmp_path / "archives" / f"{name}.zip")
        Path(paths.unpacked(name), SOURCES).write_text(json.dumps([str(archive)]))
    archive.unlink()
    Path(paths.dataset("s4")).mkdir(parents=True)
    Path(paths.official("s4")).symlink_to(tmp_path / "mine", target_is_directory=True)
    smoke = Path(Paths("smoke", data_root=paths.data_root).official("ms3"))
    (smoke / "deep").mkdir(parents=True)
    (smoke / "deep/ms3_data").symlink_to(Path(paths.unpacked("used")).resolve(), target_is_directory=True)
    write(paths.shard("s4", "train", 0, 16), 5000)
    shard = Path(paths.shard("s4", "train", 1, 16))
    write(shard.with_name(f".{shard.name}.{dead}@{MACHINE}.tmp"), 300)
    write(shard.with_name(f".{shard.name}.{os.getpid()}@{MACHINE}.tmp"), 300)
    write(Path(paths.unpacked(f".x.{dead}@{MACHINE}.tmp")) / "half.png", 400)
    write(f"{paths.downloads('s4')}/Single-source.zip", 700)
    for seed, done in (("0", True), ("1", False)):
        write(f"{paths.state('s4', 'saliency', seed)}/x.00001.pt", 200)
        write(paths.run_json("s4", "saliency", seed))
        if done:
            write(paths.run_weights("s4", "saliency", seed))
    write(paths.weights("resnet.pth"))
    return plan


MACHINE = temporary_of(Path("x")).name.split("@")[1].removesuffix(".tmp")


def listed(items, top):
    return {str(item.path.relative_to(top)): (item.what, item.size) for item in items}


def everything(top):
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def test_what_can_always_go(house, tmp_path, dead):
    unused = 110 + Path(house.paths.unpacked("unused"), SOURCES).stat().st_size
    assert listed(find(house), tmp_path) == {
        f"data/full/s4/shards/.train.1of16.h5.{dead}@{MACHINE}.tmp": ("half-written", 300),
        f"data/full/unpacked/.x.{dead}@{MACHINE}.tmp": ("half-written", 400),
        "data/full/unpacked/unused": ("unpacked, not linked to", unused),
        "results/full/s4/saliency/0/state": ("state of a finished run", 200),
    }
    before = everything(tmp_path)
    assert remove(find(house)) == 900 + unused
    gone = set(before) - set(everything(tmp_path))
    assert {name.split("/")[0] for name in gone} == {"data", "results"}
    assert not [name for name in gone if "used" in name.split("/") or "mine" in name or f"{os.getpid()}" in name]
    assert find(house) == []


def test_data_of_a_scale_never_what_a_link_leads_to_nor_what_a_user_brought(house, tmp_path):
    remove(find(house, data=True))
    assert not os.path.lexists(house.paths.official("s4"))
    assert {name: (tmp_path / "mine" / name).stat().st_size for name in RELEASE} == RELEASE
    assert Path(house.paths.downloads("s4"), "Single-source.zip").is_file()
    assert not Path(house.paths.shard("s4", "train", 0, 16)).exists()
    assert Path(house.paths.weights("resnet.pth")).exists()
    assert Path(house.paths.run_weights("s4", "saliency", 0)).exists()
    assert Path(house.paths.unpacked("used")).exists(), "smoke still needs it"


def test_results_only_when_asked_for_and_of_one_data_set(house):
    weights = Path(house.paths.run_weights("s4", "saliency", 0))
    remove(find(house, results=True, dataset="ms3"))
    assert weights.exists()
    assert not [item for item in find(house, results=True, dataset="s4") if item.what.startswith("data")]
    remove(find(house, results=True, dataset="s4"))
    assert not weights.exists()
    assert Path(house.paths.shard("s4", "train", 0, 16)).exists()


@pytest.mark.parametrize("dataset", [None, "s4"])
def test_what_others_submitted_stays(house, dataset):
    record = write(f"{house.paths.external('s4', 'mynet')}/run.json")
    remove(find(house, results=True, dataset=dataset))
    assert record.exists()
    assert not Path(house.paths.run_weights("s4", "saliency", 0)).exists()


def test_a_root_inside_the_data_folder_is_spared(house, tmp_path, caplog):
    mine = write(f"{house.paths.dataset('s4')}/features/mine/s4_meta_data.csv").parent
    house.config["roots"]["s4"] = str(mine)
    remove(find(house, data=True))
    assert (mine / "s4_meta_data.csv").is_file()
    assert "kept, for the configuration names" in caplog.text


def test_a_release_in_place_of_the_link_is_spared_and_a_rendered_one_is_not(house, tmp_path):
    brought = write(f"{house.paths.official('ms3')}/ms3_meta_data.csv")
    remove(find(house, data=True))
    assert brought.is_file()
    mini = Plan({**house.config, "scale": "mini"})
    rendered = write(f"{mini.paths.official('ms3')}/ms3_meta_data.csv")
    remove(find(mini, data=True, dataset="ms3"))
    assert not rendered.exists()


def test_the_verb_frees_only_with_yes(house, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(house.config))
    before = everything(tmp_path)
    assert main(["clean", "--config", str(config), "--data", "--results"]) == 0
    text = capsys.readouterr().out
    assert "nothing is removed without --yes" in text
    assert "data of scale full" in text
    assert everything(tmp_path) == before
    assert main(["clean", "--config", str(config), "--yes"]) == 0
    assert "removed, 1.1 kB freed" in capsys.readouterr().out
    assert main(["clean", "--config", str(config)]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    assert main(["clean", "--config", str(config), "--dataset", "s5"]) == 2


def test_leftovers_are_those_of_dead_processes(tmp_path, dead):
    assert is_leftover(Path(f".x.h5.{dead}@{MACHINE}.tmp"))
    assert is_leftover(Path(f".x.{dead}@{MACHINE}.old.tmp"))
    assert not is_leftover(Path(f".x.h5.{os.getpid()}@{MACHINE}.tmp"))
    assert not is_leftover(Path("x.tmp"))
    elsewhere = tmp_path / f".x.h5.{dead}@another-machine.tmp"
    elsewhere.touch()
    assert not is_leftover(elsewhere), "its process may live there"
    os.utime(elsewhere, (0, 0))
    assert is_leftover(elsewhere)
    with atomic_folder(tmp_path / "x") as temporary:
        assert is_leftover(temporary.with_name(temporary.name.replace(str(os.getpid()), str(dead))))


def test_what_a_user_put_beside_the_shards_stays(house):
    mine = write(f"{house.paths.dataset('s4')}/my_release/s4_data/a.png")
    house.config["roots"] = {}
    remove(find(house, data=True))
    assert mine.is_file()
    assert not Path(house.paths.shard("s4", "train", 0, 16)).exists()


def test_what_lies_in_a_root_among_the_data_is_spared(house, tmp_path, caplog):
    mine = Path(house.paths.dataset("ms3"))
    write(mine / "features/mine.png", 100)
    write(Path(house.paths.vpo_build("my_sounds")) / "a.wav", 100)
    write(house.paths.vpo_candidates(), 100)
    house.config["roots"] = {"ms3": str(mine)}
    found = listed(find(house, data=True), tmp_path)
    assert "data/full/ms3/features" not in found
    assert str(mine) in caplog.text
    assert "data/full/vpo_build/my_sounds" not in found
    assert "data/full/vpo_build/candidates.parquet" in found
    house.config["roots"] = {"ms3": str(tmp_path)}  # around all data: no reason to keep everything
    assert "data/full/ms3/features" in listed(find(house, data=True), tmp_path)


def test_the_state_of_a_training_under_way_stays_although_an_earlier_one_left_its_record(house):
    state = Path(house.paths.state("s4", "saliency", "0"))
    record = Path(house.paths.run_json("s4", "saliency", "0")).stat().st_mtime
    assert state in [item.path for item in find(house)]
    os.utime(state / "x.00001.pt", (record + 60, record + 60))
    assert state not in [item.path for item in find(house)]
