"""Rows of the leaderboard that others made: predictions scored here, and what their makers declare about them.

A submission lies in results/<scale>/<data set>/external/<name>/, laid out as a run; `run.json` has `source`.
"""

import logging
import re
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from avsbench import provenance
from avsbench.atomic import atomic_folder
from avsbench.errors import AvsbenchError
from avsbench.paths import EXTERNAL, Paths, Scored

log = logging.getLogger(__name__)

SETTINGS = ("supervised", "zero-shot")
SELECTED_ON = ("val", "test", "train", "nothing", "not stated")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,59}")
_RESERVED = ("official", "none")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the maker of predictions declares. Nothing of it was checked here.

    Attributes:
        name: what the leaderboard calls the row: letters, digits, dots, hyphens, underscores; a letter first.
        made_by: who trained the model and predicted.
        paper, url: where more is said; at least one of them.
        note: what else must be known: other training data, an ensemble, another size.
        setting: supervised or zero-shot; each is ranked apart.
        selected_on: the split that chose the epoch.
        resized: frames that were brought to the size of the ground truth here; not declared, but counted.
    """

    name: str
    made_by: str
    paper: str = ""
    url: str = ""
    note: str = ""
    setting: str = SETTINGS[0]
    selected_on: str = SELECTED_ON[-1]
    resized: int = 0

    def __post_init__(self):
        check_name(self.name)
        if not self.made_by.strip() or not (self.paper.strip() or self.url.strip()):
            raise AvsbenchError(
                f"submission {self.name}: the source is not declared",
                found=f"made by {self.made_by or 'nobody'}; paper {self.paper or 'none'}; address {self.url or 'none'}",
                expected="who trained and predicted (--made-by), and --paper or --url",
            )
        if self.url and not re.fullmatch(r"https?://[^\s|<>()]+", self.url):
            raise AvsbenchError(f"submission {self.name}: no address: {self.url!r}", expected="http:// or https:// …")
        for key, allowed in (("setting", SETTINGS), ("selected_on", SELECTED_ON)):
            if getattr(self, key) not in allowed:
                raise AvsbenchError(
                    f"submission {self.name}: unknown {key}", found=getattr(self, key), expected=", ".join(allowed)
                )

    def __str__(self) -> str:
        where = ", ".join(text for text in (self.paper, self.url) if text)
        notes = [self.note, f"{self.resized} frames resized here" if self.resized else ""]
        return "; ".join([f"made by {self.made_by} ({where})", *filter(None, notes)])


def check_name(name: str) -> None:
    """Raise AvsbenchError for what cannot name a submission."""
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise AvsbenchError(
            f"{name!r} cannot name a submission",
            expected="letters, digits, dots, hyphens and underscores, a letter first; "
            f"not {' or '.join(_RESERVED)}; at most 60",
        )


def submit(scored: Scored, paths: Paths, source: Source) -> Scored:
    """Put scored predictions among the results; a submission of the same name is replaced. Returns the new folder."""
    record = provenance.read_run(scored.record)
    target = Scored(paths.external(record["dataset"], source.name))
    replaced = Path(target.record).is_file()
    with atomic_folder(target.folder) as folder:
        new = Scored(str(folder))
        # In this order: scores are newer than the predictions that they are made from.
        for kind in ("predictions", "frames", "draws", "scores"):
            copy = Path(getattr(new, kind))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(getattr(scored, kind), copy)
        declared = asdict(replace(source, resized=record["resized_frames"]))
        provenance.write_run(new.record, record | {"seed": source.name, "source": declared})
    log.info("%s %s", target.folder, "replaced" if replaced else "added")
    return target


def withdraw(paths: Paths, dataset: str, name: str) -> str:
    """Remove a submission; returns its folder."""
    folder = paths.external(dataset, name)
    if name not in paths.submissions(dataset):
        raise AvsbenchError(
            f"no submission {name!r} to {dataset} at scale {paths.scale}",
            found=", ".join(paths.submissions(dataset)) or "none",
        )
    shutil.rmtree(folder)
    return folder


def read_submission(paths: Paths, dataset: str, name: str) -> tuple[dict, Source]:
    """run.json of a submission, and its source.

    Raises:
        AvsbenchError: the file is damaged, or of another data set or scale.
    """
    file = Scored(paths.external(dataset, name)).record
    record = provenance.read_run(file)
    expected = {"variant": EXTERNAL, "dataset": dataset, "seed": name, "scale": paths.scale}
    found = {key: str(record[key]) for key in expected}
    if found != expected:
        raise AvsbenchError(f"{file}: describes another run", found=found, expected=expected, hint="submit it again")
    declared = record.get("source")
    if not isinstance(declared, dict) or set(declared) != {field.name for field in fields(Source)}:
        raise AvsbenchError(f"{file}: no declared source", found=declared, hint="submit it again")
    return record, Source(**declared)
