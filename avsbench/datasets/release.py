"""Find the parts of a release below the folders that people have, whatever they called what lies above them."""

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from avsbench.cards import DatasetCard
from avsbench.errors import AvsbenchError

DEPTH = 3
"""How far below a folder the release is looked for."""
_CROWD = 200
"""A folder with more folders than this holds clips, not a release."""


def required(card: DatasetCard) -> list[str]:
    """What the top folder must hold: the table, unless one of the entries holds it, and the entries."""
    table, entries = card.release["table"], card.release["entries"]
    inside = any(PurePosixPath(table).is_relative_to(entry) for entry in entries)
    return entries if inside else [table, *entries]


def is_top(card: DatasetCard, folder: Path) -> bool:
    """True for a folder that holds everything by its name."""
    return all(_is_entry(card, name, folder / name) for name in required(card))


def locate(card: DatasetCard, places: list[Path]) -> dict[str, Path]:
    """Entry -> where it lies, absolute, of those that are found at, below or just above `places`.

    One folder that holds everything goes first; otherwise each entry may lie in a folder of its own.
    """
    names = required(card)
    folders = list(dict.fromkeys(folder for place in places for folder in _folders(card, place)))
    for folder in folders:
        if is_top(card, folder):
            return {name: folder.resolve() / name for name in names}
    found = {}
    for name in names:
        parts = PurePosixPath(name).parts
        ends = [Path(*parts[start:]) for start in range(len(parts))]
        for path in (folder / end for folder in folders for end in ends):
            if _is_entry(card, name, path):
                found[name] = path.resolve()
                break
    return found


def missing(card: DatasetCard, found: dict[str, Path]) -> list[str]:
    return [name for name in required(card) if name not in found]


def top_folder(found: dict[str, Path]) -> Path | None:
    """The one folder that holds all entries by their names, or None where they are spread out."""
    name, path = next(iter(found.items()))
    depth = len(PurePosixPath(name).parts)
    top = Path(*path.parts[:-depth])
    return top if all(top / name == path for name, path in found.items()) else None


def find_root(card: DatasetCard, root: Path) -> Path:
    """The top folder of the release at or below `root`, absolute; errors name what is missing.

    For whoever only reads: archives are not unpacked, and a release in several folders is not put together.
    """
    found = locate(card, [root]) if root.is_dir() else {}
    if not missing(card, found) and (top := top_folder(found)):
        return top
    raise not_the_release(card, root, found)


def chosen(card: DatasetCard, archives: list[Path]) -> list[Path]:
    """The archives whose names are those of the card's release; all of them where none is."""
    patterns = card.release.get("archives", [])
    ours = [a for a in archives if any(fnmatch.fnmatch(a.name.lower(), pattern.lower()) for pattern in patterns)]
    return ours or archives


def what_is_expected(card: DatasetCard) -> str:
    """The folder and the archives that a release may come as, in one sentence."""
    release = card.release
    text = f"the folder {release['folder']} with {', '.join(required(card))}"
    if patterns := release.get("archives"):
        names = ", ".join(f"{pattern}.zip" for pattern in patterns)
        text += f"; or its archives (zip, tar, tar.gz, whole or in pieces), called like {names}"
    return text


def not_the_release(card: DatasetCard, root: Path, found: dict[str, Path]) -> AvsbenchError:
    """The error for a folder or file that is not, or not all of, the release."""
    where = f"{card.name}: {root} (roots.{card.name} in the configuration)"
    if not root.exists():
        return AvsbenchError(f"{where}: no such folder", expected=what_is_expected(card), hint=card.access)
    if root.is_file():
        return AvsbenchError(f"{where}: a file, not a folder", expected=what_is_expected(card), hint=card.access)
    lacking = missing(card, found)
    if not lacking:
        lies = "; ".join(f"{name} in {path.parent}" for name, path in found.items())
        return AvsbenchError(
            f"{where}: the release lies in several folders",
            found=lies,
            hint=f"`avsbench acquire --dataset {card.name} --root {root}` puts links to them into one",
        )
    here = f" (but {', '.join(map(str, found.values()))})" if found else f"; there are {_listing(root)}"
    return AvsbenchError(
        f"{where}: not the released data, or not all of them",
        found=f"no {', '.join(lacking)}{here}",
        expected=what_is_expected(card),
        hint=card.access,
    )


def _is_entry(card: DatasetCard, name: str, path: Path) -> bool:
    """Whether something lies at `path` that may be the entry `name`: it holds the table if that belongs into it."""
    table = PurePosixPath(card.release["table"])
    inside = table.is_relative_to(name) and str(table) != name
    return (path / table.relative_to(name)).is_file() if inside else path.exists()


def _folders(card: DatasetCard, place: Path) -> Iterator[Path]:
    """`place`, where it may be seen from if it is itself a part of the release, and the folders below it."""
    parts = {part for entry in required(card) for part in PurePosixPath(entry).parts}
    place = place.absolute()
    yield place
    above = place
    while above.name in parts:
        above = above.parent
        yield above
    yield from (place / known for known in [card.release["folder"], *card.release.get("also", [])])
    level = [place]
    for _ in range(DEPTH):
        level = [child for folder in level for child in _children(folder) if child.name not in parts]
        yield from level


def _children(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones left out; none where there are too many to be a release."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__"))]
    except OSError:
        return []
    return [folder / name for name in sorted(names)] if len(names) <= _CROWD else []


def _listing(folder: Path, limit: int = 6) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:limit]) + (" …" if len(names) > limit else "") if names else "no files"
