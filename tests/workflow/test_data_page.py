"""docs/data.md: its table agrees with the cards, and its worked example runs on a rendered tree of that layout."""

import re
import shlex
from dataclasses import replace

import pytest

from avsbench import cards
from avsbench.datasets.mini import render
from avsbench.datasets.verify_kinds import KINDS
from tests.workflow.conftest import copy_project

PAGE = (cards.PROJECT / "docs/data.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"## {title}")[1].split("\n## ")[0]


def table(text: str) -> dict[str, dict[str, str]]:
    """First cell, without its code marks -> header -> cell, of the first table of a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): dict(zip(header, row, strict=True)) for row in rows}


SETS = table(section("The data sets"))


def test_every_data_set_has_a_row():
    assert set(SETS) == set(cards.dataset_cards())


@pytest.mark.parametrize("name", cards.dataset_cards())
def test_a_row_says_what_the_card_says(name):
    card, row = cards.dataset(name), SETS[name]
    assert row["also called"] == ", ".join(card.aliases)
    assert row["supervision"] == card.supervision
    assert row["labels"].startswith("sounding or not" if card.task == "binary" else f"{len(card.classes)} classes")
    assert str(card.frames) in re.findall(r"\d+", row["frames a clip"])
    counts = " / ".join(f"{count:,}" for count in card.splits["full"].values())
    if name.endswith("_rebuilt"):
        assert row["clips: train / val / test"] == "as built"
    else:
        assert row["clips: train / val / test"] == counts + ("" if card.counts_known else " (unverified)")
    assert ("original size" in row["pictures"]) == (card.native or "crop" in card.resize.values())


def test_the_layouts_name_what_acquire_looks_for():
    shapes = section("How to get each")
    for card in cards.dataset_cards().values():
        if not card.construction:
            assert f"roots.{card.name}" in shapes
            for place in [card.release["table"], *card.release["entries"]]:
                assert all(part in shapes for part in place.split("/")), place


def test_every_kind_of_fault_is_explained():
    kinds = table(section("Checking data"))
    assert {kind: (row["severity"], row["meaning"]) for kind, row in kinds.items()} == KINDS


@pytest.mark.slow
def test_the_worked_example_runs(tmp_path):
    text = section("A worked example")
    release = tmp_path / "downloads/Multi-sources"
    render(replace(cards.dataset("ms3"), splits={"mini": {"train": 18, "val": 17, "test": 20}}), release, 0, 1)
    project = copy_project(tmp_path / "project")
    (config,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    assert "/data/AVSBench/Multi-sources" in config
    (project.folder / "config/config.yaml").write_text(config.replace("/data/AVSBench/Multi-sources", str(release)))
    printed = []
    for command in re.findall(r"```console\n(.*?)\n```", text, flags=re.S):
        done = project.command(shlex.split(command))
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        printed.append(done.stdout)
    assert "faults: 0" in printed[0]
    assert (project.folder / "results/smoke/data/ms3.verify.txt").is_file()
    assert printed[-1] == '{"usable": 16, "expected": 16}\n'
