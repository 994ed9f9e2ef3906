"""What can be removed to make room, and removing it: only what the suite itself made, and can make again."""

import glob
import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from avsbench import cards
from avsbench.atomic import is_leftover
from avsbench.datasets.acquire import only_links, sources
from avsbench.paths import Paths
from avsbench.plan import Plan

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """Something that can go: what it is, where, and the bytes that it takes (a link takes none)."""

    what: str
    path: Path
    size: int


def find(
    plan: Plan, *, data: bool = False, features: bool = False, results: bool = False, dataset: str | None = None
) -> list[Item]:
    """What can go, largest first; nothing is removed.

    Always: what killed jobs left half-written, resume states of finished runs, and what was unpacked from archives that
    still exist and is used at neither smoke nor full. Never: what the configuration names (roots, vpo_sources), what a
    user may have put into the folder for downloads or in place of the link to a release, published weights, what others
    submitted, and what lies behind a link.

    Args:
        data: also all data of the plan's scale: shards, front ends, the rendered or linked layout.
        features: also features of the plan's scale that no run of the configuration sees: of another generator or
            option, or of what is no longer selected.
        results: also all results of the plan's scale.
        dataset: of data, features and results, only those of this data set.
    """
    paths, names = plan.paths, [dataset] if dataset else list(cards.dataset_cards())
    items = [_item("half-written", path) for path in _leftovers(paths)]
    items += [_item("state of a finished run", path) for path in _finished_states(paths)]
    gone = {paths.official(name) for name in names} if data else set()
    items += [_item("unpacked, not linked to", path) for path in _unused(paths, gone)]
    if data:
        items += [_item(f"data of scale {plan.scale}", path) for path in _data(paths, names, built=not dataset)]
    if features:
        items += [_item("features that no run sees", path) for path in _unseen(plan, names)]
    if results:
        items += [_item(f"results of scale {plan.scale}", path) for path in _results(paths, dataset)]
    return sorted(_apart(_spared(plan, items)), key=lambda item: (-item.size, str(item.path)))


def remove(items: list[Item]) -> int:
    """Remove what `find` found; a link is removed, never what it leads to. Returns the bytes that were freed."""
    for item in items:
        if item.path.is_symlink() or item.path.is_file():
            item.path.unlink(missing_ok=True)
        else:
            shutil.rmtree(item.path)
    return sum(item.size for item in items)


def _leftovers(paths: Paths) -> Iterator[Path]:
    roots = [paths.data_root, paths.results_root, paths.weights_root]
    layouts = {os.path.basename(paths.official("x")), os.path.basename(paths.downloads("x"))}
    for root in roots:
        for folder, folders, files in os.walk(root):
            found = [name for name in [*folders, *files] if is_leftover(Path(folder) / name)]
            yield from (Path(folder) / name for name in found)
            unpacked = os.path.basename(folder) == os.path.basename(paths.unpacked())
            # Layouts and unpacked archives hold hundreds of thousands of files, none of them temporary.
            folders[:] = [] if unpacked else [name for name in folders if name not in layouts and name not in found]


def _finished_states(paths: Paths) -> Iterator[Path]:
    for state in map(Path, sorted(glob.glob(paths.state("*", "*", "*")))):
        run = state.parent.relative_to(Path(paths.results_root) / paths.scale).parts
        record, newest = Path(paths.run_json(*run)), max(path.stat().st_mtime for path in [state, *state.glob("*.*")])
        # A state that is newer belongs to a training under way, and the record to one before it.
        if Path(paths.run_weights(*run)).is_file() and record.is_file() and record.stat().st_mtime >= newest:
            yield state


def _data(paths: Paths, names: list[str], built: bool) -> Iterator[Path]:
    """What lies in the folders of data sets, and what VPO-style sets are built in; smoke takes that of full."""
    folders = [Path(paths.dataset(name)) for name in names]
    folders += [Path(paths.vpo_build())] if built and paths.scale != "smoke" else []
    for path in (path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())):
        # A layout with files of its own is rendered at mini, and elsewhere put there by the user.
        brought = path.name == os.path.basename(paths.official("x")) and paths.scale != "mini" and not only_links(path)
        if not brought and path.name in _own_names(paths):
            yield path


