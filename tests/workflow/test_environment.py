"""Snakemake called by its path, in an environment that nobody activated."""

import os
import shutil
import sys
from pathlib import Path


def test_rules_find_the_verbs(project):
    project.environment["PATH"] = os.defpath
    assert shutil.which("avsbench", path=os.defpath) is None or Path(sys.executable).parent == Path("/usr/bin")
    done = project.snakemake("--cores", "1", "--", "results/mini/s4/saliency/none/run.json")
    assert (project.folder / "results/mini/s4/saliency/none/run.json").is_file(), done.stderr
