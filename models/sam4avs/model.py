"""Sam4AVS without training (BMVC 2023; https://github.com/Lihr747/Sam4AVS): what sounds, by pretrained parts alone.

Segment Anything says what things there are; AudioCLIP, or CLAP with Grounding DINO, which of them sound. Written from a
specification of the released code. Changes: what is costly is derived once, as features that all variants share.

Letters in shapes: F real frames of all clips, P prompts, N masks.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avsbench.cards import DatasetCard
from avsbench.closed_yaml import known, value_on
from avsbench.contract import Batch, Method, Output
from avsbench.features.boxes import SIDE
from avsbench.features.crops import masked_crops
from avsbench.features.heatmap import heatmaps
from avsbench.features.promptable import SELECTIONS, Promptable, select
from avsbench.features.regions import Regions
from avsbench.features.sam_prompts import sam_prompts
from avsbench.nn.audioclip import one_second
from avsbench.nn.clip_visual import ClipVisual, clip_visual
from avsbench.nn.esresnext import ESResNeXt, esresnext

from .prompts import BOXES, POINTS, of_heatmap

log = logging.getLogger(__name__)

CERTAIN = 10.0
"""Logit of a pixel in a mask: there are no probabilities."""
SHARPNESS = 100.0
"""Factor on cosines before the softmax over the masks of a frame."""
MINI_CROP = 64
"""Side of a crop at mini, where things are about as large in it as the small AudioCLIP learned them."""
QUIRKS = ("fixed", "reference")
Ask = Callable[[Batch], Iterator[dict[str, Tensor]]]
"""Batch -> for each real frame what the segmenter is asked, in pixels of a picture of SIDE x SIDE."""


class ZeroShot(Method):
    """Hard masks, frame by frame. A subclass defines `segment`.

    Args:
        quirks: `reference` says in the log where the published programs stop with an error: the mask is empty there.

    Attributes:
        mute: frames of the batch that give nothing to ask.
    """

    trainable = False

    def __init__(self, quirks: str):
        super().__init__()
        self.quirks, self.mute = quirks, 0

    def segment(self, batch: Batch) -> list[Tensor]:
        """One mask of each real frame, bool [H,W], all of one size."""
        raise TypeError(f"{type(self).__name__} must define segment(batch)")

    def forward(self, batch: Batch) -> Output:
        """`masks`: bool [B,T,H,W], empty where frames are padding."""
        self.mute = 0
        found = torch.stack(self.segment(batch))
        if self.mute and self.quirks == "reference":
            clips = ", ".join(batch.clip_ids)
            log.warning(
                "%s: the published program stops at %d of the frames; their masks are empty here", clips, self.mute
            )
        masks = found.new_zeros(*batch.real.shape, *found.shape[1:])
        masks[batch.real] = found
        return {"masks": masks}

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        """Plus or minus CERTAIN; another size takes the nearest pixel."""
        logits = torch.where(output["masks"], CERTAIN, -CERTAIN)
        return F.interpolate(logits, size, mode="nearest-exact")[:, :, None].float()


class Prompted(ZeroShot):
    """A segmenter that is asked for each frame what `ask` says; the union of its answers.

    Args:
        segmenter: takes the feature `image_embedding`.
        ask: what it is asked.
        selection: which of three answers counts: `max_score` or `max_area`; None: it gives one alone.
        quirks: see ZeroShot.
    """

    def __init__(self, segmenter: Promptable, ask: Ask, *, selection: str | None, quirks: str):
        super().__init__(quirks)
        self.segmenter = segmenter.requires_grad_(False)
        self.ask, self.selection = ask, selection

    def segment(self, batch: Batch) -> list[Tensor]:
        embeddings = batch.feature("image_embedding")[batch.real]
        return [self._union(*pair) for pair in zip(embeddings, self.ask(batch), strict=True)]

    def _union(self, embedding: Tensor, asked: dict[str, Tensor]) -> Tensor:
        size = (SIDE, SIDE)
        if not next(iter(asked.values())).numel():
            self.mute += self.selection is not None  # no boxes of a detector: published as an empty mask
            return torch.zeros(size, dtype=torch.bool, device=embedding.device)
        masks, scores = self.segmenter.masks(embedding, size, **asked, several=self.selection is not None)
        return select(masks, scores, self.selection or "max_score").any(dim=0)

    def encoders(self) -> dict[str, nn.Module]:
        return {"segmenter": self.segmenter}


def of_heatmaps(batch: Batch, *, strategy: str, threshold: float, reverse: bool, quirks: str) -> Iterator[dict]:
    """Points or boxes from the feature `heatmap`, see `prompts.of_heatmap`."""
    cosine = batch.feature("heatmap")[batch.real]
    # On the processor: a GPU would round otherwise what is compared for equality.
    for heatmap in heatmaps(cosine.cpu(), reverse=reverse).numpy():
        asked = of_heatmap(heatmap, strategy, threshold, quirks)
        yield {name: torch.from_numpy(array).to(cosine.device) for name, array in asked.items()}


def of_detector(batch: Batch) -> Iterator[dict]:
    """The feature `boxes`, without what fills it up."""
    for boxes in batch.feature("boxes")[batch.real]:
        yield {"boxes": boxes[boxes.isfinite().all(dim=1)]}


class NoPrompt(ZeroShot):
    """Of the segmenter's automatic masks, that whose crop AudioCLIP finds most like the sound, if it is sure.

    Args:
        visual, audio: AudioCLIP's towers.
        front_end: whose waves the audio tower hears.
        side: of the crops.
        repeats: how often a second is heard.
        threshold: share of the softmax over a frame's masks that one must have.
        quirks: `reference`: crops lack the last row and column; where one has no crop, all later masks of the frame are
            off by one.
        at_once: crops that the visual tower sees together; memory only.
    """

    def __init__(
        self,
        visual: ClipVisual,
        audio: ESResNeXt,
        *,
        front_end: str,
        side: int,
        repeats: int,
        threshold: float,
        quirks: str,
        at_once: int = 64,
    ):
        super().__init__(quirks)
        self.visual, self.audio = visual.requires_grad_(False), audio.requires_grad_(False)
        self.front_end, self.side, self.repeats = front_end, side, repeats
        self.threshold, self.at_once = threshold, at_once

    def segment(self, batch: Batch) -> list[Tensor]:
        real = batch.real
        sounds = self.audio(one_second(batch.sound(self.front_end)[real], self.repeats))
        frames, proposals = batch.frames[real].float() / 255, batch.feature("proposals")[real].bool()
        return [self._chosen(*each) for each in zip(frames, proposals, sounds, strict=True)]

    def _chosen(self, frame: Tensor, masks: Tensor, sound: Tensor) -> Tensor:
        """The union of the masks [N,H,W] that sound, [H,W]."""
        crops, numbers = masked_crops(frame, masks, self.side, self.quirks)
        if not len(crops):
            self.mute += 1
            return masks[:0].any(dim=0)
        if self.quirks == "reference":
            numbers = torch.arange(len(numbers), device=numbers.device)
        return masks[numbers[self.shares(crops, sound) > self.threshold]].any(dim=0)

    def shares(self, crops: Tensor, sound: Tensor) -> Tensor:
        """Of crops [n,3,S,S] in one sound [D]: [n], their sum is 1."""
        return self.cosines(crops, sound).mul(SHARPNESS).softmax(dim=0)

    def cosines(self, crops: Tensor, sound: Tensor) -> Tensor:
        """Of crops [n,3,S,S] with one sound [D]: [n]."""
        images = torch.cat([self.visual.embed(part) for part in crops.split(self.at_once)])
        return F.cosine_similarity(images, sound[None])

    def encoders(self) -> dict[str, nn.Module]:
        return {"visual": self.visual, "audio": self.audio}


def build(
    *,
    dataset: DatasetCard,
    scale: str,
    image_size: int,
    prompt: str,
    threshold: float | dict[str, float] = 0.5,
    quirks: str = "fixed",
    selection: str = "max_score",
    reverse: bool | None = None,
) -> ZeroShot:
    """Sam4AVS for a data set.

    Args:
        image_size: not used; any will do.
        prompt: what the segmenter is asked: `none`, `detector`, or a strategy of `prompts.of_heatmap`.
        threshold: of the heatmap, or of the share of a mask; or {default: …, <data set>: …}.
        quirks: `fixed`, or `reference`: see the README.
        selection: which of three masks of a prompt counts: `max_score` or `max_area`.
        reverse: prompts lie where cosines are low. As published, except at mini, whose small AudioCLIP is not CLIP.
    """
    choices = {"prompt": ("none", "detector", *POINTS, *BOXES), "quirks": QUIRKS, "selection": SELECTIONS}
    for name, value in {"prompt": prompt, "quirks": quirks, "selection": selection}.items():
        known(value, dict.fromkeys(choices[name]), f"options of sam4avs: {name}", "choice")
    mini = scale == "mini"
    threshold = value_on(threshold, dataset.name)
    if prompt == "none":
        audio = esresnext(scale, amplitude=quirks)
        return NoPrompt(
            clip_visual(scale),
            audio,
            front_end="clap_wave" if quirks == "reference" else "audioclip_wave",
            side=MINI_CROP if mini else SIDE,
            repeats=1 if quirks == "reference" else audio.repeats,
            threshold=threshold,
            quirks=quirks,
        )
    segmenter = Regions() if mini else sam_prompts("vit_h", encoder=False)
    if prompt == "detector":
        return Prompted(segmenter, of_detector, selection=None, quirks=quirks)
    reverse = not mini if reverse is None else reverse
    ask = partial(of_heatmaps, strategy=prompt, threshold=threshold, reverse=reverse, quirks=quirks)
    return Prompted(segmenter, ask, selection=selection, quirks=quirks)
