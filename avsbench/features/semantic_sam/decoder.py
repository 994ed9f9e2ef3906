"""From clicks to masks: the interactive decoder of Semantic-SAM (Li et al., 2023, arXiv 2307.04767, section 3.2).

Every click becomes six queries, one for each level of granularity. The queries of *all* clicks given together attend to
each other (the authors separate them in training only), so masks depend on which clicks share a call.

Letters in shapes: N images, P clicks, G tokens of a click (6), Q = P G queries, click by click, C channels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avsbench.nn.attention import Attention
from avsbench.nn.deformable import DeformableAttention, Sizes, flatten_levels
from avsbench.nn.positions import sine_code
from avsbench.nn.transformer import MLP, FeedForward

POINT = 0
"""Row of `kinds` for clicks; 1 is for boxes."""


@dataclass(frozen=True)
class Memory:
    """What the layers read of N pictures, the same for every call with clicks.

    Attributes:
        values: a tensor [N,M,D,S] a layer.
        sizes: of the maps.
    """

    values: list[Tensor]
    sizes: Sizes


@dataclass(frozen=True)
class Clicks:
    """P clicks before they see a picture: the same for all pictures of a size.

    Attributes:
        x: their queries after the first self-attention, [1,Q,C].
        codes: of their boxes, [1,Q,C].
        boxes: (x, y, width, height) in [0, 1] of the padded picture, [1,Q,4].
    """

    x: Tensor
    codes: Tensor
    boxes: Tensor


class ClickLayer(nn.Module):
    """Self-attention, deformable attention to the picture around the reference box, feed-forward block; norms follow.

    Args:
        width: C.
        hidden: width inside the feed-forward block.
        levels: maps of the picture.
    """

    def __init__(self, width: int, hidden: int, *, heads: int, levels: int, points: int):
        super().__init__()
        self.self_attention = Attention(width, heads=heads)
        self.self_norm = nn.LayerNorm(width)
        self.cross_attention = DeformableAttention(width, heads=heads, levels=levels, points=points)
        self.cross_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, nn.ReLU)
        self.feed_forward_norm = nn.LayerNorm(width)

    def look_around(self, x: Tensor, codes: Tensor, rows: Tensor | None = None) -> Tensor:
        """Self-attention: queries and their codes [N,Q,C] -> [N,Q,C]; with rows, what becomes of those alone."""
        queries = x + codes
        asked = queries if rows is None else queries[:, rows]
        attended = self.self_attention(asked, queries, x)
        return self.self_norm((x if rows is None else x[:, rows]) + attended)

    def look_at(self, x: Tensor, codes: Tensor, boxes: Tensor, values: Tensor, sizes: Sizes) -> Tensor:
        """The rest of the layer, where each query is on its own.

        Args:
            x, codes: [N,Q,C]; N = 1 serves all pictures.
            boxes: of the queries, (x, y, width, height) in [0, 1], [N,Q,4].
            values, sizes: of the pictures, see `Memory`.

        Returns:
            [N,Q,C].
        """
        queries = (x + codes).expand(len(values), -1, -1)
        x = self.cross_norm(x + self.cross_attention.attend(queries, boxes, values, sizes))
        return self.feed_forward_norm(x + self.feed_forward(x))


class ClickDecoder(nn.Module):
    """Queries of clicks, layers that refine them and their boxes, and the heads.

    Args:
        width: C.
        hidden: width inside the feed-forward blocks.
        depth: layers, two or more.
        tokens: G.
        levels: maps of the picture.
        points: that a head samples on a map.
    """

    def __init__(
        self,
        width: int = 256,
        *,
        hidden: int = 2048,
        depth: int = 9,
        heads: int = 8,
        tokens: int = 6,
        levels: int = 4,
        points: int = 4,
    ):
        super().__init__()
        # As published, two rows each: labels known and unknown, clicks and boxes. A click needs the first of both.
        self.labels = nn.Parameter(torch.randn(2, width))
        self.kinds = nn.Parameter(torch.randn(2, width))
        self.tokens = nn.Parameter(torch.randn(tokens, width))
        self.layers = nn.ModuleList(
            ClickLayer(width, hidden, heads=heads, levels=levels, points=points) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.places = MLP(2 * width, width, width)
        self.box = MLP(width, width, width, 4)
        self.mask = MLP(width, width, width, width)
        self.score = MLP(width, width, width, 1)

    def read(self, maps: list[Tensor]) -> Memory:
        """Maps [N,C,h_l,w_l] of the pictures, coarsest first -> what `forward` reads of them."""
        source, sizes = flatten_levels(maps)
        return Memory([layer.cross_attention.values(source) for layer in self.layers], sizes)

    def prepare(self, clicks: Tensor) -> Clicks:
        """Clicks that are given together, as boxes (x, y, width, height) in [0, 1] of the padded picture, [P,4]."""
        x = (self.labels[0] + self.kinds[POINT] + self.tokens).repeat(len(clicks), 1)[None]
        boxes = inverse_sigmoid(clicks).sigmoid().repeat_interleave(len(self.tokens), dim=0)[None]
        codes = self.codes(boxes)
        return Clicks(self.layers[0].look_around(x, codes), codes, boxes)

    def forward(self, clicks: Clicks, memory: Memory, tokens: list[int]) -> tuple[Tensor, Tensor]:
        """Masks of clicks that are given together.

        Until the last layer all tokens are computed, since they attend to each other; there only those asked for.

        Args:
            clicks: P of them.
            memory: of N pictures.
            tokens: indices of the T tokens wanted.

        Returns:
            scores [N,P,T], an estimate of the mask's IoU that may exceed 1; embeddings of the masks, [N,P,T,C].
        """
        x, codes, boxes = clicks.x, clicks.codes, clicks.boxes
        first, *others = self.layers
        x = first.look_at(x, codes, boxes, memory.values[0], memory.sizes)
        for layer, values in zip(others, memory.values[1:], strict=True):
            boxes = self.refine(x, boxes)
            codes = self.codes(boxes)
            rows = self._rows(tokens, x) if layer is self.layers[-1] else None
            x = layer.look_around(x, codes, rows)
            if rows is not None:
                codes, boxes = codes[:, rows], boxes[:, rows]
            x = layer.look_at(x, codes, boxes, values, memory.sizes)
        x = self.norm(self.norm(x)).unflatten(1, (-1, len(tokens)))  # twice the same norm, as published
        return self.score(x).squeeze(-1), self.mask(x)

    def _rows(self, tokens: list[int], x: Tensor) -> Tensor:
        """Where the wanted tokens of all clicks are among the queries [N,Q,C]: [P T]."""
        queries = torch.arange(x.shape[1], device=x.device).unflatten(0, (-1, len(self.tokens)))
        return queries[:, tokens].flatten()

    def codes(self, boxes: Tensor) -> Tensor:
        """Learned code of boxes (x, y, width, height): [...,4] -> [...,C]."""
        x, y, width, height = (2 * math.pi * boxes).unbind(-1)
        features = self.places[0].in_features // 4
        return self.places(torch.cat([sine_code(value, features) for value in (y, x, width, height)], dim=-1))

    def refine(self, x: Tensor, boxes: Tensor) -> Tensor:
        """Boxes moved by what the queries found: [N,Q,C] and [N,Q,4] -> [N,Q,4]."""
        return (self.box(x) + inverse_sigmoid(boxes)).sigmoid()


def inverse_sigmoid(x: Tensor, least: float = 1e-5) -> Tensor:
    """Logits of numbers in [0, 1]; neither x nor 1 - x counts as less than `least`."""
    return (x.clamp_min(least) / (1 - x).clamp_min(least)).log()
