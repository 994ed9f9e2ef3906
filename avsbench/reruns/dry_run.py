"""The jobs that Snakemake would run, with its reasons; asked in a process of its own, beside any other Snakemake."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avsbench.errors import AvsbenchError
from avsbench.workflow import LOOKS

SNAKEFILE = "workflow/Snakefile"


@dataclass(frozen=True)
class Call:
    """How the workflow is called, in the project's top folder.

    Attributes:
        files: of configuration, laid over that of the project one after the other.
        keys: laid over these.
    """

    files: tuple[str, ...] = ()
    keys: dict = field(default_factory=dict)

    def arguments(self, options: Sequence[str], targets: Sequence[str]) -> list[str]:
        """A command line of Snakemake."""
        if not Path(SNAKEFILE).is_file():
            raise AvsbenchError(f"{SNAKEFILE}: no such file", found=Path.cwd(), hint="run in the project's top folder")
        files = ["--configfile", *self.files] if self.files else []
        keys = ["--config", *(f"{key}={value}" for key, value in self.keys.items())] if self.keys else []
        return [*options, "--cores", "1", *files, *keys, "--", *targets]


@dataclass(frozen=True)
class Job:
    """A job that would run.

    Attributes:
        rule: its name.
        outputs: all files that it makes.
        reason: Snakemake's own words.
    """

    rule: str
    outputs: tuple[str, ...]
    reason: str
    wildcards: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DryRun:
    """Attributes:
    jobs: in the order in which Snakemake tells them; targets without outputs are left out.
    made: source digest of today -> module -> digest of its source.
    """

    jobs: list[Job]
    made: dict[str, dict[str, str]]


def dry_run(call: Call, targets: Sequence[str] = ()) -> DryRun:
    """What Snakemake would do. Nothing changes, and the lock of another Snakemake is no obstacle.

    Args:
        call: of the workflow.
        targets: files; without any, the default target.

    Raises:
        AvsbenchError: the workflow cannot be planned, or this Snakemake does not tell about its jobs.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "jobs.json"
        command = [sys.executable, "-m", "avsbench.reruns.record", str(file)]
        arguments = call.arguments(["--dry-run", "--nolock"], targets)
        done = subprocess.run(
            [*command, *arguments], env={**os.environ, LOOKS: "1"}, capture_output=True, text=True, check=False
        )
        if not file.is_file():
            raise AvsbenchError("Snakemake could not be asked", found=(done.stderr or done.stdout).strip()[-2000:])
        told = json.loads(file.read_text())
    if told["code"] or told["errors"]:
        raise AvsbenchError(
            "Snakemake could not plan",
            found="\n".join(told["errors"]).strip() or done.stderr.strip()[-2000:],
            hint="mend it, or read what `snakemake -n` says",
        )
    jobs = [_job(job, told["version"]) for job in told["jobs"] if job.get("output") != []]
    if told["planned"] and not told["jobs"]:
        raise _silent(told["version"], f"{told['planned']} jobs and nothing about them")
    return DryRun(jobs, told["made"])


def _job(told: dict, version: str) -> Job:
    if not isinstance(told.get("rule_name"), str) or not isinstance(told.get("output"), list):
        raise _silent(version, told)
    wildcards = told.get("wildcards")
    return Job(
        rule=told["rule_name"],
        outputs=tuple(map(str, told["output"])),
        reason=str(told.get("reason") or ""),
        wildcards=wildcards if isinstance(wildcards, dict) else {},
    )


def _silent(version: str, found: object) -> AvsbenchError:
    return AvsbenchError(
        f"Snakemake {version} does not tell about its jobs as 9.20 to 9.27 do",
        found=found,
        hint="`snakemake -n` prints them, with reasons",
    )
