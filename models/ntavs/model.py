"""NTAVS, nontrivial audio-visual segmentation (https://github.com/OrigamiSL/NTAVS): COMBO's frame with another ear.

Written from a specification of the released code. Changes: the maps may have any size; clips of different lengths may
share a batch; layers that the authors' files hold and never use are not built.

Letters in shapes: F real frames of all clips, A audio tokens of a frame, Q = 2 A queries, C channels of the head.
"""

import torch
from torch import Tensor, nn

from avsbench.cards import DatasetCard, known
from avsbench.contract import Batch
from avsbench.nn.backbones import visual_encoder
from avsbench.nn.ced import ced
from avsbench.nn.mask_classification import MaskClassification
from avsbench.nn.mask_decoder import MaskDecoder, Prediction
from avsbench.nn.pixel_decoder import PixelDecoder, normed_conv
from avsbench.nn.siam import SiamEncoder
from avsbench.transforms.clips import transforms

from .checkpoint import rename
from .mixer import Mixer

STEPS = 96
"""Of a log-mel example."""
MIDDLE = {"combo": "combo_mel", "ntavs512": "msai_512"}
"""Option `avss_middle` -> front end."""


class NTAVS(MaskClassification):
    """The network.

    Args:
        audio: CED, as wide as the head; frozen here.
        front_ends: names of the log-mels that it hears, one after the other.
        projections: of the visual maps to C channels, finest first.
        mixer, pixel_decoder, decoder: see there; the decoder has Q queries, one for each audio query.
        mix_first: whether the mixer works before the pixel decoder (PVT-v2) or on what that returns (ResNet).
        arguments: of MaskClassification.
    """

    method_settings = {**MaskClassification.method_settings, "window": None}

    def __init__(
        self,
        *,
        front_ends: tuple[str, ...],
        projections: nn.ModuleList,
        mixer: Mixer,
        pixel_decoder: PixelDecoder,
        decoder: MaskDecoder,
        mix_first: bool,
        **arguments,
    ):
        super().__init__(**arguments)
        self.front_ends, self.mix_first = front_ends, mix_first
        self.projections = projections
        self.mixer = mixer
        self.pixel_decoder = pixel_decoder
        self.level = nn.Embedding(1, self.audio.width)
        self.decoder = decoder

    def segment(self, maps: list[Tensor], batch: Batch) -> list[Prediction]:
        maps = [project(x) for project, x in zip(self.projections, maps, strict=True)]
        sounds, lengths = self.hear(batch), batch.real.sum(dim=1).tolist()
        if self.mix_first:
            maps, queries = self.mixer(maps, sounds, lengths)
        features, levels = self.pixel_decoder(maps)
        features = features + self.level.weight[0, :, None, None]
        if not self.mix_first:
            (features, *levels), queries = self.mixer([features, *levels[::-1]], sounds, lengths)
            levels = levels[::-1]
        return self.decoder(features, levels, queries)

    @torch.no_grad()
    def hear(self, batch: Batch) -> Tensor:
        """Audio tokens of the real frames, of all front ends: [F,A,C]."""
        mels = [batch.sound(name)[batch.real][:, 0].mT for name in self.front_ends]
        tokens = self.audio(torch.stack(mels, dim=1).flatten(0, 1))
        return tokens.unflatten(0, (-1, len(mels))).flatten(1, 2)

    def transforms(self, recipe: dict):
        return transforms(recipe, "ntavs")

    @classmethod
    def rename_official(cls, key: str) -> str | None:
        """See `checkpoint.rename`; None for what the authors' network never uses."""
        renamed = rename(key)
        return renamed and super().rename_official(renamed)

    @classmethod
    def convert_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """By name; a counter of CED's input norm, which some versions of detectron2 leave out, is 0."""
        converted = super().convert_official(state)
        if "audio.input_norm.weight" in converted:
            converted.setdefault("audio.input_norm.num_batches_tracked", torch.tensor(0))
        return converted


def build(
    *, dataset: DatasetCard, scale: str, image_size: int, backbone: str, mixer: str, avss_middle: str = "combo"
) -> NTAVS:
    """NTAVS for a data set.

    Args:
        image_size: not used; any will do.
        backbone: family of the visual encoders: r50 or pvt.
        mixer: `after` the pixel decoder (as published with r50) or `before` it (pvt).
        avss_middle: the middle log-mel on AVSS: `combo`, that of COMBO, which the released code reads, or `ntavs512`,
            as on S4 and MS3. The card's `inputs: front_ends` has to list it.
    """
    known(mixer, dict.fromkeys(("after", "before")), "options of ntavs: mixer", "choice")
    known(avss_middle, MIDDLE, "options of ntavs: avss_middle", "choice")
    mini = scale == "mini"
    width, heads, hidden, groups = (64, 4, 128, 8) if mini else (256, 8, 2048, 32)
    options = {"frozen_norms": True} if backbone == "r50" else {}
    siam = SiamEncoder(*(visual_encoder(backbone, scale, **options) for _ in range(2)))
    channels = 2 if dataset.task == "binary" else dataset.num_classes
    middle = MIDDLE[avss_middle] if dataset.name == "avss" else "msai_512"
    front_ends = ("msai_256", middle, "msai_1024")
    audio = ced(scale)
    return NTAVS(
        siam=siam,
        audio=audio,
        channels=channels,
        front_ends=front_ends,
        projections=nn.ModuleList(
            normed_conv(count, width, 1, groups=groups, bias=True) for count in siam.frames.channels
        ),
        mixer=Mixer(width, heads),
        pixel_decoder=PixelDecoder(
            (width,) * 4,
            width=width,
            project=False,
            depth=2 if mini else 6,
            hidden=128 if mini else 1024,
            heads=heads,
            groups=groups,
        ),
        decoder=MaskDecoder(
            classes=channels,
            width=width,
            queries=2 * len(front_ends) * audio.count(STEPS),
            depth=3 if mini else 9,
            hidden=hidden,
            heads=heads,
            threshold=0.2,
        ),
        mix_first=mixer == "before",
    )
