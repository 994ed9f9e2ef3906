"""The feature `heatmap`: where in a frame AudioCLIP finds what its second sounds like, as Sam4AVS asks it (BMVC 2023).

With the attention pool of CLIP Surgery (arXiv 2304.05653) on AudioCLIP's weights. Cosines are stored, float32 [T,7,7];
`heatmaps` makes the pictures of them that points and boxes are taken from. Letters in shapes: F frames, D embedding.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avsbench import cards
from avsbench.cards import known
from avsbench.features import Deriver
from avsbench.features.boxes import SIDE
from avsbench.features.crops import clip_pictures
from avsbench.nn.audioclip import one_second
from avsbench.nn.clip_visual import ClipVisual, clip_visual
from avsbench.nn.esresnext import ESResNeXt, esresnext
from avsbench.nn.precision import float32
from avsbench.nn.weights import load_file

POOLS = ("surgery", "plain")


class Heatmaps(Deriver):
    """Cosines of the cells of each frame with the sound of its second.

    Args:
        visual, audio: AudioCLIP's towers, with weights, on one device.
        pool: attention among the cells: `surgery`, or `plain` as CLIP learned it.
        side: to which frames are resized; a cell is 32 pixels of it.
    """

    def __init__(self, visual: ClipVisual, audio: ESResNeXt, *, pool: str = "surgery", side: int = SIDE):
        known(pool, dict.fromkeys(POOLS), "features.heatmap.options: pool", "choice")
        self.visual, self.audio, self.pool, self.side = visual.eval(), audio.eval(), pool, side

    @torch.inference_mode()
    @float32()  # prompts should not depend on the make of a GPU
    def derive(self, frames: np.ndarray, audio: dict[str, np.ndarray]) -> np.ndarray:
        device = next(self.visual.parameters()).device
        images = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float() / 255
        waves = torch.from_numpy(audio["audioclip_wave"]).to(device)
        last = self.visual(clip_pictures(images, self.side))[-1]
        _, cells = self.visual.pool(last, surgery=self.pool == "surgery")
        return cosines(cells, self.audio(one_second(waves, self.audio.repeats))).cpu().numpy()


def cosines(cells: Tensor, sound: Tensor) -> Tensor:
    """Of each cell [F,D,h,w] with the sound [F,D] of its frame: [F,h,w]."""
    return torch.einsum("fdhw,fd->fhw", F.normalize(cells, dim=1), F.normalize(sound, dim=1))


def heatmaps(cosine: Tensor, *, reverse: bool, side: int = SIDE) -> Tensor:
    """Cosines [F,h,w] -> [F,S,S], of each frame from 0 to 1 before it is enlarged (bilinear).

    Args:
        reverse: high where the cosine is low, as published: CLIP Surgery's "opposite visualisation". A map without any
            contrast is 0 everywhere (as published 0 / 0).
    """
    cosine = 1 - cosine if reverse else cosine
    least, most = (f(cosine, dim=(1, 2), keepdim=True) for f in (torch.amin, torch.amax))
    scaled = (cosine - least) / (most - least).where(most > least, 1)
    return F.interpolate(scaled[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]


def build(*, weights: str, device: str, scale: str, pool: str, amplitude: str, checkpoint: str, side: int) -> Heatmaps:
    """Both towers from one file of AudioCLIP.

    Args:
        amplitude: of the sound: `fixed` as AudioCLIP learned it, `reference` as Sam4AVS feeds it.
        checkpoint: which file that is: `full` or `partial`.

    Raises:
        AvsbenchError: the file is missing or another one, or an option has a value that it cannot take.
    """
    card = cards.encoder({"full": "audioclip", "partial": "audioclip_partial"}[checkpoint])
    towers = clip_visual(scale), esresnext(scale, amplitude=amplitude)
    for tower in towers:
        load_file(tower, card, weights, scale)
        tower.to(device)
    return Heatmaps(*towers, pool=pool, side=side)
