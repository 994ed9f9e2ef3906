"""Semantic FPN on AudioCLIP's towers: the supervised part of "How Can Contrastive Pre-training Benefit Audio-Visual
Segmentation?" (BMVC 2023; https://github.com/Lihr747/Sam4AVS).

Written from a specification of the released code. Changes: a frozen encoder stays as it is; the sound comes in the
range that AudioCLIP was trained with; frames without a mask pass the visual encoder alone.

Every frame is segmented by itself, with the sound of its second. Letters in shapes: B clips, T frames, F frames of all
clips, D embedding of both towers.
"""

from torch import Tensor, nn
from torch.nn import functional

from avsbench.cards import DatasetCard, known
from avsbench.contract import CLIP, IMAGENET, Batch, Method, Output, normalize_frames
from avsbench.errors import AvsbenchError
from avsbench.nn.audioclip import one_second
from avsbench.nn.clip_visual import ClipVisual, clip_visual
from avsbench.nn.esresnext import ESResNeXt, esresnext
from avsbench.nn.losses import bce_loss
from avsbench.nn.vggish import EMBEDDING, VGGish, audio_encoder

from .checkpoint import convert, rename
from .fpn import Head, Neck
from .fusion import FUSIONS, WITHOUT_SOUND, WITHOUT_TOKENS, fuse, fused_channels

CHOICES = {
    "fusion": tuple(FUSIONS),
    "upsample": ("bilinear", "nearest"),
    "audio": ("esresnext", "vggish"),
    "audio_training": ("none", "projection", "all"),
    "frozen_encoders": ("eval", "train"),
}