def _unseen(plan: Plan, names: list[str]) -> Iterator[Path]:
    """Folders of features that no run of the configuration sees; imported ones stay."""
    for name in names:
        top = Path(plan.paths.features(name, "x", "train", 0, 1)).parents[1]
        for folder in sorted(top.iterdir()) if top.is_dir() else []:
            seen = any(run.dataset == name and folder.name in run.features for run in plan.runs)
            if not seen and re.fullmatch(r"[a-z_]+-[a-z0-9_]+-[0-9a-f]{8}", folder.name):
                yield folder


def _results(paths: Paths, dataset: str | None) -> Iterator[Path]:
    """What lies in the results of a scale or data set, but for what others submitted: nobody here can make it again."""
    spared = [Path(paths.external(name, "x")).parent for name in cards.dataset_cards() if paths.submissions(name)]
    top = Path(paths.run(dataset or "", "", ""))
    for path in sorted(top.iterdir()) if top.is_dir() else []:
        if path.is_dir() and any(path in folder.parents for folder in spared):
            yield from (inner for inner in sorted(path.iterdir()) if inner not in spared)
        elif path not in spared:
            yield path


def _own_names(paths: Paths) -> set[str]:
    """What the suite itself puts into the folder of a data set or a construction; all else there is the user's."""
    one = ("x", "train", 0, 1)
    made = [paths.official("x"), paths.acquired("x"), paths.manifest(*one), paths.shard(*one), paths.native(*one)]
    made += [paths.index("x", "train"), paths.audio("x", "y", "train", 0, 1), paths.features("x", "y", "train", 0, 1)]
    built = [paths.vpo_sources(), paths.vpo_candidates(), paths.vpo_audio_pool(), paths.vpo_dropped_audio()]
    built += [paths.vpo_built(name) for name, card in cards.dataset_cards().items() if card.construction == "vpo"]
    return {Path(path).relative_to(paths.dataset("x")).parts[0] for path in made} | {Path(path).name for path in built}


def _unused(paths: Paths, gone: set[str]) -> Iterator[Path]:
    """Unpacked archives that still exist and that no layout of smoke or full leads to, those in `gone` not counted."""
    layouts = [
        replace(paths, scale=scale).official(name) for scale in ("smoke", "full") for name in cards.dataset_cards()
    ]
    targets = [target for layout in layouts if layout not in gone for target in _targets(Path(layout))]
    top = Path(paths.unpacked())
    for folder in sorted(top.iterdir()) if top.is_dir() else []:
        again = folder.is_dir() and (files := sources(folder)) and all(file.is_file() for file in files)
        if again and not any(target.is_relative_to(folder.resolve()) for target in targets):
            yield folder


def _targets(layout: Path) -> Iterator[Path]:
    """Where the link, or the links in a folder of links, lead."""
    if layout.is_symlink():
        yield layout.resolve()
    elif layout.is_dir():
        for depth in ("*", "*/*", "*/*/*"):
            yield from (path.resolve() for path in layout.glob(depth) if path.is_symlink())


def _spared(plan: Plan, items: list[Item]) -> Iterator[Item]:
    """Without what holds a file or folder that the configuration names, or lies in one among the suite's own data."""
    named = [*plan.config.get("roots", {}).values(), *map(str, plan.config.get("vpo_sources", {}).values())]
    roots = [path.resolve() for path in (Path(name).expanduser() for name in named) if path.exists()]
    data = Path(plan.paths.data_root).resolve()
    for item in items:
        path = item.path.parent.resolve() / item.path.name  # of a link, the link
        holds = [root for root in roots if not item.path.is_symlink() and root.is_relative_to(path.resolve())]
        holds += [root for root in roots if root.is_relative_to(data) and root != data and path.is_relative_to(root)]
        if holds:
            _LOG.warning("%s: kept, for the configuration names %s", item.path, holds[0])
        else:
            yield item


def _apart(items: Iterator[Item]) -> list[Item]:
    """Without what lies in another item."""
    found = {item.path: item for item in items}
    return [item for path, item in found.items() if not any(parent in found for parent in path.parents)]


def _item(what: str, path: Path) -> Item:
    return Item(what, path, _size(path))


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return 0 if path.is_symlink() else path.stat().st_size
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(os.lstat(file).st_size for file in files)
