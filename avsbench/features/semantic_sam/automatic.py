"""Masks of everything in a picture: a grid of clicks, what they give filtered, and the rest cleaned up.

As the authors' `SemanticSamAutomaticMaskGenerator` does it on a whole picture (it follows Segment Anything's). The
picture is read once. Since clicks of one call attend to each other, how the grid is cut into calls is part of the
result: 200 clicks a call, and the last call of 1024 has 24. What may be saved is what no mask depends on: masks are
computed of tokens that are asked for and of candidates whose score suffices.

Letters in shapes: F pictures of one size, P clicks of a call, T tokens, K candidates, H W pixels.
"""

from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor
from torchvision.ops import nms

from avsbench.errors import AvsbenchError
from avsbench.features.semantic_sam.clean import clean_mask

TOKENS = {1: 3, 2: 2, 3: 0, 4: 4, 5: 1, 6: 5}
"""Level as users know it, from 1 (whole scenes) over 3 (objects) to 6 (small parts) -> token of a click."""

STABILITY_OFFSET = 1.0
"""A mask is stable if its logits may be cut here above and below 0 with much the same result."""

PIXELS = 2**24
"""Of logits at picture size that are held at a time."""


class Network(Protocol):
    """What the generator needs; see `avsbench.features.semantic_sam.network.SemanticSam`."""

    def prepare(self, points: Tensor, size: tuple[int, int]) -> object: ...

    def encode(self, images: Tensor) -> object: ...

    def click(self, encoded: object, clicks: object, tokens: list[int]) -> tuple[Tensor, Tensor]: ...

    def logits(self, encoded: object, image: int, embeddings: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the generator, with the authors' values.

    Attributes:
        levels: of granularity, see `TOKENS`; candidates of a click come in this order.
        points_per_side: of the grid.
        points_per_batch: clicks that are given together. Not a question of speed: another number gives other masks.
        score_threshold: predicted IoU above which a candidate counts.
        stability_threshold: IoU of the masks at the two cuts from which a candidate counts.
        nms_threshold: IoU of boxes above which the candidate with the lower score goes.
        min_area: pixels from which a hole or a piece of a mask counts; 0 cleans nothing.
    """

    levels: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    points_per_side: int = 32
    points_per_batch: int = 200
    score_threshold: float = 0.88
    stability_threshold: float = 0.92
    nms_threshold: float = 0.7
    min_area: int = 10

    def __post_init__(self):
        levels = list(self.levels) if isinstance(self.levels, (list, tuple)) else []
        known = [level for level in TOKENS if level in levels]
        if not levels or len(known) < len(levels):
            raise _out_of_range("levels", self.levels, "some of 1 to 6, each once")
        for name, least in (("points_per_side", 1), ("points_per_batch", 1), ("min_area", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise _out_of_range(name, value, f"a whole number, {least} or more")


def _out_of_range(name: str, found: object, expected: str) -> AvsbenchError:
    hint = "mend features.maskige.options in the configuration"
    return AvsbenchError(f"semantic_sam: option {name} is out of range", found=found, expected=expected, hint=hint)


@dataclass(frozen=True)
class Masks:
    """K masks of a picture.

    Attributes:
        masks: bool [K,H,W].
        boxes: first and last column and row of each, float32 [K,4] as (x0, y0, x1, y1); zeros of an empty mask.
        scores: the IoU that the network predicts, float32 [K].
        stability: float32 [K], before the clean-up.
        points: the click (x, y) in [0, 1] that each comes from, float32 [K,2].
    """

    masks: Tensor
    boxes: Tensor
    scores: Tensor
    stability: Tensor
    points: Tensor

    def pick(self, rows: Tensor) -> "Masks":
        """Some of them, in the order of `rows`, on the device of each tensor."""
        return Masks(*(value[rows.to(value.device)] for value in self._values()))

    @staticmethod
    def join(parts: "list[Masks]") -> "Masks":
        return Masks(*(torch.cat(values) for values in zip(*(part._values() for part in parts), strict=True)))

    def cpu(self) -> "Masks":
        return Masks(*(value.cpu() for value in self._values()))

    def _values(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]


def generate(network: Network, images: Tensor, settings: Settings, *, together: int = 1) -> list[Masks]:
    """Masks of F pictures, on the CPU: unchanged ones, then cleaned ones, each by falling score.

    Args:
        images: uint8 [F,3,H,W], RGB.
        together: pictures that pass through the network at a time; changes no more than rounding.
    """
    points = grid(settings.points_per_side).to(images.device).split(settings.points_per_batch)
    calls = [(batch, network.prepare(batch, tuple(images.shape[2:]))) for batch in points]
    return [masks for group in images.split(together) for masks in _masks_of(network, group, calls, settings)]


def _masks_of(network: Network, images: Tensor, calls: list[tuple[Tensor, object]], settings: Settings) -> list[Masks]:
    """Masks of pictures that pass through the network together; calls: points [P,2] and what became of them."""
    tokens = [TOKENS[level] for level in settings.levels]
    encoded = network.encode(images)
    held = max(1, PIXELS // (images.shape[2] * images.shape[3]))
    found: list[list[Masks]] = [[] for _ in images]
    for points, clicks in calls:
        scores, embeddings = network.click(encoded, clicks, tokens)
        for image, parts in enumerate(found):
            click, token = (scores[image] > settings.score_threshold).nonzero(as_tuple=True)
            candidates = (scores[image, click, token], points[click], embeddings[image, click, token])
            for score, point, embedding in zip(*(each.split(held) for each in candidates), strict=True):
                parts.append(stable_masks(network.logits(encoded, image, embedding), score, point, settings))
    return [_finished(Masks.join(parts), settings) for parts in found]


def grid(side: int) -> Tensor:
    """Centres (x, y) of side x side equal fields of the picture, row by row: float32 [side²,2]."""
    places = (torch.arange(side) + 0.5) / side
    return torch.cartesian_prod(places, places).flip(1)


def stable_masks(logits: Tensor, scores: Tensor, points: Tensor, settings: Settings) -> Masks:
    """Candidates whose mask hardly depends on where the logits are cut.

    Args:
        logits: [K,H,W].
        scores: [K].
        points: [K,2].
    """
    inner, outer = ((logits > cut).sum((1, 2)) for cut in (STABILITY_OFFSET, -STABILITY_OFFSET))
    stability = inner / outer  # of nothing at all: not a number, which no threshold lets pass
    rows = (stability >= settings.stability_threshold).nonzero()[:, 0]
    masks = logits[rows] > 0
    return Masks(masks, boxes_of(masks), scores[rows], stability[rows], points[rows])


def boxes_of(masks: Tensor) -> Tensor:
    """First and last column and row of masks [K,H,W]: float32 [K,4] as (x0, y0, x1, y1), zeros of an empty mask."""
    sides = []
    for used in (masks.any(1).byte(), masks.any(2).byte()):  # columns [K,W], rows [K,H]; argmax finds the first
        sides.append((used.argmax(1), used.shape[1] - 1 - used.flip(1).argmax(1)))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], dim=1).float() * masks.any(2).any(1)[:, None]


def _finished(found: Masks, settings: Settings) -> Masks:
    """Of candidates whose boxes overlap the best one, cleaned; on the CPU, where the order of ties is known."""
    rows = nms(found.boxes.cpu(), found.scores.cpu(), settings.nms_threshold)
    best = found.pick(rows).cpu()
    if not settings.min_area:
        return best
    cleaned = [clean_mask(mask, settings.min_area) for mask in best.masks.numpy()]
    unchanged = torch.tensor([new is None for new in cleaned], dtype=torch.float32)
    masks = best.masks.clone()
    for row, new in enumerate(cleaned):
        if new is not None:
            masks[row] = torch.from_numpy(new)
    best = replace(best, masks=masks, boxes=boxes_of(masks))
    return best.pick(nms(best.boxes, unchanged, settings.nms_threshold))
