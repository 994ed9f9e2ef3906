"""Every command in the README and the docs parses, and every snakemake command plans."""

import re
import shlex

import pytest

from avsbench import cards, cli
from avsbench.closed_yaml import read_yaml

FILES = [cards.PROJECT / "README.md", cards.PROJECT / "CONTRIBUTING.md", *sorted((cards.PROJECT / "docs").glob("*.md"))]


def commands(program):
    """Commands of one program in console blocks and in inline code, with the file that shows them."""
    found = {}
    for file in FILES:
        text = file.read_text()
        blocks = re.findall(r"```(?:console|bash)\n(.*?)```", text, flags=re.S)
        lines = [line for block in blocks for line in block.splitlines()]
        lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
        for line in lines:
            line = line.split("#")[0].split("  ")[0].strip()
            if re.match(rf"{program} \S", line):
                found.setdefault(line, file.name)
    return [pytest.param(line, id=f"{file}: {line}") for line, file in found.items()]


NEEDS_RESULTS = ("--report", "--unlock", "--lint", "--touch")


@pytest.fixture(scope="module")
def module_project(tmp_path_factory):
    from tests.workflow.conftest import copy_project

    return copy_project(tmp_path_factory.mktemp("documents") / "project")


@pytest.mark.parametrize("line", commands("snakemake"))
def test_snakemake_command_plans(module_project, line):
    arguments = shlex.split(line)[1:]
    if any(option in line for option in NEEDS_RESULTS):
        # These act on a finished or locked folder; here only their spelling is checked.
        from snakemake.cli import parse_args

        parse_args([*arguments, "--cores", "1"])
        return
    dry = ["-n", *arguments] if "-n" not in arguments else arguments
    done = module_project.snakemake(*dry)
    assert "Job stats" in done.stdout + done.stderr


@pytest.mark.parametrize("line", commands("avsbench"))
def test_avsbench_command_parses(line):
    arguments = [part.replace("NAME", "mymethod").replace("RUN", "run") for part in shlex.split(line)[1:]]
    if arguments[0].startswith("<"):
        return
    cli._parser().parse_args(arguments)


@pytest.mark.parametrize("line", commands("make"))
def test_make_target_exists(line):
    target = shlex.split(line)[1]
    makefile = (cards.PROJECT / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_links_between_documents_exist():
    for file in FILES:
        for link in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
            if link.startswith("results/"):
                continue  # made at run time
            assert (file.parent / link).exists(), f"{file.name} links to {link}"


def test_the_literal_form_that_snakemake_cannot_parse_is_not_documented():
    for file in FILES:
        assert not re.search(r"gpu=\d+ results/", file.read_text()), file


def test_mini_all_names_every_variant():
    runs = read_yaml(cards.PROJECT / "config/mini_all.yaml", "config", partial=True)["runs"]
    for name, variant in cards.variants().items():
        for dataset in variant.datasets:
            assert name in runs[dataset], f"config/mini_all.yaml lacks {name} on {dataset}"
