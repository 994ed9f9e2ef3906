"""Multi-scale deformable attention in plain PyTorch (Zhu et al., Deformable DETR, ICLR 2021, equation 3).

Each head of a query samples a few points of every feature map around the query's reference point and sums them with
weights; both come from the query by a linear layer.

Letters in shapes: N images, Q queries, S tokens of all maps, C channels, M heads, D = C / M, L maps, P points.

Inside, queries and tokens are always the last axis: a level of the values is then a view in the layout that
`grid_sample` wants, all heads of all images in one call, and nothing is permuted or copied on the way.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.errors import AvsbenchError

Sizes = list[tuple[int, int]]
"""Height and width of every map."""


def flatten_levels(maps: list[Tensor]) -> tuple[Tensor, Sizes]:
    """Maps [N,C,h,w] -> tokens [N,S,C], map after map, row by row, and the maps' sizes."""
    tokens = torch.cat([each.flatten(2) for each in maps], dim=2).transpose(1, 2)
    return tokens, [tuple(each.shape[-2:]) for each in maps]


def split_levels(tokens: Tensor, sizes: Sizes) -> list[Tensor]:
    """Inverse of `flatten_levels`: tokens [N,S,C] -> maps [N,C,h,w]."""
    parts = tokens.transpose(1, 2).split([h * w for h, w in sizes], dim=2)
    return [part.unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]


def reference_points(sizes: Sizes, device: torch.device | None = None) -> Tensor:
    """The centre of every pixel as (x, y) in [0, 1]: [S,2]."""
    points = []
    for height, width in sizes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        points.append(torch.stack([x.repeat(height), y.repeat_interleave(width)], dim=1))
    return torch.cat(points)


def deformable_attention(value: Tensor, sizes: Sizes, grid: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of bilinear samples; zeros lie outside the maps. Computed in float32 at least, also under autocast.

    Args:
        value: [N,M,D,S].
        sizes: of the L maps whose tokens make S.
        grid: where to sample, (x, y) from -1 to 1 between the outer edges of a map, [N,M,L,P,2,Q].
        weights: [N,M,L,P,Q].

    Returns:
        [N,M,D,Q].
    """
    levels = [height * width for height, width in sizes]
    if sum(levels) != value.shape[-1] or len(levels) != grid.shape[2]:
        raise AvsbenchError(
            "deformable attention: values and sampling points do not belong to these maps",
            found=f"{value.shape[-1]} tokens, points for {grid.shape[2]} maps",
            expected=f"{sum(levels)} tokens of {len(levels)} maps, {sizes}",
            hint="pass the sizes that flatten_levels returned with the tokens",
        )
    exact = torch.promote_types(value.dtype, torch.float32)
    with torch.autocast(value.device.type, enabled=False):
        parts = value.to(exact).flatten(0, 1).split(levels, dim=2)
        grids, shares = grid.to(exact).flatten(0, 1), weights.to(exact).flatten(0, 1)  # [NM,L,P,…]
        total = 0
        for level, size in enumerate(sizes):
            points = grids[:, level].transpose(2, 3)  # [NM,P,Q,2]
            sampled = functional.grid_sample(parts[level].unflatten(2, size), points, align_corners=False)
            total = total + (sampled * shares[:, level, None]).sum(dim=2)  # [NM,D,P,Q] -> [NM,D,Q]
    return total.unflatten(0, value.shape[:2])


class DeformableAttention(nn.Module):
    """The attention block: projections of values, sampling offsets (in pixels of their map), weights and output.

    Args:
        width: C.
        heads: M.
        levels: L.
        points: P.
    """

    def __init__(self, width: int = 256, *, heads: int = 8, levels: int = 3, points: int = 4):
        super().__init__()
        if width % heads:
            raise AvsbenchError("deformable attention: width and heads do not fit", found=f"{width} / {heads}")
        self.shape = (heads, levels, points)
        self.sampling_offsets = nn.Linear(width, 2 * heads * levels * points)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As published: equal weights; head m looks along its own direction, point p at p + 1 pixels of the square."""
        heads, levels, points = self.shape
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        angles = torch.arange(heads) * (2 * math.pi / heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=1)
        directions = directions / directions.abs().amax(dim=1, keepdim=True)
        steps = torch.arange(1, points + 1)
        offsets = directions[:, None, None] * steps[:, None]  # [M,1,P,2]
        self.sampling_offsets.bias.copy_(offsets.expand(heads, levels, points, 2).flatten())

    def forward(self, query: Tensor, reference: Tensor, source: Tensor, sizes: Sizes) -> Tensor:
        """Attend from every query to the points around its reference.

        Args:
            query: with its position, [N,Q,C].
            reference: centres (x, y) in [0, 1] of the maps, [Q,2] or [N,Q,2]; or boxes (x, y, width, height), whose
                offsets count in P-ths of half the box, [Q,4] or [N,Q,4].
            source: tokens of all maps, [N,S,C].
            sizes: of the maps.

        Returns:
            [N,Q,C].
        """
        return self.attend(query, reference, self.values(source), sizes)

    def values(self, source: Tensor) -> Tensor:
        """What `attend` reads of tokens [N,S,C]: [N,M,D,S]. Several sets of queries to the same maps need it once."""
        return _project(self.value_proj, source).unflatten(1, (self.shape[0], -1))

    def attend(self, query: Tensor, reference: Tensor, value: Tensor, sizes: Sizes) -> Tensor:
        """As `forward`, with what `values` made of the tokens."""
        heads, levels, points = self.shape
        offsets = _project(self.sampling_offsets, query).unflatten(1, (heads, levels, points, 2))
        weights = _project(self.attention_weights, query).unflatten(1, (heads, levels * points))
        # Locations in half precision would be off by pixels.
        exact = torch.promote_types(offsets.dtype, torch.float32)
        weights = weights.to(exact).softmax(dim=2).unflatten(2, (levels, points))
        reference = reference.to(exact).transpose(-1, -2)
        reference = reference.reshape(-1, 1, 1, 1, *reference.shape[-2:])  # [N or 1,1,1,1,2 or 4,Q]
        if reference.shape[-2] == 4:
            scale = reference[..., 2:, :] / points
        else:
            scale = 2 / torch.tensor([(w, h) for h, w in sizes], dtype=exact, device=query.device).view(-1, 1, 2, 1)
        grid = offsets.to(exact) * scale + (2 * reference[..., :2, :] - 1)
        attended = deformable_attention(value, sizes, grid, weights).flatten(1, 2)
        return self.output_proj(attended.transpose(1, 2))


def _project(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer that puts channels before tokens: [N,S,C] -> [N,C',S]."""
    weight = layer.weight.expand(len(x), -1, -1)
    return torch.baddbmm(layer.bias[:, None], weight, x.transpose(1, 2))
