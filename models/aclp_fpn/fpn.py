"""The decoder: a feature pyramid and a semantic head (Lin et al., CVPR 2017; Kirillov et al., CVPR 2019).

Letters in shapes: F frames, C channels of a level, W width of the neck, H W pixels.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

BLOCKS = (1, 1, 2, 3)
"""Of the chains of the four levels; all but the finest enlarge twice in each."""


class Neck(nn.Module):
    """Maps [F,C_i,h_i,w_i] of strides 4, 8, 16 and 32 -> as many [F,W,h_i,w_i]; no norm and no activation.

    Args:
        channels: of the maps.
        width: of what comes out.
        upsample: how a coarser level is enlarged to be added, "bilinear" (corners not aligned) or "nearest".
    """

    def __init__(self, channels: Sequence[int], *, width: int = 256, upsample: str = "bilinear"):
        super().__init__()
        self.upsample = {"mode": upsample} | ({"align_corners": False} if upsample == "bilinear" else {})
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, kernel_size=1) for count in channels)
        self.output = nn.ModuleList(nn.Conv2d(width, width, kernel_size=3, padding=1) for _ in channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        levels = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for finer in range(len(levels) - 2, -1, -1):
            size = levels[finer].shape[-2:]
            levels[finer] = levels[finer] + functional.interpolate(levels[finer + 1], size=size, **self.upsample)
        return [output(x) for output, x in zip(self.output, levels, strict=True)]


class Head(nn.Module):
    """What the neck gives -> logits [F,1,H,W] at the size of the images.

    Each level is brought to stride 4 by a chain of blocks (1x1 convolution, GroupNorm, ReLU, twice the size), and the
    levels are added. Corners are aligned wherever something is enlarged.

    Args:
        channels: of the levels.
        width: of the chains.
        groups: of GroupNorm.
    """

    def __init__(self, channels: int = 256, *, width: int = 128, groups: int = 32):
        super().__init__()
        self.chains = nn.ModuleList()
        for level, blocks in enumerate(BLOCKS):
            layers: list[nn.Module] = []
            for block in range(blocks):
                layers += [nn.Conv2d(width if block else channels, width, kernel_size=1), nn.GroupNorm(groups, width)]
                layers += [nn.ReLU(inplace=True), _enlarge(2) if level else nn.Identity()]
            self.chains.append(nn.Sequential(*layers))
        self.classify = nn.Conv2d(width, 1, kernel_size=1)
        self.enlarge = _enlarge(4)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        summed = sum(chain(x) for chain, x in zip(self.chains, levels, strict=True))
        return self.enlarge(self.classify(summed))


def _enlarge(factor: int) -> nn.Upsample:
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=True)
