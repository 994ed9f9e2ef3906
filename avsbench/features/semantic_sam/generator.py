"""Semantic-SAM behind the interface of all generators."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.features import Generator, Proposals, generator
from avsbench.features.semantic_sam.automatic import Masks, Settings, generate
from avsbench.features.semantic_sam.network import SemanticSam
from avsbench.media.images import crop_sides
from avsbench.nn.precision import float32
from avsbench.nn.weights import load_file

UNTRAINED = "swin_mini"
"""The backbone of tests: a small network with random weights, always the same."""

PIXELS_TOGETHER = 8 * 224 * 224
"""Of the pictures that pass through a GPU together: a bound for memory."""


class SemanticSamGenerator(Generator):
    """Proposes masks, computed in float32.

    Args:
        network: in evaluation mode, on `device`.
        settings: of the grid and the filters.
        short_side: pictures are resized to it before (640 in the authors' own tool), and masks back; None: as they are,
            as COMBO does.
        device: of the network.
    """

    def __init__(self, network: SemanticSam, settings: Settings, *, short_side: int | None, device: torch.device):
        if short_side is not None and short_side < 1:
            raise AvsbenchError(
                "semantic_sam: option short_side is out of range",
                found=short_side,
                expected="1 or more, or null for pictures as they are",
                hint="mend features.maskige.options in the configuration",
            )
        self.network, self.settings, self.short_side, self.device = network, settings, short_side, device

    def propose_frames(self, images: np.ndarray) -> list[Proposals]:
        return [Proposals(found.masks.numpy(), found.scores.numpy()) for found in self.masks(images)]

    @torch.inference_mode()
    def masks(self, images: np.ndarray) -> list[Masks]:
        """All that is known of the masks of F pictures, uint8 [F,H,W,3]; boxes are those of the resized pictures."""
        size = images.shape[1:3]
        if self.short_side is not None:
            sides = crop_sides(size[1], size[0], self.short_side)
            images = np.stack([Image.fromarray(image).resize(sides, Image.Resampling.BICUBIC) for image in images])
        pictures = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2)
        # A processor's caches are full with one picture.
        fitting = PIXELS_TOGETHER // (pictures.shape[2] * pictures.shape[3]) if self.device.type == "cuda" else 1
        with float32():  # masks should not depend on the make of a GPU
            found = generate(self.network, pictures, self.settings, together=max(1, fitting))
        return [_resized(each, size) for each in found]


def build(
    *, weights: str | None, device: str, backbone: str = "swin_l", short_side: int | None = None, **settings
) -> Generator:
    """The generator with the authors' weights; `settings` are those of `Settings`.

    Raises:
        AvsbenchError: a setting is out of range; the weights are missing, damaged or of another network.
    """
    asked = Settings(**settings)
    if backbone == UNTRAINED:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = SemanticSam.of_size(backbone)
    else:
        card = cards.encoder(generator("semantic_sam").weights[backbone])
        network = SemanticSam.of_size(backbone)
        hint = f"name the backbone that the file is of in features.maskige.options, or get {card.file} from {card.url}"
        load_file(network, card, weights or card.file, hint=hint)
    place = torch.device(device)
    return SemanticSamGenerator(network.eval().to(place), asked, short_side=short_side, device=place)


def _resized(found: Masks, size: tuple[int, int]) -> Masks:
    """Masks at the size of the picture, without those of which no pixel is left."""
    if found.masks.shape[1:] == size:
        return found
    masks = functional.interpolate(found.masks[:, None].byte(), size=size, mode="nearest-exact")[:, 0].bool()
    found = replace(found, masks=masks)
    return found.pick(masks.any(2).any(1).nonzero()[:, 0])
