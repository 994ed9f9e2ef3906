"""A Snakemake whose words about jobs are kept as JSON: `python -m avsbench.reruns.record FILE ARGUMENT...`.

Snakemake tells its loggers about each job in records of the event JOB_INFO, whose fields plugins read. A filter on its
logger sees them whatever handlers it sets up, and keeps it silent. What another version may have changed is read with
care; `dry_run` says so where nothing is understood.
"""

import json
import logging
import sys
from pathlib import Path

FIELDS = ("rule_name", "wildcards", "output", "reason")


class Notes(logging.Filter):
    """Takes every record in and lets none out."""

    def __init__(self):
        super().__init__()
        self.jobs: dict[object, dict] = {}
        self.errors: list[str] = []
        self.planned = 0

    def filter(self, record: logging.LogRecord) -> bool:
        event = str(getattr(record, "event", "")).rpartition(".")[2].lower()
        if event == "job_info":
            self.jobs[getattr(record, "jobid", len(self.jobs))] = {key: getattr(record, key, None) for key in FIELDS}
        elif event == "run_info":
            stats = getattr(record, "stats", None)
            self.planned = stats.get("total", 0) if isinstance(stats, dict) else 0
        elif record.levelno >= logging.ERROR:
            self.errors.append(record.getMessage())
        return False


def main(file: str, arguments: list[str]) -> None:
    from snakemake import __version__
    from snakemake.cli import main as snakemake
    from snakemake.logging import logger

    from avsbench import digest

    notes = Notes()
    logger.addFilter(notes)
    try:
        code = snakemake(arguments)
    except SystemExit as stop:
        code = stop.code
    content = {"version": __version__, "code": code or 0, "made": digest.made(), **vars(notes)}
    content["jobs"] = list(notes.jobs.values())
    Path(file).write_text(json.dumps(content, default=_plain))


def _plain(value: object) -> object:
    return dict(value.items()) if hasattr(value, "items") else str(value)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
