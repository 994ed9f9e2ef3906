"""Which front ends are computed together: the groups beside the front ends of a data set, `groups.json`.

One job computes a group of one shard in one pass over its sound. A recorded group never changes, so a method that
brings another front end has nothing computed again. Planning reads this: no torch, no librosa.
"""

import json
from pathlib import Path

from avsbench.atomic import atomic
from avsbench.errors import AvsbenchError
from avsbench.media import front_ends
from avsbench.paths import Paths


def grouped(paths: Paths, dataset: str, wanted: set[str]) -> list[list[str]]:
    """The groups on record, and one new group of what is wanted and in none of them."""
    groups = _recorded(Path(paths.front_end_groups(dataset)))
    new = wanted - {name for group in groups for name in group}
    return [*groups, sorted(new)] if new else groups


def record(paths: Paths, groups: dict[str, list[list[str]]]) -> None:
    """Keep the groups of each data set beside its front ends."""
    for dataset, found in groups.items():
        path = Path(paths.front_end_groups(dataset))
        text = json.dumps(found) + "\n"
        if not path.is_file() or path.read_text() != text:
            with atomic(path) as temporary:
                temporary.write_text(text)


def _recorded(path: Path) -> list[list[str]]:
    if not path.is_file():
        return []
    try:
        groups = json.loads(path.read_text())
        # A group with a front end that is gone can never be made again.
        return [group for group in groups if all(map(front_ends.has_family, group))]
    except (ValueError, TypeError, AttributeError):
        raise AvsbenchError(
            f"{path}: not a list of groups of front ends",
            found=f"{path.stat().st_size} bytes",
            hint="delete the folder it is in; front ends are computed anew",
        ) from None
