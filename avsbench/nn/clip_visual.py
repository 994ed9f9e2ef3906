"""CLIP's image tower: a modified ResNet-50 under an attention pool (Radford et al., ICML 2021; weights MIT).

What differs from ResNet-50: three 3x3 convolutions and an average pool as stem; an average pool where a block's stride
was, in the branch and in the shortcut; at the top one self-attention over the map's cells and their mean. AudioCLIP
(Guzhov et al., ICASSP 2022) has the same tower, and so has CLIP Surgery (Li et al., Pattern Recognition 2025), which
needs no other weights: there values also serve as queries and keys.

Images are RGB, normalised by CLIP's colours (`contract.normalize_frames(…, colours=CLIP)`).
Letters in shapes: F images, C channels, D embedding.
"""

import logging
import math
import re
from collections import OrderedDict

import torch
from timm.models.resnet import BasicBlock
from torch import Tensor, nn
from torch.nn import functional

from avsbench.nn.audioclip_files import tower_state
from avsbench.nn.backbones import ResNetEncoder
from avsbench.nn.states import load_strict

log = logging.getLogger(__name__)

EMBEDDING = 1024
MINI = {
    "block": BasicBlock,
    "layers": (1, 1, 1, 1),
    "widths": (16, 32, 48, 64),
    "stem_width": 16,
    "embedding": 64,
    "heads": 4,
    "grid": 2,
}
"""Arguments of the tower that trains in seconds on 64 x 64 images."""
_NAMES = {
    r"attnpool\.": "pool.",
    r"pool\.positional_embedding$": "pool.positions",
    r"pool\.q_proj\.": "pool.query.",
    r"pool\.k_proj\.": "pool.key.",
    r"pool\.v_proj\.": "pool.value.",
    r"pool\.c_proj\.": "pool.out.",
}


class AttentionPool(nn.Module):
    """One multi-head self-attention over the cells of a map and their mean.

    Args:
        width: C of the map.
        embedding: D.
        heads: of the attention.
        grid: side of the map that the position table was made for.
    """

    def __init__(self, width: int = 2048, embedding: int = EMBEDDING, *, heads: int = 32, grid: int = 7):
        super().__init__()
        self.heads, self.grid = heads, grid
        self.positions = nn.Parameter(torch.randn(grid**2 + 1, width) / math.sqrt(width))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, embedding)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, x: Tensor, surgery: bool = False) -> tuple[Tensor, Tensor]:
        """Pool a map.

        Args:
            x: [F,C,h,w].
            surgery: attend from values to values. The query and key projections then do nothing, and cells keep to
                cells like themselves: what CLIP Surgery finds things with.

        Returns:
            The embedding of the image [F,D] (with surgery, of the mean cell) and those of the cells [F,D,h,w]; none
            normalised.
        """
        height, width = x.shape[-2:]
        tokens = x.flatten(2).mT
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + self.positions_at(height, width)
        value = self.value(tokens)
        query, key = (value, value) if surgery else (self.query(tokens), self.key(tokens))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        attended = functional.scaled_dot_product_attention(q, k, v)
        pooled = self.out(attended.transpose(1, 2).flatten(2))
        return pooled[:, 0], pooled[:, 1:].mT.unflatten(2, (height, width))

    def positions_at(self, height: int, width: int) -> Tensor:
        """The position table of the mean and of a map of this size, [1 + height * width,C]; bilinear."""
        if (height, width) == (self.grid, self.grid):
            return self.positions
        table = self.positions[1:].mT.unflatten(1, (self.grid, self.grid))
        table = functional.interpolate(table[None], size=(height, width), mode="bilinear", align_corners=False)
        return torch.cat([self.positions[:1], table[0].flatten(1).mT])


class ClipVisual(ResNetEncoder):
    """Four maps as every visual encoder, and `pool` to turn the last one into embeddings.

    Attributes:
        embedding: D.

    Args:
        embedding: D.
        heads: of the attention pool.
        grid: side of the last map that its position table was made for; others are served by interpolation.
        stem_width: of the stem's last convolution.
        options: `layers`, `widths`, `block` of ResNetEncoder.
    """

    def __init__(self, *, embedding: int = EMBEDDING, heads: int = 32, grid: int = 7, stem_width: int = 64, **options):
        super().__init__(stem_width=stem_width, aa_layer=nn.AvgPool2d, avg_down=True, **options)
        # Named as in the published files, here and below.
        self.conv1, self.bn1, _, self.conv2, self.bn2, _, self.conv3, self.bn3 = *self.conv1, self.bn1
        for module in list(self.modules()):
            if getattr(module, "downsample", None) is not None:
                # A pool that drops an odd border, as the one in the branch does.
                pool, conv, norm = module.downsample
                pool = nn.Identity() if isinstance(pool, nn.Identity) else nn.AvgPool2d(2)
                module.downsample = nn.Sequential(OrderedDict({"pool": pool, "0": conv, "1": norm}))
        self.embedding = embedding
        self.pool = AttentionPool(self.channels[-1], embedding, heads=heads, grid=grid)

    def stem(self, images: Tensor) -> Tensor:
        x = images
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = self.act1(norm(conv(x)))
        return self.maxpool(x)

    def embed(self, images: Tensor, surgery: bool = False) -> Tensor:
        """Normalised images [F,3,H,W] -> embeddings [F,D], not normalised."""
        return self.pool(self(images)[-1], surgery)[0]

    @staticmethod
    def rename_official(key: str) -> str | None:
        """Our name of a key of the tower in a published file, without `visual.`; None for a classifier."""
        if key in ("fc.weight", "fc.bias"):
            return None
        for pattern, name in _NAMES.items():
            key = re.sub(f"^{pattern}", name, key)
        return key

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load the tower out of a file of AudioCLIP, CLIP or ours, or from one that holds it alone, strictly.

        Of an ordinary ResNet-50 (a file without attention pool, as torchvision's of ImageNet) the four stages fit and
        are loaded, all of them; stem and pool stay as they are.

        Raises:
            AvsbenchError: names the keys that are missing, unexpected or of another shape.
        """
        state = tower_state(state, "visual")
        if any(re.match(r"(attn)?pool\.", key) for key in state):
            super().load_pretrained(state)
            return
        own = {key: value for key, value in self.state_dict().items() if not key.startswith("layer")}
        stages = {key: value for key, value in state.items() if not re.match(r"(conv|bn)[123]\.|fc\.", key)}
        load_strict(self, own | stages)
        log.info("ClipVisual: %d tensors of four stages; stem and attention pool stay as they were", len(stages))


def clip_visual(scale: str, **options) -> ClipVisual:
    """CLIP's RN50 with random weights; at scale mini a tower that trains in seconds."""
    return ClipVisual(**(MINI | options)) if scale == "mini" else ClipVisual(**options)
