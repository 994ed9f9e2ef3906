"""COMBO (Yang et al., CVPR 2024; https://github.com/yannqi/COMBO-AVS): masks and classes from queries that hear.

Written from a specification of the released code. Changes: padding is skipped; in training a query hears no sound of
another clip; the fusion takes a cheaper form of the same function.

Letters in shapes: F real frames of all clips, Q queries, C channels of the head, S of the sound.
"""

import torch
from torch import Tensor

from avsbench.cards import DatasetCard, known
from avsbench.contract import Batch, Output
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.mask_classification import MaskClassification
from avsbench.nn.mask_decoder import MaskDecoder, Prediction
from avsbench.nn.mask_losses import consistency_loss
from avsbench.nn.pixel_decoder import PixelDecoder
from avsbench.nn.siam import SiamEncoder
from avsbench.nn.transformer import MLP
from avsbench.nn.vggish import EMBEDDING, audio_encoder
from avsbench.transforms.clips import transforms

from .checkpoint import rename
from .fusion import BilateralFusion

CHOICES = {
    "fusion": ("attention", "none"),
    "audio_layout": ("reference", "fixed"),
    "across_clips": ("fixed", "reference"),
}


class COMBO(MaskClassification):
    """The network.

    Args:
        pixel_decoder, fusion, decoder: see there.
        sound: makes the C numbers that are added to a query of the S that the fusion gives.
        audio_layout: whose sound a query hears, see `heard`.
        across_clips: whether it may be that of another clip of a training batch.
        arguments: of MaskClassification.
    """

    loss_settings = {**MaskClassification.loss_settings, "consistency": 10.0}

    def __init__(
        self,
        *,
        pixel_decoder: PixelDecoder,
        fusion: BilateralFusion,
        sound: MLP,
        decoder: MaskDecoder,
        audio_layout: str = "reference",
        across_clips: str = "fixed",
        **arguments,
    ):
        super().__init__(**arguments)
        self.audio_layout, self.across_clips = audio_layout, across_clips
        self.pixel_decoder = pixel_decoder
        self.fusion = fusion
        self.sound = sound
        self.decoder = decoder

    def segment(self, maps: list[Tensor], batch: Batch) -> list[Prediction]:
        with torch.no_grad():
            sound = self.audio(batch.sound("vggish_mel")[batch.real])
        features, levels = self.pixel_decoder(maps)
        features, sound = self.fusion(features, sound)
        clips = batch.real
        if self.training and self.across_clips == "reference":
            clips = torch.ones_like(sound[None, :, 0], dtype=torch.bool)  # one clip of all frames
        queries = self.decoder.queries.num_embeddings
        content = self.sound(sound)[heard(clips, queries, self.audio_layout)]
        return self.decoder(features, levels, content)

    def loss(self, output: Output, batch: Batch, step: int) -> dict[str, Tensor]:
        """Terms of the frames that have a truth, and `consistency` of all frames, of every prediction but the last."""
        terms = super().loss(output, batch, step)
        weight = self.settings["loss"]["consistency"]
        auxiliary = output["predictions"][:-1]
        if weight and auxiliary:
            terms["consistency"] = weight * sum(consistency_loss(masks) for _, masks in auxiliary)
        return terms

    def transforms(self, recipe: dict):
        return transforms(recipe, "combo")

    @classmethod
    def rename_official(cls, key: str) -> str | None:
        """See `checkpoint.rename`; None for what needs not be built."""
        renamed = rename(key)
        return renamed and super().rename_official(renamed)


def heard(real: Tensor, queries: int, layout: str) -> Tensor:
    """Which frame's sound each query hears, as numbers among the real frames: int64 [F,Q].

    As published (`reference`) the table of a clip's n frames by Q queries is filled in one order and read in another:
    query q of frame t hears frame (q n + t) // Q, so all frames hear alike, each frame of the clip by Q / n queries.
    With `fixed` queries hear their own frame.

    Args:
        real: bool [B,T].
    """
    clip, _ = real.nonzero(as_tuple=True)
    rows = torch.arange(len(clip), device=real.device)
    if layout == "fixed":
        return rows[:, None].expand(-1, queries)
    counts = real.sum(dim=1)
    first, count = (counts.cumsum(0) - counts)[clip, None], counts[clip, None]
    query = torch.arange(queries, device=real.device)
    return first + (query * count + rows[:, None] - first) // queries


def build(
    *,
    dataset: DatasetCard,
    scale: str,
    image_size: int,
    backbone: str,
    fusion: str = "attention",
    audio_layout: str = "reference",
    across_clips: str = "fixed",
) -> COMBO:
    """COMBO for a data set.

    Args:
        image_size: not used; any will do.
        backbone: family of the visual encoders: r50 or pvt.
        fusion: `attention`, or `none` as in the published test configuration of ResNet-50 on AVSS.
        audio_layout: `reference`, or `fixed`: see `heard`.
        across_clips: `fixed`: the layout is that of each clip, in training too; `reference`: in training that of all
            frames of the batch, which gives queries the sound of other clips.
    """
    for name, value in {"fusion": fusion, "audio_layout": audio_layout, "across_clips": across_clips}.items():
        known(value, dict.fromkeys(CHOICES[name]), f"options of combo: {name}", "choice")
    mini = scale == "mini"
    width, queries, heads, hidden = (64, 20, 4, 128) if mini else (256, 100, 8, 2048)
    options = {"frozen_norms": True} if backbone == "r50" else {}
    siam = SiamEncoder(*(visual_encoder(backbone, scale, **options) for _ in range(2)))
    channels = 2 if dataset.task == "binary" else dataset.num_classes
    return COMBO(
        siam=siam,
        audio=audio_encoder("vggish", scale),
        channels=channels,
        pixel_decoder=PixelDecoder(
            siam.frames.channels,
            width=width,
            depth=2 if mini else 6,
            hidden=128 if mini else 1024,
            heads=heads,
            groups=8 if mini else 32,
        ),
        fusion=BilateralFusion(
            width=width,
            sound=EMBEDDING,
            embedding=width,
            heads=heads,
            dropout=0.0 if mini else 0.1,
            attend=fusion == "attention",
        ),
        sound=MLP(EMBEDDING, *((128, 128) if mini else (4096, 4096)), width),
        decoder=MaskDecoder(
            classes=channels, width=width, queries=queries, depth=3 if mini else 9, hidden=hidden, heads=heads
        ),
        audio_layout=audio_layout,
        across_clips=across_clips,
    )
