"""Semantic-SAM (Li et al., 2023, arXiv 2307.04767): segments whatever lies under a click, at six levels of granularity.

Swin, Mask2Former's pixel decoder on four levels, and the decoder of clicks. Only what masks need: the published files
also hold heads for classes, which stay out. Written anew in plain PyTorch; weights: UX-Decoder/Semantic-SAM.

Letters in shapes: N images, P clicks, T tokens wanted, C channels, h w a quarter of the padded picture, rounded up.
"""

import logging
import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.contract import normalize_frames
from avsbench.errors import AvsbenchError
from avsbench.features.semantic_sam.decoder import ClickDecoder, Clicks, Memory
from avsbench.nn.pixel_decoder import PixelDecoder
from avsbench.nn.states import load_strict
from avsbench.nn.swin import SIZES as SWIN
from avsbench.nn.swin import Swin

log = logging.getLogger(__name__)

CLICK = 0.005
"""Width and height of a click, relative to the picture."""

STRIDE = 32
"""Pictures are padded to multiples of it."""

HEADS = {"swin_mini": {"width": 32, "hidden": 64, "encoder_depth": 1, "depth": 2, "groups": 8}}
"""What is smaller than published behind a small Swin."""


@dataclass(frozen=True)
class Encoded:
    """N pictures of one size, ready for clicks.

    Attributes:
        size: height and width without padding.
        padded: with it.
        features: of masks, [N,C,h,w].
        memory: what the decoder reads.
    """

    size: tuple[int, int]
    padded: tuple[int, int]
    features: Tensor
    memory: Memory


