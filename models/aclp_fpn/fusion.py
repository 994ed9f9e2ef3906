"""What the coarsest level of the neck sees of picture and sound: seven fusions.

Letters in shapes: F frames, C channels of the visual encoder's last map, D embedding of both towers, h w size of that
map.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

FUSIONS: dict[str, Callable[..., list[Tensor]]] = {
    "concate": lambda x, tokens, sound: [x, tokens * sound],
    "normed_concate": lambda x, tokens, sound: [x, normalize(tokens) * normalize(sound)],
    "naive_concate": lambda x, tokens, sound: [x, tokens, sound],
    "score_fusion": lambda x, tokens, sound: [x, (normalize(tokens) * normalize(sound)).sum(dim=1, keepdim=True)],
    "noprior": lambda x, tokens, sound: [x, sound],
    "skip": lambda x, tokens, sound: [tokens * sound],
    "none": lambda x, tokens, sound: [x],
}
"""Name in the released scripts -> what is concatenated, from the encoder's map [F,C,h,w], its spatial tokens [F,D,h,w]
and the sound of the frame in all places [F,D,h,w]."""
WITHOUT_TOKENS = ("noprior", "none")
WITHOUT_SOUND = ("none",)


def fuse(fusion: str, x: Tensor, tokens: Tensor | None, sound: Tensor | None) -> Tensor:
    """[F,C,h,w], [F,D,h,w], [F,D] -> [F,…,h,w]; None for what the fusion goes without."""
    if sound is not None:
        sound = sound[:, :, None, None].expand(-1, -1, *x.shape[-2:])
    return torch.cat(FUSIONS[fusion](x, tokens, sound), dim=1)


def fused_channels(fusion: str, channels: int, embedding: int) -> int:
    """How many channels `fuse` gives."""
    x, tokens = (torch.empty(1, count, 1, 1, device="meta") for count in (channels, embedding))
    return fuse(fusion, x, tokens, tokens[:, :, 0, 0]).shape[1]
