"""Bilateral-Fusion Module of COMBO: mask features and the sound of a frame attend to each other.

Letters in shapes: F frames, C channels of the mask features, S of the sound, E of the attention, M heads, D = E / M,
P = h w pixels.
"""

import torch
from torch import Tensor, nn

from avsbench.nn.dropout import dropout
from avsbench.nn.positions import sine_positions


class BilateralAttention(nn.Module):
    """Attention in both directions between P pixels and one sound token.

    With one token both directions share their weights, a softmax over the pixels (as published, even where each pixel
    asks the sound; over the token it would be 1 everywhere). So nothing need be computed pixel by pixel: heads of the
    key meet the pixels through the query's matrix, values are projected after they are summed, and a pixel's result is
    its M weights times the token's projected values. The bias of the visual query would be the same for all pixels,
    which a softmax ignores; there is none here.

    Args:
        width: C.
        sound: S.
        embedding: E, a multiple of `heads`.
        heads: M.
        dropout: share of weights that are dropped in training, in each direction by itself.
    """

    def __init__(self, *, width: int, sound: int, embedding: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, embedding, bias=False)
        self.key = nn.Linear(sound, embedding)
        self.pixel_values = nn.Linear(width, embedding)
        self.sound_values = nn.Linear(sound, embedding)
        self.pixel_output = nn.Linear(embedding, width)
        self.sound_output = nn.Linear(embedding, sound)
        for layer in self.children():
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, pixels: Tensor, places: Tensor, sound: Tensor, sound_place: Tensor) -> tuple[Tensor, Tensor]:
        """What each side learns of the other.

        Args:
            pixels: [F,P,C].
            places: code of the pixels, [P,C].
            sound: [F,S].
            sound_place: its code, [1,S].

        Returns:
            [F,P,C], [F,S].
        """
        key = self._heads(self.key(sound + sound_place)) * (self.query.out_features // self.heads) ** -0.5
        asked = torch.einsum("fmd,mdc->fmc", key, self.query.weight.unflatten(0, (self.heads, -1)))
        weights = (asked @ (pixels + places).mT).softmax(dim=-1)  # [F,M,P]
        share = self.dropout if self.training else 0.0

        looked = dropout(weights, share)
        seen = torch.einsum("fmc,mdc->fmd", looked @ pixels, self.pixel_values.weight.unflatten(0, (self.heads, -1)))
        seen = seen + looked.sum(dim=2, keepdim=True) * self.pixel_values.bias.unflatten(0, (self.heads, -1))
        heard = torch.einsum(
            "fmd,cmd->fmc",
            self._heads(self.sound_values(sound)),
            self.pixel_output.weight.unflatten(1, (self.heads, -1)),
        )
        return dropout(weights, share).mT @ heard + self.pixel_output.bias, self.sound_output(seen.flatten(1))

    def _heads(self, x: Tensor) -> Tensor:
        """[F,E] -> [F,M,D]."""
        return x.unflatten(1, (self.heads, -1))


class BilateralFusion(nn.Module):
    """Mask features and sound before the decoder.

    As published each side adds what it learns to its *normalised* self, at first 1e-4 of it.

    Args:
        attend: False: only a constant is added to the mask features, the sound stays as it is (published as
            "MHA-None"); parameters of the attention are stored and do not train.
    """

    def __init__(
        self,
        *,
        width: int = 256,
        sound: int = 128,
        embedding: int = 256,
        heads: int = 8,
        dropout: float = 0.1,
        attend: bool = True,
    ):
        super().__init__()
        self.attend = attend
        self.level = nn.Embedding(1, width)
        self.sound_place = nn.Embedding(1, sound)
        self.pixel_norm, self.sound_norm = nn.LayerNorm(width), nn.LayerNorm(sound)
        self.attention = BilateralAttention(width=width, sound=sound, embedding=embedding, heads=heads, dropout=dropout)
        self.pixel_scale = nn.Parameter(torch.full((width,), 1e-4))
        self.sound_scale = nn.Parameter(torch.full((sound,), 1e-4))
        if not attend:
            self.requires_grad_(False)
            self.level.requires_grad_(True)

    def forward(self, features: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Mask features [F,C,h,w] and sound [F,S] -> both, changed."""
        size = features.shape[-2:]
        pixels = features.flatten(2).mT + self.level.weight
        if self.attend:
            pixels, sound = self.pixel_norm(pixels), self.sound_norm(sound)
            places = sine_positions(size, pixels.shape[2] // 2, normalized=True, device=pixels.device).flatten(1).T
            heard, seen = self.attention(pixels, places, sound, self.sound_place.weight)
            pixels, sound = pixels + self.pixel_scale * heard, sound + self.sound_scale * seen
        return pixels.mT.unflatten(2, size), sound
