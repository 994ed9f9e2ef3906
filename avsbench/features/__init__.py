"""What is derived of frames, and sometimes of their sound, once and for all methods: features, and who makes them.

`FEATURES` says what each is, `generators.yaml` who can make it: planning reads these two alone. A generator's module is
imported only when it runs. One that proposes masks offers

    build(*, weights: str | None, device: str, **options) -> Generator

and `avsbench.features.maskige` colours what is proposed, or `proposals` are kept as they are. Any other offers

    build(*, weights: str | dict[str, str] | None, device: str, scale: str, **options) -> Deriver

The stage itself is `avsbench.store.features`. Letters in shapes: T frames of a clip, F frames of one size, N masks,
M boxes, H W pixels.
"""

import functools
import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from avsbench.closed_yaml import known, value_on
from avsbench.errors import AvsbenchError

if TYPE_CHECKING:  # planning needs the names alone
    import numpy as np

MASKIGE = "maskige"
"""The feature that COMBO and NTAVS see: uint8 [T,3,H,W], one colour a mask."""
PROPOSALS = "proposals"


@dataclass(frozen=True)
class Feature:
    """What `Batch.features` holds under a name, clip by clip.

    Attributes:
        array: type and shape, in words.
        title: what it is.
        fill: stands in frames of padding, and where a frame has fewer entries than another.
        ragged: the axis after T is as long as the clip, or the batch, needs; missing entries stand at its end.
        of_masks: made of the masks that a `Generator` proposes; else a `Deriver` gives the array.
        reader: role of the encoder that goes on from it, if a method has one; it must be of the network that made it.
    """

    array: str
    title: str
    fill: float = 0
    ragged: bool = False
    of_masks: bool = False
    reader: str = ""


FEATURES = {
    MASKIGE: Feature("uint8 [T,3,H,W]", "a picture of the masks of a frame, a colour each", of_masks=True),
    PROPOSALS: Feature(
        "uint8 [T,N,H,W]",
        "the masks of a frame themselves, 0 and 1, in the generator's order",
        ragged=True,
        of_masks=True,
    ),
    "heatmap": Feature("float32 [T,7,7]", "the cosine of each place of a frame with the sound of its second"),
    "image_embedding": Feature(
        "float16 [T,…] or uint8 [T,…]", "what a promptable segmenter keeps of a frame", reader="segmenter"
    ),
    "boxes": Feature(
        "float32 [T,M,4]",
        "what sounds, as x0 y0 x1 y1 in pixels of a picture of 224 x 224",
        fill=float("nan"),
        ragged=True,
    ),
}
"""Name, as method cards say it -> feature."""


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


class Deriver(ABC):
    """Derives an array of each frame: of its picture and, where the generator's card names front ends, of its sound."""

    @abstractmethod
    def derive(self, frames: "np.ndarray", audio: "dict[str, np.ndarray]") -> "np.ndarray":
        """One array a frame.

        Args:
            frames: uint8 [F,H,W,3], RGB, all of one clip.
            audio: front end -> float32 [F,...], of the second that each frame stands for; those of the card alone.

        Returns:
            [F,...] of the type and shape that the card says. A ragged feature has as many entries as the frame with
            most of them; others are filled up at the end (boxes with NaN).
        """


@dataclass(frozen=True)
class GeneratorCard:
    """What the suite knows about a generator before it runs.

    Attributes:
        name: as the configuration writes it.
        title: in words, with the source.
        version: raised when the same options give other arrays; part of every output path.
        makes: names of features.
        finds: proposes masks at all.
        partition: its masks tile the picture, without overlap and gap.
        needs_gpu: takes a GPU beyond mini (seconds a frame without one).
        published: the features with which published numbers rest on it.
        module: where `build` is; None for `files`, which reads maskiges that somebody else made.
        options: name -> default; a configuration may change these and no others. A value may differ between data sets:
            {default: …, <data set>: …}; `build` is given the one that counts.
        weights: value of the option `weights_by` -> name of the file in `avsbench/nn/encoders.yaml`; or, without
            `weights_by`, role -> such a name, and `build` is given the files of all roles.
        weights_by: the option that chooses among `weights`.
        front_ends: what a `Deriver` hears.
        dtype, shape: of a `Deriver`'s array, without T; a word is the name of an option, or height or width of
            the frames. A ragged feature has about as many entries as `shape` says.
    """

    name: str
    title: str
    version: int
    makes: tuple[str, ...]
    finds: bool = True
    partition: bool = False
    needs_gpu: bool = False
    published: list = field(default_factory=list)
    module: str | None = None
    options: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    weights_by: str = ""
    front_ends: list = field(default_factory=list)
    dtype: str = "uint8"
    shape: list = field(default_factory=list)

    @property
    def of_masks(self) -> bool:
        """It proposes masks; else it derives arrays."""
        return any(FEATURES[name].of_masks for name in self.makes)

    @property
    def needs_weights(self) -> bool:
        return bool(self.weights)

    @property
    def overlaps(self) -> bool:
        """Its masks may overlap, so that an index image does not show all of each."""
        return self.finds and not self.partition and self.module is not None


def generators(feature: str = MASKIGE) -> dict[str, GeneratorCard]:
    """Name -> card of every generator that makes a feature."""
    return _generators()[feature]


@functools.cache
def _generators() -> dict[str, dict[str, GeneratorCard]]:
    content = yaml.safe_load(Path(__file__).with_name("generators.yaml").read_text())
    found: dict[str, dict[str, GeneratorCard]] = {name: {} for name in FEATURES}
    for section, entries in content.items():
        made = [MASKIGE, PROPOSALS] if section == "masks" else [section]
        for name, entry in entries.items():
            card = GeneratorCard(**{"name": name, "makes": tuple(made), **entry})
            for feature in card.makes:
                found[feature][name] = card
    return found


def generator(name: str, feature: str = MASKIGE) -> GeneratorCard:
    """The card of one generator; an unknown name names the nearest known one."""
    what = "mask generator" if FEATURES[feature].of_masks else f"generator of the feature {feature}"
    return known(name, generators(feature), f"features.{feature}.generator", what)


def build(
    card: GeneratorCard,
    options: dict,
    weights: str | dict[str, str] | None = None,
    device: str = "cpu",
    scale: str = "full",
    dataset: str | None = None,
) -> Generator | Deriver:
    """A generator ready to propose masks, or to derive arrays.

    Args:
        options: laid over the defaults of the card.
        weights: its file, or role -> file; None where the card needs none.
        device: cpu, cuda or cuda:1.
        scale: mini, smoke or full: decides which member of a family the weights belong to.
        dataset: whose values count, of options that differ between data sets.

    Raises:
        AvsbenchError: the generator reads files and runs no code, weights or a package are missing, or an option has a
            value that it cannot take.
    """
    if card.module is None:
        raise AvsbenchError(
            f"the generator {card.name} proposes nothing by itself",
            expected=f"one of {', '.join(name for name, other in generators(card.makes[0]).items() if other.module)}",
            hint="name another generator for pictures that nobody has made masks of",
        )
    chosen = {name: value_on(value, dataset) for name, value in {**card.options, **options}.items()}
    more = {} if card.of_masks else {"scale": scale}
    return importlib.import_module(card.module).build(weights=weights, device=device, **more, **chosen)
