"""CAVP (Chen et al., Unraveling Instance Associations, CVPR 2024; https://github.com/cyh-0/CAVP).

Written from a specification of the released code. A DeepLabV3+ whose joint features attend to the sound of their
second; trained with pairs of pictures and foreign sounds. Changes: layers that the authors store and never use are not
built; what does not depend on the sound is computed once for the two halves of a pair.

Letters in shapes: B clips, T frames, N frames that take part, M sounds (N, in training 2 N: own, then foreign),
D channels of the joint features, K classes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.cards import DatasetCard
from avsbench.contract import Batch, Method, Output, normalize_frames
from avsbench.nn.backbones import VisualEncoder, visual_encoder

from .audio import SecondNet, StillNet
from .augmentation import augmentation
from .checkpoint import rename
from .groups import parameter_groups
from .loss import contrastive_loss, segmentation_loss
from .network import AtrousPyramid, Head, SoundAttention, mlp
from .pairing import Pairing, batch_classes
from .settings import Settings


class CAVP(Method):
    """Contrastive audio-visual pairing.

    Args:
        visual: four maps of a picture.
        audio: log-mel [M,C,S,64] -> [M,D], D = `width` + `detail`.
        classes: K, background included; 2 for a binary task.
        width: of the pyramid's output.
        detail: channels that the finest map keeps.
        rates: dilations of the pyramid.
        class_rule: which classes decide about a match, see `pairing.image_classes`.
    """

    def __init__(
        self,
        *,
        visual: VisualEncoder,
        audio: nn.Module,
        classes: int,
        width: int,
        detail: int,
        rates: tuple[int, ...],
        class_rule: str,
    ):
        super().__init__()
        self.channels = classes
        self.class_rule = class_rule
        self.visual = visual
        self.audio = audio
        self.pyramid = AtrousPyramid(visual.channels[3], width, rates)
        self.reduce = nn.Sequential(
            nn.Conv2d(visual.channels[0], detail, kernel_size=1, bias=False), nn.BatchNorm2d(detail), nn.ReLU()
        )
        self.projector = mlp(width + detail, width)
        self.fusion = SoundAttention(width + detail)
        self.head = Head(width + detail, width, classes)
        self.configure({})

    def encoders(self) -> dict[str, nn.Module]:
        return {"visual": self.visual, "audio": self.audio}

    def configure(self, recipe: dict) -> None:
        """See `Settings`: keys of the recipe's `loss` and `method`."""
        self.settings = Settings.of(recipe)
        self.pairing = Pairing(self.channels, bank=self.settings.bank, rate=self.settings.overwrite)

    def parameter_groups(self, recipe: dict) -> list[dict]:
        return parameter_groups(self, recipe)

    def transforms(self, recipe: dict):
        return augmentation(Settings.of(recipe), class_rule=self.class_rule, classes=self.channels)

    def on_epoch(self, epoch: int) -> None:
        self.pairing.epoch = epoch

    def extra_state(self) -> dict:
        return self.pairing.state()

    def load_extra_state(self, state: dict) -> None:
        self.pairing.load_state(state)

    def forward(self, batch: Batch) -> Output:
        """Real frames, each by itself; while training those that have a mask.

        Returns:
            logits: [B,T,K,h,w] at a quarter of the size; 0 for frames that took no part.
            While training also `chosen` bool [B,T], the frames that took part; and where the contrastive loss counts
            `joint` [2 N,D,h,w], with their own sound and with a foreign one, and `pairs`, which of the latter match.
        """
        chosen = batch.real
        if self.training and batch.annotated is not None and bool(batch.annotated.any()):
            chosen = batch.annotated
        (log_mel,) = batch.audio.values()
        sounds, pairs = log_mel[chosen], None
        if self.training and self.settings.contrast:
            pairs = self.pairing(sounds, batch_classes(batch, chosen, self.channels, self.class_rule))
        logits, joint = self.segment(normalize_frames(batch.frames, batch.real)[chosen], self.embed(sounds, pairs))
        whole = logits.new_zeros(*chosen.shape, *logits.shape[1:])
        whole[chosen] = logits[: len(sounds)]
        output = {"logits": whole}
        if self.training:
            output["chosen"] = chosen
        if pairs is not None:
            output |= {"joint": joint, "pairs": pairs}
        return output

    def embed(self, sounds: Tensor, pairs) -> Tensor:
        """[N,C,S,64] -> [M,D]. In training own and foreign sounds pass the network together."""
        if pairs is None:
            return self.audio(sounds)
        if pairs.sounds is None:
            own = self.audio(sounds)
            return torch.cat([own, own[pairs.order]])
        return self.audio(torch.cat([sounds, pairs.sounds]))

    def segment(self, images: Tensor, sounds: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures and the embeddings of what is heard with them; sound m goes with picture m mod N.

        Args:
            images: normalised [N,3,H,W].
            sounds: [M,D].

        Returns:
            logits [M,K,h,w]; joint features [M,D,h,w].
        """
        fine, *_, coarse = self.visual(images)
        size = fine.shape[-2:]
        context = functional.interpolate(self.pyramid(coarse), size=size, mode="bilinear", align_corners=True)
        pixels = torch.cat([context, self.reduce(fine)], dim=1).flatten(2).transpose(1, 2)
        joint, _ = self.fusion(self.projector(pixels), sounds)
        joint = joint.transpose(1, 2).unflatten(2, size)
        return self.head(joint), joint

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        logits = output["logits"].float()
        resized = functional.interpolate(logits.flatten(0, 1), size=size, mode="bilinear", align_corners=False)
        return resized.view(*logits.shape[:3], *size)

    def loss(self, output: Output, batch: Batch, step: int) -> dict[str, Tensor]:
        chosen = output["chosen"]
        masks = batch.masks[chosen]
        logits = self.scores({"logits": output["logits"][chosen][None]}, tuple(masks.shape[-2:]))[0]
        terms = {"segmentation": segmentation_loss(logits, masks)}
        if "pairs" in output:
            own, foreign = output["joint"].chunk(2)
            contrast = contrastive_loss(
                own,
                masks,
                foreign,
                output["pairs"].labels(masks),
                temperature=self.settings.temperature,
                views=self.settings.views,
            )
            terms["contrast"] = self.settings.contrast * contrast
        return terms

    @classmethod
    def rename_official(cls, key: str) -> str | None:
        """See `checkpoint.rename`; None for the layers that the authors' network stores and never uses."""
        return rename(key)


CLASS_RULES = {"s4": "always", "ms3": "sounding", "vpo_ss": "told"}


def build(*, dataset: DatasetCard, scale: str, image_size: int, stereo: bool = False) -> CAVP:
    """CAVP for a data set: stills get a ResNet-18 for their sound and a finer stride, videos VGGish's layers.

    Args:
        image_size: not used; any size works.
        stereo: hear left and right; stills alone.
    """
    mini, still = scale == "mini", dataset.frames == 1
    width, detail = (32, 8) if mini else (256, 48)
    return CAVP(
        visual=visual_encoder(
            "r50_deep", scale, output_stride=8 if still else 16, last_dilations=(2,) if mini else (2, 4, 8)
        ),
        audio=StillNet(width + detail, 2 if stereo else 1, scale) if still else SecondNet(width + detail, scale),
        classes=max(2, dataset.num_classes),
        width=width,
        detail=detail,
        rates=(1, 2, 3) if mini else (6, 12, 18),
        class_rule=CLASS_RULES.get(dataset.name, "shown"),
    )
