"""Studies: questions that a few changes of one variant answer (`config/studies/<name>.yaml`), read and named.

A row of a study is a variant with something laid over it, called `<variant>@<study>.<row>`. Under that name it has
runs, paths and settings of its own, and every stage takes it like any other variant. No torch here, and no other cards.
"""

import functools
import os
from dataclasses import dataclass, field
from pathlib import Path

from avsbench.closed_yaml import known, read_yaml
from avsbench.errors import AvsbenchError

FOLDER = Path(__file__).resolve().parents[1] / "config" / "studies"
WORDS = ("title", "variant")
"""Keys of a row that change nothing of its variant."""


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        name: of its file, without ending.
        rows: name -> what is laid over a variant, with the keys of a card's variants.
        variants: each gets all rows; empty where every row names its own.
        seeds: None where those of the configuration count.
        columns: metrics to show; empty for the headline of each data set.
    """

    name: str
    path: Path
    title: str
    question: str
    datasets: list
    rows: dict
    variants: list = field(default_factory=list)
    seeds: list | None = None
    columns: list = field(default_factory=list)

    @property
    def groups(self) -> list[list[tuple[str, str]]]:
        """Tables of a data set: (row, variant without the row's changes) of each line. One table a variant."""
        if not self.variants:
            return [[(name, row["variant"]) for name, row in self.rows.items()]]
        return [[(name, variant) for name in self.rows] for variant in self.variants]

    def changes(self, row: str) -> dict:
        """What a row lays over its variant."""
        return {key: value for key, value in self.rows[row].items() if key not in WORDS}

    def label(self, row: str) -> str:
        return self.rows[row].get("title", row)

    def variant(self, row: str, base: str) -> str:
        """The name of a row's variant; a row without changes is the variant itself."""
        return f"{base}@{self.name}.{row}" if self.changes(row) else base


def study_folders() -> list[Path]:
    """Folders that hold studies: the project's and those of $AVSBENCH_STUDIES (separated as in $PATH)."""
    return [FOLDER, *(Path(p) for p in os.environ.get("AVSBENCH_STUDIES", "").split(os.pathsep) if p)]


def study_files() -> dict[str, Path]:
    """Name -> file of every study, folder by folder."""
    return _study_files(tuple(study_folders()))


@functools.cache
def _study_files(folders: tuple[Path, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.yaml"))):
        if found.setdefault(path.stem, path) != path:
            raise AvsbenchError(f"{path}: the name of a study is taken", found=found[path.stem], hint="rename one file")
    return found


def study(name: str) -> Study:
    """One study; an unknown name names the nearest known one."""
    return read_study(known(name, study_files(), "study", "study"))


def changes_of(place: str) -> dict:
    """What `<study>.<row>`, the second half of a row's name, lays over its variant."""
    name, _, row = place.partition(".")
    found = study(name)
    known(row, found.rows, f"{found.path}: rows", "row")
    return found.changes(row)


@functools.cache
def read_study(path: Path) -> Study:
    """One file, checked against the schema."""
    content = read_yaml(path, "study")
    content["rows"] = {name: row or {} for name, row in content["rows"].items()}
    return Study(name=path.stem, path=path, **content)
