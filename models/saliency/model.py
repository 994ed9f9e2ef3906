"""Saliency: what stands out in colour and lies near the centre. No sound, no training; a control for every benchmark.

Paper: none. Origin: written for this suite; colour contrast against the frame's border and mean, in the spirit of
classical salient-object detection. Licence: Apache-2.0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from avsbench.cards import DatasetCard
from avsbench.contract import Batch, Method, Output


class Saliency(Method):
    """Colour contrast with a centre prior.

    Args:
        spread: width of the centre prior, in units of half the image side.
        threshold: multiple of a frame's mean saliency above which a pixel counts as object.
        sharpness: how fast the logit grows around the threshold.
    """

    trainable = False

    def __init__(self, *, spread: float = 0.8, threshold: float = 2.0, sharpness: float = 4.0):
        super().__init__()
        self.spread, self.threshold, self.sharpness = spread, threshold, sharpness

    def forward(self, batch: Batch) -> Output:
        """Logits [B,T,1,H,W]; each frame is looked at alone."""
        frames = batch.frames.flatten(0, 1).float() / 255  # [BT,3,H,W]
        smooth = F.avg_pool2d(frames, 5, stride=1, padding=2, count_include_pad=False)
        contrast = self._distance(smooth, smooth.mean(dim=(2, 3), keepdim=True))
        contrast = contrast * self._distance(smooth, self._border(smooth))
        saliency = contrast * self._centre(frames.shape[-2:], frames.device)
        mean = saliency.mean(dim=(2, 3), keepdim=True)
        logits = self.sharpness * (saliency / (self.threshold * mean + 1e-6) - 1)
        return {"logits": logits.unflatten(0, batch.frames.shape[:2])}

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        logits = output["logits"]
        resized = F.interpolate(logits.flatten(0, 1).float(), size, mode="bilinear", align_corners=False)
        return resized.unflatten(0, logits.shape[:2])

    @staticmethod
    def _distance(image: Tensor, colour: Tensor) -> Tensor:
        """Euclidean distance in RGB, [N,3,H,W] and [N,3,1,1] -> [N,1,H,W]."""
        return (image - colour).square().sum(dim=1, keepdim=True).sqrt()

    @staticmethod
    def _border(image: Tensor) -> Tensor:
        """Mean colour of the outermost pixels, [N,3,1,1]."""
        edges = [image[..., 0, :], image[..., -1, :], image[..., :, 0], image[..., :, -1]]
        return torch.cat(edges, dim=-1).mean(dim=-1)[..., None, None]

    def _centre(self, size: tuple[int, int], device: torch.device) -> Tensor:
        """A Gaussian around the centre, [H,W]."""
        y, x = (torch.linspace(-1, 1, side, device=device) for side in size)
        return torch.exp(-(y[:, None].square() + x.square()) / (2 * self.spread**2))


def build(*, dataset: DatasetCard, scale: str, image_size: int) -> Saliency:
    """The same at every scale."""
    return Saliency()
