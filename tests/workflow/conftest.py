"""A copy of the project that a test may edit and run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from avsbench import cards

CONFIG = """
scale: mini
runs:
  s4: [saliency, tpavi-r50]
  ms3: [saliency, tpavi-r50, tpavi-pvt]
  avss: [tpavi-r50]
seeds: [0]
"""
"""Of the project that is `finished`."""
REPORT = {"leaderboard", "figures", "all", "total"}
"""What a dry run names where pages alone are made again."""
PARTS = ("avsbench", "workflow", "config", "models", "environment.yml", "pyproject.toml", "README.md")


class Project:
    """The copy, and Snakemake in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPATH": str(folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        done = self.command([sys.executable, "-m", "snakemake", *arguments])
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def command(self, command, **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, **options
        )

    def planned(self, *arguments: str) -> dict[str, int]:
        """Rule -> number of jobs that a dry run would start."""
        done = self.snakemake("--cores", "2", "-n", *arguments)
        jobs = {}
        for line in (done.stdout + done.stderr).splitlines():
            parts = line.split()
            if len(parts) == 2 and parts[1].isdigit() and parts[0].isidentifier():
                jobs[parts[0]] = int(parts[1])
        return jobs

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} does not contain {old!r}"
        path.write_text(text.replace(old, new, 1))

    def pretend_complete(self) -> None:
        """Every output exists and Snakemake believes that it made it: what a finished run leaves, without running."""
        done = self.snakemake("--cores", "2", "--summary")
        for line in done.stdout.splitlines()[1:]:
            path = self.folder / line.split("\t")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
        self.snakemake("--cores", "2", "--touch", "--forceall")


def copy_project(target: Path) -> Project:
    """The sources, and what is compiled of them: hundreds of short processes would compile each file anew."""
    target.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = cards.PROJECT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("*.pyc.*", "*.tmp"))
        elif source.is_file():
            shutil.copy(source, target / part)
    return Project(target)


@pytest.fixture
def project(tmp_path) -> Project:
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project that Snakemake takes for finished; tests get copies."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    (project.folder / "config/config.yaml").write_text(CONFIG)
    project.pretend_complete()
    assert project.planned() == {}
    return project


@pytest.fixture
def complete(finished, tmp_path) -> Project:
    return Project(Path(shutil.copytree(finished.folder, tmp_path / "project")))
