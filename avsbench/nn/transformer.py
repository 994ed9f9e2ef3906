"""Transformer layers that normalise after each residual sum, as in DETR (Carion et al., ECCV 2020) and its kin.

Letters in shapes: N images, Q queries, K keys, S tokens of all maps, C channels. LayerNorm's epsilon is 1e-5.
"""

import itertools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from avsbench.nn.attention import Attention
from avsbench.nn.deformable import DeformableAttention, Sizes, flatten_levels, reference_points
from avsbench.nn.dropout import Dropout
from avsbench.nn.positions import sine_positions


class MLP(nn.Sequential):
    """Linear layers of the given widths with ReLU between them: [...,widths[0]] -> [...,widths[-1]]."""

    def __init__(self, *widths: int):
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers[:-1])


class FeedForward(nn.Sequential):
    """Two linear layers, dropout after each: [...,C] -> [...,C]."""

    def __init__(self, width: int, hidden: int, activation: Callable[[], nn.Module], dropout: float = 0.0):
        super().__init__(
            nn.Linear(width, hidden),
            activation(),
            Dropout(dropout, inplace=activation is nn.GELU),  # whose gradient needs its input, not its output
            nn.Linear(hidden, width),
            Dropout(dropout, inplace=True),
        )


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention over several maps, then a feed-forward block.

    Args:
        width: C.
        hidden: width inside the feed-forward block.
        activation: of the feed-forward block, nn.ReLU or nn.GELU.
        dropout: on what each block adds, and inside the feed-forward block.
    """

    def __init__(
        self,
        width: int = 256,
        hidden: int = 1024,
        *,
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
        heads: int = 8,
        levels: int = 3,
        points: int = 4,
    ):
        super().__init__()
        self.attention = DeformableAttention(width, heads=heads, levels=levels, points=points)
        self.attention_dropout = Dropout(dropout, inplace=True)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, activation, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor, reference: Tensor, sizes: Sizes) -> Tensor:
        """Tokens of all maps [N,S,C], their positional code (broadcast to it), reference points [S,2] -> [N,S,C]."""
        attended = self.attention(x + positions, reference, x, sizes)
        x = self.attention_norm(x + self.attention_dropout(attended))
        return self.feed_forward_norm(x + self.feed_forward(x))


def encode_maps(
    layers: Iterable[DeformableEncoderLayer], maps: list[Tensor], levels: Tensor, *, normalized: bool = False
) -> tuple[Tensor, Sizes]:
    """Maps that see each other through deformable attention.

    Args:
        layers: of the encoder.
        maps: [N,C,h_l,w_l] each.
        levels: code of each map, [L,C], beside the sine code of places.
        normalized: see `sine_positions`.

    Returns:
        tokens of all maps, [N,S,C], and the sizes of the maps, as `split_levels` takes them.
    """
    tokens, sizes = flatten_levels(maps)
    width, device = tokens.shape[-1], tokens.device
    codes = (sine_positions(size, width // 2, normalized=normalized, device=device).flatten(1).T for size in sizes)
    positions = torch.cat([code + level for code, level in zip(codes, levels, strict=True)])
    reference = reference_points(sizes, device)
    for layer in layers:
        tokens = layer(tokens, positions, reference, sizes)
    return tokens, sizes


class DecoderLayer(nn.Module):
    """Queries that attend to each other and to a memory, then a feed-forward block.

    Args:
        width: C.
        hidden: width inside the feed-forward block.
        activation: of the feed-forward block, nn.ReLU or nn.GELU.
        dropout: on attention weights, on what each block adds, and inside the feed-forward block.
        bias: of the attentions' projections.
        cross_first: attend to the memory first, as Mask2Former does.
    """

    def __init__(
        self,
        width: int = 256,
        hidden: int = 2048,
        *,
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
        heads: int = 8,
        bias: bool = True,
        cross_first: bool = False,
    ):
        super().__init__()
        self.cross_first = cross_first
        self.self_attention = Attention(width, heads=heads, bias=bias, dropout=dropout)
        self.self_dropout = Dropout(dropout, inplace=True)
        self.self_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads=heads, bias=bias, dropout=dropout)
        self.cross_dropout = Dropout(dropout, inplace=True)
        self.cross_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, activation, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        *,
        positions: Tensor | None = None,
        memory_positions: Tensor | None = None,
        allowed: Tensor | None = None,
        with_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """One layer; x or memory may have N = 1 and then serves all images of the other.

        Args:
            x: queries, [N,Q,C].
            memory: [N,K,C].
            positions: added to queries (and to the keys among them), broadcast to x; values carry none.
            memory_positions: added to the memory's keys, broadcast to memory.
            allowed: bool, broadcast to [N,heads,Q,K]: where queries may look in the memory.
            with_weights: also return the weights of the cross-attention, [N,Q,K].
        """
        weights = None
        for cross in (True, False) if self.cross_first else (False, True):
            query = x if positions is None else x + positions
            if cross:
                key = memory if memory_positions is None else memory + memory_positions
                attended = self.cross_attention(query, key, memory, allowed=allowed, with_weights=with_weights)
                if with_weights:
                    attended, weights = attended
                x = self.cross_norm(x + self.cross_dropout(attended))
            else:
                x = self.self_norm(x + self.self_dropout(self.self_attention(query, query, x)))
        x = self.feed_forward_norm(x + self.feed_forward(x))
        return (x, weights) if with_weights else x
