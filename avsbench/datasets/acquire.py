"""First stage: put a data set, rendered, linked or unpacked, in its official layout where the rest of the suite looks.

Released data come as a folder (linked, never copied), as archives (unpacked once, whatever set they are for) or from
mirrors. What lies in folders of its own is put together by links.
"""

import hashlib
import json
import logging
import os
from pathlib import Path

from filelock import FileLock

from avsbench.atomic import atomic, atomic_folder, temporary_of
from avsbench.cards import DatasetCard
from avsbench.datasets import archives, release, space
from avsbench.datasets import mirrors as mirror_sites
from avsbench.datasets.archive_parts import piece_of
from avsbench.datasets.clip import SPLITS
from avsbench.datasets.release import find_root
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths

__all__ = ["acquire", "find_root", "only_links", "sources"]

SOURCES = ".archives.json"
"""In a folder of unpacked archives: the files that it was made from."""
_LOG = logging.getLogger(__name__)


def acquire(
    card: DatasetCard,
    *,
    scale: str,
    root: str | None,
    out: Paths,
    seed: int = 0,
    workers: int | None = None,
    mirrors: list[dict] | None = None,
) -> dict:
    """Render (`mini`), link or unpack a data set to `out.official(card.name)`; write `out.acquired(card.name)`.

    Args:
        card: the data-set card.
        scale: "mini", or "smoke" and "full", which both take the released data.
        root: folder of the released data, an archive (or a piece of one), or a folder of archives; not used at mini.
        out: where the suite keeps data of this scale.
        seed: of the rendered data.
        workers: processes that render; at most 4 and one a core by default.
        mirrors: files to download, {url, sha256, file}, where there is no `root`; those of the card by default.

    Returns:
        What was written: dataset, scale, source, clips (split -> number), csv (the official table) and table (sha256 of
        what the reader makes of it).

    Raises:
        AvsbenchError: the released data are missing or incomplete (says where to ask for them, how they are called and
            where to put them), an archive is damaged or not to be trusted, or the disk has not enough room.
    """
    from avsbench.datasets import reader

    official = Path(out.official(card.name))
    if scale == "mini" and not card.construction:
        from avsbench.datasets.mini import render

        workers = workers or min(4, os.cpu_count() or 1)
        render(card, official, seed, workers)
        source = f"rendered, seed {seed}"
    else:
        source = _take(card, root, mirrors or card.release.get("mirrors", []), out)
    table = reader(card, official).table()
    clips = {split: int((table["split"] == split).sum()) for split in SPLITS}
    expected = card.splits["mini" if scale == "mini" else "full"]
    if clips != expected:
        level = logging.WARNING if card.counts_known else logging.INFO
        _LOG.log(level, "%s: the table has %s clips, the publication %s", card.name, clips, expected)
    digest = hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()
    csv = str(official / card.release["table"])
    content = {"dataset": card.name, "scale": scale, "source": source, "clips": clips, "csv": csv, "table": digest}
    with atomic(out.acquired(card.name)) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    return content


def _take(card: DatasetCard, root: str | None, mirrors: list[dict], out: Paths) -> str:
    """Make `official` lead to the released data; returns where they are."""
    official, downloads = Path(out.official(card.name)), Path(out.downloads(card.name))
    if root is not None:
        return _link(card, _unpacked_places(card, Path(root).expanduser(), out), official)
    if release.is_top(card, official):
        return str(official.resolve())
    if mirrors:
        space.require(downloads, space.released_bytes(card, out.scale), f"downloading {card.name}")
        mirror_sites.fetch_all(mirrors, downloads)
    if not downloads.is_dir():
        raise AvsbenchError(
            f"{card.name}: the released data are not here",
            found=f"no entry roots.{card.name} in the configuration, and nothing at {official} or {downloads}",
            expected=release.what_is_expected(card),
            hint=f"{card.access} An archive may stay packed: name it there, or put it into {downloads}",
        )
    return _link(card, _unpacked_places(card, downloads, out), official)


def _unpacked_places(card: DatasetCard, root: Path, out: Paths) -> list[Path]:
    """Folders in which the release is to be found: `root`, and what its archives were unpacked to."""
    if root.is_dir():
        found = release.locate(card, [root])
        packed = release.chosen(card, archives.archives_in(root)) if release.missing(card, found) else []
        return [root] if not packed else [_unpack(card, packed, out), root]
    if root.is_file() and archives.is_archive(root):
        return [_unpack(card, [root], out)]
    # `x.zip` names an archive of which only the pieces `x.zip.001 …` exist.
    whole = [path for path in root.parent.glob("*") if (piece_of(path) or [""])[0] == root.name]
    if not root.exists() and whole:
        return [_unpack(card, whole[:1], out)]
    raise release.not_the_release(card, root, {})


def _unpack(card: DatasetCard, packed: list[Path], out: Paths) -> Path:
    """The folder with the content of archives; unpacked once, and again only where a file of theirs changed."""
    content = archives.fingerprint(packed)
    target = Path(out.unpacked(hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]))
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):  # sets that share archives are acquired side by side
        if target.is_dir():
            return target
        needed = sum(archives.unpacked_bytes(archive) for archive in packed)
        space.require(target.parent, needed, f"unpacking {card.name}")
        with atomic_folder(target) as temporary:
            for archive in packed:
                count = archives.unpack(archive, temporary)
                _LOG.info("%s: %d files unpacked to %s", archive, count, target)
            (temporary / SOURCES).write_text(json.dumps([file for file, *_ in content], indent=2) + "\n")
    return target


def _link(card: DatasetCard, places: list[Path], official: Path) -> str:
    """Make `official` a link to the one top folder, or a folder of links where its entries lie apart."""
    found = release.locate(card, places)
    if release.missing(card, found):
        raise release.not_the_release(card, places[-1], found)
    top = release.top_folder(found)
    source = str(top or "; ".join(f"{name}: {path}" for name, path in found.items()))
    if official.exists() and not only_links(official):
        if official.resolve() == top:
            return source
        raise AvsbenchError(
            f"{official}: a folder stands where the link to the released data belongs",
            found=official.resolve(),
            expected=f"nothing, or a link to {source}",
            hint=f"move it away, or name it in the configuration: roots.{card.name}",
        )
    if top is None:
        _LOG.info("%s: put together from several folders: %s", card.name, source)
        with atomic_folder(official) as temporary:
            for name, path in found.items():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                (temporary / name).symlink_to(path, target_is_directory=path.is_dir())
        return source
    if official.is_dir() and not official.is_symlink():
        with atomic_folder(official):  # the folder of links of an earlier call gives way
            pass
        official.rmdir()
    official.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(official)
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(top, target_is_directory=True)
    os.replace(temporary, official)
    return source


def sources(unpacked: Path) -> list[Path]:
    """The files of the archives that a folder was made from, whether or not they still exist; none if it was not."""
    record = unpacked / SOURCES
    return [Path(file) for file in json.loads(record.read_text())] if record.is_file() else []


def only_links(folder: Path) -> bool:
    """True for a link, and for a folder with nothing but links and folders of links in it."""
    if folder.is_symlink():
        return True
    return folder.is_dir() and all(map(only_links, folder.iterdir()))
