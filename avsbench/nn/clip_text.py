"""CLIP's text tower: a causal transformer whose last token is the text's (Radford et al., ICML 2021; weights MIT).

Letters in shapes: N texts, S tokens, D embedding.
"""

import re

import torch
from torch import Tensor, nn

from avsbench.nn.audioclip_files import tower_state
from avsbench.nn.states import load_strict

MINI = {"vocabulary": 257, "context": 40, "width": 32, "depth": 2, "heads": 2, "embedding": 64}
"""Arguments of the tower that reads bytes and trains in seconds."""
_NAMES = {
    r"positional_embedding$": "positions",
    r"text_projection$": "projection",
    r"token_embedding\.": "tokens.",
    r"ln_final\.": "norm.",
    r"transformer\.resblocks\.": "blocks.",
    r"(blocks\.\d+)\.attn\.": r"\1.self_attn.",
    r"(blocks\.\d+)\.ln_([12])\.": r"\1.norm\2.",
    r"(blocks\.\d+)\.mlp\.c_fc\.": r"\1.linear1.",
    r"(blocks\.\d+)\.mlp\.c_proj\.": r"\1.linear2.",
}


class ClipText(nn.Module):
    """Token ids int64 [N,S], S at most `context` -> embeddings [N,D], not normalised.

    A text ends with the token of the largest id; zeros may follow and change nothing.

    Attributes:
        context: the longest text, in tokens.

    Args:
        vocabulary: token ids.
        context: as the attribute.
        width: of the transformer.
        depth: its layers.
        heads: of its attention.
        embedding: D.
    """

    def __init__(
        self,
        *,
        vocabulary: int = 49408,
        context: int = 77,
        width: int = 512,
        depth: int = 12,
        heads: int = 8,
        embedding: int = 1024,
    ):
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.01 * torch.randn(context, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation=quick_gelu, batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Parameter(width**-0.5 * torch.randn(width, embedding))
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions[: tokens.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], device=x.device, dtype=x.dtype)
        for block in self.blocks:
            x = block(x, src_mask=mask, is_causal=True)
        last = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=1)]
        return self.norm(last) @ self.projection

    @staticmethod
    def rename_official(key: str) -> str:
        """Our name of a key of the tower in a published file."""
        for pattern, name in _NAMES.items():
            key = re.sub(f"^{pattern}", name, key)
        return key

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load the tower out of a file of AudioCLIP, CLIP or ours, or from one that holds it alone, strictly."""
        load_strict(self, {self.rename_official(key): value for key, value in tower_state(state, "text").items()})


def quick_gelu(x: Tensor) -> Tensor:
    """OpenAI's approximation."""
    return x * (1.702 * x).sigmoid()


def byte_tokens(texts: list[str], context: int = MINI["context"]) -> Tensor:
    """Texts as their UTF-8 bytes for the small tower, int64 [N,context]: cut if need be, an end token, then zeros."""
    rows = [[*text.encode()[: context - 1], 256] for text in texts]
    return torch.tensor([row + [0] * (context - len(row)) for row in rows])


def clip_text(scale: str, **options) -> ClipText:
    """CLIP's text tower with random weights; at scale mini one that reads bytes and trains in seconds."""
    return ClipText(**(MINI | options)) if scale == "mini" else ClipText(**options)
