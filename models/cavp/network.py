"""The layers of CAVP: atrous pyramid, head, and the attention of pixels to one sound.

Letters in shapes: N pictures, M sounds (a multiple of N), D channels of the joint features, P = h w pixels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PooledNorm(nn.BatchNorm2d):
    """BatchNorm of one number a channel and picture; a lone picture has no statistics and takes the running ones.

    The published network stops with an error there: an epoch's last batch may hold a single picture.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class AtrousPyramid(nn.Module):
    """Views of a map at several dilations, and its spatial mean: [N,C,h,w] -> [N,width,h,w] (Chen et al., 2017).

    Args:
        rates: dilations of the 3x3 convolutions beside the 1x1 convolution.
    """

    def __init__(self, channels: int, width: int, rates: tuple[int, ...]):
        super().__init__()
        self.branches = nn.ModuleList([nn.Conv2d(channels, width, kernel_size=1, bias=False)])
        for rate in rates:
            self.branches.append(nn.Conv2d(channels, width, kernel_size=3, padding=rate, dilation=rate, bias=False))
        self.branch_norm = nn.BatchNorm2d(width * len(self.branches))
        self.branch_reduce = nn.Conv2d(width * len(self.branches), width, kernel_size=1, bias=False)
        self.pool = nn.Conv2d(channels, width, kernel_size=1, bias=False)
        self.pool_norm = PooledNorm(width)
        self.pool_reduce = nn.Conv2d(width, width, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        views = torch.cat([branch(x) for branch in self.branches], dim=1)
        views = self.branch_reduce(functional.leaky_relu(self.branch_norm(views)))
        mean = functional.leaky_relu(self.pool_norm(self.pool(x.mean(dim=(2, 3), keepdim=True))))
        return functional.leaky_relu(self.norm(views + self.pool_reduce(mean)))


class Head(nn.Module):
    """Two convolutions and a classifier: [M,D,h,w] -> logits [M,K,h,w]."""

    def __init__(self, channels: int, width: int, classes: int):
        super().__init__()
        layers: list[nn.Module] = []
        for before in (channels, width):
            layers += [nn.Conv2d(before, width, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.refine = nn.Sequential(*layers)
        self.classify = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.refine(x))


class SoundAttention(nn.Module):
    """Every pixel weighs the one sound of its picture by a sigmoid and adds it (a transformer block).

    With one key a softmax would always give 1. The published block lets the sound attend to the pixels as well and
    throws the result away, and holds positional embeddings that it never adds: neither exists here.
    """

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.embed_visual = nn.Linear(channels, channels)
        self.embed_audio = nn.Linear(channels, channels)
        self.norm1 = nn.LayerNorm(channels)  # of pixels and sounds alike
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.output = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = mlp(channels, 4 * channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, pixels: Tensor, sounds: Tensor) -> tuple[Tensor, Tensor]:
        """Sound m goes with picture m mod N, so that pictures are embedded once however many sounds they meet.

        Args:
            pixels: [N,P,D].
            sounds: [M,D].

        Returns:
            Joint features [M,P,D]; attention [M,heads,P].
        """
        times = len(sounds) // len(pixels)
        pixels, sounds = self.norm1(self.embed_visual(pixels)), self.norm1(self.embed_audio(sounds))
        queries = self._split(self.query(pixels)).repeat(times, 1, 1, 1)
        keys, values = self._split(self.key(sounds)), self._split(self.value(sounds))
        attention = torch.einsum("mphd,mhd->mhp", queries, keys).mul(queries.shape[-1] ** -0.5).sigmoid()
        heard = torch.einsum("mhp,mhd->mphd", attention, values).flatten(2)
        # The residual is the normalised input, as published.
        x = pixels.repeat(times, 1, 1) + self.output(heard)
        return self.norm(x + self.mlp(self.norm2(x))), attention

    def _split(self, x: Tensor) -> Tensor:
        """[...,D] -> [...,heads,D / heads]."""
        return x.unflatten(-1, (self.heads, -1))


def mlp(channels: int, hidden: int) -> nn.Sequential:
    """Linear, GELU, linear; keeps the number of channels."""
    return nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))
