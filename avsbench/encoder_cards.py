"""Cards of pretrained encoders (`avsbench/nn/encoders.yaml`). No torch here: planning reads them."""

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from avsbench.closed_yaml import known

STAND_INS = ("visual", "audio", "audiovisual")
"""Kinds of encoders that have a small member, which scale mini trains. What makes masks or boxes has none."""


@dataclass(frozen=True)
class EncoderCard:
    """One pretrained encoder (`avsbench/nn/encoders.yaml`).

    `beside` lists small files that it needs in the folder of `file`: name -> [size in MB, sha256].
    """

    name: str
    family: str
    kind: str
    file: str
    url: str
    sha256: str | None
    size_mb: float
    licence: str
    architecture: str | None = None
    front_ends: list = field(default_factory=list)
    beside: dict = field(default_factory=dict)

    @property
    def parts(self) -> "list[EncoderCard]":
        """A card for each file: those beside the large one, which have its folder and address, and then that one."""
        folder, address = self.file.rpartition("/")[0], self.url.rpartition("/")[0]
        small = [
            replace(self, file=f"{folder}/{name}", url=f"{address}/{name}", sha256=sha256, size_mb=size_mb, beside={})
            for name, (size_mb, sha256) in self.beside.items()
        ]
        return [*small, self]

    @property
    def published_as(self) -> str:
        """The backbone as published tables call it."""
        return self.architecture or self.name

    def exists_at(self, scale: str) -> bool:
        """True where it has weights: the published file, or at mini a stand-in, which not every kind has."""
        return scale != "mini" or self.kind in STAND_INS


@functools.cache
def encoder_cards() -> dict[str, EncoderCard]:
    """Name -> pretrained encoder."""
    content = yaml.safe_load((Path(__file__).parent / "nn" / "encoders.yaml").read_text())
    return {name: EncoderCard(name=name, **entry) for name, entry in content.items()}


def encoder(name: str) -> EncoderCard:
    """One pretrained encoder; an unknown name names the nearest known one."""
    return known(name, encoder_cards(), "encoder", "encoder")
