"""Global temporal audio-visual mixer of NTAVS: pixels and sounds attend to themselves over the frames of their clip.

Letters in shapes: B clips, T frames, F frames of all clips, P places (pixels of a map, or audio tokens), A audio
tokens, C channels, M heads, D = C / M.
"""

import torch
from torch import Tensor, nn

from avsbench.nn.transformer import FeedForward

OWN = 0.9
"""Share of a place's own relations between frames; the rest is the mean of the other side's."""


class Side(nn.Module):
    """One side of a block: attention over time at each place, then a feed-forward block and a norm.

    Args:
        width: C.
        heads: M.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * width, nn.GELU)
        self.end_norm = nn.LayerNorm(width)

    def relations(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How much of each frame a frame takes, and of what: [B,T,P,C] -> weights [B,P,M,T,T], values [B,P,M,T,D]."""
        q, k, v = self.qkv(x).unflatten(3, (3, self.heads, -1)).permute(3, 0, 2, 4, 1, 5)
        return (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1), v

    def forward(self, x: Tensor, weights: Tensor, values: Tensor, others: Tensor) -> Tensor:
        """[B,T,P,C], its relations, and the other side's mean weights [B,M,T,T] -> [B,T,P,C]."""
        taken = torch.lerp(others[:, None], weights, OWN) @ values
        x = x + self.output(taken.permute(0, 3, 1, 2, 4).flatten(3))
        return self.end_norm(x + self.feed_forward(self.norm(x)))


class MixerBlock(nn.Module):
    """Both sides; each mixes the mean relations of the other, over all its places, into those of its own places."""

    def __init__(self, width: int = 256, heads: int = 8):
        super().__init__()
        self.visual, self.audio = Side(width, heads), Side(width, heads)

    def forward(self, pixels: Tensor, sounds: Tensor) -> tuple[Tensor, Tensor]:
        """[B,T,P,C] and [B,T,A,C] -> both, changed."""
        seen, values = self.visual.relations(pixels)
        heard, contents = self.audio.relations(sounds)
        pixels = self.visual(pixels, seen, values, heard.mean(dim=1))
        return pixels, self.audio(sounds, heard, contents, seen.mean(dim=1))


class Mixer(nn.Module):
    """A block for each level, finest first. The sound passes one after the other; queries are made of it.

    Clips must be whole and without padding: a frame that is none would change the others, and the mean over pixels
    belongs to one clip.

    Args:
        width: C.
        heads: M.
        levels: maps.
    """

    def __init__(self, width: int = 256, heads: int = 8, levels: int = 4):
        super().__init__()
        self.blocks = nn.ModuleList(MixerBlock(width, heads) for _ in range(levels))
        self.between = nn.ModuleList(nn.Linear(width, width) for _ in range(levels))
        self.early = nn.Linear(width, width)

    def forward(self, maps: list[Tensor], sounds: Tensor, lengths: list[int]) -> tuple[list[Tensor], Tensor]:
        """Mix clip by clip; those of one length go together.

        Args:
            maps: [F,C,h_i,w_i], all frames of a clip before those of the next.
            sounds: [F,A,C].
            lengths: frames of each clip.

        Returns:
            the mixed maps; audio queries [F,2A,C], the first half not mixed with anything.
        """
        of_length: dict[int, list[Tensor]] = {}
        for rows in torch.arange(len(sounds), device=sounds.device).split(lengths):
            of_length.setdefault(len(rows), []).append(rows)
        if len(of_length) == 1:
            return self.mix(maps, sounds, lengths[0])
        groups = [torch.cat(rows) for rows in of_length.values()]
        mixed = [self.mix([x[rows] for x in maps], sounds[rows], n) for n, rows in zip(of_length, groups, strict=True)]
        order = torch.cat(groups).argsort()
        maps = [torch.cat(parts)[order] for parts in zip(*(maps for maps, _ in mixed), strict=True)]
        return maps, torch.cat([queries for _, queries in mixed])[order]

    def mix(self, maps: list[Tensor], sounds: Tensor, length: int) -> tuple[list[Tensor], Tensor]:
        """What `forward` does, for clips of one length."""
        early, mixed = self.early(sounds), []
        sounds = sounds.unflatten(0, (-1, length))
        for x, block, linear in zip(maps, self.blocks, self.between, strict=True):
            pixels, sounds = block(x.flatten(2).mT.unflatten(0, (-1, length)), sounds)
            sounds = linear(sounds)
            mixed.append(pixels.flatten(0, 1).mT.unflatten(2, x.shape[-2:]))
        return mixed, torch.cat([early, sounds.flatten(0, 1)], dim=1)
