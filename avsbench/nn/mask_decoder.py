"""Transformer decoder with masked attention: queries to classes and masks (Mask2Former, Cheng et al., CVPR 2022).

Each layer lets a query look only where the mask that it made so far is on, on one level after the other.

Letters in shapes: N images, Q queries, C channels, K classes, L levels, h w the size of the mask features.
"""

import re

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.nn.positions import sine_positions
from avsbench.nn.transformer import MLP, DecoderLayer

Prediction = tuple[Tensor, Tensor]
"""Class logits [N,Q,K+1], the last for "no object", and mask logits [N,Q,h,w]."""


class MaskDecoder(nn.Module):
    """Predicts from the queries as they come, and again after every layer.

    Args:
        classes: K.
        width: C; a multiple of `heads`.
        queries: Q.
        depth: layers; layer i looks at level i mod L.
        hidden: of the feed-forward blocks.
        levels: L.
        threshold: of a mask's sigmoid, from which on a query may look at a place.
    """

    def __init__(
        self,
        *,
        classes: int,
        width: int = 256,
        queries: int = 100,
        depth: int = 9,
        hidden: int = 2048,
        heads: int = 8,
        levels: int = 3,
        threshold: float = 0.5,
    ):
        super().__init__()
        self.threshold = threshold
        self.queries = nn.Embedding(queries, width)
        self.positions = nn.Embedding(queries, width)
        self.levels = nn.Embedding(levels, width)
        self.layers = nn.ModuleList(DecoderLayer(width, hidden, heads=heads, cross_first=True) for _ in range(depth))
        for parameter in self.layers.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes + 1)
        self.mask_embedding = MLP(width, width, width, width)

    def forward(self, features: Tensor, levels: list[Tensor], content: Tensor) -> list[Prediction]:
        """1 + depth predictions, the last of which counts; the others are for deep supervision.

        Args:
            features: mask features, [N,C,h,w].
            levels: maps to look at, [N,C,h_l,w_l], coarsest first.
            content: added to the learned queries at the start, broadcast to [N,Q,C].
        """
        sizes = [tuple(level.shape[-2:]) for level in levels]
        memories = [x.flatten(2).transpose(1, 2) + code for x, code in zip(levels, self.levels.weight, strict=True)]
        width, device = features.shape[1], features.device
        codes = [sine_positions(size, width // 2, normalized=True, device=device).flatten(1).T for size in sizes]
        x = (self.queries.weight + content).expand(len(features), -1, -1)
        predictions = [self.predict(x, features)]
        for index, layer in enumerate(self.layers):
            level = index % len(levels)
            allowed = self.look_at(predictions[-1][1], sizes[level])
            x = layer(
                x,
                memories[level],
                positions=self.positions.weight,
                memory_positions=codes[level],
                allowed=allowed[:, None],
            )
            predictions.append(self.predict(x, features))
        return predictions

    def predict(self, x: Tensor, features: Tensor) -> Prediction:
        """Queries [N,Q,C] and mask features [N,C,h,w] -> classes and masks."""
        x = self.norm(x)
        masks = self.mask_embedding(x) @ features.flatten(2)
        return self.classifier(x), masks.unflatten(2, features.shape[-2:])

    @torch.no_grad()
    def look_at(self, masks: Tensor, size: tuple[int, int]) -> Tensor:
        """Where a query may look on a map of this size: bool [N,Q,hw]; everywhere, if its mask is on nowhere."""
        masks = functional.interpolate(masks, size=size, mode="bilinear", align_corners=False)
        on = (masks.sigmoid() >= self.threshold).flatten(2)
        return on | ~on.any(dim=2, keepdim=True)

    @staticmethod
    def semantic(prediction: Prediction, size: tuple[int, int]) -> Tensor:
        """Class maps at `size`: the masks, each weighed by its query's chance of being that class.

        Args:
            prediction: of N images.

        Returns:
            float32 [N,K,h,w], 0 and above; they may exceed 1.
        """
        logits, masks = prediction
        chances = logits.float().softmax(dim=2)[..., :-1]
        masks = functional.interpolate(masks.float(), size=size, mode="bilinear", align_corners=False)
        with torch.autocast(masks.device.type, enabled=False):
            return torch.einsum("nqk,nqhw->nkhw", chances, masks.sigmoid())

    @staticmethod
    def rename_official(key: str) -> str:
        """Our name of a key in the files of Mask2Former and what was built on it."""
        key = re.sub(r"^transformer_(self|cross|ffn)_(?:attention_)?layers\.(\d+)\.", r"layers.\2.\1|", key)
        key = re.sub(r"^mask_embed\.layers\.(\d)", lambda m: f"mask_embedding.{2 * int(m[1])}", key)
        for theirs, ours in _NAMES.items():
            key = key.replace(theirs, ours)
        return key


_NAMES = {
    "ffn|": "feed_forward|",
    "|norm.": "_norm.",
    "|linear1.": ".0.",
    "|linear2.": ".3.",
    "|self_attn.": "_attention.",
    "|multihead_attn.": "_attention.",
    "in_proj_": "in_proj.",
    "query_feat.": "queries.",
    "query_embed.": "positions.",
    "level_embed.": "levels.",
    "decoder_norm.": "norm.",
    "class_embed.": "classifier.",
}
"""Applied in this order; | stands between a layer's part and what is in it."""
