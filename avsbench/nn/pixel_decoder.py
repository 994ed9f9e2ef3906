"""Pixel decoder of Mask2Former (Cheng et al., CVPR 2022) with deformable attention (Zhu et al., ICLR 2021).

The coarse maps of a visual encoder become tokens that look at each other; the finest map joins by one step of a feature
pyramid and becomes the mask features.

Letters in shapes: N images, C channels, L levels that the tokens come from, h w the size of the finest map.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.nn.deformable import DeformableAttention, split_levels
from avsbench.nn.transformer import DeformableEncoderLayer, encode_maps


def normed_conv(
    before: int, width: int, kernel: int, *end: nn.Module, groups: int, bias: bool, stride: int = 1
) -> nn.Sequential:
    """Convolution, GroupNorm, and what comes after it; the size stays, divided by the stride."""
    layer = nn.Conv2d(before, width, kernel, stride=stride, padding=kernel // 2, bias=bias)
    return nn.Sequential(layer, nn.GroupNorm(groups, width), *end)


class PixelDecoder(nn.Module):
    """Computes in float32 at least, also under autocast.

    Args:
        in_channels: of the encoder's maps, finest first.
        width: C; a multiple of `heads` and of `groups`. Without projections also the width of all maps.
        project: bring the maps of the levels to C channels; otherwise they have them.
        extra: one more level, twice as coarse as the last, by a convolution of the last map.
        coarse_first: order of the levels among the tokens, which numbers their codes and sampling points.
        depth: layers of the encoder.
        hidden: of its feed-forward blocks.
        points: that a head samples on a level.
        groups: of GroupNorm.
    """

    def __init__(
        self,
        in_channels: tuple[int, ...],
        *,
        width: int = 256,
        project: bool = True,
        extra: bool = False,
        coarse_first: bool = True,
        depth: int = 6,
        hidden: int = 1024,
        heads: int = 8,
        points: int = 4,
        groups: int = 32,
    ):
        super().__init__()
        self.extra, self.step = extra, -1 if coarse_first else 1
        finest, *others = in_channels
        projections = [normed_conv(n, width, 1, groups=groups, bias=True) if project else nn.Identity() for n in others]
        if extra:
            projections.append(normed_conv(others[-1], width, 3, groups=groups, bias=True, stride=2))
        levels = len(projections)
        self.projections = nn.ModuleList(projections[:: self.step])  # in the order of the tokens
        self.levels = nn.Parameter(torch.empty(levels, width))
        self.encoder = nn.ModuleList(
            DeformableEncoderLayer(width, hidden, heads=heads, levels=levels, points=points) for _ in range(depth)
        )
        self.lateral = normed_conv(finest, width, 1, groups=groups, bias=False)
        self.output = normed_conv(width, width, 3, nn.ReLU(), groups=groups, bias=False)
        self.mask_features = nn.Conv2d(width, width, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As published: Xavier, but for deformable attention, the levels, and Kaiming where the finest map passes."""
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                fine = name.startswith(("lateral.", "output.", "mask_features."))
                nn.init.kaiming_uniform_(parameter, a=1) if fine else nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.levels)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mask features and levels.

        Args:
            maps: of the visual encoder, [N,C_i,h_i,w_i], finest first.

        Returns:
            mask features [N,C,h,w]; the levels [N,C,h_l,w_l], coarsest first whatever the order among the tokens.
        """
        with torch.autocast(maps[0].device.type, enabled=False):
            finest, *others = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in maps)
            sources = [*others, others[-1]] if self.extra else others
            inputs = [layer(x) for layer, x in zip(self.projections, sources[:: self.step], strict=True)]
            tokens, sizes = encode_maps(self.encoder, inputs, self.levels, normalized=True)
            levels = split_levels(tokens, sizes)[:: self.step]  # finest first
            x = functional.interpolate(levels[0], size=finest.shape[-2:], mode="bilinear", align_corners=False)
            return self.mask_features(self.output(self.lateral(finest) + x)), levels[::-1]

    @staticmethod
    def rename_official(key: str) -> str:
        """Our name of a key in the files of Mask2Former and what was built on it."""
        for theirs, ours in _NAMES.items():
            key = key.replace(theirs, ours)
        return key


_NAMES = {
    "transformer.level_embed": "levels",
    "transformer.encoder.layers.": "encoder.",
    "input_proj.": "projections.",
    "self_attn.": "attention.",
    "norm1.": "attention_norm.",
    "norm2.": "feed_forward_norm.",
    "linear1.": "feed_forward.0.",
    "linear2.": "feed_forward.3.",
    "adapter_1.norm.": "lateral.1.",
    "adapter_1.": "lateral.0.",
    "layer_1.norm.": "output.1.",
    "layer_1.": "output.0.",
}
