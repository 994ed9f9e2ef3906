"""Data sets: a card (`<name>.yaml`) and a reader each, `acquire`, and the embedded data (`mini`)."""

from pathlib import Path

from avsbench.cards import DatasetCard
from avsbench.datasets.acquire import acquire
from avsbench.datasets.avsbench_object import MultiSourceReader, SingleSourceReader
from avsbench.datasets.avsbench_semantic import SemanticReader
from avsbench.datasets.clip import Clip, ClipFault, ClipFiles, Reader
from avsbench.datasets.vpo import VpoReader
from avsbench.datasets.vpo_build.layout import REBUILT, Kind
from avsbench.errors import AvsbenchError

READERS: dict[str, type[Reader]] = {
    "s4": SingleSourceReader,
    "ms3": MultiSourceReader,
    "avss": SemanticReader,
    **{kind.value + end: VpoReader for kind in Kind for end in ("", REBUILT)},
}


def reader(card: DatasetCard, root: str | Path) -> Reader:
    """The reader of a data set whose official folder layout lies at `root`."""
    if card.name not in READERS:
        raise AvsbenchError(
            f"no reader for the data set {card.name!r}",
            expected=f"one of {', '.join(READERS)}",
            hint="add one to READERS in avsbench/datasets/__init__.py",
        )
    return READERS[card.name](card, Path(root))


__all__ = ["READERS", "Clip", "ClipFault", "ClipFiles", "Reader", "acquire", "reader"]
