"""Swin Transformer (Liu et al., ICCV 2021): four feature maps at strides 4, 8, 16 and 32.

Every block attends inside windows; every second one shifts them by half a window. As the authors' detection code does
it, a map that is no multiple of the window is padded with zeros *after* its norm and *before* the shift, padded
positions are keys like all others, and neither window nor shift shrinks on a small map. (timm's Swin shifts before it
pads, so its results differ wherever a map needs padding.)

Letters in shapes: N images, h w a map, C channels, M heads, K windows, S tokens of a window.
"""

import re

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.errors import AvsbenchError

FAR = -100.0
"""Added to attention scores between tokens that the shift brought together; finite, as published."""

SIZES = {
    "swin_t": {"width": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24), "window": 7},
    "swin_l": {"width": 192, "depths": (2, 2, 18, 2), "heads": (6, 12, 24, 48), "window": 12},
    "swin_mini": {"width": 16, "depths": (2, 1, 2, 1), "heads": (1, 2, 4, 8), "window": 4},
}
"""Published sizes (window 12: the models trained at 384), and a small one for the embedded data."""


class Swin(nn.Module):
    """The encoder; each map it puts out has a norm of its own, the next stage takes the map without it.

    Args:
        width: C of the first map; each further one has twice as many.
        depths: blocks of the four stages.
        heads: M of the four stages.
        window: side of a window in tokens.

    Attributes:
        channels, strides: of the four maps.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, *, width: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int):
        super().__init__()
        self.channels = tuple(width * 2**index for index in range(4))
        self.patches = nn.Conv2d(3, width, kernel_size=4, stride=4)
        self.patches_norm = nn.LayerNorm(width)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(c, m, window, shift=window // 2 * (index % 2)) for index in range(depth)))
            for c, depth, m in zip(self.channels, depths, heads, strict=True)
        )
        self.merges = nn.ModuleList(Merge(c) for c in self.channels[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in self.channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images [N,3,H,W], sides multiples of 32 -> four maps [N,C_i,H/stride_i,W/stride_i]."""
        if images.shape[2] % 32 or images.shape[3] % 32:
            raise AvsbenchError(
                "Swin: the size of the images does not fit",
                found=f"{images.shape[2]} x {images.shape[3]}",
                expected="height and width that are multiples of 32",
                hint="pad at the right and at the bottom",
            )
        x = self.patches_norm(self.patches(images).permute(0, 2, 3, 1))
        maps = []
        for index, (stage, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            x = stage(self.merges[index - 1](x) if index else x)
            maps.append(norm(x).permute(0, 3, 1, 2))
        return maps

    @staticmethod
    def rename_official(key: str) -> str | None:
        """Our name of a key of the authors' files; None for what is computed here and for the classifier."""
        if key.endswith(("relative_position_index", "attn_mask")) or key.startswith("head."):
            return None
        for pattern, name in _OFFICIAL:
            key = re.sub(pattern, name, key)
        return key


_OFFICIAL = (
    (r"^patch_embed\.proj\.", "patches."),
    (r"^patch_embed\.norm\.", "patches_norm."),
    (r"^norm(\d)\.", r"norms.\1."),
    (r"^layers\.(\d)\.downsample\.", r"merges.\1."),
    (r"^layers\.(\d)\.blocks\.", r"stages.\1."),
    (r"\.norm1\.", ".attention_norm."),
    (r"\.norm2\.", ".feed_forward_norm."),
    (r"\.attn\.", ".attention."),
    (r"\.relative_position_bias_table$", ".bias_table"),
    (r"\.mlp\.fc1\.", ".feed_forward.0."),
    (r"\.mlp\.fc2\.", ".feed_forward.2."),
)


class Block(nn.Module):
    """Attention inside windows, then a feed-forward block; each after a norm and added to its input.

    Args:
        width: C.
        heads: M.
        window: side of a window in tokens.
        shift: how far the windows are moved to the right and to the bottom.
    """

    def __init__(self, width: int, heads: int, window: int, *, shift: int):
        super().__init__()
        self.window, self.shift = window, shift
        self.attention_norm = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[N,h,w,C] -> the same shape."""
        x = x + self._attend(self.attention_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))

    def _attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = functional.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded = tuple(x.shape[1:3])
        far = None
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
            far = self._far(padded, x.device)
        x = join_windows(self.attention(cut_windows(x, self.window), far), self.window, padded)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]

    def _far(self, size: tuple[int, int], device: torch.device) -> Tensor:
        """True between tokens of a window that are no neighbours in the picture: [K,S,S]."""
        parts = []
        for length in size:
            place = torch.arange(length, device=device)
            # The last window holds what the shift brought over from the other side.
            parts.append((place >= length - self.window).long() + (place >= length - self.shift).long())
        regions = 3 * parts[0][:, None] + parts[1]
        tokens = cut_windows(regions[None, :, :, None], self.window)[0, :, :, 0]
        return tokens[:, :, None] != tokens[:, None, :]


class WindowAttention(nn.Module):
    """Multi-head attention among the tokens of a window, with a learned bias for every offset of key and query."""

    def __init__(self, width: int, heads: int, window: int):
        super().__init__()
        if width % heads:
            raise AvsbenchError("window attention: width and heads do not fit", found=f"{width} / {heads}")
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, x: Tensor, far: Tensor | None = None) -> Tensor:
        """Tokens of windows [N,K,S,C], pairs to keep apart [K,S,S] -> [N,K,S,C]."""
        q, k, v = self.qkv(x).unflatten(3, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)  # [N,K,M,S,C/M] each
        bias = self.bias_table[self._offsets(x.device)].permute(2, 0, 1)  # [M,S,S]
        if far is not None:
            bias = bias + FAR * far[:, None]  # [K,M,S,S]
        attended = functional.scaled_dot_product_attention(q, k, v, bias)
        return self.proj(attended.transpose(2, 3).flatten(3))

    def _offsets(self, device: torch.device) -> Tensor:
        """Row of the table for every query and key of a window: [S,S]."""
        side = torch.arange(self.window, device=device)
        tokens = torch.cartesian_prod(side, side)  # (row, column)
        offset = tokens[:, None] - tokens[None] + self.window - 1
        return offset[..., 0] * (2 * self.window - 1) + offset[..., 1]


class Merge(nn.Module):
    """Half the size and twice the channels: the four tokens of a 2x2 square side by side, normalised and projected."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N,h,w,C] -> [N,h/2,w/2,2C]."""
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=3)))


def cut_windows(x: Tensor, window: int) -> Tensor:
    """[N,h,w,C] -> [N,K,S,C], windows and their tokens row by row."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # [N,rows,window,columns,window,C]
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def join_windows(x: Tensor, window: int, size: tuple[int, int]) -> Tensor:
    """Inverse of `cut_windows` for a map of `size` (h, w)."""
    x = x.unflatten(2, (window, window)).unflatten(1, (size[0] // window, size[1] // window))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