class ACLPFPN(Method):
    """The network.

    Args:
        visual: CLIP's; it trains.
        audio: what hears; None where `fusion` goes without sound.
        projector: brings what VGGish hears to D numbers, and trains; None behind AudioCLIP's audio tower.
        neck, head: see there.
        fusion: of FUSIONS.
        audio_training: what of the audio tower trains: none of it, its last layer (at the head's rate) or all.
        enlarge: how many times as wide and high pictures are seen.
        frozen_encoders: mode of a frozen audio tower while the rest trains: "eval", or as published "train", where it
            normalises by the statistics of the batch, whose running averages drift although no weight moves; then it
            belongs to the weights of a run.
    """

    def __init__(
        self,
        *,
        visual: ClipVisual,
        audio: ESResNeXt | VGGish | None,
        projector: nn.Linear | None,
        neck: Neck,
        head: Head,
        fusion: str = "concate",
        audio_training: str = "none",
        enlarge: int = 1,
        frozen_encoders: str = "eval",
    ):
        super().__init__()
        self.fusion, self.audio_training, self.frozen_encoders = fusion, audio_training, frozen_encoders
        self.enlarge = enlarge
        self.visual, self.audio, self.projector = visual, audio, projector
        self.neck, self.head = neck, head
        self.visual.pool.requires_grad_(fusion not in WITHOUT_TOKENS)
        if audio is not None:
            audio.requires_grad_(audio_training == "all").train(audio_training == "all")
        if audio_training == "projection":
            audio.head.requires_grad_(True)

    def encoders(self) -> dict[str, nn.Module]:
        return {"visual": self.visual} | ({"audio": self.audio} if self.audio is not None else {})

    @property
    def drifts(self) -> bool:
        """The statistics of a frozen audio tower follow the data."""
        return self.frozen_encoders == "train" and self.projector is None

    def external_prefixes(self) -> list[str]:
        """Without an audio tower whose statistics training changes."""
        return [prefix for prefix in super().external_prefixes() if not (self.drifts and prefix == "audio.")]

    def train(self, mode: bool = True) -> "ACLPFPN":
        super().train(mode)
        if self.audio is not None:
            self.audio.train(mode and (self.audio_training == "all" or self.drifts))
        return self

    def configure(self, recipe: dict) -> None:
        """There is one loss, and of `method` the rate of the towers, see `parameter_groups`."""
        for place, keys in {"loss": (), "method": ("backbone_rate",)}.items():
            for key in recipe.get(place, {}):
                known(key, dict.fromkeys(keys), f"recipe of aclp_fpn: {place}", "key")

    def parameter_groups(self, recipe: dict) -> list[dict]:
        """The towers at the recipe's rate times `method.backbone_rate`; neck, head and what makes D numbers of an
        audio network that never met pictures at the whole rate.
        """
        rate, factor = recipe["optimizer"]["lr"], recipe.get("method", {}).get("backbone_rate", 0.1)
        groups = {True: {"params": [], "lr": rate * factor}, False: {"params": []}}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                tower = name.startswith("visual.") or (name.startswith("audio.") and self.audio_training == "all")
                groups[tower]["params"].append((name, parameter))
        return list(groups.values())

    def forward(self, batch: Batch) -> Output:
        """logits [F,1,H',W'] of the frames that `chosen`, bool [B,T], marks: in training the annotated, else the real.

        All real frames pass a part whose statistics are those of the batch.
        """
        chosen = batch.annotated if self.training and batch.annotated is not None else batch.real
        wanted = chosen[batch.real]
        colours = CLIP if self.projector is None else IMAGENET
        images = normalize_frames(batch.frames, batch.real, colours)[batch.real]
        if self.enlarge > 1:
            images = functional.interpolate(images, scale_factor=self.enlarge, mode="bilinear", align_corners=False)
        maps = [x[wanted] for x in self.visual(images if self.training else images[wanted])]
        return {"logits": self.decode(maps, self.hear(batch, wanted)), "chosen": chosen}

    def hear(self, batch: Batch, wanted: Tensor) -> Tensor | None:
        """The sounds of those real frames that `wanted`, bool [R], marks: [F,D]."""
        if self.audio is None:
            return None
        if self.projector is not None:
            return self.projector(self.audio(batch.sound("vggish_mel")[batch.real][wanted]))
        waves = batch.sound("audioclip_wave")[batch.real]
        if not self.audio.training:
            return self.audio(one_second(waves[wanted], self.audio.repeats))
        return self.audio(one_second(waves, self.audio.repeats))[wanted]

    def decode(self, maps: list[Tensor], sound: Tensor | None) -> Tensor:
        """Maps of the visual encoder, finest first, and sounds [F,D] -> logits [F,1,H,W]."""
        *finer, last = maps
        tokens = None if self.fusion in WITHOUT_TOKENS else self.visual.pool(last)[1]
        return self.head(self.neck([*finer, fuse(self.fusion, last, tokens, sound)]))

    def scores(self, output: Output, size: tuple[int, int]) -> Tensor:
        """Frames that were not decoded score 0."""
        logits, chosen = resize(output["logits"], size), output["chosen"]
        return logits.new_zeros(*chosen.shape, *logits.shape[1:]).index_put((chosen,), logits)

    def loss(self, output: Output, batch: Batch, step: int) -> dict[str, Tensor]:
        """Binary cross-entropy of the annotated frames: on S4 the first of each clip, on MS3 all."""
        kept = batch.annotated[output["chosen"]]
        masks = batch.masks[batch.annotated & output["chosen"]]
        return {"bce": bce_loss(resize(output["logits"][kept], tuple(masks.shape[-2:])), masks)}

    @classmethod
    def rename_official(cls, key: str) -> str | None:
        """See `checkpoint.rename`."""
        return rename(key)

    @classmethod
    def convert_official(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `checkpoint.convert`."""
        return convert(state)


def resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, float32: [F,K,H,W] -> [F,K,h,w]."""
    return functional.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


def build(
    *,
    dataset: DatasetCard,
    scale: str,
    image_size: int,
    fusion: str = "concate",
    upsample: str = "bilinear",
    audio: str = "esresnext",
    audio_training: str = "none",
    amplitude: str = "fixed",
    frozen_encoders: str = "eval",
) -> ACLPFPN:
    """The network for a data set.

    Args:
        dataset: not used; all have one mask a frame.
        image_size: not used; any multiple of 32 works.
        fusion: of the two towers, see `fusion.FUSIONS`.
        upsample: how the neck enlarges, "bilinear" or "nearest".
        audio: "esresnext", AudioCLIP's audio tower, or "vggish" with a linear layer behind it; then pictures come in
            ImageNet's colours, as published.
        audio_training, frozen_encoders: see ACLPFPN.
        amplitude: of the sound that AudioCLIP's tower hears: "fixed", as it was trained; "reference", as published.
    """
    given = {"fusion": fusion, "upsample": upsample, "audio": audio, "audio_training": audio_training}
    for name, value in {**given, "frozen_encoders": frozen_encoders}.items():
        known(value, dict.fromkeys(CHOICES[name]), f"aclp_fpn: {name}", "choice")
    if audio_training != "none" and (audio == "vggish" or fusion in WITHOUT_SOUND):
        raise AvsbenchError(
            f"aclp_fpn: audio_training: {audio_training} needs AudioCLIP's audio tower",
            found=f"audio: {audio}, fusion: {fusion}",
            expected="audio: esresnext and a fusion with sound",
        )
    mini = scale == "mini"
    visual = clip_visual(scale)
    if fusion in WITHOUT_SOUND:
        hearing = None
    elif audio == "vggish":
        hearing = audio_encoder("vggish", scale)
    else:
        hearing = esresnext(scale, amplitude=amplitude)
    last = fused_channels(fusion, visual.channels[-1], visual.embedding)
    width = 48 if mini else 256
    return ACLPFPN(
        visual=visual,
        audio=hearing,
        projector=nn.Linear(EMBEDDING, visual.embedding) if isinstance(hearing, VGGish) else None,
        neck=Neck([*visual.channels[:-1], last], width=width, upsample=upsample),
        head=Head(width, width=32, groups=8) if mini else Head(width),
        fusion=fusion,
        audio_training=audio_training,
        enlarge=2 if mini else 1,  # 64 pixels would leave the pool four cells
        frozen_encoders=frozen_encoders,
    )
