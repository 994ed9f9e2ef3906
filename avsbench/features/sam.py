"""The generator `sam`: Segment Anything (arXiv 2304.02643) under a grid of clicks, by the package `segment-anything`.

COMBO's alternative to Semantic-SAM, with that package's defaults. An optional extra: pip install "avsbench[sam]".
"""

from typing import TYPE_CHECKING

import numpy as np
import torch

from avsbench.features import Generator, Proposals
from avsbench.features.sam_prompts import loaded
from avsbench.nn.precision import float32

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


class SegmentAnything(Generator):
    """Masks by descending score, which is the network's own guess of their IoU.

    Args:
        network: of the package, with weights, on its device.
        points_per_side: of the grid of clicks; three masks each.
        points_per_batch: clicks at once; memory only.
        score_threshold, stability_threshold: below these a mask is dropped.
        nms_threshold: of two masks whose boxes overlap (IoU) by more, the one with the lower score is dropped.
    """

    def __init__(
        self,
        network: "Sam",
        *,
        points_per_side: int,
        points_per_batch: int,
        score_threshold: float,
        stability_threshold: float,
        nms_threshold: float,
    ):
        from segment_anything import SamAutomaticMaskGenerator

        self._generator = SamAutomaticMaskGenerator(
            network.eval(),
            points_per_side=points_per_side,
            points_per_batch=points_per_batch,
            pred_iou_thresh=score_threshold,
            stability_score_thresh=stability_threshold,
            box_nms_thresh=nms_threshold,
        )

    @torch.inference_mode()
    @float32()
    def propose(self, image: np.ndarray) -> Proposals:
        found = self._generator.generate(image)
        masks = np.array([one["segmentation"] for one in found], bool).reshape(-1, *image.shape[:2])
        return Proposals(masks, np.array([one["predicted_iou"] for one in found], np.float32))


def build(*, weights: str | None, device: str, model: str, **options) -> Generator:
    """The network `model` (vit_h, vit_l, vit_b) from the published file.

    Raises:
        AvsbenchError: the package or the file is missing, or the file is another one than published.
    """
    return SegmentAnything(loaded(model, weights, device).network, **options)
