"""Pretrained encoders: where their files lie, how they get there, and how they come into a network.

`encoders.yaml` describes each: name, published file, address, size, licence. At scale mini a stand-in, which the rule
`pretrain_mini` trains, takes the place of the published file.
"""

import hashlib
import logging
from pathlib import Path

from torch import Tensor, nn

from avsbench import cards
from avsbench.atomic import atomic
from avsbench.cards import EncoderCard
from avsbench.errors import AvsbenchError
from avsbench.nn.containers import read_container
from avsbench.paths import Paths

log = logging.getLogger(__name__)


def encoder_file(card: EncoderCard, scale: str, paths: Paths) -> str:
    """The published file, or at mini the stand-in."""
    return paths.stand_in(card.name) if scale == "mini" else paths.weights(card.file)


def load_encoder(module: nn.Module, card: EncoderCard, scale: str, paths: Paths) -> str:
    """Load a pretrained encoder into `module` (by its `load_pretrained`), strictly; returns the file.

    Raises:
        AvsbenchError: the file is missing, damaged, another one than published, or does not fit the module.
    """
    file = encoder_file(card, scale, paths)
    load_file(module, card, file, scale)
    return file


def load_file(module: nn.Module, card: EncoderCard, file: str, scale: str = "full", *, hint: str | None = None) -> None:
    """Load an encoder from `file` (at mini its stand-in), wherever that lies; errors as `load_encoder`.

    Args:
        hint: what to do where the file does not fit; default: get it again.
    """
    if not Path(file).is_file():
        raise _missing(card, scale, file)
    if scale != "mini":
        check_digest(file, card)
    state = _read(file)
    try:
        module.load_pretrained(state)
    except AvsbenchError as error:
        raise AvsbenchError(
            f"{file}: {error.what}", found=error.found, expected=error.expected, hint=hint or _replace_hint(card, scale)
        ) from None
    log.info("%s: %d tensors from %s", card.name, len(state), file)


def check_folder(card: EncoderCard, file: str) -> Path:
    """The folder of an encoder that is several files, `file` the large one, with all of them there and as published.

    Raises:
        AvsbenchError: files are missing, and then all that are named with size and address, or one is another one.
    """
    folder = Path(file).parent
    files = {folder / Path(part.file).name: part for part in card.parts}
    missing = [part for path, part in files.items() if not path.is_file()]
    if missing:
        raise AvsbenchError(
            f"{folder}: of the {len(files)} files of {card.name}, {len(missing)} are missing",
            expected="; ".join(f"{part.file}, {_size(part)}, {part.url}" for part in missing),
            hint=f"avsbench fetch-weights {card.file}, or get them from there and put them into that folder",
        )
    for path, part in files.items():
        check_digest(path, part)
    return folder


def fetch(file: str, paths: Paths) -> str:
    """Download a published encoder file to `paths.weights(file)`, unless it is there; returns its path.

    What an encoder needs beside that file comes first, so that nothing is missing once the large one is there.

    Raises:
        AvsbenchError: no encoder has this file, or it cannot be downloaded; says where to get it and where to put it.
    """
    by_file = {card.file: card for card in cards.encoder_cards().values()}
    for card in cards.known(file, by_file, "fetch-weights", "file of a pretrained encoder").parts:
        target = paths.weights(card.file)
        if Path(target).is_file():
            check_digest(target, card)
            continue
        log.info("%s: %s from %s", target, _size(card), card.url)
        with atomic(target) as temporary:
            _download(card, target, temporary)
            check_digest(temporary, card)
    return target


def check_digest(file: str | Path, card: EncoderCard) -> None:
    """Compare sha256, or the prefix of it that the publisher put into the name, when there is one."""
    if card.sha256 is None:
        return
    with open(file, "rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if not found.startswith(card.sha256):
        raise AvsbenchError(
            f"{file}: not the published file of {card.name}",
            found=f"sha256 {found[:16]}…, {Path(file).stat().st_size / 1e6:.1f} MB",
            expected=f"sha256 {card.sha256}…, {_size(card)}",
            hint=_replace_hint(card, "full"),
        )


def _download(card: EncoderCard, target: str, temporary: Path) -> None:
    import sys

    import pooch
    import requests

    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
    try:
        download(card.url, str(temporary), None)
    except (requests.RequestException, ValueError) as error:
        raise AvsbenchError(
            f"{target}: cannot be downloaded",
            found=f"{type(error).__name__}: {error}",
            expected=f"{card.file}, {_size(card)}",
            hint=f"get it from {card.url} by other means and put it there",
        ) from None


def _read(file: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError

    try:
        return read_container(file)
    except SafetensorError as error:
        raise AvsbenchError(f"{file}: damaged", found=error, hint="delete it and run the same command again") from None


def _missing(card: EncoderCard, scale: str, file: str) -> AvsbenchError:
    if scale == "mini":
        return AvsbenchError(
            f"{file}: the stand-in for {card.name} does not exist",
            hint=f"the workflow trains it; alone: avsbench pretrain-mini --encoder {card.name}",
        )
    return AvsbenchError(
        f"{file}: the pretrained weights of {card.name} are missing",
        expected=f"{card.file}, {_size(card)}" + (f", sha256 {card.sha256}…" if card.sha256 else ""),
        hint=f"avsbench fetch-weights {card.file}, or get it from {card.url} and put it there",
    )


def _size(card: EncoderCard) -> str:
    return f"about {card.size_mb} MB" if card.size_mb >= 1 else f"about {card.size_mb * 1000:.0f} kB"


def _replace_hint(card: EncoderCard, scale: str) -> str:
    if scale == "mini":
        return f"delete it; the workflow trains it again (alone: avsbench pretrain-mini --encoder {card.name})"
    return f"delete it and get it again from {card.url}"