class SemanticSam(nn.Module):
    """The network; computes in float32.

    Args:
        swin: name of the backbone, see `avsbench.nn.swin.SIZES`.
        width: C.
        hidden: width inside the feed-forward blocks.
        encoder_depth: layers of the pixel decoder.
        depth: layers of the decoder of clicks.
        groups: of the pixel decoder's GroupNorm.
    """

    def __init__(
        self,
        swin: str = "swin_l",
        *,
        width: int = 256,
        hidden: int = 2048,
        encoder_depth: int = 6,
        depth: int = 9,
        groups: int = 32,
    ):
        super().__init__()
        self.backbone = Swin(**SWIN[swin])
        self.pixel_decoder = PixelDecoder(
            self.backbone.channels,
            width=width,
            extra=True,
            coarse_first=False,
            depth=encoder_depth,
            hidden=hidden,
            groups=groups,
        )
        self.decoder = ClickDecoder(width, hidden=hidden, depth=depth)

    @classmethod
    def of_size(cls, swin: str) -> "SemanticSam":
        """The published network on a published Swin, a small one on a small Swin."""
        return cls(swin, **HEADS.get(swin, {}))

    def encode(self, images: Tensor) -> Encoded:
        """Pictures uint8 [N,3,H,W] RGB, once for all clicks.

        Raises:
            AvsbenchError: the tensor has another shape or type.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
            raise AvsbenchError(
                "Semantic-SAM: these are no pictures",
                found=f"{images.dtype} {list(images.shape)}",
                expected="uint8 [images, 3, height, width], RGB",
                hint="put the channels before height and width",
            )
        height, width = images.shape[2:]
        padded = (_padded(height), _padded(width))
        real = torch.ones(1, len(images), dtype=torch.bool, device=images.device)
        x = normalize_frames(images[None], real)[0]
        x = functional.pad(x, (0, padded[1] - width, 0, padded[0] - height))
        features, maps = self.pixel_decoder(self.backbone(x))
        return Encoded((height, width), padded, features, self.decoder.read(maps))

    def prepare(self, points: Tensor, size: tuple[int, int]) -> Clicks:
        """Clicks that are given together: their masks depend on each other.

        Args:
            points: (x, y) in [0, 1] of a picture, [P,2].
            size: height and width of the pictures that they are for.
        """
        shares = [length / _padded(length) for length in reversed(size)]
        boxes = torch.cat([points, torch.full_like(points, CLICK)], dim=1)
        return self.decoder.prepare(boxes * boxes.new_tensor(shares * 2))

    def click(self, encoded: Encoded, clicks: Clicks, tokens: list[int]) -> tuple[Tensor, Tensor]:
        """Candidates of P prepared clicks on N pictures, T tokens each.

        Returns:
            scores [N,P,T] and embeddings [N,P,T,C], which `logits` turns into masks.
        """
        return self.decoder(clicks, encoded.memory, tokens)

    def logits(self, encoded: Encoded, image: int, embeddings: Tensor) -> Tensor:
        """Masks of one of the pictures: embeddings [K,C] -> logits [K,H,W]."""
        height, width = encoded.size
        maps = torch.einsum("kc,chw->khw", embeddings, encoded.features[image])[:, None]
        maps = functional.interpolate(maps, size=encoded.padded, mode="bilinear", align_corners=False)
        return maps[:, 0, :height, :width]

    def load_pretrained(self, state: dict[str, Tensor]) -> None:
        """Load the authors' state dict, strictly.

        Raises:
            AvsbenchError: lists missing, unexpected and misshapen tensors.
        """
        load_strict(self, convert_official(state, {_part(name) for name in self.state_dict()}))


def _padded(length: int) -> int:
    return length + -length % STRIDE


def convert_official(state: dict[str, Tensor], parts: set[str]) -> dict[str, Tensor]:
    """The authors' state dict under our names, without what masks do not need.

    Training tensors that the network never had are left out with a warning; a tensor too many *inside* one of our parts
    stays, since it would mean another architecture.
    """
    renamed: dict[str, Tensor] = {}
    differing, foreign = [], []
    for key, value in state.items():
        name = rename_official(key)
        if name is None:
            continue
        if _part(name) not in parts:
            foreign.append(key)
            continue
        if name in renamed and not torch.equal(renamed[name], value):
            differing.append(key)
        renamed[name] = value  # of several that should be one, the authors' loading keeps the last too
    if differing:
        log.warning("%d tensors differ from others that the network takes for one: %s …", len(differing), differing[0])
    if foreign:
        log.warning("%d tensors are not part of the network: %s …", len(foreign), foreign[0])
    return renamed


def rename_official(key: str) -> str | None:
    """Our name of a key of the published files; None for what masks do not need. Several keys may share a name."""
    if not key.startswith("model."):
        return None
    key = key.removeprefix("model.")
    if key.startswith("backbone."):
        name = Swin.rename_official(key.removeprefix("backbone."))
        return name and f"backbone.{name}"
    pixel = "sem_seg_head.pixel_decoder."
    if key.startswith(pixel):
        return "pixel_decoder." + PixelDecoder.rename_official(key.removeprefix(pixel))
    predictor = "sem_seg_head.predictor."
    if not key.startswith(predictor) or key.removeprefix(predictor) in _CLASSES:
        return None
    name = "." + key.removeprefix(predictor)
    for pattern, ours in _DECODER:
        name = re.sub(pattern, ours, name)
    return "decoder" + name


_CLASSES = ("lang_mapper", "class_embed", "class_embed_part")

_DECODER = (
    (r"^\.(decoder\.)?_?bbox_embed\.(\d\.)?layers\.", ".box.layers."),
    (r"^\.(decoder\.norm|decoder_norm)\.", ".norm."),
    (r"^\.decoder\.ref_point_head\.", ".places."),
    (r"^\.decoder\.layers\.", ".layers."),
    (r"^\.mask_embed\.", ".mask."),
    (r"^\.iou_prediction_head\.", ".score."),
    (r"^\.mask_tokens\.weight$", ".tokens"),
    (r"^\.pb_embedding\.weight$", ".kinds"),
    (r"^\.label_enc\.weight$", ".labels"),
    (r"^\.(box|places|mask|score)\.layers\.(\d)\.", lambda match: f".{match[1]}.{2 * int(match[2])}."),
    (r"\.self_attn\.in_proj_", ".self_attention.in_proj."),
    (r"\.self_attn\.", ".self_attention."),
    (r"\.cross_attn\.", ".cross_attention."),
    (r"\.norm1\.", ".cross_norm."),
    (r"\.norm2\.", ".self_norm."),
    (r"\.norm3\.", ".feed_forward_norm."),
    (r"\.linear1\.", ".feed_forward.0."),
    (r"\.linear2\.", ".feed_forward.3."),
)


def _part(name: str) -> str:
    """The block of the network that a name belongs to."""
    first, second, *_ = name.split(".")
    return f"{first}.{second}" if first == "decoder" else first
