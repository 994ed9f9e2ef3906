"""Decoder of ETAVS: fuse sound and picture at every stage, then add the maps from coarse to fine.

Letters in shapes: F frames, P pixels of a map, D its channels, C those of the decoder, K score channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.nn.attention import Attention
from avsbench.nn.dropout import Dropout

REDUCTIONS = (8, 4, 2, 1)
"""Of the keys of each stage: all four attend to a grid as coarse as the last map."""
ENLARGED = 4
"""Size of the masks over that of the finest map."""


class SpatialAttention(nn.Module):
    """Every pixel attends to a coarse grid of its map: LN(x + Drop(Attn(x, K, V))).

    Keys and values are projected twice, here and by the attention itself, as published.
    """

    def __init__(self, width: int, reduction: int, *, heads: int, dropout: float):
        super().__init__()
        self.reduction = reduction
        self.kv = nn.Linear(width, 2 * width)
        self.attention = Attention(width, heads=heads, dropout=dropout)
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[F,D,h,w] -> tokens [F,P,D]."""
        tokens = x.flatten(2).transpose(1, 2)
        step = self.reduction  # the nearest pixel is the first of each square
        grid = x[:, :, ::step, ::step].flatten(2).transpose(1, 2)
        keys, values = self.kv(grid).chunk(2, dim=-1)
        return self.norm(tokens + self.dropout(self.attention(tokens, keys, values)))


class FusionBlock(nn.Module):
    """Spatial attention, then cross-attention to the sound of the frame, then a feed-forward net without residual.

    The sound is one token, so every pixel receives the same vector (but for dropout). The dropout between the two acts
    on the residual, as published.
    """

    def __init__(self, width: int, reduction: int, *, heads: int = 8, dropout: float = 0.1):
        super().__init__()
        self.spatial = SpatialAttention(width, reduction, heads=heads, dropout=dropout)
        self.kv = nn.Linear(width, 2 * width)
        self.attention = Attention(width, heads=heads, dropout=dropout)
        self.dropout = Dropout(dropout)
        self.norm1 = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(inplace=True), Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.norm2 = nn.LayerNorm(width)

    def forward(self, sound: Tensor, x: Tensor) -> Tensor:
        """[F,1,D], [F,D,h,w] -> [F,D,h,w]."""
        z = self.spatial(x)
        keys, values = self.kv(sound).chunk(2, dim=-1)
        z = self.norm1(self.attention(z, keys, values) + self.dropout(z))
        return self.norm2(self.feed_forward(z)).transpose(1, 2).unflatten(2, x.shape[-2:])


class MaskLayer(nn.Conv2d):
    """Bilinear enlargement, then a 3x3 convolution C -> K: [F,C,h,w] -> [F,K,4h,4w].

    Enlarging works channel by channel and the convolution's taps work pixel by pixel, so that they may change places:
    nine products per mask first, enlarged instead of all C channels, and then added, each shifted by its tap. That
    pays while there are fewer of these maps than channels, as with one mask, and not with 71.
    """

    def __init__(self, width: int, channels: int):
        super().__init__(width, channels, kernel_size=3, padding=1)
        nn.init.kaiming_uniform_(self.weight, a=1)
        nn.init.zeros_(self.bias)
        self.register_buffer("taps", torch.eye(9).view(1, 9, 3, 3).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if 9 * self.out_channels >= self.in_channels:
            return self.direct(x)
        products = self.weight.permute(0, 2, 3, 1).reshape(-1, self.in_channels, 1, 1)  # [9K,C,1,1]
        maps = enlarge(functional.conv2d(x, products))
        return functional.conv2d(maps, self.taps, self.bias, padding=1, groups=self.out_channels)

    def direct(self, x: Tensor) -> Tensor:
        """The released form: enlarge, then convolve."""
        return super().forward(enlarge(x))


def enlarge(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=ENLARGED, mode="bilinear", align_corners=False)


class Decoder(nn.Module):
    """Maps and sounds of the four stages -> logits.

    Args:
        channels: of the visual maps, finest first.
        width: C.
        project_first: whether maps and sounds come to C channels before the fusion blocks (ResNet) or after them.
        masks: K.
    """

    def __init__(self, channels: tuple[int, ...], *, width: int, project_first: bool, masks: int):
        super().__init__()
        self.project_first = project_first
        self.fusion = nn.ModuleList(
            FusionBlock(width if project_first else count, reduction)
            for count, reduction in zip(channels, REDUCTIONS, strict=True)
        )
        self.adapters = nn.ModuleList(_convolution(count, width, 1) for count in channels)
        self.audio_projections = nn.ModuleList(nn.Linear(count, width) for count in channels if project_first)
        self.layers = nn.ModuleList(_convolution(width, width, 3) for _ in channels)
        self.mask = MaskLayer(width, masks)

    def forward(self, sounds: list[Tensor], maps: list[Tensor]) -> Tensor:
        """[F,1,C_i], [F,C_i,h_i,w_i] of each stage -> [F,K,4 h_0,4 w_0]."""
        x = None
        for stage in reversed(range(len(maps))):
            fused = self.fuse(stage, sounds[stage], maps[stage])
            if x is not None:
                fused = fused + functional.interpolate(x, size=fused.shape[-2:], mode="nearest")
            x = functional.relu(self.layers[stage](fused))
        return self.mask(x)

    def fuse(self, stage: int, sound: Tensor, x: Tensor) -> Tensor:
        """[F,1,C_i], [F,C_i,h,w] -> [F,C,h,w]."""
        if self.project_first:
            return self.fusion[stage](self.audio_projections[stage](sound), self.adapters[stage](x))
        return self.adapters[stage](self.fusion[stage](sound, x))


def _convolution(before: int, after: int, size: int) -> nn.Conv2d:
    layer = nn.Conv2d(before, after, kernel_size=size, padding=size // 2, bias=False)
    nn.init.kaiming_uniform_(layer.weight, a=1)
    return layer
