"""The generator `grounding_dino` of the feature `boxes`: CLAP names the sound, Grounding DINO finds what has that name.

Sam4AVS's "box prompt" (BMVC 2023). Grounding DINO (Liu et al., arXiv 2303.05499) is the Swin-B model of its authors, by
the package `transformers`. Letters in shapes: F frames, m boxes of a frame, Q queries, S tokens, H W pixels.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_convert

from avsbench.features.boxes import NamedBoxes, class_names
from avsbench.features.clap import clap
from avsbench.features.transformers_folder import load
from avsbench.nn.precision import float32

if TYPE_CHECKING:
    from transformers import GroundingDinoForObjectDetection, PreTrainedTokenizerBase

SHORT_SIDE, LONG_SIDE = 800, 1333
AT_ONCE = 4
"""Pictures of one forward pass; memory only."""


class GroundingDino:
    """Boxes of what a caption names.

    Args:
        network, tokenizer: of the package, on one device.
        box_threshold: of the highest probability of any token of the caption; no box is dropped for another.
    """

    def __init__(
        self,
        network: "GroundingDinoForObjectDetection",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        box_threshold: float = 0.3,
    ):
        from transformers import GroundingDinoImageProcessor

        self.network, self.tokenizer, self.box_threshold = network, tokenizer, box_threshold
        # Bilinear, ImageNet's colours; to the bit what the authors' transforms give of a picture.
        self._pictures = GroundingDinoImageProcessor(size={"shortest_edge": SHORT_SIDE, "longest_edge": LONG_SIDE})

    @torch.inference_mode()
    @float32()
    def boxes(self, frames: np.ndarray, names: list[list[str]]) -> list[np.ndarray]:
        """Of each frame, uint8 [F,H,W,3], the boxes of all its names, in their order: float32 [m,4], in 0..1.

        x0, y0, x1, y1; a box may reach over the edge a little.
        """
        found: list[list[np.ndarray]] = [[np.zeros((0, 4), np.float32)] for _ in frames]
        pairs = [(number, caption(name)) for number, row in enumerate(names) for name in row]
        for start in range(0, len(pairs), AT_ONCE):
            numbers, captions = map(list, zip(*pairs[start : start + AT_ONCE], strict=True))
            for number, boxes in zip(numbers, self._detect(frames[numbers], captions), strict=True):
                found[number].append(boxes.cpu().numpy())
        return [np.concatenate(boxes) for boxes in found]

    def _detect(self, frames: np.ndarray, captions: list[str]) -> list[Tensor]:
        """Boxes [m,4] of one caption a frame."""
        pictures = self._pictures(list(frames), return_tensors="pt")
        tokens = self.tokenizer(captions, padding=True, return_tensors="pt")
        inputs = {key: value.to(self.network.device) for key, value in {**pictures, **tokens}.items()}
        found = self.network(**inputs)
        # Tokens that fill up a shorter caption, or the network's 256, have logits of minus infinity.
        scores = found.logits.sigmoid().amax(dim=-1)  # [F,Q]
        corners = box_convert(found.pred_boxes, "cxcywh", "xyxy")
        return [box[score > self.box_threshold] for box, score in zip(corners, scores, strict=True)]


def caption(name: str) -> str:
    """A name as Grounding DINO learned captions: in small letters, with a full stop."""
    text = name.lower().strip()
    return text if text.endswith(".") else f"{text}."


def build(*, weights: dict[str, str], device: str, scale: str, labels: str, k: int, box_threshold: float) -> NamedBoxes:
    """CLAP and Grounding DINO from the published files, at every scale.

    Args:
        weights: `ear` and `eye` -> the large file of each.
        labels: the names a sound may get: audioset, s4.
        k: names a second.
        box_threshold: as for `GroundingDino`.

    Raises:
        AvsbenchError: the package or files are missing, or there is no such vocabulary.
    """
    ear = clap(weights["ear"], device, class_names(labels))
    eye = GroundingDino(
        *load("GroundingDinoForObjectDetection", "grounding_dino", weights["eye"], device), box_threshold=box_threshold
    )
    return NamedBoxes(ear, eye, k)
