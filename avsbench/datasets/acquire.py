"""First stage: put a data set in its official layout where the rest of the suite finds it, rendered or linked."""

import hashlib
import json
import logging
import os
from pathlib import Path

from avsbench.cards import DatasetCard
from avsbench.datasets.clip import SPLITS
from avsbench.datasets.vpo_build.layout import AUDIOS, REBUILT, Kind
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths, atomic

LAYOUT = {
    "s4": ("Single-source", ["s4_meta_data.csv", "s4_data"]),
    "ms3": ("Multi-sources", ["ms3_meta_data.csv", "ms3_data"]),
    "avss": ("AVSBench_semantic", ["metadata.csv", "label2idx.json"]),
    **{kind.value + end: ("audio_visual", [*kind.needs, AUDIOS]) for kind in Kind for end in ("", REBUILT)},
}
"""Data set -> name of its top folder in the release, and what must lie in it."""
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")
_LOG = logging.getLogger(__name__)


def acquire(
    card: DatasetCard, *, scale: str, root: str | None, out: Paths, seed: int = 0, workers: int | None = None
) -> dict:
    """Render (`mini`) or link (`full`) a data set to `out.official(card.name)` and write `out.acquired(card.name)`.

    Args:
        card: the data-set card.
        scale: "mini" or "full".
        root: folder of the released data; not used at mini.
        out: where the suite keeps data of this scale.
        seed: of the rendered data.
        workers: processes that render; at most 4 and one a core by default.

    Returns:
        What was written: dataset, scale, source, clips (split -> number), csv (the official table) and table (sha256 of
        what the reader makes of it).

    Raises:
        AvsbenchError: the released data are missing or incomplete; says where to ask for them and where to put them.
    """
    from avsbench.datasets import reader

    official = Path(out.official(card.name))
    if scale == "mini" and not card.construction:
        from avsbench.datasets.mini import render

        workers = workers or min(4, os.cpu_count() or 1)
        render(card, official, seed, workers)
        source = f"rendered, seed {seed}"
    else:
        source = str(_link(card, root, official))
    table = reader(card, official).table()
    clips = {split: int((table["split"] == split).sum()) for split in SPLITS}
    expected = card.splits.get(scale, {})
    if clips != expected:
        _LOG.warning("%s: the table has %s clips, the publication %s", card.name, clips, expected)
    digest = hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()
    csv = str(official / LAYOUT[card.name][1][0])
    content = {"dataset": card.name, "scale": scale, "source": source, "clips": clips, "csv": csv, "table": digest}
    with atomic(out.acquired(card.name)) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    return content


def _link(card: DatasetCard, root: str | None, official: Path) -> Path:
    """Make `official` a link to the user's folder; a folder that already lies there is taken as it is."""
    if root is None:
        if official.is_dir() and not _missing(card, official):
            return official.resolve()
        raise AvsbenchError(
            f"{card.name}: the released data are not here",
            found=f"no entry roots.{card.name} in the configuration, and nothing at {official}",
            expected=f"a folder with {', '.join(LAYOUT[card.name][1])}",
            hint=card.access,
        )
    folder = find_root(card, Path(root).expanduser())
    official.parent.mkdir(parents=True, exist_ok=True)
    if official.exists() and not official.is_symlink():
        if official.resolve() == folder:
            return folder
        raise AvsbenchError(
            f"{official}: a folder stands where the link to the released data belongs",
            found=official.resolve(),
            expected=f"nothing, or a link to {folder}",
            hint=f"move it away, or name it in the configuration: roots.{card.name}",
        )
    temporary = official.with_name(f".{official.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder, target_is_directory=True)
    os.replace(temporary, official)
    return folder


def find_root(card: DatasetCard, root: Path) -> Path:
    """The top folder of the data set at or just below `root`, absolute; errors name what is missing."""
    where = f"{card.name}: {root} (roots.{card.name} in the configuration)"
    name, entries = LAYOUT[card.name]
    if not root.exists():
        raise AvsbenchError(f"{where}: no such folder", expected=f"the unpacked folder {name}", hint=card.access)
    if root.is_file():
        kind = "an archive" if root.suffix.lower() in _ARCHIVES else "a file"
        raise AvsbenchError(
            f"{where}: {kind}, not a folder",
            expected=f"the unpacked folder {name}",
            hint="unpack it where there is room, and name the folder; nothing is copied, only linked",
        )
    for folder in (root, root / name, root.parent):  # the last where one of its folders was named, say VPO
        if folder.is_dir() and not _missing(card, folder):
            return folder.resolve()
    raise AvsbenchError(
        f"{where}: not the released data",
        found=f"no {', '.join(_missing(card, root))}; there are {_listing(root)}",
        expected=f"{', '.join(entries)} in this folder or in its folder {name}",
        hint=card.access,
    )


def _missing(card: DatasetCard, folder: Path) -> list[str]:
    return [entry for entry in LAYOUT[card.name][1] if not (folder / entry).exists()]


def _listing(folder: Path, limit: int = 6) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:limit]) + (" …" if len(names) > limit else "") if names else "no files"
