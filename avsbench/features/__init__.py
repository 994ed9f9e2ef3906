"""Mask generators: class-agnostic proposals of what a picture shows, behind one interface.

`generators.yaml` lists them: planning reads that alone. A generator's module offers

    build(*, weights: str | None, device: str, **options) -> Generator

and is imported only when it runs. `avsbench.features.maskige` colours what is proposed; the stage itself is
`avsbench.store.features`. Letters in shapes: F frames of one size, N masks, H W pixels.
"""

import functools
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from avsbench.closed_yaml import known
from avsbench.errors import AvsbenchError

if TYPE_CHECKING:  # planning needs the names alone
    import numpy as np

MASKIGE = "maskige"
"""The feature that COMBO and NTAVS see: uint8 [T,3,H,W], one colour a mask."""


@dataclass(frozen=True)
class Proposals:
    """The masks of one picture, in the order of the generator; they may overlap, and there may be none.

    Attributes:
        masks: bool [N,H,W], of the size of the picture.
        scores: float32 [N], the generator's own; higher is better.
    """

    masks: "np.ndarray"
    scores: "np.ndarray"


class Generator:
    """Proposes masks. A subclass defines one of the two methods; both give the same masks for the same pictures.

    Pictures are RGB uint8 with the colours last; a generator that wants another order permutes them itself.
    """

    def propose(self, image: "np.ndarray") -> Proposals:
        """The masks of one picture, uint8 [H,W,3]."""
        return self.propose_frames(image[None])[0]

    def propose_frames(self, images: "np.ndarray") -> list[Proposals]:
        """The masks of each of F pictures, uint8 [F,H,W,3]; the way to use a GPU well."""
        return [self.propose(image) for image in images]


@dataclass(frozen=True)
class GeneratorCard:
    """What the suite knows about a generator before it runs.

    Attributes:
        name: as the configuration writes it.
        title: in words, with the source.
        version: raised when the same options give other masks; part of every output path.
        finds: proposes masks at all.
        partition: its masks tile the picture, without overlap and gap.
        needs_gpu: takes a GPU beyond mini (seconds a frame without one).
        published: the published numbers of COMBO and NTAVS rest on such masks.
        module: where `build` is; None for `files`, which reads maskiges that somebody else made.
        options: name -> default; a configuration may change these and no others.
        weights: value of the option `weights_by` -> name of the file in `avsbench/nn/encoders.yaml`.
        weights_by: the option that chooses among `weights`.
    """

    name: str
    title: str
    version: int
    finds: bool = True
    partition: bool = False
    needs_gpu: bool = False
    published: bool = False
    module: str | None = None
    options: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    weights_by: str = ""

    @property
    def needs_weights(self) -> bool:
        return bool(self.weights)

    @property
    def overlaps(self) -> bool:
        """Its masks may overlap, so that an index image does not show all of each."""
        return self.finds and not self.partition and self.module is not None


@functools.cache
def generators() -> dict[str, GeneratorCard]:
    """Name -> card of every generator."""
    content = yaml.safe_load(Path(__file__).with_name("generators.yaml").read_text())
    return {name: GeneratorCard(name=name, **entry) for name, entry in content.items()}


def generator(name: str) -> GeneratorCard:
    """The card of one generator; an unknown name names the nearest known one."""
    return known(name, generators(), "features.maskige.generator", "mask generator")


def build(card: GeneratorCard, options: dict, weights: str | None = None, device: str = "cpu") -> Generator:
    """A generator ready to propose.

    Args:
        options: laid over the defaults of the card.
        weights: its file; None where the card needs none.
        device: cpu, cuda or cuda:1.

    Raises:
        AvsbenchError: the generator reads files and runs no code, weights or a package are missing, or an option has a
            value that it cannot take.
    """
    if card.module is None:
        raise AvsbenchError(
            f"the generator {card.name} proposes nothing by itself",
            expected=f"one of {', '.join(name for name, other in generators().items() if other.module)}",
            hint="name another generator for pictures that nobody has made masks of",
        )
    return importlib.import_module(card.module).build(weights=weights, device=device, **{**card.options, **options})
