"""The generator `regions` of the feature `boxes`: the small AudioCLIP in the place of CLAP and of Grounding DINO.

For tests and demonstrations, where there are no published weights: one network both names the sound and says of regions
of like colour which have that name. Letters in shapes: F frames, S samples, N regions, m boxes, V names, H W pixels.
"""

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.features.boxes import NamedBoxes, class_names
from avsbench.features.crops import masked_crops
from avsbench.features.felzenszwalb import Felzenszwalb
from avsbench.nn.audioclip import AudioCLIP, audioclip, one_second
from avsbench.nn.clip_text import byte_tokens
from avsbench.nn.weights import load_file


class NamingAudioCLIP:
    """Names sounds, and finds regions that have a name: ear and eye in one.

    Args:
        network: with a text tower that reads bytes.
        vocabulary: the V names.
        scales: of the segmentation, from fine to coarse; higher gives larger regions.
        box_threshold: of the probability of a name among the vocabulary; no box is dropped for another.
        side: of the crops that the network sees.
    """

    front_end = "audioclip_wave"

    def __init__(
        self, network: AudioCLIP, vocabulary: list[str], *, scales: list[float], box_threshold: float, side: int
    ):
        self.network, self.vocabulary, self.box_threshold, self.side = network.eval(), vocabulary, box_threshold, side
        self._segmenters = [Felzenszwalb(scale=scale, sigma=0.5, min_size=40) for scale in scales]
        with torch.inference_mode():
            self._texts = network.text(byte_tokens(vocabulary).to(next(network.parameters()).device))

    @torch.inference_mode()
    def names(self, waves: np.ndarray, k: int) -> list[list[str]]:
        """The k names that fit each sound [F,S] best, the best first."""
        sounds = one_second(torch.from_numpy(waves).to(self._texts.device), self.network.audio.repeats)
        fit = self.network.similarities(sound=self.network.audio(sounds), text=self._texts)["sound_text"]
        return [[self.vocabulary[number] for number in row] for row in fit.topk(k).indices.tolist()]

    @torch.inference_mode()
    def boxes(self, frames: np.ndarray, names: list[list[str]]) -> list[np.ndarray]:
        """Of each frame, uint8 [F,H,W,3], the boxes of regions that have one of its names: float32 [m,4], in 0..1."""
        return [self._boxes(frame, row) for frame, row in zip(frames, names, strict=True)]

    def _boxes(self, frame: np.ndarray, names: list[str]) -> np.ndarray:
        masks = np.concatenate([segmenter.propose(frame).masks for segmenter in self._segmenters])
        masks = torch.from_numpy(masks).to(self._texts.device)
        shares = self._shares(torch.from_numpy(frame).to(masks.device).permute(2, 0, 1) / 255, masks)
        corners = masks_to_boxes(masks) + masks.new_tensor([0, 0, 1, 1], dtype=torch.float32)  # to the far edge
        corners /= corners.new_tensor([frame.shape[1], frame.shape[0]] * 2)
        columns = [self.vocabulary.index(name) for name in names]
        found = [corners[shares[:, column] > self.box_threshold] for column in columns]
        return torch.cat(found).cpu().numpy() if found else np.zeros((0, 4), np.float32)

    def _shares(self, picture: Tensor, masks: Tensor) -> Tensor:
        """Of a picture [3,H,W], how likely what each mask [N,H,W] shows has each name: [N,V], a row sums up to 1."""
        crops, _ = masked_crops(picture, masks, self.side)
        pictures = self.network.visual.embed(crops)
        return self.network.similarities(image=pictures, text=self._texts)["image_text"].softmax(dim=1)


def build(
    *,
    weights: dict[str, str],
    device: str,
    scale: str,
    labels: str,
    k: int,
    scales: list[float],
    box_threshold: float,
    side: int,
) -> NamedBoxes:
    """All three towers from the stand-in for AudioCLIP.

    Args:
        labels: the names that a sound may get: mini, s4, audioset; the network learnt those of mini.
        k: names a second.
        scales, box_threshold, side: as for `NamingAudioCLIP`.

    Raises:
        AvsbenchError: the scale is not mini, or the stand-in is missing or another network's.
    """
    if scale != "mini":
        raise AvsbenchError(
            "features.boxes.generator: regions names sounds by the small AudioCLIP, which exists at scale mini alone",
            found=f"scale {scale}",
            hint="choose grounding_dino, or scale: mini",
        )
    network = audioclip(scale)
    load_file(network, cards.encoder("audioclip"), weights["audioclip"], scale)
    both = NamingAudioCLIP(
        network.to(device), class_names(labels), scales=scales, box_threshold=box_threshold, side=side
    )
    return NamedBoxes(both, both, k)
